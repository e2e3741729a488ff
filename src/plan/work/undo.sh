# Gives back what this host's record says was changed: everything, or the units and files named.
# $1 all | some; for all: data folders to delete; for some: UNIT… -- FILE…
set -u
r=$d/record
what=$1; shift
# As Record::parse does: lines that are not what was written do not count. They are set aside.
format=1 damaged=
while IFS= read -r l; do
  case $l in "format$t"*) format=2;; *) [ $format = 1 ] || intact "$l" || { printf '%s\n' "$l" >>"$r.damaged"; damaged=1; continue; };; esac
  printf '%s\n' "$l"
done <"$r" >"$r.new"
if [ -n "$damaged" ]; then mv -fT "$r.new" "$r"; else rm -f "$r.new"; fi
# What packages' own scripts write is not only root's.
umask 022
bad=0
failed() { printf '%s\n' "$1" >&2; bad=1; }
forget() { # KIND NAME: its line is taken out, once it is given back
  K=$1 N=$2 awk -F'\t' '!($1 == ENVIRON["K"] && $2 == ENVIRON["N"])' "$r" >"$r.new" && mv -f "$r.new" "$r"
}
before() { K=$1 N=$2 awk -F'\t' '$1 == ENVIRON["K"] && $2 == ENVIRON["N"] {print $3; exit}' "$r"; }
names() { K=$1 awk -F'\t' '$1 == ENVIRON["K"] {line[n++] = $2} END {while (n) print line[--n]}' "$r"; }

again=
stop_unit() {
  was=$(before unit "$1"); [ -n "$was" ] || return 0
  systemctl stop -- "$1" 2>/dev/null || systemctl kill -s KILL -- "$1" 2>/dev/null || :
  case ${was%%/*} in
  enabled*) ;;
  *) systemctl disable -q -- "$1" 2>/dev/null || :;;
  esac
  systemctl reset-failed -- "$1" 2>/dev/null || :
  [ "${was##*/}" = active ] && again="$again $1"
  rm -f "$d/started/$1"
  forget unit "$1"
}
file_back() {
  was=$(before file "$1"); [ -n "$was" ] || return 0
  if [ "$was" = kept ]; then
    b=$d/backup/$(printf %s "$1" | sha256sum | cut -d' ' -f1)
    if [ -e "$b" ]; then
      { cp -a "$b" "$1.sunshine-back" && mv -f "$1.sunshine-back" "$1"; } || { failed "$1: its first version cannot be restored"; return 0; }
    fi
    forget file "$1"; rm -f "$b"
  else
    rm -f -- "$1" || { failed "$1 cannot be deleted"; return 0; }
    forget file "$1"
  fi
}
runtime() { # KIND version | has | rm NAME
  case $1-$2 in
  image-version) docker version;;
  image-has) docker image inspect "$3";;
  image-rm) docker image rm "$3";;
  ctr-image-version) ctr version;;
  ctr-image-has) ctr -n k8s.io images ls -q | grep -xF -- "$3";;
  ctr-image-rm) ctr -n k8s.io images rm "$3";;
  esac >/dev/null 2>&1
}
drop_image() { # KIND NAME PROGRAM PACKAGE
  if ! names package | grep -q "^$4\\." && command -v "$3" >/dev/null 2>&1; then
    runtime "$1" version || { failed "image $2 cannot be removed while $4 does not run"; return 0; }
    ! runtime "$1" has "$2" || runtime "$1" rm "$2" || { failed "image $2 cannot be removed: a container uses it"; return 0; }
  fi
  forget "$1" "$2"
}
dirs_back() { # folders of ours that are empty now
  names dir | while IFS= read -r p; do
    if [ ! -d "$p" ]; then forget dir "$p"
    elif rmdir -- "$p" 2>/dev/null; then forget dir "$p"; fi
  done
}

if [ "$what" = some ]; then
  while [ $# -gt 0 ] && [ "$1" != -- ]; do stop_unit "$1"; shift; done
  [ $# -gt 0 ] && shift
  for p in "$@"; do file_back "$p"; done
  dirs_back
  systemctl daemon-reload
  for u in $again; do systemctl start -- "$u" || failed "$u ran before and does not start again"; done
  exit $bad
fi

# Before the units: a runtime that was here before is stopped with them. One that is ours takes its images along.
for i in $(names image); do drop_image image "$i" docker docker; done
for i in $(names ctr-image); do drop_image ctr-image "$i" ctr containerd; done
units=$(names unit); for u in $units; do stop_unit "$u"; done
names file >"$d/files.$$"
while IFS= read -r p; do file_back "$p"; done <"$d/files.$$"
rm -f "$d/files.$$"
# Before the packages: rpm leaves a folder of its own that is not empty.
dirs_back
systemctl daemon-reload

if [ -n "$(names firewall)" ] && firewall-cmd -q --state 2>/dev/null; then
  for p in $(names firewall); do firewall-cmd -q --remove-port="$p"; firewall-cmd -q --permanent --remove-port="$p"; done
fi

packages=
for p in $(names package); do rpm -q --quiet -- "$p" 2>/dev/null && packages="$packages $p"; done
if [ -n "$packages" ]; then
  # shellcheck disable=SC2086 # names of packages hold no space
  said=$(rpm -e -- $packages 2>&1) || failed "packages that were installed here cannot be removed: $said"
fi
for p in $(names package); do rpm -q --quiet -- "$p" 2>/dev/null || forget package "$p"; done

for k in $(names sysctl); do sysctl -qw "$k=$(before sysctl "$k")" 2>/dev/null || :; forget sysctl "$k"; done
for b in $(names sebool); do setsebool -P "$b" off 2>/dev/null || :; forget sebool "$b"; done
for m in $(names module); do modprobe -r "$m" 2>/dev/null || :; forget module "$m"; done
if [ -n "$(names swap)" ]; then
  sed -i 's/^#sunshine-installer# //' /etc/fstab
  for s in $(names swap); do swapon "$s" 2>/dev/null || failed "swap $s cannot be switched on again"; forget swap "$s"; done
fi
for p in "$@"; do rm -rf -- "$p"; done
dirs_back
for u in $again; do systemctl start -- "$u" || failed "$u ran before and does not start again"; done
[ $bad = 0 ] && rm -rf "$d" /run/sunshine-installer
exit $bad
