#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The exporter as a systemd service, installed by `cmake --install`, in a virtual machine with pure cgroup v2.
#
#   systemd_service_test.sh BUILD_DIR
#
# Exit status: 0, 1, or 77 if the guest cannot run (missing packages, not root, other distribution).
# shellcheck disable=SC2317  # functions are called by name
set -uo pipefail

# ---- in the guest ------------------------------------------------------------------------------------------------
if [ "${1:-}" = --in-guest ]; then
  stage=$2
  . "$(dirname "$0")/checks.sh"
  property() { systemctl show -P "$1" cgwarden; }
  scrape() { curl -sS --max-time 20 http://127.0.0.1:10753/metrics; }
  serves() { scrape > /tmp/served && grep -q '^cgroup_' /tmp/served; }

  cp -r "$stage"/. /
  systemctl daemon-reload
  check "unit file is valid" systemd-analyze verify cgwarden.service
  # a cgroup whose owner closed the directory
  closed=/sys/fs/cgroup/cgwarden-test-closed
  mkdir "$closed" "$closed/inner"
  chown -R tester "$closed"
  chmod 700 "$closed" "$closed/inner"

  # a container whose state is in directories that only root can read
  box_image /tmp/box.tar
  check "Podman has an image" podman import --change 'CMD ["/bin/load"]' /tmp/box.tar cgwarden-test/box:1
  check "Podman runs a container" podman run -d --name cgwarden-test-box --network none --log-driver k8s-file \
    --memory 64m localhost/cgwarden-test/box:1

  # start returns when the agent has said READY=1
  started=$(date +%s%N)
  check "the unit starts" systemctl start cgwarden
  echo "     ready after $(($(($(date +%s%N) - started)) / 1000000)) ms, without KVM"
  same "state" "$(property ActiveState)/$(property SubState)" active/running
  same "type" "$(property Type)" notify
  same "watchdog" "$(property WatchdogUSec)" 30s
  pid=$(property MainPID)
  check "dynamic user" test "$(stat -c %u "/proc/$pid")" -ge 61184
  same "capabilities are DAC_READ_SEARCH and SYS_PTRACE only" "$(awk '/^CapEff:/ { print $2 }' "/proc/$pid/status")" 0000000000080004
  same "system calls are filtered" "$(awk '/^Seccomp:/ { print $2 }' "/proc/$pid/status")" 2
  check "memory of processes cannot be written" grep -qE ' /proc ro[, ]' "/proc/$pid/mountinfo"
  check "cgroups are read-only" grep -qE ' /sys/fs/cgroup ro[, ]' "/proc/$pid/mountinfo"
  check "/etc/shadow is inaccessible" test ! -s "/proc/$pid/root/etc/shadow"

  scrape > /tmp/service
  for series in 'cgroup_cpu_usage_seconds_total{cgroup="/system.slice/cgwarden.service"}' \
    'cgroup_memory_current_bytes{cgroup="/system.slice/cgwarden.service"}' \
    'cgroup_populated{cgroup="/cgwarden-test-closed/inner"}' 'cgroup_pids_current{cgroup="/system.slice"}'; do
    check "it shows $series" grep -qF "$series" /tmp/service
  done
  check "the container is named" grep -q '^cgroup_container_info{.*container="cgwarden-test-box",runtime="podman"' /tmp/service
  # The sandbox hides nothing: root without the sandbox sees the same series. Cgroups may be created or removed
  # meanwhile.
  names() { grep '^cgroup_' "$1" | sed 's/ [^ ]*$//' | sort; }
  unchanged() {
    scrape > /tmp/service && cgwarden --once --log.level error > /tmp/root && scrape > /tmp/again || return 1
    cmp -s <(names /tmp/service) <(names /tmp/again)
  }
  check "no cgroup changes during the comparison" until_true 60 unchanged
  difference=$(comm -3 <(names /tmp/service) <(names /tmp/root) | sed -n 1,5p)
  same "series that only root or only the service sees" "$difference" ""
  echo "     $(names /tmp/service | wc -l) series of $(grep -c '^cgroup_pids_current' /tmp/service) cgroups"
  check "namespace metrics" grep -q '^cgroup_namespace' /tmp/service
  same "collectors with errors" "$(awk '/^cgwarden_collector_errors_total/ && $NF != 0' /tmp/service)" ""
  check "ready" curl -sSf --max-time 20 -o /dev/null http://127.0.0.1:10753/-/ready

  mkdir /sys/fs/cgroup/cgwarden-test-young
  for _ in 1 2 3; do serves; sleep 0.6; done
  same "files of a new cgroup are opened by file handle" \
    "$(find "/proc/$pid/fd" -lname / | grep -c . | sed 's/^[1-9].*/yes/')" yes
  rmdir /sys/fs/cgroup/cgwarden-test-young

  check "reload" systemctl reload cgwarden
  check "serves after a reload" serves
  same "same process after a reload" "$(property MainPID)" "$pid"

  systemd-analyze security --no-pager cgwarden > /tmp/security
  tail -n 1 /tmp/security
  check "exposure is 2.0 or less" systemd-analyze security --no-pager --threshold=20 cgwarden

  # the watchdog with a short timeout: notified in normal operation, and a restart when the agent hangs
  mkdir -p /run/systemd/system/cgwarden.service.d
  printf '[Service]\nWatchdogSec=4s\nRestartSec=100ms\n' > /run/systemd/system/cgwarden.service.d/test.conf
  systemctl daemon-reload
  systemctl restart cgwarden
  pid=$(property MainPID)
  sleep 9
  same "restarts in two watchdog periods" "$(property NRestarts)" 0
  kill -STOP "$pid"
  restarted() { [ "$(property NRestarts)" = 1 ] && [ "$(property ActiveState)" = active ]; }
  check "restart of a hanging agent" until_true 30 restarted
  check "serves after a restart" serves

  # MemoryHigh= too low for the number of cgroups: a warning, and the agent keeps serving
  same "warnings about MemoryHigh= before" "$(journalctl -u cgwarden --no-pager -o cat | grep -c 'raise MemoryHigh=')" 0
  printf '[Service]\nMemoryHigh=7M\n' > /run/systemd/system/cgwarden.service.d/test.conf
  systemctl daemon-reload
  systemctl restart cgwarden
  warned() { journalctl -u cgwarden --no-pager -o cat | grep -q 'raise MemoryHigh='; }
  check "warning about MemoryHigh=" until_true 30 warned
  check "serves with a low MemoryHigh=" serves

  started=$(date +%s%N)
  check "the unit stops" systemctl stop cgwarden
  echo "     stopped after $(($(($(date +%s%N) - started)) / 1000000)) ms, without KVM"
  same "after the stop" "$(property ActiveState)/$(property Result)/$(property ExecMainStatus)" inactive/success/0
  rmdir "$closed/inner" "$closed"
  if [ $faults -gt 0 ]; then
    echo "end of the journal of the service:"
    journalctl -u cgwarden --no-pager -o cat | tail -n 30
  fi
  exit $((faults > 0))
fi

# ---- on this machine ---------------------------------------------------------------------------------------------
[ $# -eq 1 ] || { sed -n '/^$/q; /^set -/q; 3,$s/^# \{0,1\}//p' "$0"; exit 2; }
. "$(dirname "${BASH_SOURCE[0]}")/guest.sh"
this_in_guest "$1"
