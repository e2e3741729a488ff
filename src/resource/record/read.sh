# The head of scripts that read a host's change record, whose folder is $d (see record.rs for the format).
# $ours names the environments whose lines count, with blanks between them, `-` for the lines of the first format, which name
# none; every line counts where it is empty. Behind its third column a line of the second format has three more.
ours=
of_ours='function mine() {
    return ENVIRON["O"] == "" || index(" " ENVIRON["O"] " ", " " (more ? $(NF - 2) : "-") " ")
  }
  $1 == "format" {more = 3}'
# names KIND: what is recorded of it, newest first, a line each.
names() {
  O=$ours K=$1 awk -F'\t' "$of_ours"'
    $1 == ENVIRON["K"] && mine() {line[n++] = $2}
    END {while (n) if (!seen[line[--n]]++) print line[n]}' "$d/record" 2>/dev/null
}
# before KIND NAME: how it was, whoever recorded it.
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
# whose KIND NAME: `ours` where a line of it counts, `theirs` where one does not, both, or nothing where none is there.
whose() {
  O=$ours K=$1 N=$2 awk -F'\t' "$of_ours"'
    $1 == ENVIRON["K"] && $2 == ENVIRON["N"] {if (mine()) ours = "ours "; else theirs = "theirs"}
    END {print ours theirs}' "$d/record" 2>/dev/null
}
# Whether a package of this name was installed by this product.
is_ours() { names package | grep -q "^$1\\."; }
