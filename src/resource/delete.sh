# delete_tree PATH…: each goes with all that is in it, where nothing is mounted on it or below it. `rm` alone would go on into a
# file system of the site, and knows no bind mount. Where something is, the path stays whole, and the mount is named.
mounted_in() {
  P=$(readlink -f -- "$(dirname -- "$1")") N=${1##*/} awk '
    BEGIN {path = ENVIRON["P"] (ENVIRON["P"] ~ /\/$/ ? "" : "/") ENVIRON["N"]}
    {
      place = $5
      gsub(/\\040/, " ", place); gsub(/\\011/, "\t", place); gsub(/\\012/, "\n", place); gsub(/\\134/, "\\", place)
      if (place == path || index(place, path "/") == 1) print place
    }' /proc/self/mountinfo | sort -u
}
no_mount() { # PATH
  mounted=$(mounted_in "$1")
  [ -n "$mounted" ] || return 0
  printf '%s is not deleted, for this is mounted there; unmount it, and run the same command again:\n%s\n' "$1" "$mounted" >&2
  return 1
}
delete_tree() {
  for tree; do
    [ -e "$tree" ] || [ -h "$tree" ] || continue
    no_mount "$tree" && rm -rf --one-file-system -- "$tree" || return 1
  done
}
