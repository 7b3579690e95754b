# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# The project's files, NUL-separated: git's where this is a checkout, all but the build's in an unpacked archive.
tracked() {
  if git rev-parse --is-inside-work-tree > /dev/null 2>&1; then
    git ls-files -z --cached --others --exclude-standard
  else
    find . \( -path ./build -o -path ./.git \) -prune -o -type f -printf '%P\0'
  fi
}
