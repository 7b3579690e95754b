#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Checks the output of scripts/describe-options: the completions work and the manual page of cgwarden names every
# option. The hand-written manual page of cgtop must name every option and command as well.
#
#   options_test.sh AGENT CGTOP
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
agent=$1 cgtop=$2
describe=$top/scripts/describe-options
folder=$(mktemp -d --suffix=.cgwarden-test)
trap 'rm -rf "$folder"' EXIT
bad=0
fault() { echo "$*"; bad=1; }

# PROGRAM WORD...: completions of the last word, one per line
completed() {
  COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
  "_$1" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
  printf '%s\n' "${COMPREPLY[@]}"
}
same() { # SUBJECT ACTUAL EXPECTED
  [ "$2" = "$3" ] || fault "$1 is completed to '$2', not '$3'"
}
for program in "$agent" "$cgtop"; do
  name=$(basename "$program")
  for shell in bash zsh fish; do
    "$describe" "$program" "$shell" > "$folder/$name.$shell"
    if command -v "$shell" > /dev/null; then "$shell" -n "$folder/$name.$shell" || fault "$shell cannot parse the completion of $name"; fi
  done
  # shellcheck disable=SC1090  # generated above
  . "$folder/$name.bash"
done
same 'cgtop du' "$(completed cgtop du)" dump
same 'cgtop dump --form' "$(completed cgtop dump --form)" --format
same 'cgtop dump -f js' "$(completed cgtop dump -f js | tr '\n' ' ')" 'json jsonl '
same 'cgwarden --log.level w' "$(completed cgwarden --log.level w)" warn
same 'cgwarden cont' "$(completed cgwarden cont)" containers

"$describe" "$agent" man > "$folder/cgwarden.8"
if command -v groff > /dev/null; then
  said=$(groff -man -ww -Tutf8 "$folder/cgwarden.8" 2>&1 > /dev/null) || true
  [ -z "$said" ] || fault "groff warns about cgwarden(8): $said"
fi
named() { # MANUAL OPTION...: print the options that it does not name
  local manual
  manual=$(sed 's/\\-/-/g; s/\\f[BIR]//g' "$1")
  shift
  for option; do grep -qF -e "$option" <<< "$manual" || echo "$option"; done
}
options() { "$@" --help | grep -oE '(^|[ ,])--[a-z][a-z0-9.-]*[a-z0-9]' | tr -d ' ,' | sort -u; }
readarray -t all < <(options "$agent")
[ ${#all[@]} -gt 30 ] || fault "only ${#all[@]} options of the agent found"
missing=$(named "$folder/cgwarden.8" "${all[@]}")
[ -z "$missing" ] || fault "cgwarden(8) does not name: $missing"
readarray -t commands < <("$cgtop" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p')
[ ${#commands[@]} -gt 5 ] || fault "only ${#commands[@]} commands of cgtop found"
for command in '' "${commands[@]}"; do
  readarray -t all < <(options "$cgtop" ${command:+"$command"})
  missing=$(named "$top/docs/man/cgtop.1" ${command:+"$command"} "${all[@]}")
  [ -z "$missing" ] || fault "cgtop(1) does not name these options of cgtop $command: $(tr '\n' ' ' <<< "$missing")"
done
exit $bad
