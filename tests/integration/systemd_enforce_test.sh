#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The enforcer as a systemd service, installed by `cmake --install`: its privileges, a policy that limits and releases a
# unit, a user who acts on a delegated cgroup through the socket, and a freeze that ends when the enforcer is killed. In
# a virtual machine with pure cgroup v2.
#
#   systemd_enforce_test.sh BUILD_DIR
#
# Exit status: 0, 1, or 77 if the guest cannot run (missing packages, not root, other distribution).
# shellcheck disable=SC2317  # functions are called by name
set -uo pipefail

# ---- in the guest ------------------------------------------------------------------------------------------------
if [ "${1:-}" = --in-guest ]; then
  stage=$2
  . "$(dirname "$0")/checks.sh"
  property() { systemctl show -P "$1" "${2:-cgwarden-enforce}"; }
  file() { cat "/sys/fs/cgroup$1"; }
  as_tester() { runuser -u tester -- "$@"; }
  audit=/var/log/cgwarden/audit.jsonl
  textfile=/var/lib/cgwarden-enforce/cgwarden-enforce.prom
  hog=/system.slice/cgwarden-test-hog.service
  his=/sys/fs/cgroup/cgwarden-test-his

  cp -r "$stage"/. /
  systemctl daemon-reload
  check "unit file is valid" systemd-analyze verify cgwarden-enforce.service
  check "shipped policy is valid" cgwarden policy check /etc/cgwarden/policy.yaml
  sed -i 's/boot_grace: 5m/boot_grace: 0s/' /etc/cgwarden/policy.yaml
  mkdir -p /etc/cgwarden/policy.d
  cat > /etc/cgwarden/policy.d/test.yaml << 'YAML'
version: 1
rules:
  - name: hog
    match: { unit: cgwarden-test-hog.service }
    when: { field: cpu_usage, rate_above: 30%, for: 3s, clear_below: 1%, clear_for: 3s }
    do:
      - limit: { cpu.max: 20% }
    lease: 15s
    cooldown: 1s
    dry_run: false
