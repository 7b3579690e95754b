#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# interface_files_test.py once more, on a pure v2 host with all its controllers: in a virtual machine.
#
#   interface_files_v2_test.sh BUILD_DIR
#
# Exit status: 0, 1, or 77 where the machine cannot be had (packages, root, another system's libraries).
set -uo pipefail
[ $# -eq 1 ] || { sed -n '/^$/q; /^set -/q; 3,$s/^# \{0,1\}//p' "$0"; exit 2; }
. "$(dirname "${BASH_SOURCE[0]}")/guest.sh"
prepare_guest "$1"
root=$(cd "$lab/../../.." && pwd)
in_guest --share "$tmp:ro" --share "$root:ro" \
  -- "$root/tests/integration/interface_files_test.py" "$tmp/stage/usr/bin/cgwarden"
