#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs prometheus_test.py in a virtual machine with pure v2, with the Prometheus of this machine.
#
#   prometheus_v2_test.sh BUILD_DIR
#
# Exit status: 0, 1, or 77 if the guest cannot run (missing packages, not root, other distribution).
set -uo pipefail
[ $# -eq 1 ] || { sed -n '/^$/q; /^set -/q; 3,$s/^# \{0,1\}//p' "$0"; exit 2; }
. "$(dirname "${BASH_SOURCE[0]}")/guest.sh"
for program in prometheus promtool; do
  command -v "$program" > /dev/null || skip "$program is not installed; run scripts/install-deps test"
done
prepare_guest "$1"
root=$(cd "$lab/../../.." && pwd)
mkdir "$tmp/bin"
cp "$(command -v prometheus)" "$(command -v promtool)" "$tmp/bin/"
# without KVM about ten times slower
in_guest --share "$tmp:ro" --share "$root:ro" --memory 2500 --env CGWARDEN_TEST_PATIENCE=5 \
  -- env "PATH=$tmp/bin:$PATH" "$root/tests/integration/prometheus_test.py" "$tmp/stage/usr/bin/cgwarden"
