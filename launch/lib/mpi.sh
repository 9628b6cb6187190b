# shellcheck shell=bash disable=SC2154  # variables of launch/run
# The command line of each launcher: Open MPI 4 and 5, MPICH and its relatives, srun. All append to command.

# family_of LAUNCHER: openmpi or mpich, from what it says about itself.
family_of() {
  local text
  text=$("$1" --version 2>&1 || true)
  case $text in
    *"Open MPI"* | *OpenRTE* | *PRRTE*) echo openmpi ;;
    *HYDRA* | *MPICH* | *"Intel(R) MPI"*) echo mpich ;;
  esac
}

choose_family() {
  case $mpi in
    openmpi | mpich) ;;
    '') mpi=$(family_of_program) ;;
    *) die "--mpi is openmpi or mpich, not $mpi" ;;
  esac
}

# Sets launcher and mpi: the first launcher of the program's MPI.
choose_mpirun() {
  local candidate found tried=''
  choose_family
  for candidate in ${STAGFORMER_MPIRUN:-mpirun mpiexec ${mpi:+mpirun.$mpi}}; do
    command -v "$candidate" >/dev/null || continue
    found=$(family_of "$candidate")
    if [ -n "$found" ] && [ "$found" = "${mpi:-$found}" ]; then
      launcher=$candidate mpi=$found
      return
    fi
    tried+=" $candidate (${found:-of an unknown MPI})"
  done
  die "no mpirun of ${mpi:-an MPI that is known here}, which $program needs; found:${tried:- none}"
}

mpirun_command() {
  if [ "$mpi" = mpich ]; then mpich_command; else open_mpi_command; fi
}

# Prints "n1:2,n2:2", which both launchers take.
host_list() {
  local i list=''
  for i in "${!hosts[@]}"; do list+=${list:+,}${hosts[i]}:${slots[i]}; done
  echo "$list"
}

open_mpi_command() {
  local major
  major=$("$launcher" --version | sed -n 's/.*) \([0-9]*\)\..*/\1/p' | head -n 1)
  command=("$launcher" -n "$ranks")
  [ ${#hosts[@]} -eq 0 ] || command+=(--host "$(host_list)")
  [ "$(id -u)" -ne 0 ] || command+=(--allow-run-as-root)
  open_mpi_placement "$major"
  [ -z "$is_crowded" ] || command+=(--oversubscribe --mca mpi_yield_when_idle 1)
  [ -z "$interface" ] || open_mpi_interface "$major"
  # A host that is gone without a word is missed after 10 + 3 x 5 s instead of minutes.
  [ ${#hosts[@]} -lt 2 ] || [ "$major" != 4 ] ||
    command+=(--mca oob_tcp_keepalive_time 10 --mca oob_tcp_keepalive_intvl 5 --mca oob_tcp_keepalive_probes 3)
  command+=(-x "OMP_NUM_THREADS=$threads")
  [ -z "$terminal" ] || command+=(-x "STAGFORMER_TERMINAL=$terminal" -x TERM)
}

# open_mpi_placement MAJOR
open_mpi_placement() {
  if [ -n "$rank_file" ] && [ "$1" -ge 5 ]; then
    command+=(--map-by "rankfile:file=$rank_file")
  elif [ -n "$rank_file" ]; then
    command+=(--rankfile "$rank_file")
  elif [ "$bind" = core ]; then
    command+=(--map-by "slot:pe=$threads" --bind-to core)
  else
    command+=(--bind-to none)
  fi
}

# open_mpi_interface MAJOR: for the messages (TCP, UCX) and for the launcher's own traffic.
open_mpi_interface() {
  command+=(--mca btl_tcp_if_include "$interface")
  if [ "$1" -ge 5 ]; then
    command+=(--prtemca prte_if_include "$interface")
  else
    command+=(--mca oob_tcp_if_include "$interface")
  fi
  case $interface in */*) ;; *) command+=(-x "UCX_NET_DEVICES=$interface") ;; esac
}

mpich_command() {
  [ -z "$rank_file" ] || die "rank files are Open MPI's; with MPICH order the hosts file"
  command=("$launcher" -n "$ranks")
  [ ${#hosts[@]} -eq 0 ] || command+=(-hosts "$(host_list)")
  [ "$bind" = none ] || command+=(-bind-to "core:$threads")
  if [ -n "$interface" ]; then
    case $interface in */*) die "--interface with MPICH is a name such as eth0, not $interface" ;; esac
    command+=(-iface "$interface" -genv UCX_NET_DEVICES "$interface" -genv FI_TCP_IFACE "$interface")
  fi
  command+=(-genv OMP_NUM_THREADS "$threads")
  [ -z "$terminal" ] || command+=(-genv STAGFORMER_TERMINAL "$terminal" -genv TERM "$TERM")
}

srun_command() {
  command=(env "OMP_NUM_THREADS=$threads")
  [ -z "$is_crowded" ] || command+=(OMPI_MCA_mpi_yield_when_idle=1)
  command+=(srun "--mpi=$([ "$mpi" = mpich ] && echo pmi2 || echo pmix)" "--ntasks=$ranks" "--cpus-per-task=$threads"
    --kill-on-bad-exit=1)
  [ "$bind" = none ] && command+=(--cpu-bind=none) || command+=(--cpu-bind=cores)
  [ -z "$is_crowded" ] || command+=(--overcommit)
}
