#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cgtop and containers of real runtimes: limits, freezes and kills by cgtop agree with what Docker and Podman report, also
after an undo, and a daemon that hangs does not block an action.

  container_limits_test.py CGTOP [RUNTIME...]

Everything is named cgwarden-test-..., and is always removed. Exit status: 0, 1, or 77 if no container runtime can run.
"""

import contextlib
import glob
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from runtimes_test import PATIENCE, lab

MIB = 1 << 20


class Fault(Exception):
    pass


def want(holds, text):
    if not holds:
        raise Fault(text)


def eventually(condition, text):
    end = time.monotonic() + 15 * PATIENCE
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise Fault(f"timeout: {text}")
        time.sleep(0.05)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read().strip()


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=20)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Runtime:
    def __init__(self, name, directory, cgtop):
        self.name, self.cgtop = name, cgtop
        self.directory = os.path.join(directory, name)
        self.socket = os.path.join(self.directory, f"{name}.sock")
        self.state = os.path.join(self.directory, "control")

    def request(self, method, target, body=None):
        connection = Connection(self.socket)
        connection.request(method, target, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        want(answer.status < 300, f"{self.name}: {method} {target}: {answer.status} {text[:300]}")
        return json.loads(text) if text.strip() else None

    def container(self, name):
        return Container(self, next(c["Id"] for c in self.request("GET", "/containers/json") if f"/{name}" in c["Names"]))

    def act(self, *arguments, code=0):
        command = [self.cgtop, arguments[0], f"--{self.name}-socket={self.socket}", "--state-dir=" + self.state,
                   "--audit-file=" + os.path.join(self.state, "audit.jsonl"), "--json", *arguments[1:]]
        began = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
        want(done.returncode == code, f"{self.name}: {' '.join(arguments)}: exit code {done.returncode}, not {code}: "
                                      f"{done.stdout}{done.stderr}")
        reported = json.loads(done.stdout)["outcome"]
        reported["seconds"] = time.monotonic() - began
        return reported

    @property
    def daemon(self):
        return int(read(os.path.join(self.directory, {"docker": "dockerd.pid", "podman": "service.pid"}[self.name])))


class Container:
    def __init__(self, runtime, identity):
        self.runtime, self.id = runtime, identity
        found = [os.path.dirname(f) for pattern in ("/sys/fs/cgroup", "/sys/fs/cgroup/*") for f in
                 glob.glob(f"{pattern}/**/*{identity}*/cgroup.procs", recursive=True)]
        self.dirs = {d.split("/")[4] if not os.path.exists("/sys/fs/cgroup/cgroup.procs") else "": d for d in found}
        self.cgroup = "/" + "/".join(next(iter(self.dirs.values())).split("/")[5 if "" not in self.dirs else 4:])

    def file(self, controller, v1, v2):
        """Content of the file with v1's or v2's name."""
        folder = self.dirs.get(controller) or self.dirs[""]
        return read(os.path.join(folder, v1 if controller in self.dirs else v2))

    def memory(self):
        return self.file("memory", "memory.limit_in_bytes", "memory.max")

    def pids(self):
        return self.file("pids", "pids.max", "pids.max")

    def cores(self):
        if "cpu" in self.dirs:
            quota, period = (self.file("cpu", f"cpu.cfs_{w}_us", "") for w in ("quota", "period"))
        else:
            quota, period = self.file("cpu", "", "cpu.max").split()
        return None if quota in ("-1", "max") else int(quota) / int(period)

    def frozen(self):
        v1 = "freezer" in self.dirs and self.file("freezer", "freezer.state", "") == "FROZEN"
        v2 = self.dirs.get("unified") or self.dirs.get("")
        return v1 or (v2 is not None and "frozen 1" in read(os.path.join(v2, "cgroup.events")))

    def inspect(self):
        return self.runtime.request("GET", f"/containers/{self.id}/json")

    def status(self):
        return self.inspect()["State"]["Status"]


def check_limits_in_runtime(runtime, container):
    before = container.memory(), container.cores(), container.pids()
    done = runtime.act("limit", container.cgroup, "memory.max=96M", "cpu.max=25%", "pids.max=40")
    want(f"{runtime.name} was updated" in done["text"], f"{runtime.name}: no update: {done}")
    now = container.memory(), container.cores(), container.pids()
    want(now == (str(96 * MIB), 0.25, "40"), f"{runtime.name}: the kernel has {now}")
    if runtime.name == "docker":  # Podman 4.3 applies an update in the kernel and does not store it
        host = container.inspect()["HostConfig"]
        reported = host["Memory"], host["MemorySwap"], host["NanoCpus"], host["PidsLimit"]
        want(reported == (96 * MIB, 160 * MIB, 250_000_000, 40), f"docker says {reported}")
        # Docker writes all its limits with the next update: they must be the new values.
        runtime.request("POST", f"/containers/{container.id}/update", {"CpuShares": 600})
        want((container.memory(), container.pids()) == now[::2], "docker wrote old values again")
    runtime.act("undo", done["undo"])
    after = container.memory(), container.cores(), container.pids()
    want(after == before, f"{runtime.name}: {before} became {after}")
    if runtime.name == "docker":
        host = container.inspect()["HostConfig"]
        reported = host["Memory"], host["NanoCpus"], host["PidsLimit"]
        want(reported == (64 * MIB, 500_000_000, 50), f"docker says {reported} after the undo")


def check_undo_to_unlimited(runtime):
    """Docker's API cannot remove a memory limit, so an equivalent value is sent."""
    made = runtime.request("POST", "/containers/create?name=cgwarden-test-free",
                      {"Image": "cgwarden-test/box:1", "NetworkDisabled": True})
    runtime.request("POST", f"/containers/{made['Id']}/start")
    try:
        container = runtime.container("cgwarden-test-free")
        before = container.memory(), container.cores(), container.pids()
        done = runtime.act("limit", container.cgroup, "memory.max=96M", "cpu.max=25%", "pids.max=40")
        runtime.act("undo", done["undo"])
        want((container.memory(), container.cores(), container.pids()) == before, "limits are not what they were")
        runtime.request("POST", f"/containers/{container.id}/update", {"CpuShares": 600})
        now = container.memory(), container.cores(), container.pids()
        want(now == before, f"docker wrote the previous limits again: {now}, not {before}")
        # A later update with NanoCpus still works.
        runtime.request("POST", f"/containers/{container.id}/update", {"NanoCpus": 500_000_000})
    finally:
        runtime.request("DELETE", f"/containers/{made['Id']}?force=true")


