#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs interface_files_test.py in a virtual machine with pure v2 and all controllers, and checks data that only such a
# host has: device rules that systemd attached to a unit, and the keys of io.cost.
#
#   interface_files_v2_test.sh BUILD_DIR
#
# Exit status: 0, 1, or 77 if the guest cannot run (missing packages, not root, other distribution).
set -uo pipefail
[ $# -eq 1 ] || { sed -n '/^$/q; /^set -/q; 3,$s/^# \{0,1\}//p' "$0"; exit 2; }
. "$(dirname "${BASH_SOURCE[0]}")/guest.sh"
prepare_guest "$1"
root=$(cd "$lab/../../.." && pwd)
# shellcheck disable=SC2016  # expanded in the guest
in_guest --share "$tmp:ro" --share "$root:ro" --disk 64M -- bash -c '
  faults=0
  "$1/tests/integration/interface_files_test.py" "$2" || faults=1
  systemd-run --quiet --unit=cgwarden-test-closed -p DevicePolicy=closed -p DeviceAllow="/dev/zero rw" sleep 60
  echo "$(lsblk -ndo MAJ:MIN /dev/vda | tr -d " ") enable=1 ctrl=user rpct=95.00 rlat=5000" > /sys/fs/cgroup/io.cost.qos
  "$2" --once --collector.bpf > /tmp/said
  closed="cgroup=\"/system.slice/cgwarden-test-closed.service\""
  for line in "cgroup_bpf_programs{$closed,attach_type=\"device\"} 1" \
    "cgroup_io_cost_qos_ctrl_info{cgroup=\"/\",device=\"vda\",ctrl=\"user\"} 1" \
    "cgroup_io_cost_qos_read_latency_seconds{cgroup=\"/\",device=\"vda\"} 0.005" \
    "cgroup_io_device_filesystem_info{device=\"nvme0n1\",mountpoint=\"/\",fstype=\"ext4\"} 1"; do
    grep -qxF "$line" /tmp/said || { echo "not said: $line"; grep "^${line%%\{*}" /tmp/said; faults=1; }
  done
  exit $faults' _ "$root" "$tmp/stage/usr/bin/cgwarden"
