#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every interface file of a kernel is exported, or listed here with a reason: docs/coverage.md is that table.

  interface_files_test.py AGENT             list this kernel's files (root): of every mounted hierarchy, and on a v1 host
                                            also of unbound controllers, which are mounted in a private directory
  interface_files_test.py AGENT --update    the same, and add new files to docs/coverage.md
  interface_files_test.py AGENT --document  only check that docs/coverage.md matches the catalogue; --update rewrites it

The list of files comes from the kernel, never from the catalogue. Files seen on other kernels stay in the table, and so
do files that only the kernel's documentation names. Exit status: 0 complete, 1 incomplete, 2 usage, 77 cannot run here.
"""

import ctypes
import fnmatch
import json
import os
import re
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DOCUMENT = os.path.join(ROOT, "docs/coverage.md")
GROUP = f"cgwarden-test-files-{os.getpid()}"

# (version, file, why it is not a row of the catalogue). '*' as in the catalogue.
COMMAND = "write-only"
EXCUSED = [
    (1, "blkio.reset_stats", COMMAND),
    (1, "devices.allow", COMMAND),
    (1, "devices.deny", COMMAND),
    (1, "memory.force_empty", COMMAND),
    (1, "cgroup.event_control", COMMAND),
    (2, "cgroup.kill", COMMAND),
    (2, "memory.reclaim", COMMAND),
    (1, "memory.pressure_level", "for event notification only; reads as an empty file"),
    (1, "tasks", "thread ids; the collector `processes` counts threads through their processes"),
    (2, "cgroup.threads", "thread ids; the collector `processes` counts threads through their processes"),
    (1, "cgroup.procs", "process ids; read by `processes`, `namespaces` and other collectors of processes"),
    (2, "cgroup.procs", "process ids; read by `processes`, `namespaces` and other collectors of processes"),
    (1, "cgroup.sane_behavior", "always 0; left from an experimental mode of the kernel"),
    (1, "release_agent", "a path, in the root cgroup only; `notify_on_release` is exported"),
    (1, "cpuacct.usage_user", "contained in `cpuacct.stat`"),
    (1, "cpuacct.usage_sys", "contained in `cpuacct.stat`"),
    (1, "cpuacct.usage_percpu_user", "contained in `cpuacct.usage_all`"),
    (1, "cpuacct.usage_percpu_sys", "contained in `cpuacct.usage_all`"),
    (1, "blkio.throttle.io_service_bytes", "without descendants; the recursive file is exported, as on v2"),
    (1, "blkio.throttle.io_serviced", "without descendants; the recursive file is exported, as on v2"),
    (1, "blkio.bfq.io_service_bytes", "without descendants; the recursive file is exported, as on v2"),
    (1, "blkio.bfq.io_serviced", "without descendants; the recursive file is exported, as on v2"),
    (1, "memory.kmem.slabinfo", "for debugging; since Linux 5.9 empty or unreadable"),
    (2, "memory.zswap.current", "contained in `memory.stat` as `zswap`"),
    (1, "memory.shown_ram_in_bytes", "not in any released kernel: a vendor patch"),
    (1, "debug.*", "controller for debugging the kernel, which production kernels do not have"),
    (2, "debug.*", "controller for debugging the kernel, which production kernels do not have"),
]

HEADING = """# Interface files

