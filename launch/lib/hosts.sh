# shellcheck shell=bash disable=SC2154  # variables of launch/run
# Hosts and places: who runs how many ranks, and whether ranks x threads fit the cores.

hosts=() slots=()

# read_hosts FILE: fills hosts and slots from lines "HOST slots=N", "HOST:N" or "HOST" (one slot); # begins a comment.
read_hosts() {
  local line name count number=0
  [ -r "$1" ] || die "cannot read the hosts file $1"
  while IFS= read -r line || [ -n "$line" ]; do
    number=$((number + 1))
    line=${line%%#*}
    [[ $line =~ [^[:space:]] ]] || continue
    [[ $line =~ ^[[:space:]]*([A-Za-z0-9._-]+)(:|[[:space:]]+slots=)?([0-9]*)[[:space:]]*$ ]] ||
      die "$1 line $number: expected HOST slots=N, found '$line'"
    name=${BASH_REMATCH[1]} count=${BASH_REMATCH[3]}
    [ -z "${BASH_REMATCH[2]}" ] || [ -n "$count" ] || die "$1 line $number: no number of slots in '$line'"
    hosts+=("$name")
    slots+=("${count:-1}")
  done <"$1"
  [ ${#hosts[@]} -gt 0 ] || die "$1 names no host"
}

# reach_hosts AGENT SECONDS: AGENT, which is ssh or called like it, gets into every other host; else an end with code 5.
reach_hosts() {
  local agent=$1 own host i words=() asked=() processes=()
  own=$(hostname)
  words=("$agent" -x)
  [ "${agent##*/}" != ssh ] || words+=(-oBatchMode=yes)
  for host in "${hosts[@]}"; do
    [ "$host" != "$own" ] || continue
    timeout "$2" "${words[@]}" "$host" true </dev/null >&2 &
    asked+=("$host") processes+=($!)
  done
  for i in "${!processes[@]}"; do
    wait "${processes[i]}" && continue
    echo "launch/run: error: a host is lost or cannot be reached: '$agent ${asked[i]} true' failed within $2 s" >&2
    exit 5
  done
}

# Cores that this process may use, without their second hardware threads.
usable_cores() {
  local allowed all
  allowed=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
  all=$(lscpu --parse=CORE,SOCKET 2>/dev/null | grep -v '^#' | sort -u | wc -l)
  [ "$all" -gt 0 ] && [ "$all" -lt "$allowed" ] && allowed=$all
  echo "$allowed"
}

# The largest of Slurm's "2(x3),1": tasks of the fullest node.
most_tasks_a_node() {
  local part most=1
  for part in ${1//,/ }; do
    part=${part%%(*}
    [ "$part" -le "$most" ] || most=$part
  done
  echo "$most"
}

# Sets ranks, threads and bind where they were not given, and is_crowded where ranks must share cores.
choose_placement() {
  local total=0 fullest=0 count cores
  for count in "${slots[@]}"; do
    total=$((total + count))
    [ "$count" -le "$fullest" ] || fullest=$count
  done
  cores=$(usable_cores)
  if [ ${#hosts[@]} -gt 0 ]; then
    ranks=${ranks:-$total}
  elif [ -n "$rank_file" ]; then
    ranks=${ranks:-$(grep -c '^[[:space:]]*rank' "$rank_file" || true)}
  elif [ -n "${SLURM_JOB_ID:-}" ]; then
    ranks=${ranks:-${SLURM_NTASKS:-1}}
    total=${SLURM_NTASKS:-$ranks}
    fullest=$(most_tasks_a_node "${SLURM_TASKS_PER_NODE:-1}")
    cores=${SLURM_CPUS_ON_NODE:-$cores}
    threads=${threads:-${OMP_NUM_THREADS:-${SLURM_CPUS_PER_TASK:-}}}
  fi
  ranks=${ranks:-1}
  [ "$total" -gt 0 ] || total=$ranks
  # Fewer ranks than slots fill the first hosts; more are spread over all.
  [ "$fullest" -gt 0 ] && [ "$fullest" -le "$ranks" ] || fullest=$ranks
  [ "$ranks" -le "$total" ] || fullest=$(((ranks * fullest + total - 1) / total))
  threads=${threads:-${OMP_NUM_THREADS:-}}
  [ -n "$threads" ] || threads=$((cores > fullest ? cores / fullest : 1))
  is_crowded=''
  if [ "$ranks" -gt "$total" ] || [ $((fullest * threads)) -gt "$cores" ]; then is_crowded=1; fi
  [ -z "$is_crowded" ] || [ "$bind" != core ] ||
    die "$fullest ranks of $threads threads do not fit the $cores cores of a host, so that they cannot be bound"
  [ -n "$bind" ] || bind=$([ -n "$is_crowded" ] && echo none || echo core)
}
