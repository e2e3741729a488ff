#!/bin/sh
# Joins the parts of a bundle, which lie beside this script, and checks every byte. usage: sh NAME.join.sh [FOLDER]
# FOLDER: where the bundle is written [default: beside the parts]. It needs no more than coreutils.
# Exit codes: 0 joined; 1 the disk failed or is full; 3 a part is missing or damaged.
set -u
name=@NAME@
whole=@SUM@
out=$(cd "${1:-$(dirname "$0")}" && pwd)/$name || exit 1
cd "$(dirname "$0")" || exit 1
part() { printf '%s.%03d' "$name" "$1"; }
bad=0 n=0
while read -r size sum; do
  n=$((n + 1))
  file=$(part $n)
  if [ ! -f "$file" ]; then
    echo "missing: $file" >&2
    bad=1
  elif [ "$(wc -c <"$file")" -ne "$size" ]; then
    echo "damaged: $file: it has $(wc -c <"$file") bytes, $size are expected" >&2
    bad=1
  elif [ "$(sha256sum <"$file" | cut -c1-64)" != "$sum" ]; then
    echo "damaged: $file: its SHA-256 is another" >&2
    bad=1
  else
    echo "$file: good" >&2
  fi
done <<'SUMS'
@PARTS@SUMS
if [ $bad != 0 ]; then
  echo "copy these parts again to $(pwd), then run this script again" >&2
  exit 3
fi
trap 'rm -f "$out.joining"' EXIT
trap 'exit 130' INT TERM HUP
: >"$out.joining" || exit 1
i=0
while [ $i -lt $n ]; do
  i=$((i + 1))
  cat "$(part $i)" >>"$out.joining" || { echo "cannot write $out" >&2; exit 1; }
done
if [ "$(sha256sum <"$out.joining" | cut -c1-64)" != "$whole" ]; then
  echo "damaged: $out was not written as it was read: check the disk and its free space" >&2
  exit 1
fi
chmod 755 "$out.joining" && mv -f "$out.joining" "$out" || exit 1
echo "$out: joined and good; the parts are not needed any more"
