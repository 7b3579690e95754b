# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# For the part of a test that runs in the guest: a line for each thing that is looked at, and how many were not as wanted.
faults=0

fault() { # TEXT
  echo "FAIL $1"
  faults=$((faults + 1))
}

check() { # TEXT COMMAND...: the command's success is wanted
  local text=$1 output
  shift
  if output=$("$@" 2>&1); then echo "ok   $text"; else fault "$text${output:+: $output}"; fi
}

same() { # TEXT IS WANTED
  if [ "$2" = "$3" ]; then echo "ok   $1: $2"; else fault "$1: '$2', wanted '$3'"; fi
}

refused() { # TEXT CODE WORD COMMAND...: that exit code is wanted, and the word in what is said
  local text=$1 code=$2 word=$3 output status
  shift 3
  output=$("$@" 2>&1)
  status=$?
  if [ $status -eq "$code" ] && [[ $output == *"$word"* ]]; then echo "ok   $text: $output"; else
    fault "$text: exit code $status, wanted $code and '$word': $output"
  fi
}

box_image() { # FILE: a root file system for a container, packed; what it runs ends politely, with exit code 3
  mkdir -p /tmp/box/bin
  cp /bin/busybox /tmp/box/bin/
  ln -s busybox /tmp/box/bin/sh
  printf '#!/bin/sh\ntrap "exit 3" TERM\nwhile :; do /bin/busybox sleep 0.2; done\n' > /tmp/box/bin/load
  chmod 755 /tmp/box/bin/load
  tar -C /tmp/box -cf "$1" .
  chmod 644 "$1"
}

until_true() { # SECONDS COMMAND...
  local end=$((SECONDS + $1))
  shift
  until "$@"; do [ "$SECONDS" -lt "$end" ] || return 1; sleep 0.2; done
}
