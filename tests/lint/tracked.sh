# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Print the project's files, NUL-separated: from git in a checkout, otherwise all files outside build/.
tracked() {
  if git rev-parse --is-inside-work-tree > /dev/null 2>&1; then
    git ls-files -z --cached --others --exclude-standard
  else
    find . \( -path ./build -o -path ./.git \) -prune -o -type f -printf '%P\0'
  fi
}
