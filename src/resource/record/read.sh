# The head of scripts that read a host's change record, whose folder is $d (see record.rs for the format).
# names KIND: what is recorded of it, newest first, a line each.
names() { K=$1 awk -F'\t' '$1 == ENVIRON["K"] {line[n++] = $2} END {while (n) print line[--n]}' "$d/record" 2>/dev/null; }
# before KIND NAME: how it was. Behind that a line has three columns more, but for those above the line of the format.
before() {
  K=$1 N=$2 awk -F'\t' '
    $1 == "format" {more = 3}
    $1 == ENVIRON["K"] && $2 == ENVIRON["N"] {
      text = $3
      for (i = 4; i <= NF - more; i++) text = text FS $i
      print text
      exit
    }' "$d/record" 2>/dev/null
}
# Whether a package of this name was installed by this product.
is_ours() { names package | grep -q "^$1\\."; }
