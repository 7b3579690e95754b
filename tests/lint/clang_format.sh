#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Is every C++ file formatted as .clang-format says? With --fix they are made so. Exit status: 0, 1, or 77 if there is
# no clang-format-14 here: other versions format differently.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/lint/tracked.sh
command -v clang-format-14 > /dev/null || { echo "SKIP: no clang-format-14 here; scripts/install-deps test brings it"; exit 77; }
files=()
while IFS= read -r -d '' file; do
  case $file in tests/hosts/*) continue ;; esac
  case $file in *.cpp|*.h) [ ! -f "$file" ] || files+=("$file") ;; esac
done < <(tracked)
if [ "${1:-}" = --fix ]; then
  clang-format-14 -i "${files[@]}"
  exit
fi
clang-format-14 --dry-run --Werror "${files[@]}"
echo "clang-format: ${#files[@]} files, all as they should be"