def check_limit_with_lease(runtime, container):
    before = container.pids()
    runtime.act("limit", container.cgroup, "pids.max=41", "--for", "1s")
    want(container.pids() == "41", "no limit")
    eventually(lambda: container.pids() == before, "the limit expires")
    if runtime.name == "docker":
        eventually(lambda: container.inspect()["HostConfig"]["PidsLimit"] == int(before), "docker is updated after the lease")


def check_freeze_is_pause(runtime, container):
    done = runtime.act("freeze", container.cgroup, "--for", "30s")
    want(done["route"] == runtime.name, f"{runtime.name} did not do it: {done}")
    want(container.frozen() and container.status() == "paused", f"{runtime.name}: {container.status()}")
    runtime.act("thaw", container.cgroup)
    want(not container.frozen() and container.status() == "running", f"{runtime.name}: {container.status()}")
    runtime.act("freeze", container.cgroup, "--for", "700ms")
    eventually(lambda: not container.frozen(), "the freeze expires")
    eventually(lambda: container.status() == "running", f"{runtime.name} reports it as running")


def check_foreign_pause(runtime, container):
    runtime.request("POST", f"/containers/{container.id}/pause")
    done = runtime.act("freeze", container.cgroup, "--for", "1s", code=6)
    want("already frozen by another program" in done["text"], done["text"])
    want(container.status() == "paused", "it ended a foreign pause")
    runtime.act("thaw", container.cgroup)  # allowed for a person
    want(container.status() == "running", "a thaw by hand did not end the pause")


def check_hanging_runtime(runtime, container):
    before = container.pids()
    os.kill(runtime.daemon, signal.SIGSTOP)
    try:
        done = runtime.act("limit", container.cgroup, "pids.max=42")
        want("was not updated" in done["text"] and "timed out" in done["text"], done["text"])
        want(container.pids() == "42", "no limit")
        frozen = runtime.act("freeze", container.cgroup, "--for", "1500ms")
        want(frozen["route"] == "cgroupfs" and container.frozen(), f"not frozen: {frozen}")
        eventually(lambda: not container.frozen(), "the freeze expires")
        runtime.act("undo", done["undo"])
        want(container.pids() == before, "not undone")
    finally:
        os.kill(runtime.daemon, signal.SIGCONT)
    eventually(lambda: container.status() == "running", f"{runtime.name} goes on")


def check_note_without_socket(runtime, container):
    silent = Runtime(runtime.name, os.path.dirname(runtime.directory), runtime.cgtop)
    silent.socket = "none"
    done = silent.act("limit", container.cgroup, "pids.max=43", "--dry-run")
    want(f"{runtime.name} was not updated" in done["text"], done["text"])


def check_kill(runtime, container):
    runtime.act("freeze", container.cgroup, "--for", "30s")
    runtime.act("kill", container.cgroup, "--yes")
    eventually(lambda: container.status() == "exited", f"{runtime.name} sees that it has ended: {container.status()}")
    want(container.inspect()["State"]["ExitCode"] == 137, "another exit code than that of SIGKILL")


def check(runtime):
    container = runtime.container({"docker": "cgwarden-test-docker", "podman": "cgwarden-test-podman"}[runtime.name])
    check_limits_in_runtime(runtime, container)
    if runtime.name == "docker":
        check_undo_to_unlimited(runtime)
    check_limit_with_lease(runtime, container)
    check_freeze_is_pause(runtime, container)
    check_foreign_pause(runtime, container)
    check_hanging_runtime(runtime, container)
    check_note_without_socket(runtime, container)
    check_kill(runtime, container)


def main(cgtop, *chosen):
    if os.geteuid() != 0:
        print("SKIP: root is required to start containers")
        return 77
    directory = tempfile.mkdtemp(prefix="cgwarden-test-limits-")
    ran = []
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, directory, ignore_errors=True)
        for name in chosen or ("docker", "podman"):
            lab(name, "down", directory)  # leftovers of a killed run
            cleanup.callback(lab, name, "down", directory)
            if lab(name, "up", directory).returncode == 77:
                print(f"not here: {name}")
                continue
            try:
                check(Runtime(name, directory, cgtop))
            except Fault as fault:
                print(f"FAIL: {fault}")
                return 1
            ran.append(name)
    if not ran:
        print("SKIP: no container runtime can run here")
        return 77
    print("runtimes tested: " + ", ".join(ran))
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
