# Behind write.sh, for scripts that undo: lines leave the record.
# As Record::parse does: lines that are not what was written do not count. They are set aside.
set_damaged_aside() {
  format=1 damaged=
  while IFS= read -r l; do
    case $l in
    "format$t"*) format=2;;
    *) [ $format = 1 ] || intact "$l" || { printf '%s\n' "$l" >>"$d/record.damaged"; damaged=1; continue; };;
    esac
    printf '%s\n' "$l"
  done <"$d/record" >"$d/record.new.$$"
  if [ -n "$damaged" ]; then mv -fT "$d/record.new.$$" "$d/record"; else rm -f "$d/record.new.$$"; fi
}
# forget KIND NAME: once it is undone; the lines of $ours.
forget() {
  O=$ours K=$1 N=$2 awk -F'\t' "$of_ours"'
    !($1 == ENVIRON["K"] && $2 == ENVIRON["N"] && mine())' "$d/record" >"$d/record.new.$$" &&
    mv -fT "$d/record.new.$$" "$d/record"
}
set_damaged_aside
