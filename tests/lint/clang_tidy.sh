#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Run clang-tidy on the sources of the programs. The checks are in .clang-tidy.
#
#   clang_tidy.sh [--jobs N] [--changed [BASE]]
#     --jobs      number of parallel runs (default: one per CPU)
#     --changed   only rooms with a file that differs from BASE (default: main)
#     --help
#
# A room is checked as one unit (unity build): most of the time is spent in the headers of libraries, and so only once
# per room. Therefore names in anonymous namespaces must be unique per room.
#
# Exit status: 0 clean; 1 findings; 2 usage; 77 clang-tidy-14 is not installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

base='' jobs=$(nproc)
if [ "${1:-}" = --jobs ]; then
  case ${2:-} in ''|*[!0-9]*) echo "clang_tidy.sh: --jobs needs a number; see --help" >&2; exit 2 ;; esac
  jobs=$2
  shift 2
fi
case ${1:-} in
  '') ;;
  --changed) base=${2:-main} ;;
  --help|-h) sed -n '/^$/q; 3,$s/^# \{0,1\}//p' "$0"; exit ;;
  *) echo "clang_tidy.sh: unknown argument '$1'; see --help" >&2; exit 2 ;;
esac
if ! command -v clang-tidy-14 > /dev/null; then   # findings differ between versions
  # shellcheck disable=SC1091  # not ours
  [ ! -r /etc/os-release ] || system=$(. /etc/os-release && echo "${ID:-} ${VERSION_ID:-}")
  echo "SKIP: no clang-tidy-14 on ${system:-this system}; on Debian 12 run scripts/install-deps test"
  exit 77
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cmake --preset tidy > "$log" 2>&1 || { cat "$log"; exit 1; }
readarray -t units < <(sed -n 's/^ *"file": "\(.*\)",\{0,1\}$/\1/p' build/tidy/compile_commands.json | sort -u)
[ ${#units[@]} -gt 0 ] || { echo "clang_tidy.sh: build/tidy/compile_commands.json: no files found" >&2; exit 1; }
readarray -t files < <(sed -n 's/^#include "\(.*\)"$/\1/p' "${units[@]}")
missing=$(comm -23 <(git ls-files -co --exclude-standard -- 'src/*.cpp' 'collectors/*.cpp' 'exporter/*.cpp' | sort) \
  <(printf '%s\n' "${files[@]#"$PWD/"}" | sort))
[ -z "$missing" ] || { printf 'clang_tidy.sh: files that belong to no room of cmake/rooms.cmake:\n%s\n' "$missing" >&2; exit 1; }
if [ -n "$base" ]; then
  folders=$({ git diff --name-only "$base" -- src collectors exporter; git ls-files -o --exclude-standard -- src collectors exporter; } |
    sed 's#/[^/]*$##' | sort -u)
  keep=()
  for unit in "${units[@]}"; do
    for folder in $folders; do
      if grep -qE "^#include \"$PWD/$folder/[^/]+\"" "$unit"; then keep+=("$unit"); break; fi
    done
  done
  [ ${#keep[@]} -gt 0 ] || { echo "no file differs from $base"; exit 0; }
  units=("${keep[@]}")
fi
# Largest first, so that the longest run does not start last.
readarray -t units < <(ls -S -- "${units[@]}")
check() {
  local output
  output=$(clang-tidy-14 --quiet -p build/tidy "$1" 2>&1) || { printf '%s\n' "$output"; return 1; }
}
export -f check
# shellcheck disable=SC2016  # expanded by the shell that xargs starts
printf '%s\0' "${units[@]}" | xargs -0 -n 1 -P "$jobs" bash -c 'check "$1"' _ || exit 1
echo "clang-tidy: ${#units[@]} rooms and programs, no findings"
