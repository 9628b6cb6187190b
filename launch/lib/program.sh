# shellcheck shell=bash disable=SC2154  # variables of launch/run
# Where the program is and which MPI it was built with. For launch/run and launch/check-hosts, which define die.

# Sets program to an absolute path: on other hosts there may be no PATH to it.
find_program() {
  local candidate
  for candidate in "${STAGFORMER_PROGRAM:-}" "$here/../build/release/bin/stagformer" "$here/../../../bin/stagformer" \
    "$(command -v stagformer || true)"; do  # a clone's, an installed one's (from share/stagformer/launch), any
    [ -n "$candidate" ] || continue
    if [ -x "$candidate" ] && [ -f "$candidate" ]; then
      program=$(cd "$(dirname "$candidate")" && pwd)/$(basename "$candidate")
      return
    fi
    [ "$candidate" != "${STAGFORMER_PROGRAM:-}" ] || die "STAGFORMER_PROGRAM=$candidate is no program"
  done
  die "no program: launch/build makes build/release/bin/stagformer, or set STAGFORMER_PROGRAM"
}

# openmpi, mpich (also its relatives, which have its library's name), or nothing where the program does not say.
family_of_program() {
  local libraries
  libraries=$(ldd "$program" 2>/dev/null || true)
  case $libraries in
    *libmpi.so.40*) echo openmpi ;;
    *libmpich.so* | *libmpi.so.12*) echo mpich ;;
  esac
}

# check_number NAME VALUE: VALUE is empty or a positive integer.
check_number() {
  case $2 in
    '') ;;
    *[!0-9]* | 0*) die "$1 needs a positive number, not $2" ;;
  esac
}
