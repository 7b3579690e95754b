#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The unit file, as installed, through systemd's own parser, and its sandbox through systemd's own judgement.
#
#   systemd_unit.sh BUILD_DIR AGENT
set -euo pipefail
build=$1 agent=$2
command -v systemd-analyze > /dev/null || { echo "SKIP: no systemd-analyze here (package systemd)"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
DESTDIR=$dir cmake -DCMAKE_INSTALL_PREFIX=/usr -P "$build/systemd/cmake_install.cmake" > "$dir/log" ||
  { cat "$dir/log"; exit 1; }
unit=$dir/cgwarden.service
installed=$dir/usr/lib/systemd/system/cgwarden.service
grep -q '^ExecStart=/usr/bin/cgwarden ' "$installed" || { echo "ExecStart is not the installed program"; exit 1; }
[ -f "$dir/etc/cgwarden/cgwarden.env" ] || { echo "the flags' file was not installed"; exit 1; }
if grep -n '@[A-Z]*@' "$installed"; then echo "not filled in"; exit 1; fi

# verify wants a program that exists; what it cannot parse it only prints
sed "s|/usr/bin/cgwarden|$agent|" "$installed" > "$unit"
systemd-analyze verify "$unit" 2>&1 | grep -F cgwarden.service > "$dir/findings" || :
[ ! -s "$dir/findings" ] || { cat "$dir/findings"; exit 1; }
# 20 is an exposure of 2.0 of 10. See the unit for each thing that is not closed, and why.
systemd-analyze security --no-pager --offline=true --threshold=20 "$unit" > "$dir/security" ||
  { cat "$dir/security"; exit 1; }
tail -n 1 "$dir/security"