Every interface file of every controller, and the metrics made from it. The list comes from kernels, not from the catalogue:
`tests/integration/interface_files_test.py` lists the interface files of the running kernel, v1 and v2, and fails on a file that is neither exported
nor listed here with a reason. `*` is a page size. "-" means that no tested kernel had the file, but the kernel's documentation
describes it. Collectors in parentheses are off by default. [metrics.md](metrics.md) describes each metric.
"""


# (area, collectors, number of cAdvisor v0.60's metrics for it), without cAdvisor's metrics of the machine and of the file
# systems of containers.
AREAS = [
    ("CPU", ("cpu", "percpu"), 16),
    ("memory and swap", ("memory", "memory_local", "memory_numa", "kmem"), 26),
    ("I/O", ("io", "io_bfq", "io_devices"), 18),
    ("pids, processes", ("pids", "processes", "process_states", "process_files"), 7),
    ("pressure", ("pressure",), 6),
    ("cpuset", ("cpuset", "cpuset_pressure"), 1),
    ("huge pages", ("hugetlb", "hugetlb_numa"), 3),
    ("network", ("network", "tcp"), 13),
    ("performance counters", ("perf_event",), 2),
    ("rdma, misc, dmem", ("rdma", "misc", "dmem"), 0),
    ("freezer, net_cls, net_prio, devices, BPF", ("freezer", "net", "devices", "device_rules", "bpf"), 0),
    ("cgroup core, .local files", ("cgroup", "local"), 0),
    ("effective limits, namespaces, removed cgroups", ("effective", "namespaces", "removed"), 0),
]


def text_of(path):
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def kernel_version():
    return ".".join(os.uname().release.split(".")[:2])


def general(name):
    """hugetlb.2MB.max -> hugetlb.*.max: page sizes are labels."""
    return re.sub(r"^hugetlb\.\d+[KMG]B\.", "hugetlb.*.", name)


class Kernel:
    """The interface files of this kernel, by (version, general name)."""

    def __init__(self):
        self.files = set()
        self.notes = []

    def list_group(self, version, path):
        for entry in os.scandir(path):
            if entry.is_file(follow_symlinks=False):
                self.files.add((version, general(entry.name)))

    def list_hierarchy(self, version, mount):
        self.list_group(version, mount)
        path = os.path.join(mount, GROUP)
        os.mkdir(path)
        try:
            self.list_group(version, path)
        finally:
            os.rmdir(path)

    def list_v2(self, mount):
        """With every available controller enabled for the cgroup of this test, and disabled again afterwards."""
        switch = os.path.join(mount, "cgroup.subtree_control")
        added = []
        for controller in set(text_of(os.path.join(mount, "cgroup.controllers")).split()) - set(text_of(switch).split()):
            try:
                with open(switch, "w", encoding="ascii") as file:
                    file.write("+" + controller)
                added.append(controller)
            except OSError as error:
                self.notes.append(f"v2 controller {controller} cannot be enabled: {error.strerror}")
        try:
            self.list_hierarchy(2, mount)
        finally:
            for controller in added:
                try:
                    with open(switch, "w", encoding="ascii") as file:
                        file.write("-" + controller)
                except OSError:
                    pass        # in use by another cgroup now

    def list_unbound(self):
        """v1 controllers that are not mounted: they are mounted in the mount namespace of this process."""
        for controller in unbound():
            with tempfile.TemporaryDirectory(prefix="cgwarden-test-") as place:
                if not mount_v1(controller, place):
                    self.notes.append(f"v1 controller {controller} cannot be mounted")
                    continue
                try:
                    self.list_hierarchy(1, place)
                finally:
                    unmount_v1(controller, place)

    def list_all(self):
        v1 = False
        for line in text_of("/proc/self/mountinfo").splitlines():
            fields, _, rest = line.partition(" - ")
            where, kind, options = fields.split()[4], rest.split()[0], rest.split()[-1]
            if not os.access(where, os.W_OK) or fields.split()[3] != "/":
                continue
            if kind == "cgroup2":
                self.list_v2(where)
            elif kind == "cgroup":
                v1 = v1 or "name=" not in options
                self.list_hierarchy(1, where)
        if v1:      # on a v2 host this would take them from v2
            self.list_unbound()


def unbound():
    out = set()
    for line in text_of("/proc/cgroups").splitlines()[1:]:
        name, hierarchy, _, enabled = line.split()
        if hierarchy == "0" and enabled == "1":
            out.add(name)
    return out


LIBC = ctypes.CDLL(None)


def mount_v1(controller, place):
    for _ in range(20):         # a controller that v2 just released is busy until its last cgroup is freed
        if LIBC.mount(b"cgwarden-test", place.encode(), b"cgroup", 0, controller.encode()) == 0:
            return True
        time.sleep(0.1)
    return False


def unmount_v1(controller, place):
    """A hierarchy ends with its mount only after the kernel has freed its last cgroup, which is asynchronous."""
    for _ in range(50):
        time.sleep(0.1)
        LIBC.umount2(place.encode(), 0)
        if controller in unbound():
            return
        mount_v1(controller, place)
    LIBC.umount2(place.encode(), 0)


def catalogue(agent):
    """(version, file) -> [(collector, metric, kind)], with collectors that are off by default in parentheses; and the
    number of metrics per collector."""
    rows, counts = {}, {}
    about = subprocess.run([agent, "--help"], check=True, capture_output=True, text=True).stdout
    off = set(re.findall(r"--collector\.(\w+)\s.*\((?:default:? )?(?:off|disabled)\)", about))
    for field in json.loads(subprocess.run([agent, "--print-catalogue=json"], check=True, capture_output=True).stdout):
        name = f"({field['collector']})" if field["collector"] in off else field["collector"]
        counts[name] = counts.get(name, 0) + 1
        for version in (1, 2):
            source = field[f"v{version}"]
            if source:
                rows.setdefault((version, source["file"]), []).append((name, field["metric"], field["kind"]))
    return rows, counts


def excuse(version, name):
    return next((why for v, pattern, why in EXCUSED if v == version and fnmatch.fnmatchcase(name, pattern)), None)


def answer(rows, key):
    """How the file is exported, or why not; None: neither."""
    if key not in rows:
        why = excuse(*key)
        return f"not exported: {why}" if why else None
    parts = []
    for collector in dict.fromkeys(collector for collector, _, _ in rows[key]):
        metrics = [(metric, kind) for c, metric, kind in rows[key] if c == collector]
        infos = sum(kind == "info" for _, kind in metrics)
        what = f"`{metrics[0][0]}`" if len(metrics) == 1 else f"{len(metrics)} metrics"
        if infos:
            what += ", info" if infos == len(metrics) else f", {infos} of them info"
        parts.append(f"{collector}: {what}")
    return "; ".join(parts)


def read_document():
    """Returns {(version, file): set of kernels}."""
    seen = {}
    if not os.path.exists(DOCUMENT):
        return seen
    version = 0
    for line in text_of(DOCUMENT).splitlines():
        if match := re.match(r"## v(\d)", line):
            version = int(match.group(1))
        elif match := re.match(r"\| `([^`]+)` \| ([^|]+) \|", line):
            seen[(version, match.group(1))] = {k for k in match.group(2).strip().split(", ") if k != "-"}
    return seen


def make_document(rows, counts, seen):
    def in_order(kernels):
        return ", ".join(sorted(kernels, key=lambda k: [int(n) for n in k.split(".")])) or "-"
    out = HEADING
    for version in (1, 2):
        out += f"\n## v{version}\n\n| file | seen on Linux | exported as |\n|---|---|---|\n"
        for key in sorted(seen):
            if key[0] == version:
                out += f"| `{key[1]}` | {in_order(seen[key])} | {answer(rows, key) or '-'} |\n"
    out += "\n## Number of metrics\n\n| area | metrics | of these off by default | cAdvisor |\n|---|---|---|---|\n"
    left = dict(counts)
    for area, collectors, theirs in AREAS:
        on = sum(left.pop(c, 0) for c in collectors)
        off = sum(left.pop(f"({c})", 0) for c in collectors)
        out += f"| {area} | {on + off} | {off} | {theirs} |\n"
    for name, count in left.items():
        out += f"| {name} | {count} | | |\n"
    total = sum(counts.values())
    return out + f"| all | {total} | {sum(n for c, n in counts.items() if c[0] == '(')} | {sum(a[2] for a in AREAS)} |\n"


def main():
    options = set(sys.argv[2:])
    if len(sys.argv) < 2 or not options <= {"--update", "--document"}:
        print(__doc__)
        return 2
    rows, counts = catalogue(os.path.abspath(sys.argv[1]))
    seen = read_document()
    documented = set(rows) | {(version, name) for version, name, _ in EXCUSED if not name.endswith("*")}
    for key in documented:
        seen.setdefault(key, set())
    for key in [k for k in seen if not seen[k] and k not in documented]:
        del seen[key]
    faults = []
    if "--document" not in options:
        if os.geteuid() != 0:
            print("SKIP: not root: cannot create cgroups")
            return 77
        if "CGWARDEN_TEST_UNSHARED" not in os.environ:
            os.execvpe("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, __file__,
                                   *sys.argv[1:]], {**os.environ, "CGWARDEN_TEST_UNSHARED": "1"})
        kernel = Kernel()
        kernel.list_all()
        for note in kernel.notes:
            print(f"note: {note}")
        for key in sorted(kernel.files):
            if answer(rows, key) is None:
                faults.append(f"v{key[0]} {key[1]}: neither exported nor excused: add a row in collectors/, or a "
                              f"reason in {os.path.relpath(__file__, ROOT)}")
            elif key not in seen:
                if "--update" not in options:
                    faults.append(f"v{key[0]} {key[1]}: not in docs/coverage.md; run this test with --update")
        print(f"{len(kernel.files)} files of Linux {kernel_version()}")
        if not kernel.files:
            faults.append("no mounted hierarchy in which cgroups can be created")
        if "--update" in options:
            for key in kernel.files:
                seen.setdefault(key, set()).add(kernel_version())
    for version, name in seen:
        if answer(rows, (version, name)) is None:
            faults.append(f"docs/coverage.md: v{version} {name} is neither exported nor excused")
    wanted = make_document(rows, counts, seen)
    if "--update" in options:
        with open(DOCUMENT, "w", encoding="utf-8") as file:
            file.write(wanted)
    elif wanted != (text_of(DOCUMENT) if os.path.exists(DOCUMENT) else ""):
        faults.append(f"docs/coverage.md is out of date: run {os.path.relpath(__file__, ROOT)} AGENT --document --update")
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
