# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Functions for the part of a test that runs in the guest: one line per check, and the number of failed checks.
faults=0

fault() { # TEXT
  echo "FAIL $1"
  faults=$((faults + 1))
}

check() { # TEXT COMMAND...: the command must succeed
  local text=$1 output
  shift
  if output=$("$@" 2>&1); then echo "ok   $text"; else fault "$text${output:+: $output}"; fi
}

same() { # TEXT ACTUAL EXPECTED
  if [ "$2" = "$3" ]; then echo "ok   $1: $2"; else fault "$1: '$2', expected '$3'"; fi
}

refused() { # TEXT STATUS WORD COMMAND...: the command must exit with STATUS and print WORD
  local text=$1 code=$2 word=$3 output status
  shift 3
  output=$("$@" 2>&1)
  status=$?
  if [ $status -eq "$code" ] && [[ $output == *"$word"* ]]; then echo "ok   $text: $output"; else
    fault "$text: exit code $status, wanted $code and '$word': $output"
  fi
}

box_image() { # FILE: create an archive of a container root file system; its load exits with status 3 on SIGTERM
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
