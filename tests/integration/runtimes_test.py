#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Real containers of all runtimes that can run here; the output of the agent is compared with that of the runtime.

  runtimes_test.py AGENT [RUNTIME...]

The agent is started first. Then each script in tests/lab/runtimes/ starts its containers. The agent must name each
container as soon as its runtime reports it (the table shows the delay), with the image, labels, pod, limits and CPU
time that the runtime's commands report, as far as they are in the state on disk or available over the daemon's socket
(see each script). `cgwarden containers --json` must agree, also when only the daemon is available. Finally the
containers are stopped; they must still be shown as exited, with exit status and time where the runtime keeps these, on
disk or in its daemon.

All objects are named cgwarden-test-... and are always removed. Exit status: 0, 1, or 77 if no runtime can run.
"""

import contextlib
import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LAB = os.path.join(ROOT, "tests/lab/runtimes")
RUNTIMES = ["docker", "containerd", "podman", "runc", "crun", "lxc", "lxd", "nspawn", "libvirt", "runsc"]
PATIENCE = float(os.environ.get("CGWARDEN_TEST_PATIENCE", "1"))  # factor for all timeouts, for slow machines
SERIES = re.compile(r'^(\w+)\{(.*)\} (\S+)$', re.M)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
TEXTS = ["image", "image_digest", "pod", "namespace", "pod_uid", "qos", "service", "task", "node", "project", "project_service",
         "unit"]


def lab(runtime, verb, directory, timeout=120):
    done = subprocess.run([os.path.join(LAB, runtime), verb], capture_output=True, text=True, check=False, timeout=timeout,
                          stdin=subprocess.DEVNULL, env=os.environ | {"CGWARDEN_RUNTIMES_DIR": directory})
    if done.returncode not in (0, 77):
        raise RuntimeError(f"{runtime} {verb}: exit status {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done


class Agent:
    def __init__(self, path, flags):
        self.path, self.flags = path, flags
        self.log = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen([path, "--web.listen-address=127.0.0.1:0", *flags], stderr=self.log)
        self.url = None
        for _ in range(100):
            self.log.seek(0)
            found = re.search(r'msg="listening" address=(?:\w+://)?(127\.0\.0\.1:\d+)', self.log.read())
            if found:
                self.url = f"http://{found.group(1)}/metrics"
                return
            time.sleep(0.05)
        raise RuntimeError("the agent does not accept connections")

    def series(self):
        """[(name, {label: value}, value)] of cgroup_*"""
        with urllib.request.urlopen(self.url, timeout=30) as answer:
            text = answer.read().decode()
        out = []
        for name, labels, value in SERIES.findall(text):
            if "cgwarden-test" in labels or "container" in name:
                out.append((name, dict(LABEL.findall(labels)), float(value)))
        return out

    def containers(self, flags=None):
        done = subprocess.run([self.path, *(self.flags if flags is None else flags), "containers", "--json"],
                              capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


class Births(threading.Thread):
    """Polls the agent ten times per second to find out when it names each container that is created meanwhile."""

    def __init__(self, agent):
        super().__init__(daemon=True)
        self.url = agent.url.replace("/metrics", "/api/v1/cgroups")
        self.named_after = {}  # (runtime, name): seconds after the creation of the cgroup
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(0.1):
            try:
                with urllib.request.urlopen(self.url, timeout=30) as answer:
                    groups = json.load(answer)
            except OSError:
                continue
            now = time.time()
            for one in groups["containers"]:
                key = one.get("runtime"), one.get("name")
                at = one["cgroup"]
                if one["role"] == "container" and key[1] and groups["creation_observed"][at] and key not in self.named_after:
                    self.named_after[key] = now - groups["created_ns"][at] / 1e9

    def stop(self):
        self.ended.set()
        self.join(30)


class Checks:
    def __init__(self):
        self.failed = []

    def same(self, what, mine, theirs):
        if mine != theirs:
            self.failed.append(f"{what}: the agent says {mine!r}, the runtime {theirs!r}")
        return mine == theirs


def named(series, fact):
    return next((labels for name, labels, _ in series
                 if name == "cgroup_container_info" and labels.get("container") == fact["name"]
                 and labels.get("runtime") == fact["runtime"]), None)


def number(series, name, labels):
    """Series of the cgroup of the container; its labels must be on every series."""
    return next((value for n, l, value in series
                 if n == name and all(l.get(k) == labels.get(k) for k in ("cgroup", "container", "runtime"))), None)


def compare(agent, runtime, fact, directory, checks, printed):
    """Checks one container. Returns its row of the table."""
    what = f"{runtime} {fact['name']}"
    series = agent.series()
    info = named(series, fact)
    if info is None:
        checks.failed.append(f"{what}: the agent does not know it")
        return None
    row = {"name": True}
    checks.same(f"{what}: id", info.get("id"), fact["id"])
    for key in TEXTS:
        if fact.get(key) is not None:
            row[key] = checks.same(f"{what}: {key}", info.get(key), fact[key])
    for key, tier in (fact.get("labels") or {}).items():
        if not key.endswith("org.cgwarden.tier"):  # labels of LXD have the prefix "user."
            continue
        label = "label_" + key.replace(".", "_")
        deadline = time.monotonic() + PATIENCE  # the daemon is queried shortly after the container was found
        while info.get(label) != tier and time.monotonic() < deadline:
            time.sleep(0.1)
            info = named(agent.series(), fact) or info
        row["labels"] = checks.same(f"{what}: label", info.get(label), tier)
    limits = fact.get("limits", {})
    period, quota = (number(series, f"cgroup_cpu_{key}_seconds", info) for key in ("period", "quota"))
    mine = {"memory": number(series, "cgroup_memory_max_bytes", info), "pids": number(series, "cgroup_pids_max", info),
            "cpu": quota / period if quota and period else None}
    row["limits"] = all([checks.same(f"{what}: limit of {key}", mine[key], value) for key, value in limits.items()])
    if fact.get("cpu_seconds") is not None:
        slack = fact.get("cpu_precision", 0.0005)
        before = fact["cpu_seconds"]
        used = number(agent.series(), "cgroup_cpu_usage_seconds_total", info)
        after = next(f["cpu_seconds"] for f in facts_of(runtime, directory) if f["name"] == fact["name"])
        row["cpu"] = used is not None and before - slack <= used <= after + slack
        if not row["cpu"]:
            checks.failed.append(f"{what}: CPU time {used} is not between the runtime's {before} and {after}")
    one = next((c for c in printed if c.get("id") == fact["id"] and c.get("runtime") == fact["runtime"]), None)
    if one is None:
        checks.failed.append(f"{what}: `cgwarden containers` does not print it")
    else:
        checks.same(f"{what}: printed name", one.get("name"), fact["name"])
        if fact.get("image_layers") is not None:
            row["layers"] = checks.same(f"{what}: layers", [layer["id"] for layer in one.get("image_layers", [])],
                                        fact["image_layers"])
            for key in ("image_bytes", "writable_layer"):
                row["layers"] = checks.same(f"{what}: {key}", one.get(key), fact[key]) and row["layers"]
            checks.same(f"{what}: served image_bytes", number(series, "cgroup_container_image_bytes", info),
                        fact["image_bytes"])
        if fact.get("pid") is not None and one.get("pid") is not None:
            checks.same(f"{what}: pid", one["pid"], fact["pid"])
        checks.same(f"{what}: facts without a source", [k for k in one if k not in one["from"]
                                                        and k not in ("cgroup", "role", "from")], [])
        # Without the daemon, because it reports mostly the same and would hide that the state on disk cannot be parsed.
        checks.same(f"{what}: not from the state on disk, but from",
                    {k: one["from"].get(k) for k in fact.get("on_disk", []) if not one["from"].get(k, "").startswith("/")}, {})
        if fact.get("state") is not None and one.get("state") is not None:
            checks.same(f"{what}: state", one["state"], fact["state"])
    return row


def compare_daemon(agent, runtime, facts, directory, checks):
    """Checks the data from the daemon alone, without state on disk."""
    flags = lab(runtime, "daemon", directory).stdout.split()
    if not flags:
        return
    reported = agent.containers(["--discovery.labels=*", *flags])
    for fact in facts:
        what = f"{runtime}'s daemon of {fact['name']}"
        one = next((c for c in reported if c.get("id") == fact["id"]), {})
        for key in ("name", "runtime", "image", "image_digest", "restart_count", "labels"):
            checks.same(f"{what}: {key}", one.get(key), fact[key])
        checks.same(f"{what}: source", one.get("from", {}).get("name", "")[:6], "unix:/")
    print(f"{runtime}: compared {len(facts)} containers using only the daemon")


def facts_of(runtime, directory):
    return [json.loads(line) for line in lab(runtime, "facts", directory).stdout.splitlines()]


def time_to_name(agent, facts, since):
    """Seconds until the agent names all containers, or None."""
    while time.monotonic() < since + 10 * PATIENCE:
        series = agent.series()
        if all(named(series, fact) for fact in facts):
            return time.monotonic() - since
        time.sleep(0.05)
    return None


def run(agent, runtimes, directory, checks):
    rows, ran = [], {}
    births = Births(agent)
    births.start()
    for runtime in runtimes:
        up = lab(runtime, "up", directory)
        if up.returncode == 77:
            print(f"not here: {(up.stderr or up.stdout).strip()}")
            continue
        facts = facts_of(runtime, directory)
        if not facts:
            checks.failed.append(f"{runtime}: its own commands know no container")
            continue
        named_after = time_to_name(agent, facts, time.monotonic())
        if named_after is None:
            checks.failed.append(f"{runtime}: not all are named")
        printed = agent.containers()
        facts = facts_of(runtime, directory)
        time.sleep(0.6)  # a snapshot is shared for half a second; the next one is newer than the facts
        for fact in facts:
            row = compare(agent, runtime, fact, directory, checks, printed)
            if row is not None:
                rows.append((fact["runtime"], fact["name"], row, births.named_after.get((fact["runtime"], fact["name"]))))
        compare_daemon(agent, runtime, facts, directory, checks)
        ran[runtime] = facts
    births.stop()
    return rows, ran


def seconds(text):
    """Converts 2026-11-24T10:00:01.5Z to seconds since 1970."""
    whole, _, rest = text.partition(".")
    fraction = re.match(r"\d*", rest).group()
    zone = re.search(r"(Z|[+-]\d\d:\d\d)$", text).group().replace("Z", "+00:00")
    return datetime.datetime.fromisoformat(whole[:19] + zone).timestamp() + float(f"0.{fraction or 0}")


def check_end(agent, what, ended, checks):
    """Exit status and time of an exited container, as exported by the agent."""
    deadline = time.monotonic() + 5 * PATIENCE
    while True:
        exported = {name: value for name, labels, value in agent.series() if labels.get("container") == ended["name"]}
        code, finished = exported.get("cgroup_container_exit_code"), exported.get("cgroup_container_finish_time_seconds")
        if (code is not None and (finished is not None or "finished" not in ended)) or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    checks.same(f"{what}: exit code", code, ended["exit_code"])
    if "finished" in ended and (finished is None or abs(finished - seconds(ended["finished"])) > 0.001):
        checks.failed.append(f"{what}: it finished at {finished}, not {ended['finished']}")


def check_ends(agent, ran, directory, checks):
    for runtime, facts in ran.items():
        # A second agent uses only the daemon, next to the agent that reads the state on disk.
        flags = lab(runtime, "daemon", directory).stdout.split()
        asking = Agent(agent.path, flags) if flags else None
        try:
            if asking is not None and time_to_name(asking, facts, time.monotonic()) is None:
                checks.failed.append(f"{runtime}'s daemon: not all named by it alone")
            for line in lab(runtime, "end", directory).stdout.splitlines():
                ended = json.loads(line)
                check_end(agent, f"{runtime} {ended['name']}", ended, checks)
                if asking is not None:
                    check_end(asking, f"{runtime}'s daemon of {ended['name']}", ended, checks)
        finally:
            if asking is not None:
                asking.stop()
        lab(runtime, "down", directory)
        deadline = time.monotonic() + 5 * PATIENCE
        while True:
            series = agent.series()
            states = {labels["container"]: labels["state"] for name, labels, _ in series
                      if name == "cgroup_container_state" and "container" in labels and labels["runtime"] == facts[0]["runtime"]}
            wrong = {f["name"]: states.get(f["name"]) for f in facts if states.get(f["name"]) not in ("exited", "dead", "stopped")}
            if not wrong or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        checks.same(f"{runtime}: states of what has ended", wrong, {})


# Runtimes that cannot be started here, or only in a virtual machine: the test that covers them, and what it compares.
ELSEWHERE = [
    ("cri-o", "written state", "name image labels pod"),
    ("kubernetes", "written state, and a pod of containerd's above", "name image pod"),
    ("incus", "written state", "name"),
    ("libvirt-qemu", "written paths", "name"),
    ("podman without root", "a virtual machine", "name image layers limits"),
    ("systemd-nspawn --boot", "a virtual machine", "name"),
]


def print_table(rows):
    columns = ["name", "image", "image_digest", "layers", "labels", "pod", "limits", "cpu"]
    print("\n| runtime | tested with | named after | " + " | ".join(columns) + " |\n" + "|---" * (len(columns) + 3) + "|")
    for runtime, name, row, after in rows:
        cells = ["-" if c not in row else "yes" if row[c] else "NO" for c in columns]
        took = "-" if after is None else f"{after:.2f} s"  # the cgroup existed before the first scrape
        print(f"| {runtime} | {name.removeprefix('cgwarden-test-')} | {took} | " + " | ".join(cells) + " |")
    for runtime, how, compared in ELSEWHERE:
        print(f"| {runtime} | {how} | - | " + " | ".join("yes" if c in compared.split() else "-" for c in columns) + " |")


def main(agent_path, *chosen):
    if os.geteuid() != 0:
        print("SKIP: root is required to start containers")
        return 77
    runtimes = list(chosen) or RUNTIMES
    checks = Checks()
    directory = tempfile.mkdtemp(prefix="cgwarden-test-runtimes-")
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, directory, ignore_errors=True)
        flags = ["--discovery.labels=org.cgwarden.*"]
        for runtime in runtimes:
            lab(runtime, "down", directory)  # leftovers of a killed run
            flags += lab(runtime, "flags", directory).stdout.split()
            cleanup.callback(lab, runtime, "down", directory)
        agent = Agent(agent_path, flags)
        cleanup.callback(agent.stop)
        agent.series()
        rows, ran = run(agent, runtimes, directory, checks)
        if not ran:
            print("SKIP: no container runtime can run here")
            return 77
        print_table(rows)
        check_ends(agent, ran, directory, checks)
        if agent.process.poll() is not None:
            checks.failed.append("the agent ended by itself")
    for failure in checks.failed:
        print(f"FAIL: {failure}")
    print(f"{len(rows)} containers of {len(ran)} runtimes, {len(checks.failed)} differences")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
