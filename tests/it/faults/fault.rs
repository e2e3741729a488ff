//! What goes wrong, and what ends it. Each really happens to the host, the deployer or the bundle.

#![allow(clippy::expect_used, reason = "a helper of tests: a panic is how a test fails")]

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::Command;

use super::scenario::{Fault, Hostile, Scenario};
use super::world::World;
use crate::lab::{Host, Output};

const DATA: &str = "/var/lib/etcd/default.etcd/member";

/// Names itself with escape sequences, and with a line that passes for one of the log.
const ESCAPES: &str = r#"cp -p /etc/os-release /root/os-release.kept
printf 'PRETTY_NAME="\033]0;owned\007\033[2J\n2026-01-01T00:00:00Z ERROR forged"\nID="rhel"\nVERSION_ID="9.\033[31m"\n' >/etc/os-release
printf '\033[2J\033]0;owned\007\n' >/etc/banner"#;

const LIES: &str = r#"for name in uname df nproc hostname; do
  printf '#!/bin/sh\nprintf "%%s\\n" "-99999999999999999999 ../../etc/passwd $(printf "\\033[2J") \x27; reboot" 18446744073709551616\n' >/usr/local/bin/$name
  chmod 755 /usr/local/bin/$name
done"#;

/// A program that keeps rpm's database locked, as another package manager does.
const LOCK: &str = "systemd-run -q --unit=faults-lock python3 -c 'import fcntl, time
lock = open(\"/var/lib/rpm/.rpm.lock\", \"w\")
fcntl.lockf(lock, fcntl.LOCK_EX)
time.sleep(3600)'";

/// Has it happen. `deployer` is the run's process.
pub(super) fn begin(world: &World, scenario: &Scenario, deployer: Option<u32>) {
    let host = world.host(world.victim(scenario));
    match scenario.fault {
        Fault::Deployer(signal) => {
            let process = deployer.expect("a run that is under way").to_string();
            // It may have ended by itself.
            let _ = Output::of(Command::new("kill").args(["-s", signal.name(), &process]));
        }
        Fault::ControlDiskFull => fill(world),
        Fault::BundleDamaged => damage(world),
        // The run starts it.
        Fault::Second { .. } => {}
        Fault::Hostile(kind) => turn_hostile(host, kind),
        _ => befall(host, scenario.fault),
    }
}

fn befall(host: &Host, fault: Fault) {
    match fault {
        Fault::PowerCut => host.kill(),
        Fault::Reboot => host.reboot(),
        Fault::Frozen => host.freeze(),
        Fault::Cut => host.cut_network(),
        Fault::Mute => host.mute(),
        Fault::NoWayBack => host.drop_to_control(),
        Fault::DiskFull => host.fill_disk(0),
        Fault::ReadOnly => {
            host.sh(
                "for folder in /etc /usr; do mount --bind $folder $folder && mount -o remount,bind,ro $folder; done",
            );
        }
        Fault::WrongClock => host.set_clock(-3 * 86400),
        Fault::PackageLock => drop(host.sh(LOCK)),
        Fault::SshdCrash => drop(host.sh("systemctl kill -s KILL sshd; pkill -KILL -x sshd; :")),
        Fault::SudoWithdrawn => drop(host.sh("mv /etc/sudoers.d/maintuser /root/")),
        Fault::DnsSilent => {
            host.sh("cp -p /etc/resolv.conf /root/resolv.conf.kept; echo nameserver 10.8.14.254 >/etc/resolv.conf");
        }
        Fault::CorruptWal => {
            host.sh(&format!(
                "systemctl stop etcd; cp -a {DATA}/wal /root/wal.kept; for log in {DATA}/wal/*.wal; do \
                 dd if=/dev/urandom of=$log bs=512 count=64 conv=notrunc status=none; done; systemctl start etcd || :"
            ));
        }
        _ => unreachable!("{fault:?} happens to no host"),
    }
}

fn turn_hostile(host: &Host, kind: Hostile) {
    match kind {
        Hostile::Endless => host.sshd(&["ForceCommand yes"]),
        Hostile::Escapes => {
            host.sh(ESCAPES);
            host.sshd(&["Banner /etc/banner"]);
        }
        Hostile::Lies => drop(host.sh(LIES)),
    }
}

/// Ends it, where it does not end by itself.
pub(super) fn end(world: &World, scenario: &Scenario) {
    let host = world.host(world.victim(scenario));
    match scenario.fault {
        Fault::ControlDiskFull => std::fs::remove_file(filler(world)).expect("the filler goes"),
        Fault::BundleDamaged => drop(std::fs::copy(world.site.bundle(), used(world)).expect("a whole bundle")),
        Fault::PowerCut => host.start(),
        Fault::Frozen => host.thaw(),
        Fault::Cut | Fault::Mute | Fault::NoWayBack => host.heal(),
        Fault::DiskFull => host.free_disk(),
        Fault::ReadOnly => drop(host.sh("umount --lazy /etc /usr")),
        Fault::WrongClock => host.set_clock(0),
        Fault::PackageLock => drop(host.sh("systemctl stop faults-lock")),
        Fault::SshdCrash => drop(host.sh("systemctl reset-failed sshd; systemctl start sshd")),
        Fault::SudoWithdrawn => drop(host.sh("mv /root/maintuser /etc/sudoers.d/")),
        Fault::DnsSilent => drop(host.sh("cat /root/resolv.conf.kept >/etc/resolv.conf")),
        // Nothing was acknowledged by this member in between: it did not run.
        Fault::CorruptWal => {
            host.sh(&format!(
                "[ ! -d {DATA}/wal ] || {{ systemctl stop etcd; rm -r {DATA}/wal; cp -a /root/wal.kept {DATA}/wal; \
                 systemctl reset-failed etcd; systemctl start etcd; }}; rm -r /root/wal.kept"
            ));
        }
        Fault::Hostile(Hostile::Endless) => host.sshd(&[]),
        Fault::Hostile(Hostile::Escapes) => {
            host.sh("cat /root/os-release.kept >/etc/os-release");
            host.sshd(&[]);
        }
        Fault::Hostile(Hostile::Lies) => {
            host.sh("cd /usr/local/bin && rm uname df nproc hostname");
        }
        Fault::Deployer(_) | Fault::Second { .. } | Fault::Reboot => {}
    }
}

fn filler(world: &World) -> std::path::PathBuf {
    world.site.path("state/filler")
}

/// Writes until there is no room.
fn fill(world: &World) {
    let mut file = File::create(filler(world)).expect("a filler");
    for size in [1 << 16, 1 << 10, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

/// The bundle that such a run is given: a copy, as others have the site's bundle under other names.
pub(super) fn used(world: &World) -> std::path::PathBuf {
    world.site.path("used.bin")
}

/// Other bytes in many places of it, within packages.
fn damage(world: &World) {
    let file = File::options().write(true).open(used(world)).expect("the bundle");
    let length = file.metadata().expect("its size").len();
    for part in 1..64 {
        file.write_all_at(&[0xa5; 512], length / 64 * part).expect("damage");
    }
}
