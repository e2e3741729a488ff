#!/bin/bash
# One host's power: mounts its disk, wires its cable, boots it, boots it again when it asks for a reboot.
# Started by hosts.py in a mount namespace of its own, so that every mount is gone when this process is,
# however it ends. Everything comes in through the environment: LAB HOST INDEX HOME_DIR BASE LAYER DISK DISK_SIZE MAC ADDRESSES GATEWAYS
# GATEWAY_DEVICE, and SECOND_MAC SECOND_ADDRESSES of a host with two interfaces.
set -euo pipefail
m=$HOME_DIR/mounts

# A cgroup of the host's own in every hierarchy: `lab down` finds every process by it, and kubelets do not share a tree.
while read -r _ where type _; do
    case $type in cgroup | cgroup2) ;; *) continue ;; esac
    group=$where/sunshine-lab/$LAB/$HOST
    mkdir -p "$group"
    if [ -e "$where/cpuset.cpus" ] && [ "$type" = cgroup ]; then
        for level in "$where/sunshine-lab" "$where/sunshine-lab/$LAB" "$group"; do
            cat "$where/cpuset.cpus" >"$level/cpuset.cpus"
            cat "$where/cpuset.mems" >"$level/cpuset.mems"
        done
    fi
    echo $$ >"$group/cgroup.procs"
done </proc/self/mounts

mkdir -p "$m"
mount -t tmpfs -o mode=0700 tmpfs "$m"
# nspawn leaves traces here; they are to go with us.
mkdir -p /run/systemd/nspawn
mount -t tmpfs tmpfs /run/systemd/nspawn
mkdir "$m/disk" "$m/root"
touch "$m/net"
if [ ! -e "$DISK" ]; then
    truncate -s "$DISK_SIZE" "$DISK.new"
    # Sparse, and without a journal: a host's disk is thrown away with it.
    mkfs.ext4 -q -F -m 0 -O ^has_journal -E lazy_itable_init=1,nodiscard "$DISK.new"
    mv "$DISK.new" "$DISK"
fi
mount -o loop,noatime "$DISK" "$m/disk"
mkdir -p "$m/disk/upper" "$m/disk/work"
# Like the packages make them, so that an install and a removal change nothing here.
mkdir -p -m 0710 "$m/disk/docker"
mkdir -p -m 0700 "$m/disk/containerd" "$m/disk/kubelet"
mount -t overlay overlay -o "lowerdir=$LAYER:$BASE,upperdir=$m/disk/upper,workdir=$m/disk/work" "$m/root"
if [ -d "$HOME_DIR/seed" ]; then
    cp -a "$HOME_DIR/seed/." "$m/root/"
    rm -rf "$HOME_DIR/seed"
fi

wire() { # NAME BRIDGE DEVICE MAC
    nsenter --net="/run/netns/lab-$LAB" ip link add "$1" type veth peer name "$3" address "$4" netns "$m/net"
    nsenter --net="/run/netns/lab-$LAB" ip link set "$1" master "$2" up
}

configure() { # DEVICE ADDRESS...
    device=$1
    shift
    echo "link set $device up"
    for address; do
        case $address in *:*) echo "addr add $address dev $device nodad" ;; *) echo "addr add $address brd + dev $device" ;; esac
    done
}

plug() {
    # A new network namespace for each boot, as a reboot forgets rules and routes.
    unshare --net="$m/net" true
    wire "h$INDEX" br0 eth0 "$MAC"
    [ -z "${SECOND_MAC:-}" ] || wire "s$INDEX" br1 eth1 "$SECOND_MAC"
    {
        echo "link set lo up"
        # shellcheck disable=SC2086 # an address a word
        configure eth0 $ADDRESSES
        # shellcheck disable=SC2086
        [ -z "${SECOND_MAC:-}" ] || configure eth1 $SECOND_ADDRESSES
        for gateway in $GATEWAYS; do echo "route add default via $gateway dev $GATEWAY_DEVICE"; done
    } | nsenter --net="$m/net" ip -batch -
}

unplug() {
    for link in "h$INDEX" "s$INDEX"; do nsenter --net="/run/netns/lab-$LAB" ip link del "$link" 2>/dev/null || true; done
    umount "$m/net" 2>/dev/null || true
}

export SYSTEMD_NSPAWN_API_VFS_WRITABLE=1
status=133
# 133 is how nspawn says that the host wants to be started again.
while [ $status = 133 ]; do
    unplug
    plug
    status=0
    systemd-nspawn --quiet --boot --register=no --keep-unit --directory="$m/root" --machine="$HOST" \
        --network-namespace-path="$m/net" --capability=all --link-journal=no --resolv-conf=off --timezone=off \
        --system-call-filter="add_key keyctl bpf perf_event_open @mount @module" --console=read-only \
        --bind=/dev/kmsg --bind="$m/disk/docker:/var/lib/docker" --bind="$m/disk/containerd:/var/lib/containerd" \
        --bind="$m/disk/kubelet:/var/lib/kubelet" </dev/null >>"$HOME_DIR/console.log" 2>&1 &
    echo $! >"$HOME_DIR/nspawn.pid"
    wait $! || status=$?
    rm -f "$HOME_DIR/nspawn.pid"
done
unplug
