# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# The load that make-recordings records: cgroups created directly and, where systemd runs, units. All cgroups that are
# created directly are below $top. clean_up ends the processes; otherwise they exit after two minutes.
top=cgwarden-test-host
odd='odd "quoted" back\slash ü'

put() { printf '%s\n' "$1" > "$2"; } # VALUE FILE
set_if() { if [ -w "$2" ]; then put "$1" "$2"; fi; } # VALUE FILE: for files that are missing on some kernels

# inside COMMAND SECONDS CGROUP...: run COMMAND in these cgroups (one per hierarchy) for at most SECONDS. It replaces
# the shell (exec), so call it with & or in ( ).
inside() {
  local command=$1 seconds=$2 cgroup
  shift 2
  for cgroup; do put "$BASHPID" "$cgroup/cgroup.procs"; done
  exec timeout "$seconds" bash -c "$command" 2> /dev/null
}

burn='while :; do :; done'
hold() { echo "{ head -c $1M /dev/zero; sleep 120; } | tail -c $1M > /dev/null"; }       # MIB of anonymous memory
write() { echo "dd if=/dev/zero of='$1' bs=64k count=$2 oflag=direct conv=notrunc"; }     # FILE BLOCKS
read_back() { echo "dd if='$1' of=/dev/null bs=64k count=$2 iflag=direct"; }

processes() { echo "for _ in {1..$1}; do sleep 1 & done; wait"; }

disk_of() { # FILE: MAJ:MIN of the whole disk that holds it; the kernel accepts no limits for a partition
  local number
  number=$(findmnt -no MAJ:MIN -T "$1" | tr -d ' ')
  [ ! -e "/sys/dev/block/$number/partition" ] || number=$(< "/sys/dev/block/$number/../dev")
  echo "$number"
}

wait_until() { # CONDITION: evaluated repeatedly for at most 20 s
  for _ in {1..200}; do
    if eval "$1"; then return; fi
    sleep 0.1
  done
  echo "load: condition not met within 20 s: $1" >&2
  return 1
}

one_thread_into_pool() { # CGROUP with a threaded child "pool"; "timeout" and its command run in CGROUP
  wait_until "[ \"\$(wc -l < $1/cgroup.procs)\" -ge 2 ]"
  put "$(tail -n 1 "$1/cgroup.procs")" "$1/pool/cgroup.threads"
}

