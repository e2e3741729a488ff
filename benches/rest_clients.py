"""Starts a deployment over REST and asks for its progress from so many clients, each on a connection of its own and once a
second. Prints how long the deployment took and how long the answers did. Run by rest.sh inside a lab."""

import asyncio
import json
import random
import sys
import time

HOST, PORT = "127.0.0.1", 8383
LOGIN = "root:111111@"
BODY = json.dumps({"environment_type": 1, "environment_params": {
    "master-host-list": [LOGIN + "10.8.14.200"], "etcd-host-list": [LOGIN + "10.8.14.200"],
    "node-host-list": [LOGIN + "10.8.14.200", LOGIN + "10.8.14.201"]}})


async def ask(reader, writer, method="GET", path="/environments/bench/1", body=""):
    head = f"{method} {path} HTTP/1.1\r\nHost: {HOST}:{PORT}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    writer.write(head.encode())
    await writer.drain()
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    length = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:"))
    message = json.loads(await reader.readexactly(length))
    assert lines[0].split()[1] == "200", (lines[0], message)
    return message


async def client(done, times):
    reader, writer = await asyncio.open_connection(HOST, PORT)
    await asyncio.sleep(random.random())
    while not done.is_set():
        begun = time.perf_counter()
        await ask(reader, writer)
        times.append(time.perf_counter() - begun)
        await asyncio.sleep(1)
    writer.close()


async def main(clients):
    reader, writer = await asyncio.open_connection(HOST, PORT)
    begun = time.perf_counter()
    await ask(reader, writer, "POST", "/environments/bench", BODY)
    done, times = asyncio.Event(), []
    others = [asyncio.create_task(client(done, times)) for _ in range(clients)]
    while (message := await ask(reader, writer))["environment_status"] == "running":
        await asyncio.sleep(0.1)
    took = time.perf_counter() - begun
    done.set()
    await asyncio.gather(*others)
    assert message["environment_status"] == "finished", message
    print(f"{clients} clients: deployed in {took:.1f} s", end="")
    if times:
        times.sort()
        share = lambda part: times[min(len(times) - 1, int(len(times) * part))] * 1000
        print(f"; {len(times)} answers, p50 {share(0.5):.1f} ms, p99 {share(0.99):.1f} ms, worst {times[-1] * 1000:.1f} ms", end="")
    print(flush=True)


asyncio.run(main(int(sys.argv[1])))
