# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Functions for tests that run in the virtual machine of the lab: checks its requirements and installs cgwarden into it.
lab=$(cd "$(dirname "${BASH_SOURCE[0]}")/../lab/v2" && pwd)

skip() { echo "SKIP: $*"; exit 77; }

# prepare_guest BUILD_DIR: skips the test if no guest can run; creates $tmp with checks.sh and the installed program in
# $tmp/stage
prepare_guest() {
  local system
  [ "$(id -u)" = 0 ] || skip "root is required to share a directory with the guest"
  # shellcheck disable=SC1091  # file of the distribution
  system=$(. /etc/os-release && echo "${ID:-} ${VERSION_ID:-}")
  [ "$system" = 'debian 12' ] || skip "the guest's libraries are Debian 12's, and this is $system"
  [ "$(uname -m)" = x86_64 ] || skip "the guest is x86-64, and this is $(uname -m)"
  tmp=$(mktemp -d -p "${TMPDIR:-/var/tmp}" --suffix=.cgwarden-test) || exit 1
  trap 'rm -rf "$tmp"' EXIT
  mkdir "$tmp/stage"
  cp "$lab/../../integration/checks.sh" "$tmp/"
  DESTDIR=$tmp/stage cmake --install "$1" --prefix /usr --strip > "$tmp/install.log" 2>&1 ||
    { cat "$tmp/install.log"; exit 1; }
  # The complete python3, because the image contains only python3-minimal, and container runtimes. All tests request the
  # same that it is built once.
  "$lab/build-image" --quiet --add python3,podman,crun,catatonit,uidmap,busybox-static,systemd-container > "$tmp/image.log" 2>&1
  case $? in
    0) ;;
    77) skip "$(tail -n 1 "$tmp/image.log")" ;;
    *) cat "$tmp/image.log"; exit 1 ;;
  esac
}

# in_guest OPTION... -- COMMAND...: the last command of a test; its exit status is that of the test
in_guest() {
  local status
  # 125: the guest failed, not the command; an emulated kernel sometimes panics while it patches its own code
  for _ in 1 2 3; do
    "$lab/run-in-guest" --timeout "${CGWARDEN_GUEST_TIMEOUT:-600}" "$@" 2> "$tmp/err"
    status=$?
    [ $status -eq 125 ] || break
  done
  cat "$tmp/err"
  [ $status -ne 77 ] || echo "SKIP: $(tail -n 1 "$tmp/err")"
  exit $status
}

# this_in_guest BUILD_DIR: run the calling script again in the guest, with --in-guest and the directory of the installed
# program; the last command of a test
this_in_guest() {
  prepare_guest "$1"
  cp "$0" "$tmp/test.sh"
  in_guest --share "$tmp:ro" -- bash "$tmp/test.sh" --in-guest "$tmp/stage"
}
