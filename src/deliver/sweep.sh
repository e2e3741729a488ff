# Takes folders of runs away: those of this run, of earlier runs of its environment, which are dead since a run has its
# environment to itself, and of other runs whose connection has ended. $base/RUN/owner of /run says whose a folder is: ENVIRONMENT
# TAB the process of its connection here TAB when that began. A folder that says nothing is an earlier version's: whoever holds
# this host's lease may take it. $environment is `-` in a dry run, which holds none and takes only its own.
t=$(printf '\t')
bases='/run/sunshine-installer /var/cache/sunshine-installer'
began() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }
connection() { # the nearest sshd above this process
  p=$$
  while [ "$p" -gt 1 ]; do
    case $(cat "/proc/$p/comm" 2>/dev/null) in sshd*) echo "$p"; return;; esac
    p=$(awk '/^PPid:/ {print $2}' "/proc/$p/status" 2>/dev/null)
    [ -n "$p" ] || return 0
  done
}
sign() { # RUN
  c=$(connection)
  printf '%s\t%s\t%s\n' "$environment" "${c:--}" "$(began "$c")" >"/run/sunshine-installer/$1/owner"
}
# systemd-tmpfiles takes what is old by the site's rules away (tmpfiles.d(5)), and a package's time is that of its making. A
# file that is not there any more when a package manager comes to it ends the run.
protected() { echo "/run/tmpfiles.d/sunshine-installer-$1.conf"; }
protect() { # RUN
  mkdir -p -m 0755 /run/tmpfiles.d && for base in $bases; do echo "x $base/$1"; done >"$(protected "$1")"
}
unprotect() { # RUN
  for base in $bases; do [ ! -d "$base/$1" ] || return 0; done
  rm -f -- "$(protected "$1")"
}
is_dead() { # RUN
  [ "$environment" != - ] || return 1
  IFS=$t read -r whose process began_at 2>/dev/null <"/run/sunshine-installer/$1/owner" || return 0
  [ "$whose" = - ] || [ "$whose" != "$environment" ] || return 0
  [ -z "$began_at" ] || [ "$(began "$process")" != "$began_at" ]
}
# Past the point where a package manager can be stopped: it holds the lock of the rpm database. (yum.pid stands for all that yum
# does.)
holds_lock() {
  # Its line has no end.
  holder=
  read -r holder 2>/dev/null </var/lib/dnf/rpmdb_lock.pid
  [ "$holder" != "$1" ] || return 0
  while read -r _ _ _ kind holder place _; do
    [ "$kind" = WRITE ] && [ "$holder" = "$1" ] || continue
    for file in /var/lib/rpm/.rpm.lock /usr/lib/sysimage/rpm/.rpm.lock; do
      [ "${place##*:}" = "$(stat -c %i "$file" 2>/dev/null)" ] && return 0
    done
  done </proc/locks
  return 1
}
# Ends a process, unless it comes to hold the lock: while that is looked at, it stands still.
end_process() {
  for signal in TERM KILL; do
    kill -STOP "$1" 2>/dev/null || return 0
    if holds_lock "$1"; then kill -CONT "$1" 2>/dev/null; return 1; fi
    kill -$signal "$1" 2>/dev/null
    kill -CONT "$1" 2>/dev/null
    for pause in 0.01 0.02 0.05 0.1 0.2 0.2 0.2 0.2 0.5 0.5; do
      kill -0 "$1" 2>/dev/null || return 0
      sleep $pause 2>/dev/null || sleep 1
    done
  done
}
at_work() { # FOLDER: processes that name it
  grep -lF -e "/${1##*/}/" /proc/[0-9]*/cmdline 2>/dev/null | cut -d / -f 3 | grep -vx "$$"
}
# One whose package manager is in its transaction is left alone, whole, and that is named on standard output; the next run finds it
# ended. Any other is ended, and so are gpg's helpers, which outlive who called them.
sweep() { # FOLDER
  processes=$(at_work "$1")
  for process in $processes; do
    if holds_lock "$process"; then echo "busy $process"; return 1; fi
  done
  for process in $processes; do
    end_process "$process" || { echo "busy $process"; return 1; }
  done
  # Who was ended a moment ago may still have written something.
  rm -rf --one-file-system -- "$1" 2>/dev/null || { sleep 0.1; rm -rf --one-file-system -- "$1"; }
  unprotect "${1##*/}"
}
# What dead runs left. /run's part says whose a run is, so it goes last.
sweep_dead() { # RUN that is not dead
  for base in /var/cache/sunshine-installer /run/sunshine-installer; do
    for old in "$base"/*; do
      [ -d "$old" ] && [ "${old##*/}" != "$1" ] && is_dead "${old##*/}" || continue
      sweep "$old" && echo cleared
    done
  done
}
