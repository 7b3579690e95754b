#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Starting and stopping thousands of containers does not grow the agent's memory and number of file descriptors, and
every running container is shown with its name.

  churn_test.py AGENT [STARTS]      default 1500; the first 900 fill the bounded lists of removed cgroups and containers

The containers are cgroups without processes, with the state on disk that Docker would write. Exit status: 0, 1, or 77
if cgroups cannot be created.
"""

import contextlib
import hashlib
import http.client
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

WARM = 900          # more than --collector.removed.max plus the exited containers
BATCH = 25          # running at the same time
MOST_GROWTH = 6 << 20


def mounts():
    """Hierarchies in which cgroups are created: v2, and the v1 hierarchies of pids and memory."""
    out = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields, _, rest = line.partition(" - ")
            kind, _, options = rest.split(" ", 2)
            wanted = kind == "cgroup2" or (kind == "cgroup" and {"pids", "memory"} & set(options.strip().split(",")))
            if wanted and fields.split()[3] == "/" and os.access(fields.split()[4], os.W_OK):
                out.append(fields.split()[4])
    return out


class Agent:
    def __init__(self, program, folder):
        self.address = f"{folder}/socket"
        self.process = subprocess.Popen([program, "--web.listen-address", f"unix:{self.address}",
                                         "--discovery.docker-root", f"{folder}/docker"])
        while not os.path.exists(self.address):
            assert self.process.poll() is None, "the agent exited"
            time.sleep(0.05)

    def scrape(self):
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(60)
        connection.sock.connect(self.address)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode("utf-8", "replace")

    def size(self):
        """Number of file descriptors, and bytes of memory."""
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as file:
            pages = int(file.read().split()[1])
        return len(os.listdir(f"/proc/{self.process.pid}/fd")), pages * os.sysconf("SC_PAGESIZE")

    def settled_size(self, groups):
        """Like size(), once no more cgroups exist: concurrent tests create some, each with an open directory."""
        for _ in range(60):
            now = int(re.search(r"^cgwarden_cgroups (\d+)$", self.scrape(), re.M).group(1))
            if groups is None or now <= groups:
                break
            time.sleep(1)
        return (now, *self.size())

    def sanitized(self):
        with open(f"/proc/{self.process.pid}/maps", encoding="utf-8", errors="replace") as file:
            return any(name in line for line in file for name in ("libasan", "libtsan"))

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


class Containers:
    def __init__(self, folder, where):
        self.folder, self.where = f"{folder}/docker/containers", where
        self.group = f"cgwarden-test-churn-{os.getpid()}"
        os.makedirs(self.folder)
        for mount in where:
            os.mkdir(f"{mount}/{self.group}")

    def start(self, number):
        identity = hashlib.sha256(str(number).encode()).hexdigest()
        os.mkdir(f"{self.folder}/{identity}")
        with open(f"{self.folder}/{identity}/new", "w", encoding="utf-8") as file:
            json.dump({"ID": identity, "Name": f"/churn-{number}", "Config": {"Image": "lab/box:1"}, "Created": "2026-01-01T00:00:00Z",
                       "State": {"Running": True, "Pid": 0, "StartedAt": "2026-01-01T00:00:01Z"}}, file)
        os.rename(f"{self.folder}/{identity}/new", f"{self.folder}/{identity}/config.v2.json")
        for mount in self.where:
            os.mkdir(f"{mount}/{self.group}/docker-{identity}.scope")
        return identity

    def stop(self, identity):
        for mount in self.where:
            os.rmdir(f"{mount}/{self.group}/docker-{identity}.scope")
        shutil.rmtree(f"{self.folder}/{identity}")

    def remove(self):
        for mount in self.where:
            for folder, _, _ in os.walk(f"{mount}/{self.group}", topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)


def main():
    if len(sys.argv) not in (2, 3) or not sys.argv[-1].isdigit() and len(sys.argv) == 3:
        print(__doc__)
        return 2
    starts = int(sys.argv[2]) if len(sys.argv) == 3 else 1500
    where = mounts()
    if os.geteuid() != 0 or not where:
        print("SKIP: root and a writable cgroup hierarchy are required")
        return 77
    faults, named, before = [], 0, None
    with tempfile.TemporaryDirectory(prefix="cgwarden-test-") as folder:
        containers = Containers(folder, where)
        agent = Agent(os.path.abspath(sys.argv[1]), folder)
        try:
            agent.scrape()
            begun = time.monotonic()
            for first in range(0, starts, BATCH):
                alive = {number: containers.start(number) for number in range(first, min(first + BATCH, starts))}
                text = ""
                for _ in range(20):         # must be named within a second
                    text = agent.scrape()
                    missing = [n for n in alive if f'container="churn-{n}"' not in text]
                    if not missing:
                        break
                    time.sleep(0.1)
                faults += [f"churn-{n} is not shown by its name" for n in missing]
                named += len(alive) - len(missing)
                for identity in alive.values():
                    containers.stop(identity)
                agent.scrape()
                if first + BATCH == WARM:
                    before = agent.settled_size(None)
            after = agent.settled_size(before[0] if before else None)
            took = time.monotonic() - begun
            sanitized = agent.sanitized()
        finally:
            containers.remove()
            status = agent.end()
    print(f"{starts} starts and stops in {took:.0f} s, {named} named; after {WARM}: {before}, at the end: {after} (cgroups, descriptors, bytes)")
    if status != 0:
        faults.append(f"the agent exited with {status}")
    if before and after[0] > before[0]:
        print(f"note: other programs created {after[0] - before[0]} cgroups; descriptors and memory are not compared")
    elif before:
        if after[1] > before[1] + 5:
            faults.append(f"descriptors grew from {before[1]} to {after[1]}")
        if not sanitized and after[2] > before[2] + MOST_GROWTH:
            faults.append(f"memory grew from {before[2]} to {after[2]} bytes")
    for fault in faults[:20]:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
