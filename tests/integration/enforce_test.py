#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`cgwarden enforce` on the kernel of this machine: processes that use too much memory, CPU or disk, or leak memory,
are limited by a policy and released again, and metrics and audit log record it. A dry run writes nothing, a failed
reload changes nothing, and nothing is left behind after SIGKILL or SIGTERM.

  enforce_test.py AGENT [TEST...]

Creates and removes only cgroups below cgwarden-test-enforce-PID (as root). Exit status: 0, 1, or 77 with the reason.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

PATIENCE = 40.0     # timeout of every wait; waits end as soon as the condition holds
TOP = f"cgwarden-test-enforce-{os.getpid()}"
MIB = 1 << 20

HOG = """
import mmap, os, sys, time
held, burn = [], False
for line in iter(sys.stdin.readline, ""):
    word, *rest = line.split()
    if word == "grow":
        held.append(bytearray(int(rest[0]) << 20))
        for i in range(0, len(held[-1]), 4096): held[-1][i] = 1
    elif word == "write":  # direct I/O, because v1 accounts and throttles nothing else
        page = mmap.mmap(-1, 1 << 20)
        file = os.open(rest[0], os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
        end = time.monotonic() + float(rest[1])
        while time.monotonic() < end: os.pwrite(file, page, 0)
        os.close(file)
    elif word == "free":
        held.clear()
    elif word == "burn":
        end = time.monotonic() + float(rest[0])
        while time.monotonic() < end: pass
    print("done", flush=True)
"""


class Fault(Exception):
    pass


def want(condition, text):
    if not condition:
        raise Fault(text)


def until(condition, text):
    end = time.monotonic() + PATIENCE
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise Fault(f"timeout after {PATIENCE:.0f} s: {text}")
        time.sleep(0.05)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read().strip()


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def hierarchies():
    """{controller: mount point}; "v2" for the unified hierarchy."""
    found = {}
    for line in read("/proc/self/mountinfo").split("\n"):
        before, after = line.split(" - ")
        where, kind, options = before.split()[4], after.split()[0], after.split()[2].split(",")
        if kind == "cgroup2":
            found["v2"] = where
        elif kind == "cgroup":
            for option in options:
                if option in ("memory", "cpu", "cpuacct", "freezer", "pids", "blkio"):
                    found[option] = where
    return found


