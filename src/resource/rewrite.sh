# rewrite FILE PROGRAM…: what the program makes of the file, on standard output, is its content, all of it or nothing, also when the
# power goes. Mode, owner and SELinux context stay; a link is followed.
rewrite() (
  file=$(readlink -f -- "$1") && new=$file.sunshine-new && shift || exit 1
  cp -a -- "$file" "$new" && "$@" <"$file" >"$new" || { rm -f -- "$new"; exit 1; }
  sync -- "$new" 2>/dev/null || sync
  mv -fT -- "$new" "$file" || { rm -f -- "$new"; exit 1; }
  sync -- "$(dirname -- "$file")" 2>/dev/null || sync
)
