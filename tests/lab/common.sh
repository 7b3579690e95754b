# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Functions shared by the scripts of the lab.
me=$(basename "$0")
# shellcheck disable=SC2034  # used by the scripts that source this file
build_needs=(mmdebstrap:mmdebstrap mke2fs:e2fsprogs dpkg-deb:dpkg
  /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring)
# shellcheck disable=SC2034
lab_dir=${CGWARDEN_LAB_DIR:-/var/tmp/cgwarden-lab}

die() { # STATUS MESSAGE...: print one line and exit
  local status=$1
  shift
  echo "$me: $*" >&2
  exit "$status"
}

usage() { # FILE: print its head comment
  sed -n '/^$/q; /^set -/q; /^# shellcheck/q; 3,$s/^# \{0,1\}//p' "$1"
  exit 0
}

need() { [ $# -ge 2 ] || die 2 "$1: missing value; see --help"; } # OPTION [VALUE...]

require_commands() { # NAME:PACKAGE...: NAME is a command or a file
  local pair missing=()
  for pair; do
    command -v "${pair%:*}" > /dev/null || [ -e "${pair%:*}" ] || missing+=("${pair##*:}")
  done
  [ ${#missing[@]} -eq 0 ] || die 77 "missing packages: apt-get install --no-install-recommends ${missing[*]}"
}