class Groups:
    """Cgroups of one test in all hierarchies, with one process in each that executes commands."""

    def __init__(self, names):
        self.mounts = sorted(set(hierarchies().values()))
        self.by_controller = hierarchies()
        self.names = names
        self.processes = {}

    def path(self, controller, name, file):
        mount = self.by_controller.get(controller, self.by_controller.get("v2"))
        return f"{mount}/{TOP}/{name}/{file}"

    def __enter__(self):
        if "memory" not in self.by_controller:
            write(f"{self.by_controller['v2']}/cgroup.subtree_control", "+memory +cpu +pids +io")
        for mount in self.mounts:
            os.mkdir(f"{mount}/{TOP}")
            if mount == self.by_controller.get("v2") and "memory" not in self.by_controller:
                write(f"{mount}/{TOP}/cgroup.subtree_control", "+memory +cpu +pids +io")
            for name in self.names:
                os.mkdir(f"{mount}/{TOP}/{name}")
        for name in self.names:
            process = subprocess.Popen([sys.executable, "-c", HOG], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self.processes[name] = process
            for mount in self.mounts:
                write(f"{mount}/{TOP}/{name}/cgroup.procs", str(process.pid))
        return self

    def __exit__(self, *unused):
        for process in self.processes.values():
            process.kill()
        for mount in self.mounts:
            with contextlib.suppress(OSError):
                for name in self.names:       # processes of a frozen cgroup do not exit when killed
                    for file, text in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
                        if os.path.exists(f"{mount}/{TOP}/{name}/{file}"):
                            write(f"{mount}/{TOP}/{name}/{file}", text)
        for process in self.processes.values():
            process.wait()
            process.stdin.close()
            process.stdout.close()
        for mount in self.mounts:
            for name in [*self.names, ""]:
                end = time.monotonic() + PATIENCE
                while True:
                    try:
                        os.rmdir(f"{mount}/{TOP}/{name}")
                        break
                    except OSError:
                        if time.monotonic() > end or not os.path.isdir(f"{mount}/{TOP}/{name}"):
                            break
                        time.sleep(0.05)

    def command(self, name, *words, wait=True):
        process = self.processes[name]
        process.stdin.write(" ".join(map(str, words)) + "\n")
        process.stdin.flush()
        if wait:
            want(process.stdout.readline() == "done\n", f"the process of {name} exited")

    def memory_limit(self, name):
        """Bytes, or None if unlimited."""
        v1 = "memory" in self.by_controller
        text = read(self.path("memory", name, "memory.limit_in_bytes" if v1 else "memory.max"))
        return None if text == "max" or int(text) > 1 << 60 else int(text)

    def cpu_limit(self, name):
        """CPUs, or None if unlimited."""
        if "cpu" in self.by_controller:
            quota = int(read(self.path("cpu", name, "cpu.cfs_quota_us")))
            return None if quota < 0 else quota / int(read(self.path("cpu", name, "cpu.cfs_period_us")))
        quota, period = read(self.path("cpu", name, "cpu.max")).split()
        return None if quota == "max" else int(quota) / int(period)

    def write_limit(self, name, device):
        """Bytes per second, or None if unlimited."""
        if "blkio" in self.by_controller:
            found = re.search(rf"^{device} (\d+)$", read(self.path("blkio", name, "blkio.throttle.write_bps_device")), re.M)
        else:
            found = re.search(rf"^{device} .*wbps=(\d+)", read(self.path("io", name, "io.max")), re.M)
        return int(found.group(1)) if found else None

    def frozen(self, name):
        v1 = "freezer" in self.by_controller and read(self.path("freezer", name, "freezer.state")) == "FROZEN"
        return v1 or ("v2" in self.by_controller and "frozen 1" in read(self.path("v2", name, "cgroup.events")))


class Enforcer:
    def __init__(self, agent, folder, policy, *more, prefix=(), interval="0.2"):
        self.folder, self.policy = folder, os.path.join(folder, "policy.yaml")
        self.audit_file = os.path.join(folder, "audit.jsonl")
        self.metrics_file = os.path.join(folder, "cgwarden-enforce.prom")
        self.log = os.path.join(folder, "log")
        self.set_policy(policy)
        with open(self.log, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [*prefix, agent, "enforce", "--policy.file", self.policy, "--no-discovery",
                 "--audit.file", self.audit_file, "--control.state-directory", os.path.join(folder, "state"),
                 "--control.socket", os.path.join(folder, "socket"), "--metrics.textfile", self.metrics_file, "--interval", interval, *more], stderr=log, stdout=log)
        count = read(self.log).count('msg="ready"')
        until(lambda: read(self.log).count('msg="ready"') > count or self.process.poll() is not None, "the enforcer is ready")
        want(self.process.poll() is None, f"the enforcer exited: {read(self.log)[-2000:]}")

    def set_policy(self, rules):
        with open(self.policy, "w", encoding="utf-8") as file:
            file.write("version: 1\nenforcer: { boot_grace: 0s }\ndefaults: { cooldown: 500ms }\nrules:\n" + rules)
        os.chmod(self.policy, 0o644)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        want(self.process.wait(PATIENCE) == 0, f"the enforcer exited with status {self.process.returncode}: {read(self.log)[-3000:]}")

    def audit(self):
        with contextlib.suppress(FileNotFoundError):
            return [json.loads(line) for line in read(self.audit_file).split("\n")]
        return []

    def records(self, event, **wanted):
        return [r for r in self.audit() if r["event"] == event and all(r.get(k) == v for k, v in wanted.items())]

    def metric(self, series):
        with contextlib.suppress(FileNotFoundError):
            match = re.search(rf"^{re.escape(series)} (\S+)$", read(self.metrics_file), re.M)
            return float(match.group(1)) if match else None
        return None


def rule(name, group, when, do, more="dry_run: false"):
    return f"  - {{ name: {name}, match: {{ path: /{TOP}/{group} }}, when: {when}, do: [ {do} ], {more} }}\n"


def hogs_are_limited_and_released(agent, folder):
    policy = rule("memory-hog", "memory", "{ field: memory_current, above: 60MiB, for: 300ms, clear_below: 30MiB }",
                  "{ notify: a hog }, { limit: { memory.max: 256MiB } }")
    policy += rule("cpu-hog", "cpu", "{ field: cpu_usage, rate_above: 20%, for: 300ms, clear_below: 5% }",
                   "{ limit: { cpu.max: 10% } }")
    policy += rule("leak", "leak", "{ field: memory_current, slope_above: 5MiB/s, window: 2s }",
                   "{ limit: { memory.max: 300MiB } }")
    with Groups(["memory", "cpu", "leak"]) as groups, Enforcer(agent, folder, policy) as enforcer:
        groups.command("memory", "grow", 90)
        until(lambda: groups.memory_limit("memory") == 256 * MIB, "the memory hog is limited")
        groups.command("cpu", "burn", 6, wait=False)
        until(lambda: groups.cpu_limit("cpu") == 0.1, "the CPU hog is limited")

        def leaks():
            groups.command("leak", "grow", 4)
            return groups.memory_limit("leak") == 300 * MIB
        until(leaks, "the leak is limited")

        groups.command("memory", "free")
        until(lambda: groups.memory_limit("memory") is None, "the memory hog is released")
        until(lambda: groups.cpu_limit("cpu") is None, "the CPU hog is released")
        until(lambda: groups.memory_limit("leak") is None, "the leak is released")

        for name, group in (("memory-hog", "memory"), ("cpu-hog", "cpu"), ("leak", "leak")):
            until(lambda rule=name: enforcer.metric(
                f'cgwarden_policy_actions_total{{action="unlimit",result="done",route="cgroupfs",rule="{rule}"}}'),
                f"the metrics report that the limit of {name} was removed")
            want(enforcer.metric(f'cgwarden_policy_rule_fired_total{{rule="{name}"}}') >= 1, f"the metrics report that {name} fired")
            for event in ("fire", "clear"):
                records = enforcer.records(event, rule=name)
                want(records and records[0]["cgroup"]["path"] == f"/{TOP}/{group}", f"the audit log contains {event} of {name}")
        begun = [r for r in enforcer.records("end", action="limit") if r["actor"]["rule"] == "memory-hog"][0]
        want(begun["reason"]["above"] == "60MiB" and "memory_current" in begun["reason"],
             f"the audit log contains the values: {begun['reason']}")
        want(begun["changes"][0]["after"] == str(256 * MIB), f"the value is read back: {begun['changes']}")
        want(enforcer.records("notify", rule="memory-hog"), "the audit log contains the notification")
        enforcer.stop()


def the_largest_is_killed_when_all_together_are_too_large(agent, folder):
    policy = rule("too-much", "*", f"{{ field: memory_current, above: 110MiB, for: 300ms, at: /{TOP} }}", "{ kill: {} }",
                  "pick: { most: memory_current }, cooldown: 2s, dry_run: false")
    with Groups(["small", "big", "idle"]) as groups, Enforcer(agent, folder, policy) as enforcer:
        groups.command("big", "grow", 70)
        groups.command("small", "grow", 50)
        until(lambda: groups.processes["big"].poll() is not None, "the largest cgroup is killed")
        reason = enforcer.records("begin", action="kill")[0]["reason"]["text"]
        want(f"memory_current of /{TOP} is 1" in reason and "highest memory_current" in reason, f"the audit log contains the reason: {reason}")
        until(lambda: enforcer.records("clear", rule="too-much"), "the rule is inactive")
        time.sleep(3)  # longer than the cooldown
        for name in ("small", "idle"):
            want(groups.processes[name].poll() is None, f"the {name} cgroup is alive")
        want(len(enforcer.records("begin", action="kill")) == 1, "one cgroup was killed")
        enforcer.stop()


def disk_below(path):
    """MAJOR:MINOR of the whole disk that holds it, or None."""
    number = os.stat(path).st_dev
    place = os.path.realpath(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    if os.path.exists(f"{place}/partition"):
        place = os.path.dirname(place)
    return read(f"{place}/dev") if os.path.exists(f"{place}/queue") else None


def a_hog_of_the_disk_is_slowed_down(agent, folder):
    disk = disk_below("/var/tmp")
    if not disk:
        return "/var/tmp is on no disk here"
    policy = rule("disk-hog", "disk", "{ field: io_write, rate_above: 2MiB/s, for: 300ms, clear_below: 1KiB/s, clear_for: 1s }",
                  f"{{ limit: {{ io.max.wbps@{disk}: 4MiB }} }}")
    with Groups(["disk"]) as groups, Enforcer(agent, folder, policy) as enforcer, \
            tempfile.NamedTemporaryFile(dir="/var/tmp", prefix="cgwarden-test-") as file:
        groups.command("disk", "write", file.name, 4, wait=False)
        until(lambda: groups.write_limit("disk", disk) == 4 * MIB, "the I/O limit is set")
        begun = [r for r in enforcer.records("begin", action="limit")][0]
        want("io_write" in begun["reason"]["text"], f"the audit log contains the values: {begun['reason']}")
        until(lambda: groups.write_limit("disk", disk) is None, "the limit is undone after the load")
        enforcer.stop()


def a_recording_shows_what_would_have_been_done(agent, folder):
    policy, recording = os.path.join(folder, "policy.yaml"), os.path.join(folder, "x.cgrec")
    with open(policy, "w", encoding="utf-8") as file:
        file.write("version: 1\nrules:\n" + rule("hog", "cpu", "{ field: cpu_usage, rate_above: 5%, for: 500ms }",
                                                 "{ notify: a hog }, { limit: { cpu.max: 10% } }"))
    with Groups(["cpu"]) as groups:
        groups.command("cpu", "burn", 30, wait=False)
        done = subprocess.run([os.path.join(os.path.dirname(agent), "cgtop"), "record", recording, "-d", "500ms", "--for", "4s"],
                              capture_output=True, text=True, check=False, timeout=PATIENCE)
        want(done.returncode == 0, f"recording succeeds: {done.stderr}")
        want(groups.cpu_limit("cpu") is None, "nothing was changed")
    done = subprocess.run([agent, "policy", "test", policy, "--from", recording], capture_output=True, text=True, check=False,
                          timeout=PATIENCE)
    want(done.returncode == 0 and not done.stderr, f"policy test succeeds: {done.stderr}")
    for what in ("fire hog", "notify hog", "limit hog"):
        want(re.search(rf"^\S+Z {what} /{TOP}/cpu.*rate of cpu_usage is ", done.stdout, re.M), f"the output contains '{what}': {done.stdout}")


def a_dry_run_writes_nothing(agent, folder):
    if not shutil.which("strace"):
        return "no strace here; scripts/install-deps test brings it"
    policy = rule("hog", "memory", "{ field: memory_current, above: 1MiB }",
                  "{ limit: { memory.max: 256MiB, pids.max: 5000 } }, { freeze: 5s }, { kill: now, after: 300ms }", "cooldown: 0s")
    trace = os.path.join(folder, "trace")
    with Groups(["memory"]) as groups:
        groups.command("memory", "grow", 10)
        with Enforcer(agent, folder, policy,
                      prefix=["strace", "-f", "-o", trace, "-e", "trace=open,openat,openat2,creat,kill,pidfd_send_signal,mkdir,mkdirat,rmdir,"
                              "unlinkat,tkill"]) as enforcer:
            for action in ("limit", "freeze", "kill"):
                until(lambda a=action: enforcer.records("dry_run", action=a, result="done"), f"the dry run reports {action}")
            child = int(read(f"/proc/{enforcer.process.pid}/task/{enforcer.process.pid}/children").split()[0])
            os.kill(child, signal.SIGTERM)
            enforcer.process.wait(PATIENCE)
        want(groups.memory_limit("memory") is None and not groups.frozen("memory"), "nothing was changed")
        want(groups.processes["memory"].poll() is None, "no process was killed")
        own = (folder + "/", "/proc/pressure/", "/dev/")
        for line in read(trace).split("\n"):
            call = re.search(r"(\w+)\((.*)\) += (\S+)", line)
            if not call or call.group(3).startswith("-"):
                continue
            name, arguments = call.group(1), call.group(2)
            if name in ("kill", "tkill", "pidfd_send_signal"):
                want(re.match(r"\d+, 0$", arguments), f"a dry run sends no signal: {line}")
            elif name in ("mkdir", "mkdirat", "rmdir", "unlinkat") or re.search(r"O_(WRONLY|RDWR|CREAT)", arguments):
                text = re.search(r'"([^"]*)"', arguments)
                want(text and text.group(1).startswith(own), f"a dry run writes only its own files: {line}")
    return None


def a_bad_reload_changes_nothing(agent, folder):
    policy = rule("r", "memory", "always", "{ limit: { memory.max: 256MiB } }")
    with Groups(["memory"]) as groups, Enforcer(agent, folder, policy) as enforcer:
        until(lambda: groups.memory_limit("memory") == 256 * MIB, "the cgroup is limited")
        enforcer.set_policy("  - { name: r, match: { pth: /x } }\n")
        enforcer.process.send_signal(signal.SIGHUP)
        until(lambda: enforcer.metric("cgwarden_policy_config_last_reload_successful") == 0, "the metrics report the failed reload")
        want("policy.yaml:5:25: unknown key 'pth'; did you mean 'path'?" in read(enforcer.log), "the log contains the position")
        want(groups.memory_limit("memory") == 256 * MIB, "the previous policy stays active")
        enforcer.set_policy(rule("other", "memory", "always", "{ limit: { memory.max: 300MiB } }"))
        os.chmod(enforcer.policy, 0o666)
        enforcer.process.send_signal(signal.SIGHUP)
        until(lambda: "file: writable by group or others" in read(enforcer.log), "a policy that is writable by others is refused")
        os.chmod(enforcer.policy, 0o644)
        enforcer.process.send_signal(signal.SIGHUP)
        until(lambda: groups.memory_limit("memory") == 300 * MIB, "the valid policy is active")
        until(lambda: enforcer.metric("cgwarden_policy_config_last_reload_successful") == 1, "the metrics report the reload")
        enforcer.stop()
        want(groups.memory_limit("memory") is None, "a stop undoes limits")


def nothing_is_left_behind(agent, folder):
    policy = rule("limit", "memory", "always", "{ limit: { memory.max: 256MiB } }")
    policy += rule("freeze", "cpu", "always", "{ freeze: 1h }")
    with Groups(["memory", "cpu"]) as groups:
        with Enforcer(agent, folder, policy) as enforcer:
            until(lambda: groups.memory_limit("memory") == 256 * MIB and groups.frozen("cpu"), "the cgroup is limited and frozen")
            until(lambda: enforcer.metric("cgwarden_policy_frozen_cgroups") == 1, "the metrics report the freeze")
            enforcer.process.kill()
            enforcer.process.wait()
        until(lambda: not groups.frozen("cpu"), "a killed enforcer's freeze ends")
        until(lambda: enforcer.records("thaw"), "the audit log contains the thaw")
        want(groups.memory_limit("memory") == 256 * MIB, "the limit stays after the enforcer was killed")
        # The next enforcer continues the lease: no second write, and the previous value is still known.
        with Enforcer(agent, folder, policy.split("\n")[0] + "\n") as enforcer:
            want("limits of an earlier enforcer taken over" in read(enforcer.log), "a new enforcer continues the lease")
            until(lambda: (enforcer.metric("cgwarden_policy_samples_total") or 0) > 3, "the rule was evaluated")
            want(groups.memory_limit("memory") == 256 * MIB, "the limit is unchanged")
            enforcer.stop()
        want(groups.memory_limit("memory") is None, "a stop undoes the limit")
        # A value that another program set is kept.
        with Enforcer(agent, folder, policy.split("\n")[0] + "\n") as enforcer:
            until(lambda: groups.memory_limit("memory") == 256 * MIB, "the cgroup is limited")
            v1 = "memory" in groups.by_controller
            write(groups.path("memory", "memory", "memory.limit_in_bytes" if v1 else "memory.max"), str(400 * MIB))
            until(lambda: enforcer.metric('cgwarden_policy_leases_lost_total{route="cgroupfs",rule="limit"}') == 1,
                  "the metrics report the lost lease")
            enforcer.stop()
        want(groups.memory_limit("memory") == 400 * MIB, "a value set by another program is kept")


def others_ask_over_the_socket(agent, folder):
    with Groups(["memory"]) as groups, Enforcer(agent, folder, "  []\n") as enforcer:
        def ask(**question):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(PATIENCE)
                connection.connect(os.path.join(folder, "socket"))
                connection.sendall(json.dumps({"version": 1, **question}).encode() + b"\n")
                return json.loads(connection.makefile().readline())["outcome"]
        answer = ask(apply={"verb": "freeze", "path": f"/{TOP}/memory", "lease_ms": 600000})
        want(answer["kind"] == "done" and groups.frozen("memory"), f"a freeze over the socket is done: {answer}")
        answer = ask(undo=answer["undo"], dry_run=False)
        want(answer["kind"] == "done" and not groups.frozen("memory"), f"and undone: {answer}")
        answer = ask(apply={"verb": "freeze", "path": "/"})
        want(answer["kind"] == "refused", f"the root cgroup is refused: {answer}")
        enforcer.stop()
        want(not os.path.exists(os.path.join(folder, "socket")), "the enforcer removes its socket")


TESTS = [hogs_are_limited_and_released, the_largest_is_killed_when_all_together_are_too_large, a_hog_of_the_disk_is_slowed_down, a_recording_shows_what_would_have_been_done,
         a_dry_run_writes_nothing, a_bad_reload_changes_nothing, nothing_is_left_behind,
         others_ask_over_the_socket]


def main():
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return 0 if len(sys.argv) > 1 else 2
    if os.geteuid() != 0:
        print("SKIP: root is required to create cgroups")
        return 77
    if not hierarchies():
        print("SKIP: no cgroup file system is mounted")
        return 77
    agent = os.path.abspath(sys.argv[1])
    faults = 0
    for test in TESTS:
        if len(sys.argv) > 2 and test.__name__ not in sys.argv[2:]:
            continue
        with tempfile.TemporaryDirectory(prefix="cgwarden-test-") as folder:
            os.chmod(folder, 0o755)
            begun = time.monotonic()
            try:
                skipped = test(agent, folder)
                print(f"{'skip' if skipped else 'ok  '} {test.__name__}: {skipped or f'{time.monotonic() - begun:.1f} s'}")
            except (Fault, OSError, subprocess.SubprocessError) as fault:
                faults += 1
                print(f"FAIL {test.__name__}: {fault}")
                with contextlib.suppress(OSError):
                    print(read(os.path.join(folder, "log"))[-4000:])
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
