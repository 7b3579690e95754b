#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# cgtop limits, freezes and kills units of a real systemd, and the kernel state is verified: in a virtual machine with
# pure cgroup v2.
#
#   systemd_control_test.sh BUILD_DIR
#
# Exit status: 0, 1, or 77 if the guest cannot run (missing packages, not root, other distribution).
# shellcheck disable=SC2317  # functions are called by name
set -uo pipefail

# ---- in the guest ------------------------------------------------------------------------------------------------
if [ "${1:-}" = --in-guest ]; then
  stage=$2
  . "$(dirname "$0")/checks.sh"
  PATH=$stage/usr/bin:$PATH
  property() { systemctl show -P "$1" "$2"; }
  file() { cat "/sys/fs/cgroup$1"; }
  frozen() { [ "$(awk '/^frozen/ { print $2 }' "/sys/fs/cgroup$1/cgroup.events")" = "$2" ]; }
  service() { systemd-run --quiet --unit="$1" "${@:2}" sleep 10000; }
  shop=/system.slice/cgwarden-test-shop.service

  service cgwarden-test-shop
  check "limit a service" cgtop limit "$shop" memory.max=64M cpu.max=50% pids.max=20 cpu.weight=50 io.max.rbps@nvme0n1=10M
  same "memory.max" "$(file "$shop/memory.max")" 67108864
  same "cpu.max" "$(file "$shop/cpu.max")" "50000 100000"
  same "pids.max" "$(file "$shop/pids.max")" 20
  same "cpu.weight" "$(file "$shop/cpu.weight")" 50
  check "io.max" grep -q rbps=10485760 "/sys/fs/cgroup$shop/io.max"
  same "systemd property MemoryMax" "$(property MemoryMax cgwarden-test-shop)" 67108864
  systemctl daemon-reload
  same "memory.max after daemon-reload" "$(file "$shop/memory.max")" 67108864
  check "undo" cgtop undo
  same "memory.max" "$(file "$shop/memory.max")" max
  same "cpu.max" "$(file "$shop/cpu.max")" "max 100000"
  same "cpu.weight" "$(file "$shop/cpu.weight")" 100
  same "systemd property MemoryMax after undo" "$(property MemoryMax cgwarden-test-shop)" infinity
  check "limit CPUs" cgtop limit "$shop" cpuset.cpus=0
  same "AllowedCPUs" "$(property AllowedCPUs cgwarden-test-shop)" 0
  printf '[Service]\nExecStart=/bin/sleep 10000\n' > /run/systemd/system/cgwarden-test-kept.service
  systemctl daemon-reload
  systemctl start cgwarden-test-kept
  check "persistent limit" cgtop limit cgwarden-test-kept.service pids.max=33 --persist
  check "drop-in in /etc" grep -rqs 'TasksMax=33' /etc/systemd/system.control
  check "limit without a systemd property" cgtop limit "$shop" cpu.max=80% cpu.max.burst=10ms
  same "cpu.max.burst" "$(file "$shop/cpu.max.burst")" 10000
  check "limit with a lease" cgtop limit "$shop" memory.max=80M --for 2s
  ended() { [ "$(file "$shop/memory.max")" = max ]; }
  check "lease expires" until_true 60 ended

  check "freeze a service" cgtop freeze "$shop"
  check "kernel state" frozen "$shop" 1
  same "systemd state" "$(property FreezerState cgwarden-test-shop)" frozen
  check "thaw" cgtop thaw "$shop"
  check "kernel state" frozen "$shop" 0
  same "systemd state" "$(property FreezerState cgwarden-test-shop)" running
  check "freeze for two seconds" cgtop freeze "$shop" --for 2s
  check "thawed in time" until_true 60 frozen "$shop" 0
  running() { [ "$(property FreezerState cgwarden-test-shop)" = running ]; }
  check "systemd state after the thaw" until_true 20 running
  check "freeze again" cgtop freeze "$shop" --for 2s
  check "thawed again" until_true 60 frozen "$shop" 0
  service cgwarden-test-dog -p WatchdogSec=60s
  refused "freeze longer than the watchdog allows" 6 watchdog cgtop freeze /system.slice/cgwarden-test-dog.service --for 30s

  service cgwarden-test-one --slice=cgwardentest.slice
  service cgwarden-test-two --slice=cgwardentest.slice
  check "freeze a slice" cgtop freeze /cgwardentest.slice
  check "state of a descendant" frozen /cgwardentest.slice/cgwarden-test-two.service 1
  refused "thaw of a service in a frozen slice" 6 frozen-ancestor cgtop thaw /cgwardentest.slice/cgwarden-test-one.service
  check "thaw a slice" cgtop thaw /cgwardentest.slice
  check "state of a descendant" frozen /cgwardentest.slice/cgwarden-test-two.service 0
  check "limit a slice" cgtop limit /cgwardentest.slice memory.max=200M
  same "memory.max" "$(file /cgwardentest.slice/memory.max)" 209715200
  refused "limit above that of the slice" 6 ancestor cgtop limit /cgwardentest.slice/cgwarden-test-one.service memory.max=300M

  mkdir /sys/fs/cgroup"$shop"/inner
  refused "limit inside a service without Delegate=" 6 not-delegated cgtop limit "$shop/inner" cpu.weight=1
  service cgwarden-test-free -p Delegate=yes
  mkdir /sys/fs/cgroup/system.slice/cgwarden-test-free.service/inner
  refused "limit inside a delegated service without the controller" 6 controller \
    cgtop limit /system.slice/cgwarden-test-free.service/inner cpu.weight=1
  check "freeze inside a delegated service" cgtop freeze /system.slice/cgwarden-test-free.service/inner --for 1s
  mkdir /sys/fs/cgroup/cgwarden-test-plain
  check "limit a cgroup that no unit owns" cgtop limit /cgwarden-test-plain pids.max=5
  same "pids.max" "$(file /cgwarden-test-plain/pids.max)" 5
  refused "--persist for a cgroup without unit" 2 "persist" cgtop limit /cgwarden-test-plain pids.max=6 --persist

  refused "kill the root cgroup" 6 root cgtop kill / --yes
  refused "freeze init.scope" 6 init cgtop freeze /init.scope
  refused "kill the bus" 6 system cgtop kill /system.slice/dbus.service --yes
  refused "freeze system.slice" 6 slice cgtop freeze /system.slice
  own=$(cut -d: -f3- /proc/self/cgroup)
  refused "kill the own cgroup" 6 "[se" cgtop kill "$own" --yes

  bus=$(property MainPID dbus)
  kill -STOP "$bus"
  refused "limit while the bus hangs" 5 "timed out" cgtop limit "$shop" pids.max=9
  check "freeze while the bus hangs" cgtop freeze "$shop"
  check "kernel state" frozen "$shop" 1
  check "thaw while the bus hangs" cgtop thaw "$shop"
  check "kernel state" frozen "$shop" 0
  kill -CONT "$bus"
  check "limit after the bus recovered" cgtop limit "$shop" pids.max=9

  check "kill a service" cgtop kill "$shop" --yes
  dead() { [ "$(property ActiveState cgwarden-test-shop)" = failed ]; }
  check "systemd state" until_true 30 dead
  systemctl reset-failed cgwarden-test-shop
  systemd-run --quiet --scope --unit=cgwarden-test-scope bash -c 'sleep 10000 & sleep 10000' &
  there() { [ -d /sys/fs/cgroup/system.slice/cgwarden-test-scope.scope ]; }
  until_true 30 there
  check "kill a scope" cgtop kill /system.slice/cgwarden-test-scope.scope --yes
  gone() { ! there; }
  check "scope is removed" until_true 30 gone

  check "audit log" test "$(grep -c '"event":"end"' /var/log/cgwarden/audit.jsonl)" -gt 15
  check "audit records in the journal" grep -q '"event":"end"' <(journalctl -t cgwarden-audit --no-pager -o cat)
  systemctl stop 'cgwarden-test-*' cgwardentest.slice
  rmdir /sys/fs/cgroup/cgwarden-test-plain
  exit $((faults > 0))
fi

# ---- on this machine ---------------------------------------------------------------------------------------------
[ $# -eq 1 ] || { sed -n '/^$/q; /^set -/q; 3,$s/^# \{0,1\}//p' "$0"; exit 2; }
. "$(dirname "${BASH_SOURCE[0]}")/guest.sh"
this_in_guest "$1"