YAML
  check "the unit starts" systemctl start cgwarden-enforce
  same "state" "$(property ActiveState)/$(property SubState)/$(property Type)" active/running/notify
  pid=$(property MainPID)
  same "its capabilities" "$(awk '/^CapEff:/ { print $2 }' "/proc/$pid/status")" 0000000001280026
  check "private network namespace" test "$(readlink "/proc/$pid/ns/net")" != "$(readlink /proc/1/ns/net)"
  systemd-analyze security --no-pager cgwarden-enforce | tail -n 1

  # through the policy
  # shellcheck disable=SC2016  # no expansion intended
  systemd-run --quiet --unit=cgwarden-test-hog sh -c 'while :; do :; done'
  limited() { [ "$(file "$hog/cpu.max")" = '20000 100000' ]; }
  free() { [ "$(file "$hog/cpu.max")" = 'max 100000' ]; }
  check "CPU limit by a rule" until_true 90 limited
  same "systemd property CPUQuota" "$(property CPUQuotaPerSecUSec cgwarden-test-hog)" 200ms
  check "rule in the audit log" grep -q '"rule":"hog"' "$audit"
  check "rule in the journal" grep -q '"rule":"hog"' <(journalctl -t cgwarden-audit --no-pager -o cat)
  fired() { grep -q '^cgwarden_policy_rule_fired_total{rule="hog"} 1' "$textfile"; }
  check "metrics file" until_true 30 fired
  cgwarden --log.level error --web.listen-address 127.0.0.1:10753 --collector.textfile.directory "${textfile%/*}" &
  exporter=$!
  shown() { curl -sS http://127.0.0.1:10753/metrics 2>&1 | grep -q '^cgwarden_policy_rule_fired_total{rule="hog"} 1'; }
  check "metrics in the exporter" until_true 30 shown
  kill "$exporter"
  kill -KILL "$(property MainPID)"
  check "limit stays after the enforcer was killed" limited
  restarts() { [ "$(property ActiveState)" = active ] && [ "$(property NRestarts)" = "$1" ]; }
  check "systemd restarts the enforcer" until_true 30 restarts 1
  sleep 20      # longer than the lease
  check "the new enforcer keeps the limit" limited
  check "stop" systemctl stop cgwarden-enforce
  check "limit is undone after the stop" free
  check "start" systemctl start cgwarden-enforce
  check "limit after the start" until_true 90 limited
  pkill -STOP -f 'while :; do :; done'
  check "limit is undone when the load ends" until_true 90 free
  same "systemd property CPUQuota after undo" "$(property CPUQuotaPerSecUSec cgwarden-test-hog)" infinity
  printf 'version: 1\nrules: [{ name: broken, mtach: {} }]\n' > /etc/cgwarden/policy.d/zz.yaml
  systemctl reload cgwarden-enforce
  told() { journalctl -u cgwarden-enforce --no-pager -o cat | grep -q "mtach"; }
  check "invalid drop-in is reported" until_true 30 told
  same "the enforcer keeps running" "$(property ActiveState)" active
  rm /etc/cgwarden/policy.d/zz.yaml

  # over the socket
  mkdir "$his" "$his/in"
  chown -R tester "$his"
  echo +pids > "$his/cgroup.subtree_control"
  check "owner limits a delegated cgroup" as_tester cgtop limit /cgwarden-test-his/in pids.max=7
  same "kernel state" "$(cat "$his/in/pids.max")" 7
  check "owner freezes a delegated cgroup" as_tester cgtop freeze /cgwarden-test-his/in --for 30s
  same "kernel state" "$(awk '/^frozen/ { print $2 }' "$his/in/cgroup.events")" 1
  check "owner thaws a delegated cgroup" as_tester cgtop thaw /cgwarden-test-his/in
  same "kernel state" "$(awk '/^frozen/ { print $2 }' "$his/in/cgroup.events")" 0
  check "UID in the audit log" grep -q '"uid":1000' "$audit"
  refused "owner freezes a foreign cgroup" 4 "" as_tester cgtop freeze "$hog"
  same "kernel state" "$(awk '/^frozen/ { print $2 }' "/sys/fs/cgroup$hog/cgroup.events")" 0
  runuser -u tester -- sleep 10000 &
  sleeper=$!
  until_true 10 grep -q sleep "/proc/$sleeper/comm"
  for p in $(pgrep -u tester sleep); do echo "$p" > "$his/in/cgroup.procs"; done
  check "owner kills a delegated cgroup" as_tester cgtop kill /cgwarden-test-his/in --yes
  empty() { grep -q 'populated 0' "$his/cgroup.events"; }
  check "the cgroup is empty" until_true 30 empty

  # the enforcer is killed while it holds a freeze
  check "freeze through the enforcer" as_tester cgtop freeze /cgwarden-test-his/in --for 5m
  kill -KILL "$(property MainPID)"
  thawed() { grep -q 'frozen 0' "$his/in/cgroup.events"; }
  check "freeze ends when the enforcer is killed" until_true 20 thawed
  check "systemd restarts the enforcer again" until_true 30 restarts 1

  check "the unit stops" systemctl stop cgwarden-enforce
  same "after the stop" "$(property ActiveState)/$(property Result)" inactive/success
  systemctl kill --signal=KILL cgwarden-test-hog
  rmdir "$his/in" "$his"
  if [ "$faults" -gt 0 ]; then
    echo "end of the journal of the service:"
    journalctl -u cgwarden-enforce --no-pager -o cat | tail -n 30
    tail -n 20 "$audit"
  fi
  exit $((faults > 0))
fi

# ---- on this machine ---------------------------------------------------------------------------------------------
[ $# -eq 1 ] || { sed -n '/^$/q; /^set -/q; 3,$s/^# \{0,1\}//p' "$0"; exit 2; }
. "$(dirname "${BASH_SOURCE[0]}")/guest.sh"
this_in_guest "$1"
