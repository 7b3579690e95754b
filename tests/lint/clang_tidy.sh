#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# clang-tidy over the program's own files. See .clang-tidy for what it looks for.
#
#   clang_tidy.sh [--changed [BASE]]
#     --changed   only the files that differ from BASE (default: main), and those that include a changed header
#     --help
#
# Not yet: src/discovery, where findings are open.
#
# Exit status: 0 clean; 1 findings; 77 there is no clang-tidy-14 here (scripts/install-deps test); 2 usage.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

base=''
case ${1:-} in
  '') ;;
  --changed) base=${2:-main} ;;
  --help|-h) sed -n '/^$/q; 3,$s/^# \{0,1\}//p' "$0"; exit ;;
  *) echo "clang_tidy.sh: unknown argument '$1'; see --help" >&2; exit 2 ;;
esac
for tool in clang-tidy-14 clang++-14; do
  command -v "$tool" > /dev/null || { echo "SKIP: no $tool here; scripts/install-deps test brings it"; exit 77; }
done
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cmake --preset tidy > "$log" 2>&1 || { cat "$log"; exit 1; }
readarray -t files < <(sed -n 's/^ *"file": "\(.*\)",\{0,1\}$/\1/p' build/tidy/compile_commands.json |
  grep -E "^$PWD/(src|collectors|exporter)/" | grep -v '/src/discovery/' | sort -u)
[ ${#files[@]} -gt 0 ] || { echo "clang_tidy.sh: compile_commands.json names none of our files" >&2; exit 1; }
if [ -n "$base" ]; then
  readarray -t changed < <(git diff --name-only "$base" -- src collectors exporter; git ls-files -o --exclude-standard -- src collectors exporter)
  keep=()
  for file in "${files[@]}"; do
    for c in "${changed[@]}"; do
      if [ "$file" = "$PWD/$c" ] || grep -qF "#include \"$c\"" "$file"; then keep+=("$file"); break; fi
    done
  done
  [ ${#keep[@]} -gt 0 ] || { echo "nothing changed since $base"; exit 0; }
  files=("${keep[@]}")
fi
# the largest first, so that no CPU has the longest one alone at the end
readarray -t files < <(ls -S -- "${files[@]}")
check() {
  local output
  output=$(clang-tidy-14 --quiet -p build/tidy "$1" 2>&1) || { printf '%s\n' "$output"; return 1; }
}
export -f check
# shellcheck disable=SC2016  # expanded by the shell that xargs starts
printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -c 'check "$1"' _ || exit 1
echo "clang-tidy: ${#files[@]} files, nothing found"
