# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Functions shared by the scripts in runtimes/. There is one script per runtime:
#
#   NAME up       start the daemon with a private root directory, and containers with known properties; installs nothing
#   NAME facts    print one line of JSON per container, from the runtime's own commands
#   NAME flags    print the agent's options for the state on disk, one per line
#   NAME daemon   print the agent's options for using only the daemon and no state on disk
#   NAME end      stop one container with SIGTERM, if supported; prints its name and exit status as JSON
#   NAME down     stop and remove everything, including leftovers of a failed run
#   NAME install  install the required Debian packages
#
# All objects are named cgwarden-test-... and stored below $CGWARDEN_RUNTIMES_DIR (default: cgwarden-runtimes in /tmp).
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

wait_for() { # COMMAND...: retry until it succeeds, for at most 15 s
  local try
  for ((try = 0; try < 150; try++)); do
    "$@" > /dev/null 2>&1 && return 0
    sleep 0.1
  done
  die 1 "no success within 15 s: $*"
}

running() { grep -qs '^State:.[^Z]' "/proc/$1/status"; } # PID: exists and is not a zombie

daemon() { # NAME COMMAND...: run in the background; PID in NAME.pid, output in NAME.log
  local name=$1
  shift
  setsid "$@" > "$mine/$name.log" 2>&1 < /dev/null &
  echo $! > "$mine/$name.pid"
}

stop() { # NAME: SIGTERM, then SIGKILL
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

make_box() { # busybox root file system with a known load: some work, then a second of sleep
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

bundle() { # DIR NAME CGROUP: create an OCI bundle
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

without_v2() { # COMMAND...: run in a mount namespace without the v2 hierarchy of a hybrid host
  if [ -d /sys/fs/cgroup/unified ]; then
    # shellcheck disable=SC2016  # for the inner shell
    unshare -m --propagation private sh -c 'mount -t tmpfs -o size=4k none /sys/fs/cgroup/unified && exec "$@"' sh "$@"
  else
    "$@"
  fi
}

end_left_overs() { # CGROUP...: kill processes of the private root, unmount it, remove empty cgroups of these names in all hierarchies
  local file pid line cgroup
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
  for cgroup in "$@"; do
    # shellcheck disable=SC2231  # a name may be a pattern
    for line in /sys/fs/cgroup/$cgroup /sys/fs/cgroup/*/$cgroup; do
      [ -d "$line" ] || continue
      find "$line" -name cgroup.procs -exec cat {} + 2> /dev/null | sort -un | while read -r pid; do
        kill -9 "$pid" 2> /dev/null || true
      done
    done
  done
  sleep 0.3
  for cgroup in "$@"; do
    # shellcheck disable=SC2231  # a name may be a pattern
    for line in /sys/fs/cgroup/$cgroup /sys/fs/cgroup/*/$cgroup; do
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
      [ "$(id -u)" = 0 ] || die 77 "root is required"
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
