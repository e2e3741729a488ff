# Which packages a transaction brings. They are written down before it begins, in a file of its own in the record's folder
# ($d/packages.pending.PROCESS: BOOT-ID TAB SECONDS TAB OWNER, then lines NAME.ARCH TAB VERSION), and recorded once it has ended,
# as far as they have come. So a package that the site installs is never taken for one of ours, whenever a run is killed.
installed() { rpm -q --qf "$1" -- $2 2>/dev/null | grep "$t" || :; }
planned() { tail -n +2 -- "$1" | cut -f 1 | tr '\n' ' '; }
# Begins such a file, of the pairs NAME.ARCH VERSION up to `--`. What is there already is left out, also where a package only
# changes its architecture, to or from noarch.
plan_transaction() {
  printf '%s\t%s\t%s\n' "$(cat /proc/sys/kernel/random/boot_id)" "$(date +%s)" "$owner" >"$1.new"
  pending=$1 coming=
  shift
  while [ "$1" != -- ]; do coming="$coming$1$t$2
"; shift 2; done
  installed '%{NAME}\t%{ARCH}\n' "$(printf %s "$coming" | cut -f 1 | sed 's/\.[^.]*$//' | tr '\n' ' ')" >"$pending.there"
  printf %s "$coming" | THERE=$pending.there awk -F'\t' '
    BEGIN {while ((getline line <ENVIRON["THERE"]) > 0) {split(line, part, "\t"); any[part[1]] = 1; arch[part[1], part[2]] = 1}}
    {name = $1; sub(/\.[^.]*$/, "", name); is = substr($1, length(name) + 2)}
    !((name, is) in arch) && !((name, "noarch") in arch) && !(is == "noarch" && name in any)' >>"$pending.new"
  rm -f "$pending.there"
  mv -fT "$pending.new" "$pending"
  sync -- "$pending" "$d" 2>/dev/null || sync
}
end_transaction() { # FILE
  installed '%{NAME}.%{ARCH}\t\n' "$(planned "$1")" | sort -u | while IFS=$t read -r p; do note package "$p" -; done
  sync -- "$d/record" 2>/dev/null || sync
  rm -f "$1"
}
# Ends those of runs that were killed together with their transaction, by a power cut say. What counts is the first transaction
# since that brought these very versions, and before the host was started again. `still` is the process of one that goes on.
still=
end_killed_transactions() {
  for pending in "$d"/packages.pending.*; do
    IFS=$t read -r boot begun who version 2>/dev/null <"$pending" || { rm -f "$pending"; continue; }
    until=
    if [ "$boot" != "$(cat /proc/sys/kernel/random/boot_id)" ]; then
      until=$(awk '$1 == "btime" {print $2}' /proc/stat)
    elif grep -qs packages.pending "/proc/${pending##*.}/cmdline"; then
      still=${pending##*.}
      continue
    fi
    installed '%{NAME}.%{ARCH}\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\t%{INSTALLTIME}\t%{INSTALLTID}\n' "$(planned "$pending")" |
      PENDING=$pending FROM=$begun UNTIL=$until awk -F'\t' '
        BEGIN {while ((getline line <ENVIRON["PENDING"]) > 0) {split(line, part, "\t"); planned[part[1]] = part[2]}}
        planned[$1] == $2 && $3 >= ENVIRON["FROM"] + 0 && (ENVIRON["UNTIL"] == "" || $3 <= ENVIRON["UNTIL"] + 0) {
          of[$1] = $4
          if (first == "" || $4 + 0 < first) first = $4 + 0
        }
        END {for (p in of) if (of[p] + 0 == first) print p}' |
      sort | while IFS= read -r p; do owner=$who$t$version; note package "$p" -; done
    rm -f "$pending"
  done
  # An earlier version recorded by this one all that had come since.
  rm -f "$d/packages.before"
}
