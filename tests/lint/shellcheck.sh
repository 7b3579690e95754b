#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Run shellcheck on every shell script, found by its first line. Exit status: 0, 1, or 77 if it is not installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/lint/tracked.sh
command -v shellcheck > /dev/null || { echo "SKIP: shellcheck is not installed; run scripts/install-deps test"; exit 77; }
scripts=()
while IFS= read -r -d '' file; do
  case $file in tests/hosts/*|tests/data/*|tests/fuzz/corpus/*) continue ;; esac
  [ -f "$file" ] || continue
  IFS= read -r first 2> /dev/null < "$file" || continue
  case $first in '#!'*bash|'#!'*/sh|'# shellcheck shell='*) scripts+=("$file") ;; esac
done < <(tracked)
shellcheck -x "${scripts[@]}"
echo "shellcheck: ${#scripts[@]} scripts, no findings"
