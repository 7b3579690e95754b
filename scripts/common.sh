# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Shared by the scripts of this folder.
me=$(basename "$0")
# shellcheck disable=SC2034  # used by those that read this file
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die() { # STATUS MESSAGE...: one line, then out
  local status=$1
  shift
  echo "$me: $*" >&2
  exit "$status"
}

usage() { # the head comment of a script is its manual
  sed -n '/^$/q; /^set -/q; /^# shellcheck/q; 3,$s/^# \{0,1\}//p' "$0"
  exit 0
}

jobs() { # compilers to run at a time: CMAKE_BUILD_PARALLEL_LEVEL, or one per CPU, if each can have 1.5 GB
  local cpus gigabytes
  cpus=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}
  gigabytes=$(awk '/^MemAvailable:/ { print int($2 / 1572864) }' /proc/meminfo)
  [ "$gigabytes" -ge 1 ] || gigabytes=1
  echo $((cpus < gigabytes ? cpus : gigabytes))
}
