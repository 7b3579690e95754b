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
  check "a service is limited" cgtop limit "$shop" memory.max=64M cpu.max=50% pids.max=20 cpu.weight=50 io.max.rbps@nvme0n1=10M
  same "memory.max" "$(file "$shop/memory.max")" 67108864
  same "cpu.max" "$(file "$shop/cpu.max")" "50000 100000"
  same "pids.max" "$(file "$shop/pids.max")" 20
  same "cpu.weight" "$(file "$shop/cpu.weight")" 50
  check "io.max" grep -q rbps=10485760 "/sys/fs/cgroup$shop/io.max"
  same "systemd knows of it" "$(property MemoryMax cgwarden-test-shop)" 67108864
  systemctl daemon-reload
  same "and after a reload" "$(file "$shop/memory.max")" 67108864
  check "it is taken back" cgtop undo
  same "memory.max" "$(file "$shop/memory.max")" max
  same "cpu.max" "$(file "$shop/cpu.max")" "max 100000"
  same "cpu.weight" "$(file "$shop/cpu.weight")" 100
  same "systemd knows of that" "$(property MemoryMax cgwarden-test-shop)" infinity
  check "CPUs" cgtop limit "$shop" cpuset.cpus=0
  same "AllowedCPUs" "$(property AllowedCPUs cgwarden-test-shop)" 0
  printf '[Service]\nExecStart=/bin/sleep 10000\n' > /run/systemd/system/cgwarden-test-kept.service
  systemctl daemon-reload
  systemctl start cgwarden-test-kept
  check "a limit for good" cgtop limit cgwarden-test-kept.service pids.max=33 --persist
  check "is in /etc" grep -rqs 'TasksMax=33' /etc/systemd/system.control
  check "what systemd has no property for" cgtop limit "$shop" cpu.max=80% cpu.max.burst=10ms
  same "cpu.max.burst" "$(file "$shop/cpu.max.burst")" 10000
  check "a lease" cgtop limit "$shop" memory.max=80M --for 2s
  ended() { [ "$(file "$shop/memory.max")" = max ]; }
  check "ends in its time" until_true 60 ended

  check "a service is frozen" cgtop freeze "$shop"
  check "the kernel says so" frozen "$shop" 1
  same "systemd says so" "$(property FreezerState cgwarden-test-shop)" frozen
  check "it is thawed" cgtop thaw "$shop"
  check "the kernel says so" frozen "$shop" 0
  same "systemd says so" "$(property FreezerState cgwarden-test-shop)" running
  check "frozen for two seconds" cgtop freeze "$shop" --for 2s
  check "and thawed in time" until_true 60 frozen "$shop" 0
  running() { [ "$(property FreezerState cgwarden-test-shop)" = running ]; }
  check "systemd has seen that, too" until_true 20 running
  check "frozen again" cgtop freeze "$shop" --for 2s
  check "and thawed again" until_true 60 frozen "$shop" 0
  service cgwarden-test-dog -p WatchdogSec=60s
  refused "longer than its watchdog waits" 6 watchdog cgtop freeze /system.slice/cgwarden-test-dog.service --for 30s

  service cgwarden-test-one --slice=cgwardentest.slice
  service cgwarden-test-two --slice=cgwardentest.slice
  check "a slice is frozen" cgtop freeze /cgwardentest.slice
  check "with all that is in it" frozen /cgwardentest.slice/cgwarden-test-two.service 1
  refused "a service in it cannot be thawed alone" 6 frozen-ancestor cgtop thaw /cgwardentest.slice/cgwarden-test-one.service
  check "a slice is thawed" cgtop thaw /cgwardentest.slice
  check "with all that is in it" frozen /cgwardentest.slice/cgwarden-test-two.service 0
  check "a slice is limited" cgtop limit /cgwardentest.slice memory.max=200M
  same "memory.max" "$(file /cgwardentest.slice/memory.max)" 209715200
  refused "more than the slice has" 6 ancestor cgtop limit /cgwardentest.slice/cgwarden-test-one.service memory.max=300M

  mkdir /sys/fs/cgroup"$shop"/inner
  refused "inside of a service that was not delegated" 6 not-delegated cgtop limit "$shop/inner" cpu.weight=1
  service cgwarden-test-free -p Delegate=yes
  mkdir /sys/fs/cgroup/system.slice/cgwarden-test-free.service/inner
  refused "inside of one that was, it is for who has it to switch controllers on" 6 controller \
    cgtop limit /system.slice/cgwarden-test-free.service/inner cpu.weight=1
  check "freezing is possible there" cgtop freeze /system.slice/cgwarden-test-free.service/inner --for 1s
  mkdir /sys/fs/cgroup/cgwarden-test-plain
  check "a group of nobody" cgtop limit /cgwarden-test-plain pids.max=5
  same "pids.max" "$(file /cgwarden-test-plain/pids.max)" 5
  refused "a unit is not made up" 2 "persist" cgtop limit /cgwarden-test-plain pids.max=6 --persist

  refused "the root" 6 root cgtop kill / --yes
  refused "init" 6 init cgtop freeze /init.scope
  refused "the bus" 6 system cgtop kill /system.slice/dbus.service --yes
  refused "all services" 6 slice cgtop freeze /system.slice
  own=$(cut -d: -f3- /proc/self/cgroup)
  refused "where this runs" 6 "[se" cgtop kill "$own" --yes

  bus=$(property MainPID dbus)
  kill -STOP "$bus"
  refused "a bus that does not answer" 5 "does not answer" cgtop limit "$shop" pids.max=9
  check "a freeze does not wait for it" cgtop freeze "$shop"
  check "the kernel says so" frozen "$shop" 1
  check "nor does a thaw" cgtop thaw "$shop"
  check "the kernel says so" frozen "$shop" 0
  kill -CONT "$bus"
  check "a bus that answers again" cgtop limit "$shop" pids.max=9

  check "a service is killed" cgtop kill "$shop" --yes
  dead() { [ "$(property ActiveState cgwarden-test-shop)" = failed ]; }
  check "systemd says so" until_true 30 dead
  systemctl reset-failed cgwarden-test-shop
  systemd-run --quiet --scope --unit=cgwarden-test-scope bash -c 'sleep 10000 & sleep 10000' &
  there() { [ -d /sys/fs/cgroup/system.slice/cgwarden-test-scope.scope ]; }
  until_true 30 there
  check "a scope is killed" cgtop kill /system.slice/cgwarden-test-scope.scope --yes
  gone() { ! there; }
  check "and gone" until_true 30 gone

  check "the audit has it all" test "$(grep -c '"event":"end"' /var/log/cgwarden/audit.jsonl)" -gt 15
  check "and the journal" grep -q '"event":"end"' <(journalctl -t cgwarden-audit --no-pager -o cat)
  systemctl stop 'cgwarden-test-*' cgwardentest.slice
  rmdir /sys/fs/cgroup/cgwarden-test-plain
  exit $((faults > 0))
fi

# ---- on this machine ---------------------------------------------------------------------------------------------
[ $# -eq 1 ] || { sed -n '/^$/q; /^set -/q; 3,$s/^# \{0,1\}//p' "$0"; exit 2; }
. "$(dirname "${BASH_SOURCE[0]}")/guest.sh"
this_in_guest "$1"
