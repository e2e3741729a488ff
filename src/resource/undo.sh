# Undoes what this host's change record says: everything, or what is named, of certain environments. Before this stand the
# record's functions, those of the kinds, and $kinds, their KIND:NAME in the order of undoing. Of a kind,
#   begin_NAME                runs before its first object, where there is one
#   undo_NAME OBJECT BEFORE   undoes one; when it fails, the object's line stays
#   end_NAME                  runs behind its objects
#   last_NAME                 runs when all kinds are done, the last kind first
# and all but undo_NAME may be missing. Every function does no harm when it is run again after a kill.
# $1 all | some, $2 the environments whose lines are meant, as $ours says them; for some: KIND OBJECT …, where the object * is
# every one of the kind.
set -u
# What packages' own scripts write is not only root's.
umask 022
bad=0
failed() { printf '%s\n' "$1" >&2; bad=1; }
what=$1 ours=$2
shift 2
chosen=
while [ $# -gt 1 ]; do
  chosen="$chosen$1$t$2
"
  shift 2
done
# Lines of other environments, which stay.
theirs() { O=$ours awk -F'\t' "$of_ours"' $1 != "format" && NF > 2 && !mine() {print $1}' "$d/record"; }
others=$(theirs)
objects() { # KIND: those to undo, a line each
  [ "$what" = some ] || { names "$1"; return; }
  printf %s "$chosen" | while IFS=$t read -r kind object; do
    [ "$kind" = "$1" ] || continue
    if [ "$object" = '*' ]; then names "$1"; else printf '%s\n' "$object"; fi
  done
}
# Of the objects of a kind, a line each, those that no other environment has: of the rest only the line goes.
alone() { # KIND
  while IFS= read -r object; do
    case $(whose "$1" "$object") in
    *theirs*) forget "$1" "$object";;
    *) printf '%s\n' "$object";;
    esac
  done
}
call() { ! command -v "$1" >/dev/null 2>&1 || "$1"; }
undo_one() { # KIND NAME OBJECT
  case $(whose "$1" "$3") in ours*) ;; *) return 0;; esac
  if "undo_$2" "$3" "$(before "$1" "$3")"; then forget "$1" "$3"; fi
}
for_each() { # KIND NAME
  all=$(objects "$1")
  [ -z "$all" ] || [ -z "$others" ] || all=$(printf '%s\n' "$all" | alone "$1")
  [ -n "$all" ] || return 0
  call "begin_$2"
  while IFS= read -r object <&3; do undo_one "$1" "$2" "$object" 3<&-; done 3<<END
$all
END
}

reversed=
for k in $kinds; do
  for_each "${k%%:*}" "${k#*:}"
  call "end_${k#*:}"
  reversed="$k $reversed"
done
for k in $reversed; do call "last_${k#*:}"; done

[ "$what" = all ] || exit $bad
# What a later version may have recorded is kept, and named.
known=$(for k in $kinds; do printf ' %s ' "${k%%:*}"; done)
unknown=$(O=$ours K=$known awk -F'\t' "$of_ours"'
  $1 != "format" && NF > 2 && !index(ENVIRON["K"], " " $1 " ") && mine() {
    print $1 " " $2 (more ? " (recorded by version " $(NF - 1) ")" : "")
  }' "$d/record")
[ -z "$unknown" ] || failed "this version cannot undo the following; use the version that recorded it:
$unknown"
[ $bad = 0 ] || exit $bad
if [ -z "$(theirs)" ]; then rm -rf --one-file-system "$d" /run/sunshine-installer; exit; fi
# Others go on with the record; what is left of ours are folders that are still in use.
O=$ours awk -F'\t' "$of_ours"' $1 == "format" || NF < 3 || !mine()' "$d/record" >"$d/record.new.$$" &&
  mv -fT "$d/record.new.$$" "$d/record"
