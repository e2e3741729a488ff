#!/usr/bin/env python3
"""listener_clients.py URL CLIENTS RATE: so many clients fetch the same file at once, each on a connection of its own, at RATE
KiB/s each or, with 0, as fast as they can; prints how long that took. Run by listener.sh."""
import contextlib
import selectors
import socket
import sys
import time
import urllib.parse

BUFFER = memoryview(bytearray(1 << 20))
TICK, SLOW_BUFFER = 0.1, 64 << 10


class Client:
    """A request that was sent; `left` is what is still to come of its answer, once its head is there."""

    def __init__(self, url, buffer):
        self.socket = socket.socket()
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.connect((url.hostname, url.port))
        self.socket.sendall(f"GET {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: close\r\n\r\n".encode())
        self.head, self.left = b"", None

    def take(self, most):
        """Receives up to `most` bytes and returns how many."""
        got = self.socket.recv_into(BUFFER, min(most, len(BUFFER)))
        if self.left is None:
            self.head += BUFFER[:got]
            head, end, rest = self.head.partition(b"\r\n\r\n")
            if end:
                lines = head.decode().lower().split("\r\n")
                assert lines[0].split()[1] == "200", lines
                self.left = next(int(line[15:]) for line in lines if line.startswith("content-length:")) - len(rest)
        else:
            self.left -= got
        assert got or self.left == 0, f"{self.left} bytes never came"
        return got


def fast(clients):
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.socket, selectors.EVENT_READ, client)
        while selector.get_map():
            for key, _ in selector.select():
                key.data.take(len(BUFFER))
                if key.data.left == 0:
                    selector.unregister(key.fileobj)


def slow(clients, rate):
    """Ten times a second every client takes what is due."""
    for client in clients:
        client.socket.setblocking(False)
    begun, taken = time.monotonic(), 0
    while clients:
        time.sleep(TICK)
        due = int((time.monotonic() - begun) * rate)
        for client in clients:
            share = due - taken
            with contextlib.suppress(BlockingIOError):
                while share > 0 and client.left != 0:
                    share -= client.take(share)
        clients = [client for client in clients if client.left != 0]
        taken = due


def main():
    url, count, rate = urllib.parse.urlsplit(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) << 10
    begun = time.monotonic()
    # With a small buffer what a slow client does not take stays with the server.
    clients = [Client(url, SLOW_BUFFER if rate else 0) for _ in range(count)]
    if rate:
        slow(clients, rate)
    else:
        fast(clients)
    print(f"{time.monotonic() - begun:.1f} s")


main()
