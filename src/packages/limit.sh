# $1 seconds, then a package manager's command: ends it when it takes longer, but never in its transaction. rpm's lock is a record
# lock of the process that holds it, which the kernel lists (proc_locks(5)); whose it is here is this command's or its children's.
limit=$1 left=$1
shift
parent() { awk '/^PPid:/ {print $2}' "/proc/$1/status" 2>/dev/null; }
in_transaction() {
  for file in /var/lib/rpm/.rpm.lock /usr/lib/sysimage/rpm/.rpm.lock; do
    inode=$(stat -c %i "$file" 2>/dev/null) || continue
    for holder in $(awk -v end=":$inode" '$4 == "WRITE" && substr($6, length($6) - length(end) + 1) == end {print $5}' /proc/locks); do
      while [ "${holder:-0}" -gt 1 ]; do
        [ "$holder" != "$command" ] || return 0
        holder=$(parent "$holder")
      done
    done
  done
  return 1
}
# Between the look and the signal it stands still.
end_with() { # SIGNAL
  kill -STOP "$command" 2>/dev/null || return 0
  if in_transaction; then kill -CONT "$command" 2>/dev/null; return 1; fi
  [ "$1" != TERM ] || echo "ended after $limit s" >&2
  kill "-$1" "$command" 2>/dev/null
  kill -CONT "$command" 2>/dev/null
}
watch() {
  while [ "$left" -gt 0 ]; do sleep 1; left=$((left - 1)); done
  until end_with TERM; do
    [ -n "$said" ] || { echo "over its time, and in its transaction: waited for" >&2; said=yes; }
    sleep 1
  done
  sleep 5
  until end_with KILL; do sleep 1; done
}
said=
"$@" &
command=$!
watch &
watch=$!
wait "$command"
s=$?
kill "$watch" 2>/dev/null
exit $s
