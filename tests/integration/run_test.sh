#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The first command of the README, without installing packages: scripts/run builds the release, starts the agent on this
# host and prints its URL. The metrics must be those of this host, and both programs must work.
#
#   run_test.sh
#
# Exit status: 0; 1 with an error message.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

tmp=$(mktemp -d)
pid=''
# shellcheck disable=SC2317  # called by the trap
clean_up() {
  [ -z "$pid" ] || kill -KILL "$pid" 2> /dev/null || :
  rm -rf "$tmp"
}
trap clean_up EXIT
fault() { echo "FAULT: $*" >&2; cat "$tmp/said" >&2; exit 1; }

# One compiler, because other tests run at the same time.
CMAKE_BUILD_PARALLEL_LEVEL=1 scripts/run --no-install --detach > "$tmp/said" 2>&1 || fault "scripts/run failed"
pid=$(sed -n 's/^cgwarden is running (PID \([0-9]*\)).*/\1/p' "$tmp/said")
url=$(sed -n 's/^ *\(http:.*\)\/$/\1/p' "$tmp/said")
if [ -z "$pid" ] || [ -z "$url" ]; then fault "it does not say what runs and where to look"; fi

curl -sf --max-time 60 "$url/metrics" > "$tmp/metrics" || fault "$url/metrics: no response"
groups=$(grep -c '^cgroup_processes{' "$tmp/metrics" || :)
[ "$groups" -ge 1 ] || fault "no group is served"
grep -Eq '^cgroup_processes\{[^}]*\} [1-9]' "$tmp/metrics" || fault "no group has a process"
grep -q '^cgwarden_build_info{' "$tmp/metrics" || fault "cgwarden_build_info is missing"
build/release/cgtop -1 -o path,tasks -f tsv > "$tmp/table" || fault "cgtop prints no table"
[ "$(wc -l < "$tmp/table")" -ge 2 ] || fault "cgtop prints no group"

kill -TERM "$pid"
for ((i = 0; i < 100; i++)); do
  kill -0 "$pid" 2> /dev/null || { pid=''; break; }
  sleep 0.1
done
[ -z "$pid" ] || fault "the agent does not end"
echo "$groups cgroups exported"
