#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Check the installed unit files with systemd-analyze verify, and their sandboxes with systemd-analyze security.
#
#   systemd_unit.sh BUILD_DIR AGENT
set -euo pipefail
build=$1 agent=$2
command -v systemd-analyze > /dev/null || { echo "SKIP: systemd-analyze is not installed (package systemd)"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
DESTDIR=$dir cmake -DCMAKE_INSTALL_PREFIX=/usr -P "$build/systemd/cmake_install.cmake" > "$dir/log" ||
  { cat "$dir/log"; exit 1; }
[ -f "$dir/etc/cgwarden/cgwarden.env" ] || { echo "/etc/cgwarden/cgwarden.env: not installed"; exit 1; }
"$agent" policy check "$dir/etc/cgwarden/policy.yaml" 2> /dev/null > "$dir/policy" || { echo "/etc/cgwarden/policy.yaml: cgwarden policy check fails"; exit 1; }
grep -qE '(^|[^0-9])0 (enforcing|of them)' "$dir/policy" || { echo "/etc/cgwarden/policy.yaml: not a dry run"; exit 1; }

# check_unit UNIT THRESHOLD: THRESHOLD is the allowed exposure level, in tenths. Comments in the unit give reasons for what is open.
check_unit() {
  local unit=$dir/$1 installed=$dir/usr/lib/systemd/system/$1
  grep -q '^ExecStart=/usr/bin/cgwarden ' "$installed" || { echo "$1: ExecStart= does not start the installed program"; exit 1; }
  if grep -n '@[A-Z_]*@' "$installed"; then echo "$1: contains unreplaced variables"; exit 1; fi
  # "verify" requires an existing program; parse errors are only printed and do not change its exit status
  sed "s|/usr/bin/cgwarden|$agent|" "$installed" > "$unit"
  systemd-analyze verify "$unit" 2>&1 | grep -F "$1" > "$dir/findings" || :
  [ ! -s "$dir/findings" ] || { cat "$dir/findings"; exit 1; }
  systemd-analyze security --no-pager --offline=true --threshold="$2" "$unit" > "$dir/security" ||
    { cat "$dir/security"; exit 1; }
  tail -n 1 "$dir/security"
}
check_unit cgwarden.service 20
check_unit cgwarden-enforce.service 40
