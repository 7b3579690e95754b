#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Check that every C++ file is formatted according to .clang-format; --fix formats them. Exit status: 0, 1, or 77 if
# clang-format-14 is not installed: other versions format differently.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/lint/tracked.sh
command -v clang-format-14 > /dev/null || { echo "SKIP: clang-format-14 is not installed; run scripts/install-deps test"; exit 77; }
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
echo "clang-format: ${#files[@]} files, all formatted"
