# Behind read.sh, the head of every script that changes a host: the only writer of its change record, whose folder is $d (see
# record.rs for the format).
# $1 names the owner, ENVIRONMENT TAB VERSION; it is shifted away.
# Files on the way to their name end in the shell's number, here and elsewhere: the script of a run that was killed may still
# be at work.
umask 077
t=$(printf '\t')
owner=$1
shift
mkdir -p "$d"
sum() { s=$(printf %s "$1" | sha256sum); printf %.16s "$s"; }
intact() { case $1 in *"$t"*"$t"*"$t"*"$t"*"$t"*) [ "$(sum "${1%"$t"*}")" = "${1##*"$t"}" ];; *) false;; esac; }
drop_last() { sed '$d' "$d/record" >"$d/record.new.$$" && mv -fT "$d/record.new.$$" "$d/record"; }
# Lines above the one that names the format are an older version's and have no digest. A last line that was cut short by a
# power cut is dropped: its object was not touched yet.
record_open() {
  [ -e "$d/record" ] || : >"$d/record"
  if grep -q "^format${t}2${t}" "$d/record"; then
    last=$(tail -n 1 "$d/record")
    case $last in "format$t"*) ;; *) intact "$last" || drop_last;; esac
    [ -z "$(tail -c 1 "$d/record")" ] || echo >>"$d/record"
  else
    [ -z "$(tail -c 1 "$d/record")" ] || drop_last
    printf 'format\t2\t-\n' >>"$d/record"
  fi
}
recorded() { K=$1 N=$2 awk -F'\t' '$1 == ENVIRON["K"] && $2 == ENVIRON["N"] {found = 1; exit} END {exit !found}' "$d/record"; }
# note KIND NAME BEFORE: recorded once by each environment, before the object is touched. What it was before the first of them
# touched it is what it was before all.
note() {
  case $(ours=${owner%%"$t"*} && whose "$1" "$2") in
  ours*) return 0;;
  theirs) set -- "$1" "$2" "$(before "$1" "$2")";;
  esac
  set -- "$1$t$2$t$3$t$owner"
  printf '%s\t%s\n' "$1" "$(sum "$1")" >>"$d/record"
}
record_open
