# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Shared by the scripts of runtimes/, one a runtime:
#
#   NAME up       install nothing, start the runtime's daemon in a private root and containers with known facts
#   NAME facts    a line of JSON per container, as the runtime's own commands tell it
#   NAME flags    where the agent finds its state: one option a line
#   NAME daemon   the options with which the agent has its daemon alone to ask, and none of the state on disk
#   NAME end      end one container politely, if it can; a line of JSON says which, and its exit code
#   NAME down     end and remove all of it, also what is left of a run that failed
#   NAME install  the Debian packages it needs
#
# Everything is named cgwarden-test-..., and lies below $CGWARDEN_RUNTIMES_DIR (default: cgwarden-runtimes in /tmp).
# A script sets `packages` and `needs`, defines up, facts, flags and down, and ends with `main "$@"`.
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=../common.sh
. "$here/../common.sh"
dir=${CGWARDEN_RUNTIMES_DIR:-${TMPDIR:-/tmp}/cgwarden-runtimes}
mine=$dir/$me
box=$dir/box
memory=67108864 pids=50 tier=org.cgwarden.tier=web
# shellcheck disable=SC2034
packages=() needs=()

wait_for() { # COMMAND...: until it succeeds, 15 s at most
  local try
  for ((try = 0; try < 150; try++)); do
    "$@" > /dev/null 2>&1 && return 0
    sleep 0.1
  done
  die 1 "no answer in 15 s: $*"
}

running() { grep -qs '^State:.[^Z]' "/proc/$1/status"; } # PID: neither gone nor waiting to be reaped

daemon() { # NAME COMMAND...: in the background; its pid is kept in NAME.pid, what it says in NAME.log
  local name=$1
  shift
  setsid "$@" > "$mine/$name.log" 2>&1 < /dev/null &
  echo $! > "$mine/$name.pid"
}

stop() { # NAME: politely, then not
  local pid try
  pid=$(cat "$mine/$1.pid" 2> /dev/null) || return 0
  kill "$pid" 2> /dev/null || true
  for ((try = 0; try < 50; try++)); do
    running "$pid" || break
    sleep 0.1
  done
  if running "$pid"; then kill -9 "$pid" 2> /dev/null || true; fi
  rm -f "$mine/$1.pid"
}

make_box() { # a root file system of busybox, with a load that is known: some work, then a second of sleep
  [ -e "$box/bin/cgwarden-test-load" ] && return
  mkdir -p "$box"/{bin,dev,proc,sys,tmp,run,etc,usr,root,mnt,var}
  cp /bin/busybox "$box/bin/busybox"
  local name
  for name in sh sleep cat true kill ls; do ln -sf busybox "$box/bin/$name"; done
  echo 'root:x:0:0:root:/root:/bin/sh' > "$box/etc/passwd"
  echo 'ID=cgwarden-test' > "$box/etc/os-release"
  cat > "$box/bin/cgwarden-test-load" << 'X'
#!/bin/sh
trap 'exit 3' TERM
while :; do
  i=0
  while [ $i -lt 20000 ]; do i=$((i + 1)); done
  sleep 1
done
X
  chmod +x "$box/bin/cgwarden-test-load"
}

bundle() { # DIR NAME CGROUP: an OCI bundle
  mkdir -p "$1"
  (cd "$1" && rm -f config.json && runc spec)
  jq --arg root "$box" --arg name "$2" --arg cgroup "$3" --arg key "${tier%=*}" --arg value "${tier#*=}" \
    --argjson memory "$memory" --argjson pids "${4:-$pids}" '
    .process.terminal = false | .process.args = ["/bin/cgwarden-test-load"] | .root = {path: $root, readonly: true}
    | .process.rlimits = [] | .hostname = $name
    | .annotations = {($key): $value, "org.opencontainers.image.ref.name": "cgwarden-test/box:1"}
    | .linux.cgroupsPath = $cgroup | .linux.resources.memory = {limit: $memory}
    | .linux.resources.cpu = {quota: 50000, period: 100000} | .linux.resources.pids = {limit: $pids}
    ' "$1/config.json" > "$1/config.new"
  mv "$1/config.new" "$1/config.json"
}

without_v2() { # COMMAND...: in a mount namespace of its own that does not see the v2 hierarchy beside v1's
  if [ -d /sys/fs/cgroup/unified ]; then
    # shellcheck disable=SC2016  # for the inner shell
    unshare -m --propagation private sh -c 'mount -t tmpfs -o size=4k none /sys/fs/cgroup/unified && exec "$@"' sh "$@"
  else
    "$@"
  fi
}

end_left_overs() { # processes of the private root, its mounts, empty groups of the given names (in every hierarchy)
  local file pid line group
  for file in /proc/[0-9]*/cmdline; do
    pid=${file#/proc/} pid=${pid%/cmdline}
    if [ "$pid" = $$ ] || [ "$pid" = "$BASHPID" ]; then continue; fi
    if tr '\0' ' ' < "$file" 2> /dev/null | grep -qF "$mine/"; then
      case $(cat "/proc/$pid/comm" 2> /dev/null) in
        dockerd|containerd|containerd-shim*|conmon|catatonit|runsc*|exe|libvirt*|dbus-daemon|lxc-start|lxd|systemd-nspawn|podman)
          kill -9 "$pid" 2> /dev/null || true ;;
      esac
    fi
  done
  for group in "$@"; do
    # shellcheck disable=SC2231  # a name may be a pattern
    for line in /sys/fs/cgroup/$group /sys/fs/cgroup/*/$group; do
      [ -d "$line" ] || continue
      find "$line" -name cgroup.procs -exec cat {} + 2> /dev/null | sort -un | while read -r pid; do
        kill -9 "$pid" 2> /dev/null || true
      done
    done
  done
  sleep 0.3
  for group in "$@"; do
    # shellcheck disable=SC2231  # a name may be a pattern
    for line in /sys/fs/cgroup/$group /sys/fs/cgroup/*/$group; do
      [ ! -d "$line" ] || find "$line" -depth -type d -exec rmdir {} + 2> /dev/null || true
    done
  done
  awk -v dir="$mine/" 'index($2, dir) == 1 {print $2}' /proc/self/mounts | sort -r | while read -r line; do
    umount -l "$line" 2> /dev/null || true
  done
  rm -rf --one-file-system "$mine"
}

main() {
  case ${1:-} in
    up)
      [ "$(id -u)" = 0 ] || die 77 "needs root"
      require_commands jq:jq /bin/busybox:busybox-static "${needs[@]}"
      mkdir -p "$mine"
      make_box
      up
      ;;
    facts) facts ;;
    flags) flags ;;
    daemon) if declare -F daemon_flags > /dev/null; then daemon_flags; fi ;;
    end) if declare -F end > /dev/null; then end; fi ;;
    down) down > /dev/null 2>&1 || true ;;
    install)
      DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600 install -y --no-install-recommends \
        jq busybox-static curl "${packages[@]}"
      ;;
    *) usage "$here/common.sh" ;;
  esac
}
