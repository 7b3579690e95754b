#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What scripts/describe-options makes of the programs' --help: completions that complete, a manual that says every
# option. And the manual of cgtop, which people wrote, names every option and command as well.
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

# PROGRAM WORD...: what the last word is completed to, one a line
completed() {
  COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
  "_$1" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
  printf '%s\n' "${COMPREPLY[@]}"
}
same() { # WHAT FOUND WANTED
  [ "$2" = "$3" ] || fault "$1 is completed to '$2', not '$3'"
}
for program in "$agent" "$cgtop"; do
  name=$(basename "$program")
  for shell in bash zsh fish; do
    "$describe" "$program" "$shell" > "$folder/$name.$shell"
    if command -v "$shell" > /dev/null; then "$shell" -n "$folder/$name.$shell" || fault "$shell cannot read what is made for $name"; fi
  done
  # shellcheck disable=SC1090  # just made
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
  [ -z "$said" ] || fault "groff says of cgwarden(8): $said"
fi
named() { # MANUAL OPTION...: which it does not name
  local manual
  manual=$(sed 's/\\-/-/g; s/\\f[BIR]//g' "$1")
  shift
  for option; do grep -qF -e "$option" <<< "$manual" || echo "$option"; done
}
options() { "$@" --help | grep -oE '(^|[ ,])--[a-z][a-z0-9.-]*[a-z0-9]' | tr -d ' ,' | sort -u; }
readarray -t all < <(options "$agent")
[ ${#all[@]} -gt 30 ] || fault "only ${#all[@]} options of the agent are found"
missing=$(named "$folder/cgwarden.8" "${all[@]}")
[ -z "$missing" ] || fault "cgwarden(8) does not name: $missing"
readarray -t commands < <("$cgtop" --help | sed -n '/^Subcommands:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p')
[ ${#commands[@]} -gt 5 ] || fault "only ${#commands[@]} commands of cgtop are found"
for command in '' "${commands[@]}"; do
  readarray -t all < <(options "$cgtop" ${command:+"$command"})
  missing=$(named "$top/docs/man/cgtop.1" ${command:+"$command"} "${all[@]}")
  [ -z "$missing" ] || fault "cgtop(1) does not name, of cgtop $command: $(tr '\n' ' ' <<< "$missing")"
done
exit $bad