clean_up() { # also called after a failure, so any of these may be missing
  local cgroup pid cgroups=()
  rm -f "${file:-}"
  for cgroup in /sys/fs/cgroup/"$top" /sys/fs/cgroup/*/"$top"; do
    if [ -d "$cgroup" ] && [ ! -L "${cgroup%/*}" ]; then cgroups+=("$cgroup"); fi
  done
  [ ${#cgroups[@]} -gt 0 ] || return 0
  # first, because a process frozen by the v1 freezer does not exit when killed
  find "${cgroups[@]}" -name freezer.state -exec sh -c 'echo THAWED > "$1"' - {} \;
  for cgroup in "${cgroups[@]}"; do
    for _ in {1..100}; do
      # cgroup.procs of a threaded cgroup cannot be read; its processes are listed in the domain cgroup
      while read -r pid; do kill -KILL "$pid"; done 2> /dev/null < <(
        find "$cgroup" -name cgroup.procs -exec cat {} + 2> /dev/null)
      find "$cgroup" -depth -type d -exec rmdir {} \; 2> /dev/null
      [ -d "$cgroup" ] || continue 2
      sleep 0.1
    done
    echo "load: could not remove $cgroup" >&2
  done
}

# ---- cgroup v1: all mounted hierarchies, and a v2 hierarchy without controllers if there is one ----
by_hand_v1() {
  local v2=/sys/fs/cgroup/unified/$top root cgroup g hierarchies=() app=() worker=() frozen=() self=()
  for root in /sys/fs/cgroup/*/; do
    root=${root%/}
    if [ -L "$root" ] || [ ! -e "$root/cgroup.procs" ]; then continue; fi
    hierarchies+=("$root")
    mkdir "$root/$top"
    g=$root/$top
    if [ -e "$g/cpuset.cpus" ]; then # empty in a new cgroup; no process can be attached then
      cat "$root/cpuset.cpus" > "$g/cpuset.cpus"
      cat "$root/cpuset.mems" > "$g/cpuset.mems"
      put 1 "$g/cgroup.clone_children"
    fi
    for cgroup in app empty frozen "$odd"; do mkdir "$g/$cgroup"; done
    app+=("$g/app") worker+=("$g/app/worker") frozen+=("$g/frozen") self+=("$g")
    set_if 33554432 "$g/app/memory.limit_in_bytes"
    set_if 25165824 "$g/app/memory.soft_limit_in_bytes"
    set_if 20000 "$g/app/cpu.cfs_quota_us"
    set_if 512 "$g/app/cpu.shares"
    set_if 50 "$g/app/pids.max"
    set_if 0 "$g/app/cpuset.cpus"
    set_if 'a' "$g/app/devices.deny"
    set_if 'c 1:* rwm' "$g/app/devices.allow"
    set_if 65537 "$g/app/net_cls.classid"
    set_if 4194304 "$g/app/hugetlb.2MB.limit_in_bytes"
    set_if "$(disk_of "$file") 8388608" "$g/app/blkio.throttle.write_bps_device"
    set_if "$(disk_of "$file") 500" "$g/app/blkio.throttle.read_iops_device"
    mkdir "$g/app/worker"                                      # last: it inherits from the parent, whose cpuset and devices are then fixed
    set_if 12 "$g/app/worker/pids.max"
  done
  if [ -d "$v2" ]; then
    mkdir -p "$v2"/threads/{pool,stray}
    put threaded "$v2/threads/pool/cgroup.type"
    inside "$burn & $burn & $burn" 120 "$v2/threads" & disown
    one_thread_into_pool "$v2/threads"
  fi
  inside 'sleep 120' 120 "${frozen[@]}" & disown
  inside "$(hold 12)" 120 "${worker[@]}" & disown
  (inside "$burn & $burn" 5 "${worker[@]}") || :
  (inside "$(write "$file" 160)" 20 "${worker[@]}")
  (inside "$(write "$file" 80) && $(read_back "$file" 160)" 20 "${app[@]}")    # older kernels count I/O only where a limit is set
  (inside "$(hold 64)" 5 "${app[@]}") || :                                     # exceeds the limit: an OOM kill
  (inside "$(processes 12)" 5 "${worker[@]}") || :                             # exceeds pids.max
  for root in "${hierarchies[@]}"; do
    if [ -e "$root/$top/frozen/freezer.state" ]; then
      put FROZEN "$root/$top/frozen/freezer.state"
      wait_until "grep -q FROZEN '$root/$top/frozen/freezer.state'"
    fi
    if [ -e "$root/$top/app/hugetlb.2MB.limit_in_bytes" ] && mountpoint -q /dev/hugepages; then
      put 4 /proc/sys/vm/nr_hugepages
      (inside 'fallocate -l 4M /dev/hugepages/four' 5 "$root/$top/app")
      (inside 'fallocate -l 4M /dev/hugepages/eight' 5 "$root/$top/app") || :    # exceeds the limit: failcnt
    fi
  done
  inside "$burn" 120 "${worker[@]}" & disown
  # shellcheck disable=SC2034  # make-recordings uses it
  recorder_cgroups=("${self[@]}")
}

