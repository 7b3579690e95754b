#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""End to end: the agent on this machine, a real Prometheus that scrapes it, and a cgroup with a known load.

  prometheus_test.py AGENT

A worker in the cgroup burns CPU time, allocates memory, writes to the root disk and forks. The results of PromQL
queries must match the worker's own rusage and the interface files. Every expression of the dashboard is queried as well
and must return data.

Creates only cgroups named cgwarden-test-e2e-PID, one in each hierarchy that is needed, and always removes them.
Exit status: 0, 1, or 77 if the test cannot run.
"""

import atexit
import contextlib
import ctypes
import glob
import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "tests/layers"))
from layers_test import expressions  # noqa: E402

MIB = 1 << 20
CPU_SECONDS, MEMORY, WRITTEN, SLEEPERS = 3.0, 64 * MIB, 16 * MIB, 5
MEMORY_LIMIT, PIDS_LIMIT, PERIOD_US, QUOTA_US = 512 * MIB, 64, 100_000, 50_000
PATIENCE = float(os.environ.get("CGWARDEN_TEST_PATIENCE", "1"))  # factor for all timeouts, for slow machines
SCRAPE = f"{max(1, round(0.6 * PATIENCE))}s"  # interval and timeout; a scrape that times out makes all series stale


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(77)


# ---- the worker: a separate process in the cgroup that reads commands from standard input --------------------------

WORKER = r"""
import mmap, os, resource, signal, sys, time
def used():
    r = resource.getrusage(resource.RUSAGE_SELF)
    return r.ru_utime + r.ru_stime
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
kept, first = [], None
print("ready", flush=True)
for line in sys.stdin:
    word, *rest = line.split()
    if first is None:
        first = used()
    if word == "burn":
        until = used() + float(rest[0])
        while used() < until:
            for _ in range(10000):
                pass
    elif word == "hold":
        memory = mmap.mmap(-1, int(rest[0]), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        for at in range(0, int(rest[0]), 4096):
            memory[at] = 1
        kept.append(memory)
    elif word == "write":
        block = mmap.mmap(-1, 1 << 20)
        fd = os.open(rest[0], os.O_WRONLY | os.O_CREAT | os.O_DIRECT, 0o600)
        for _ in range(int(rest[1]) >> 20):
            os.write(fd, block)
        os.fsync(fd)
        os.close(fd)
        block.close()
    elif word == "read":
        block = mmap.mmap(-1, 1 << 20)
        fd = os.open(rest[0], os.O_RDONLY | os.O_DIRECT)
        while os.readv(fd, [block]):
            pass
        os.close(fd)
        block.close()
    elif word == "fork":
        pids = []
        for _ in range(int(rest[0])):
            pid = os.fork()
            if pid == 0:
                sys.stdin.close()
                while True:
                    signal.pause()
            pids.append(pid)
        print(*pids, flush=True)
        continue
    print(used() - first, flush=True)
"""


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)      # PR_SET_PDEATHSIG


class Worker:
    def __init__(self):
        self.process = subprocess.Popen([sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, preexec_fn=die_with_parent)
        self.sleepers = []
        assert self.process.stdout.readline() == "ready\n"

    def command(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise AssertionError(f"the worker exited on '{line}'")
        return answer.split()

    def kill(self):
        for pid in self.sleepers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()


# ---- the cgroup, on v1 and v2 ---------------------------------------------------------------------------------------

def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def keyed(path, key):
    return next(int(line.split()[1]) for line in read(path).splitlines() if line.split()[0] == key)


class Group:
    """One logical cgroup: a directory in each hierarchy."""

    def __init__(self):
        self.name = f"cgwarden-test-e2e-{os.getpid()}"
        self.path = "/" + self.name
        self.directories = []
        v1, self.v2 = {}, None
        for line in read("/proc/self/mountinfo").splitlines():
            fields, _, rest = line.partition(" - ")
            kind, _, options = rest.split(" ", 2)
            point = fields.split()[4]
            if fields.split()[3] != "/":
                continue
            if kind == "cgroup2":
                self.v2 = self.v2 or point
            elif kind == "cgroup":
                for option in options.split(","):
                    v1.setdefault(option, point)
        in_v2 = read(f"{self.v2}/cgroup.subtree_control").split() if self.v2 else []
        self.where = {}                       # controller -> (version, mount point)
        for controller, old in (("cpu", "cpu"), ("cpuacct", "cpuacct"), ("memory", "memory"), ("io", "blkio"), ("pids", "pids")):
            if old in v1:
                self.where[controller] = (1, v1[old])
            elif controller in in_v2 or (controller == "cpuacct" and "cpu" in in_v2):
                self.where[controller] = (2, self.v2)
            else:
                skip(f"no {controller} controller is available, neither on v1 nor in cgroup.subtree_control of the v2 root")
        self.mounts = sorted({mount for _, mount in self.where.values()} | ({self.v2} if self.v2 else set()))

    def make(self):
        for mount in self.mounts:
            for stale in glob.glob(f"{mount}/cgwarden-test-e2e-*"):     # leftovers of a killed run
                if not os.path.exists(f"/proc/{stale.rsplit('-', 1)[1]}"):
                    with contextlib.suppress(OSError):
                        os.rmdir(stale)
            os.mkdir(mount + self.path)
            self.directories.append(mount + self.path)

    def remove(self):
        for directory in self.directories:
            deadline = time.monotonic() + 10 * PATIENCE
            while os.path.isdir(directory):
                with contextlib.suppress(OSError):
                    os.rmdir(directory)
                    break
                if time.monotonic() > deadline:
                    print(f"cannot remove {directory}: {read(directory + '/cgroup.procs').split()}")
                    break
                time.sleep(0.05)
        self.directories = []

    def add(self, pid):
        for directory in self.directories:
            self.write(f"{directory}/cgroup.procs", pid)

    @staticmethod
    def write(path, text):
        with open(path, "w", encoding="utf-8") as file:
            file.write(str(text))

    def file(self, controller, v1, v2):
        version, mount = self.where[controller]
        return f"{mount}{self.path}/{v1 if version == 1 else v2}"

    def set_limits(self):
        self.write(self.file("memory", "memory.limit_in_bytes", "memory.max"), MEMORY_LIMIT)
        self.write(self.file("pids", "pids.max", "pids.max"), PIDS_LIMIT)
        if self.where["cpu"][0] == 1:
            self.write(self.file("cpu", "cpu.cfs_period_us", ""), PERIOD_US)
            self.write(self.file("cpu", "cpu.cfs_quota_us", ""), QUOTA_US)
        else:
            self.write(self.file("cpu", "", "cpu.max"), f"{QUOTA_US} {PERIOD_US}")

    def cpu_seconds(self):
        path = self.file("cpuacct", "cpuacct.usage", "cpu.stat")
        return int(read(path)) / 1e9 if self.where["cpuacct"][0] == 1 else keyed(path, "usage_usec") / 1e6

    def cpu_seconds_in(self, mode):
        if self.where["cpuacct"][0] == 1:
            return keyed(self.file("cpuacct", "cpuacct.stat", ""), mode) / os.sysconf("SC_CLK_TCK")
        return keyed(self.file("cpuacct", "", "cpu.stat"), f"{mode}_usec") / 1e6

    def memory(self):
        return int(read(self.file("memory", "memory.usage_in_bytes", "memory.current")))

    def anonymous(self):
        version, _ = self.where["memory"]
        return keyed(self.file("memory", "memory.stat", "memory.stat"), "total_rss" if version == 1 else "anon")

    def pids(self):
        return int(read(self.file("pids", "pids.current", "pids.current")))

    def io(self):
        """{"8:0": [bytes read, bytes written, reads, writes]} from the kernel."""
        found = {}
        if self.where["io"][0] == 1:
            for file, at in (("blkio.throttle.io_service_bytes_recursive", 0), ("blkio.throttle.io_serviced_recursive", 2)):
                for line in read(self.file("io", file, "")).splitlines():
                    words = line.split()
                    if len(words) == 3 and words[1] in ("Read", "Write"):
                        found.setdefault(words[0], [0, 0, 0, 0])[at + (words[1] == "Write")] = int(words[2])
        else:
            for line in read(self.file("io", "", "io.stat")).splitlines():
                device, *pairs = line.split()
                values = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
                if "rbytes" in values:
                    found[device] = [int(values[k]) for k in ("rbytes", "wbytes", "rios", "wios")]
        return found


# ---- the programs ---------------------------------------------------------------------------------------------------

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def get(url, accept=None):
    request = urllib.request.Request(url, headers={"Accept": accept} if accept else {})
    with urllib.request.urlopen(request, timeout=30 * PATIENCE) as answer:
        return answer.read()


def eventually(what, check, seconds=20.0):
    """Waits until check() returns a true value; after the timeout, its last exception is the reason."""
    deadline, reason = time.monotonic() + seconds * PATIENCE, None
    while True:
        try:
            found = check()
            if found:
                return found
        except (AssertionError, OSError, urllib.error.URLError) as error:
            reason = error
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: timeout after {seconds * PATIENCE:.0f} s; last: {reason}")
        time.sleep(0.2)


class Prometheus:
    def __init__(self, folder, agent_port):
        self.address = f"127.0.0.1:{free_port()}"
        config = os.path.join(folder, "prometheus.yml")
        with open(config, "w", encoding="utf-8") as file:
            json.dump({"global": {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE, "evaluation_interval": "1s"},
                       "rule_files": [os.path.join(ROOT, "alerts/cgwarden.yaml")],
                       "scrape_configs": [{"job_name": "cgwarden",
                                           "static_configs": [{"targets": [f"127.0.0.1:{agent_port}"]}]}]}, file)
        subprocess.run(["promtool", "check", "config", config], check=True, stdout=subprocess.DEVNULL)
        self.log = open(os.path.join(folder, "prometheus.log"), "w", encoding="utf-8")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address={self.address}", "--log.level=warn"],
            stdout=self.log, stderr=subprocess.STDOUT, preexec_fn=die_with_parent)

    def ready(self):
        assert self.process.poll() is None, "prometheus exited: " + read(self.log.name)[-500:]
        return get(f"http://{self.address}/-/ready")

    def ask(self, expr, at=None):
        """[(labels, value)] of an instant query."""
        query = {"query": expr} if at is None else {"query": expr, "time": f"{at:.3f}"}
        try:
            answer = json.loads(get(f"http://{self.address}/api/v1/query?" + urllib.parse.urlencode(query)))
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expr}: {json.loads(error.read())['error']}") from error
        assert answer["status"] == "success", answer
        data = answer["data"]
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(r["metric"], float(r["value"][1])) for r in data["result"]]

    def one(self, expr, at=None):
        found = self.ask(expr, at)
        assert len(found) == 1, f"{expr}: {len(found)} series instead of one: {found[:3]}"
        return found[0][1]


# ---- the test -------------------------------------------------------------------------------------------------------

class Report:
    def __init__(self):
        self.faults = 0

    def check(self, good, text):
        self.faults += not good
        print(f"{'ok  ' if good else 'FAIL'} {text}", flush=True)

    def near(self, what, found, wanted, share):
        off = abs(found - wanted) / wanted if wanted else math.inf
        self.check(off <= share, f"{what}: {found:.6g}, wanted {wanted:.6g} within {share:.0%}: off by {off:.2%}")

    def same(self, what, found, wanted):
        self.check(found == wanted, f"{what}: {found!r}, wanted exactly {wanted!r}")


def device_names():
    """Kernel name of a device: "8:0" -> "sda"."""
    names = {}
    for folder in glob.glob("/sys/dev/block/*"):
        with contextlib.suppress(OSError):
            found = re.search(r"^DEVNAME=(.+)$", read(folder + "/uevent"), re.M)
            if found:
                names[os.path.basename(folder)] = found.group(1)
    return names


def root_disk():
    """The whole disk that holds the root file system, such as "254:0", or None (overlay, network)."""
    device = os.stat("/").st_dev
    folder = os.path.realpath(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    if not os.path.isdir(folder):
        return None
    if os.path.exists(folder + "/partition"):
        folder = os.path.dirname(folder)
    return read(folder + "/dev").strip()


def promtool_is_content(report, text):
    lint = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    complaints = (lint.stdout + lint.stderr).decode().strip().splitlines()
    for line in complaints[:20]:
        print("     promtool:", line)
    report.check(lint.returncode == 0 and not complaints, f"promtool check metrics: {len(complaints)} complaints")


def look_at_alerts(report, prometheus, group):
    rules = [rule for g in json.loads(get(f"http://{prometheus.address}/api/v1/rules"))["data"]["groups"] for rule in g["rules"]]
    report.check(len(rules) > 10, f"alerts: {len(rules)} rules are evaluated")
    for rule in rules:
        report.check(rule["health"] == "ok", f"alert {rule['name']}: {rule['health']} {rule.get('lastError', '')}")
    throttled = prometheus.ask(f'ALERTS{{alertname="CgroupCpuThrottled", cgroup="{group.path}"}}')
    report.same("alert for a throttled cgroup", [labels["alertstate"] for labels, _ in throttled], ["pending"])


def ask_dashboard(report, prometheus, group, instance, seconds):
    with open(os.path.join(ROOT, "dashboards/host.json"), encoding="utf-8") as file:
        dashboard = json.load(file)
    values = {"instance": instance, "levels": ".*", "cgroup": group.path + ".*", "selected": group.path,
              "__rate_interval": f"{max(10, int(10 * PATIENCE))}s", "__range": f"{int(seconds) + 1}s"}
    pressure = os.path.exists("/proc/pressure/cpu")
    asked, left_out = 0, 0
    for where, expr in expressions(dashboard):
        filled = re.sub(r"\$\{?(\w+)(?::\w+)?\}?", lambda m: values[m.group(1)], expr)
        if "_pressure_" in filled and not pressure:
            left_out += 1
            continue
        asked += 1
        try:
            found = [v for _, v in prometheus.ask(filled) if not math.isnan(v)]
            if not found:
                report.check(False, f"dashboard: {where}: no data: {filled}")
        except AssertionError as error:
            report.check(False, f"dashboard: {where}: {error}")
    report.check(asked > 30, f"dashboard: {asked} expressions queried" +
                 (f", {left_out} skipped: this kernel has no PSI" if left_out else ""))


def run(agent, folder, group, cleanup):
    report = Report()
    port = free_port()
    instance = f"127.0.0.1:{port}"
    agent_log = open(os.path.join(folder, "agent.log"), "w", encoding="utf-8")
    process = subprocess.Popen([agent, "--web.listen-address", instance], stderr=agent_log, preexec_fn=die_with_parent)
    cleanup.callback(process.wait)
    cleanup.callback(process.kill)

    def agent_ready():
        assert process.poll() is None, "the agent exited: " + read(agent_log.name)[-500:]
        return get(f"http://{instance}/-/ready")
    eventually("the agent is ready", agent_ready)
    prometheus = Prometheus(folder, port)
    cleanup.callback(prometheus.process.wait)
    cleanup.callback(prometheus.process.kill)
    eventually("prometheus is ready", prometheus.ready, 60)
    eventually("prometheus scrapes the agent", lambda: prometheus.one("up") == 1)

    group.make()
    worker = Worker()
    cleanup.callback(worker.kill)
    group.add(worker.process.pid)
    group.set_limits()
    of_group = f'{{cgroup="{group.path}"}}'

    def value(metric, at=None):
        return prometheus.one(f"{metric}{of_group}", at)
    eventually("the new cgroup is exported", lambda: value("cgroup_pids_current") == 1)
    used = float(worker.command("begin")[0])
    before = time.time()
    started = time.monotonic()
    memory_before = value("cgroup_memory_current_bytes")

    # CPU, under a quota of half a CPU
    used = float(worker.command(f"burn {CPU_SECONDS}")[0])
    took = time.monotonic() - started
    eventually("CPU time is exported", lambda: value("cgroup_cpu_usage_seconds_total") == group.cpu_seconds())
    after = time.time()
    counted = prometheus.one(f"cgroup_cpu_usage_seconds_total{of_group} @ {after:.3f} "
                             f"- cgroup_cpu_usage_seconds_total{of_group} @ {before:.3f}")
    report.near("CPU seconds burned, PromQL against the worker's rusage", counted, used, 0.05)
    report.same("CPU seconds in all, PromQL against the interface file", value("cgroup_cpu_usage_seconds_total"),
                group.cpu_seconds())
    for mode in ("user", "system"):
        report.same(f"CPU seconds in {mode} mode, PromQL against the interface file", value(f"cgroup_cpu_{mode}_seconds_total"),
                    group.cpu_seconds_in(mode))
    window = max(3, int(took) - 1)
    rate = prometheus.one(f"max_over_time(rate(cgroup_cpu_usage_seconds_total{of_group}[{window}s])[{int(took) + 10}s:1s])")
    # rate() extrapolates to the ends of its window, and on a busy machine the worker sometimes gets less CPU time
    report.check(0.75 * used / took <= rate <= 1.25 * QUOTA_US / PERIOD_US,
                 f"CPUs while burning, by rate(): {rate:.3f}; it had {used / took:.3f}, and {QUOTA_US / PERIOD_US} were allowed")
    # the current period continues after the last thread has stopped
    with contextlib.suppress(AssertionError):
        eventually("the last period is exported", lambda: value("cgroup_cpu_periods_total") ==
                   float(keyed(group.file("cpu", "cpu.stat", "cpu.stat"), "nr_periods")))
    for metric, key in (("periods", "nr_periods"), ("throttled_periods", "nr_throttled")):
        report.same(f"quota: {metric}, PromQL against the interface file", value(f"cgroup_cpu_{metric}_total"),
                    float(keyed(group.file("cpu", "cpu.stat", "cpu.stat"), key)))
    report.same("quota", value("cgroup_cpu_quota_seconds"), QUOTA_US / 1e6)
    report.same("period", value("cgroup_cpu_period_seconds"), PERIOD_US / 1e6)

    # memory
    worker.command(f"hold {MEMORY}")
    report_memory = lambda: abs(value("cgroup_memory_current_bytes") - memory_before - MEMORY) <= 0.05 * MEMORY  # noqa: E731
    with contextlib.suppress(AssertionError):
        eventually("memory is exported", report_memory)
    report.near("memory allocated, PromQL against what the worker did",
                value("cgroup_memory_current_bytes") - memory_before, MEMORY, 0.05)
    report.near("memory in use, PromQL against the interface file", value("cgroup_memory_current_bytes"), group.memory(), 0.05)
    with contextlib.suppress(AssertionError):           # the kernel flushes memory.stat every 2 s
        eventually("anonymous memory is exported", lambda: value("cgroup_memory_anon_bytes") == group.anonymous() >= MEMORY)
    report.near("anonymous memory, PromQL against the interface file", value("cgroup_memory_anon_bytes"), group.anonymous(), 0.05)
    report.check(value("cgroup_memory_anon_bytes") >= MEMORY, "anonymous memory includes the allocation")
    report.same("memory limit", value("cgroup_memory_max_bytes"), float(MEMORY_LIMIT))

    # I/O
    with tempfile.NamedTemporaryFile(dir="/var/tmp", prefix="cgwarden-test-") as file:
        worker.command(f"write {file.name} {WRITTEN}")
        worker.command(f"read {file.name}")
    names, disk = device_names(), root_disk()
    kernel = group.io()
    report.check(bool(kernel), f"I/O of the cgroup in the kernel: {kernel}")
    if disk:
        report.check(kernel.get(disk, [0, 0])[1] >= WRITTEN,
                     f"the kernel counted the {WRITTEN} bytes that were written to {names.get(disk)} ({disk})")
    metrics = ("cgroup_io_read_bytes_total", "cgroup_io_write_bytes_total", "cgroup_io_reads_total", "cgroup_io_writes_total")
    wanted = {(m, names.get(d, d)): float(v[i]) for d, v in group.io().items() for i, m in enumerate(metrics)}

    def io_counted():
        return {(m, labels["device"]): v for m in metrics for labels, v in prometheus.ask(m + of_group)}
    with contextlib.suppress(AssertionError):
        eventually("I/O bytes are exported", lambda: io_counted() == wanted)
    counted = io_counted()
    for key in sorted(wanted.keys() | counted.keys()):
        report.same(f"{key[0]} of {key[1]}, PromQL against the interface file", counted.get(key), wanted.get(key))

    # processes
    worker.sleepers = [int(pid) for pid in worker.command(f"fork {SLEEPERS}")]
    with contextlib.suppress(AssertionError):
        eventually("sleeping processes are exported", lambda: value("cgroup_pids_current") == SLEEPERS + 1)
    report.same("processes and threads", value("cgroup_pids_current"), float(SLEEPERS + 1))
    report.same("processes and threads in the interface file", group.pids(), SLEEPERS + 1)
    report.same("limit of processes", value("cgroup_pids_max"), float(PIDS_LIMIT))

    # the exposition and the dashboard, while the cgroup has data
    promtool_is_content(report, get(f"http://{instance}/metrics", "text/plain;version=0.0.4"))
    worker.command("burn 0.5")
    time.sleep(3 * PATIENCE)
    ask_dashboard(report, prometheus, group, instance, time.monotonic() - started)
    look_at_alerts(report, prometheus, group)

    # a removed cgroup has no series except those about its removal
    last = group.cpu_seconds()
    worker.kill()
    group.remove()

    def left():
        names = {labels["__name__"] for labels, _ in prometheus.ask(f'{{__name__=~"cgroup_.+", cgroup="{group.path}"}}')}
        return sorted(name for name in names if not name.startswith("cgroup_removed_"))
    with contextlib.suppress(AssertionError):
        # during the removal, a scrape may still contain effective limits from ancestors
        eventually("the cgroup is removed", lambda: not left())
    report.same("series of the removed cgroup", left(), [])
    report.near("CPU seconds remembered of the removed cgroup", value("cgroup_removed_cpu_usage_seconds"), last, 0.05)
    window = int(time.monotonic() - started)
    report.same(f"scrapes that failed in {window} s", prometheus.one(f"sum_over_time((1 - up)[{window}s:1s])"), 0.0)
    print(f"     one scrape has {prometheus.one('scrape_samples_scraped'):.0f} samples and takes "
          f"{prometheus.one('scrape_duration_seconds') * 1000:.1f} ms")

    process.send_signal(signal.SIGTERM)
    asked = time.monotonic()
    status = process.wait(timeout=10)
    report.check(status == 0 and time.monotonic() - asked < PATIENCE,
                 f"SIGTERM ends the agent with 0 within a second: {status} after {time.monotonic() - asked:.3f} s")
    if report.faults:
        print("end of the agent's log:", read(agent_log.name)[-2000:], sep="\n")
    return report.faults


def main():
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return 2
    if os.geteuid() != 0:
        skip("root is required to create cgroups")
    for program in ("prometheus", "promtool"):
        if not shutil.which(program):
            skip(f"{program} is not installed; run scripts/install-deps test")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    group = Group()
    atexit.register(group.remove)
    with tempfile.TemporaryDirectory(prefix="cgwarden-test-") as folder, contextlib.ExitStack() as cleanup:
        cleanup.callback(group.remove)          # registered first, so it runs last, when the cgroup is empty
        faults = run(os.path.abspath(sys.argv[1]), folder, group, cleanup)
    print(f"{faults} faults" if faults else "all agree")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
