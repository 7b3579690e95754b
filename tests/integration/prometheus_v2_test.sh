#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# prometheus_test.py once more, on a pure v2 host: in a virtual machine, with this machine's Prometheus.
#
#   prometheus_v2_test.sh BUILD_DIR
#
# Exit status: 0, 1, or 77 where the machine cannot be had (packages, root, another system's libraries).
set -uo pipefail
[ $# -eq 1 ] || { sed -n '/^$/q; /^set -/q; 3,$s/^# \{0,1\}//p' "$0"; exit 2; }
. "$(dirname "${BASH_SOURCE[0]}")/guest.sh"
for program in prometheus promtool; do
  command -v "$program" > /dev/null || skip "no $program here; scripts/install-deps test brings it"
done
prepare_guest "$1"
root=$(cd "$lab/../../.." && pwd)
mkdir "$tmp/bin"
cp "$(command -v prometheus)" "$(command -v promtool)" "$tmp/bin/"
# emulated: ten times slower
in_guest --share "$tmp:ro" --share "$root:ro" --memory 2500 --env CGWARDEN_TEST_PATIENCE=5 \
  -- env "PATH=$tmp/bin:$PATH" "$root/tests/integration/prometheus_test.py" "$tmp/stage/usr/bin/cgwarden"
