# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Functions shared by the scripts in this directory.
me=$(basename "$0")
# shellcheck disable=SC2034  # used by the scripts that source this file
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die() { # STATUS MESSAGE...: print one line and exit
  local status=$1
  shift
  echo "$me: $*" >&2
  exit "$status"
}

usage() { # print the head comment of the script
  sed -n '/^$/q; /^set -/q; /^# shellcheck/q; 3,$s/^# \{0,1\}//p' "$0"
  exit 0
}

jobs() { # parallel compile jobs: CMAKE_BUILD_PARALLEL_LEVEL or one per CPU, at most one per 1.5 GiB of memory
  local cpus gigabytes
  cpus=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}
  gigabytes=$(awk '/^MemAvailable:/ { print int($2 / 1572864) }' /proc/meminfo)
  [ "$gigabytes" -ge 1 ] || gigabytes=1
  echo $((cpus < gigabytes ? cpus : gigabytes))
}
