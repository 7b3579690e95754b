#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The unit files, as installed, through systemd's own parser, and their sandboxes through systemd's own judgement.
#
#   systemd_unit.sh BUILD_DIR AGENT
set -euo pipefail
build=$1 agent=$2
command -v systemd-analyze > /dev/null || { echo "SKIP: no systemd-analyze here (package systemd)"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
DESTDIR=$dir cmake -DCMAKE_INSTALL_PREFIX=/usr -P "$build/systemd/cmake_install.cmake" > "$dir/log" ||
  { cat "$dir/log"; exit 1; }
[ -f "$dir/etc/cgwarden/cgwarden.env" ] || { echo "the flags' file was not installed"; exit 1; }
"$agent" policy check "$dir/etc/cgwarden/policy.yaml" 2> /dev/null > "$dir/policy" || { echo "the shipped policy is no good"; exit 1; }
grep -q ', 0 of them in earnest' "$dir/policy" || { echo "the shipped policy is no dry run"; exit 1; }

# look_at UNIT THRESHOLD: the exposure that is allowed, in tenths. See the unit for each thing that is not closed, and why.
look_at() {
  local unit=$dir/$1 installed=$dir/usr/lib/systemd/system/$1
  grep -q '^ExecStart=/usr/bin/cgwarden ' "$installed" || { echo "$1: ExecStart is not the installed program"; exit 1; }
  if grep -n '@[A-Z_]*@' "$installed"; then echo "$1: not filled in"; exit 1; fi
  # verify wants a program that exists; what it cannot parse it only prints
  sed "s|/usr/bin/cgwarden|$agent|" "$installed" > "$unit"
  systemd-analyze verify "$unit" 2>&1 | grep -F "$1" > "$dir/findings" || :
  [ ! -s "$dir/findings" ] || { cat "$dir/findings"; exit 1; }
  systemd-analyze security --no-pager --offline=true --threshold="$2" "$unit" > "$dir/security" ||
    { cat "$dir/security"; exit 1; }
  tail -n 1 "$dir/security"
}
look_at cgwarden.service 20
look_at cgwarden-enforce.service 40
