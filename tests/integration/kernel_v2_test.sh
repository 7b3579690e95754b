#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the kernel tests in a virtual machine with pure v2.
#
#   kernel_v2_test.sh BUILD_DIR
#
# Exit status: 0, 1, or 77 if the guest cannot run (missing packages, not root, other distribution).
set -uo pipefail
[ $# -eq 1 ] || { sed -n '/^$/q; /^set -/q; 3,$s/^# \{0,1\}//p' "$0"; exit 2; }
. "$(dirname "${BASH_SOURCE[0]}")/guest.sh"
prepare_guest "$1"
cp "$1/tests/kernel_tests" "$tmp/"
in_guest --share "$tmp:ro" --memory 1500 -- "$tmp/kernel_tests" --gtest_brief=1 \
  --gtest_filter="${CGWARDEN_GUEST_TESTS:-UsageOf.*:SkipRules.*:EffectiveCollector*:HugePages*:Collection.SeesEachWrite*:Collection.SeesEffectsOfAWrite*:AccessByNumber.*:RemovedCollector*OomKills*:Writer.*-Writer.Kills*ForkBomb*:Writer.RefusesCgroupsThatMatchAProtectedPattern}"