# ---- cgroup v2 with every controller ----
by_hand_v2() {
  local root=/sys/fs/cgroup g=/sys/fs/cgroup/$top
  # systemd does not manage hugetlb, rdma and misc, so it does not disable them
  put '+cpu +cpuset +io +memory +pids +hugetlb +rdma +misc' "$root/cgroup.subtree_control"
  mkdir "$g"
  put '+cpu +cpuset +io +memory +pids +hugetlb +rdma +misc' "$g/cgroup.subtree_control"
  mkdir "$g"/{dm,empty,few,frozen,huge,partition,protected,swap,threads,"$odd"}

  put 4 /proc/sys/vm/nr_hugepages
  put 4194304 "$g/huge/hugetlb.2MB.max"
  (inside 'fallocate -l 4M /dev/hugepages/four' 5 "$g/huge")
  (inside 'fallocate -l 4M /dev/hugepages/eight' 5 "$g/huge") || :

  # I/O on a device-mapper device is counted twice: there, and on the underlying disk
  dmsetup create lab-linear --table "0 65536 linear /dev/vda 65536"
  put "$(< /sys/class/block/vda/dev) wiops=400" "$g/dm/io.max"
  (inside "$(write /dev/mapper/lab-linear 200)" 20 "$g/dm")
  (inside 'dd if=/dev/zero of=/dev/vda bs=1M count=1 oflag=direct; blkdiscard -f -o 67108864 -l 1048576 /dev/vda' 20 "$g/dm")

  mkswap -q /dev/vdb > /dev/null
  swapon /dev/vdb
  put 16777216 "$g/swap/memory.high"
  put 33554432 "$g/swap/memory.swap.high"
  inside "$(hold 32)" 120 "$g/swap" & disown

  put 5 "$g/few/pids.max"
  (inside "$(processes 12)" 5 "$g/few") || :

  put 8388608 "$g/protected/memory.low"
  put 4194304 "$g/protected/memory.min"
  put 1 "$g/protected/memory.oom.group"
  put 30 "$g/protected/cpu.uclamp.min" 2> /dev/null || :       # only on some kernels
  inside 'sleep 120' 120 "$g/protected" & disown

  put 1 "$g/partition/cpuset.cpus"
  put root "$g/partition/cpuset.cpus.partition" || :           # refused with a reason in the file: the parent is not a partition root

  put '+cpu' "$g/threads/cgroup.subtree_control" 2> /dev/null || :
  mkdir "$g"/threads/{pool,stray}
  put threaded "$g/threads/pool/cgroup.type"
  inside "$burn & $burn & $burn" 120 "$g/threads" & disown
  one_thread_into_pool "$g/threads"

  inside 'sleep 120' 120 "$g/frozen" & disown
  wait_until "grep -q 'populated 1' $g/frozen/cgroup.events"
  put 1 "$g/frozen/cgroup.freeze"
  wait_until "grep -q 'frozen 1' $g/frozen/cgroup.events"
}

# ---- systemd units, on v1 and v2 ----
units() {
  local service=(systemd-run -q -p OOMPolicy=continue) container
  container=$(printf 'cgwarden %s' docker | sha256sum | cut -c1-64)
  "${service[@]}" --slice=shop-web.slice --unit=web -p MemoryMax=64M -p MemoryHigh=24M -p CPUQuota=20% \
    -p CPUWeight=50 -p TasksMax=50 -p AllowedCPUs=0 -p IOWeight=200 \
    -p 'IOWriteBandwidthMax=/dev/vda 4M' -p 'IOReadBandwidthMax=/dev/vda 8M' -p 'IOReadIOPSMax=/dev/vda 1000' \
    bash -c "$(hold 20) & $burn & while $(write /dev/vda 100) && $(read_back /dev/vda 100); do sleep 1; done"
  "${service[@]}" --slice=shop.slice --unit=oom -p MemoryMax=16M -p MemorySwapMax=0 \
    bash -c "timeout 10 bash -c '$(hold 48)'; sleep 120"
  "${service[@]}" --slice=shop.slice --unit='odd\x2dname@ü' -p CPUAccounting=yes sleep 120
  "${service[@]}" --slice=shop.slice --unit=frozen sleep 120
  systemd-run -q --scope --slice=shop.slice --unit=job -p CPUWeight=10 -p TasksMax=100 timeout 120 bash -c "$burn" &
  systemd-run -q --scope --slice=system.slice --unit="docker-$container" -p Delegate=yes -p MemoryMax=32M sleep 120 &
  loginctl enable-linger tester
  wait_until 'systemctl -q is-active user@1000'
  systemctl freeze frozen 2> /dev/null || :                   # v2 only
}
