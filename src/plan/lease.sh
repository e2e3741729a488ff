# The lease of this host: which run is working on it. $1 take | release, $2 who: ENVIRONMENT TAB CONTROL-HOST TAB PROCESS.
# /run/sunshine-installer-lease/lease holds BOOT-ID TAB SECONDS TAB who; SECONDS is the last heartbeat in the kernel's own time
# since it was booted, which no wrong or corrected clock moves. A keeper, started here, writes a heartbeat every five seconds:
#   - while a command of the connection that started it runs here;
#   - else for two minutes after the run last took the lease, which it does every half minute: so a control host that lost
#     its power or its network does not keep the lease for as long as sshd does not notice.
# It removes the lease when the connection ends. A lease without a heartbeat for a minute is nobody's.
set -eu
umask 077
d=/run/sunshine-installer-lease
verb=$1 who=$2
tab=$(printf '\t')
environment=${who%%"$tab"*}
boot=$(cat /proc/sys/kernel/random/boot_id)
seconds() { read -r up _ </proc/uptime; echo "${up%%.*}"; }
beat() { printf '%s\t%s\t%s\n' "$boot" "$(seconds)" "$who" >"$d/lease.$$" && mv -fT "$d/lease.$$" "$d/lease"; }
# Sets `holder` and `silent`; fails when nobody holds it.
read_lease() {
  holder= silent=
  IFS=$tab read -r line_boot beaten holder 2>/dev/null <"$d/lease" || return 1
  case $beaten in ''|*[!0-9]*) return 1;; esac
  silent=$(($(seconds) - beaten))
  [ "$line_boot" = "$boot" ] && [ "$silent" -ge 0 ] && [ "$silent" -lt 60 ]
}
# Also after a silence, as long as nobody else took it.
mine() { read_lease || [ -n "$holder" ] || return 1; [ "${holder%%"$tab"*}" = "$environment" ]; }
connection() { # the nearest sshd above this process
  p=$$
  while [ "$p" -gt 1 ]; do
    case $(cat "/proc/$p/comm" 2>/dev/null) in sshd*) echo "$p"; return;; esac
    p=$(awk '/^PPid:/ {print $2}' "/proc/$p/status" 2>/dev/null) || return 0
  done
}
# The folder comes and goes, and a file to lock would with it: what is locked is /run itself.
lock() { exec 9</run; flock 9; }
unlock() { exec 9<&-; }
keep() {
  trap '' HUP
  while sleep 5; do
    lock
    # Another connection of the environment has taken the lease over, or another environment has.
    [ "$(cat "$d/keeper" 2>/dev/null)" = "$1" ] && mine || exit 0
    [ -d "/proc/$1" ] || { rm -rf "$d"; exit 0; }
    if [ -n "$(ps -o pid= --ppid "$1")" ] || [ $(($(seconds) - $(cat "$d/taken"))) -lt 120 ]; then beat; fi
    unlock
  done
}

lock
if [ "$verb" = release ]; then
  if mine; then rm -rf "$d"; fi
  exit 0
fi
tries=0
while read_lease && [ "${holder%%"$tab"*}" != "$environment" ]; do
  tries=$((tries + 1))
  # One that has just ended takes some seconds to be noticed.
  [ $tries -le 10 ] || { printf '%s\t%s\n' "$silent" "$holder"; exit 0; }
  unlock; sleep 1; lock
done
mkdir -p "$d"
beat
seconds >"$d/taken"
c=$(connection)
if [ -n "$c" ] && [ "$(cat "$d/keeper" 2>/dev/null)" != "$c" ]; then
  echo "$c" >"$d/keeper"
  # By exec: a function's own redirections would leave the shell a copy of what sshd waits for.
  (exec 9<&- </dev/null >/dev/null 2>&1; keep "$c") &
fi
