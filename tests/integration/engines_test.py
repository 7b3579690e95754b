#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cgtop with containers of real daemons: Docker and Podman report the limits, freezes and kills of cgtop, also after an
undo, and a hanging daemon does not block an action.

  engines_test.py CGTOP [ENGINE...]

All objects are named cgwarden-test-... and are always removed. Exit status: 0, 1, or 77 if no daemon can run.
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


class Engine:
    def __init__(self, name, directory, cgtop):
        self.name, self.cgtop = name, cgtop
        self.directory = os.path.join(directory, name)
        self.socket = os.path.join(self.directory, f"{name}.sock")
        self.state = os.path.join(self.directory, "control")

    def ask(self, method, target, body=None):
        connection = Connection(self.socket)
        connection.request(method, target, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        want(answer.status < 300, f"{self.name}: {method} {target}: {answer.status} {text[:300]}")
        return json.loads(text) if text.strip() else None

    def container(self, name):
        return Container(self, next(c["Id"] for c in self.ask("GET", "/containers/json") if f"/{name}" in c["Names"]))

    def act(self, *arguments, code=0):
        command = [self.cgtop, arguments[0], f"--{self.name}-socket={self.socket}", "--state-dir=" + self.state,
                   "--audit-file=" + os.path.join(self.state, "audit.jsonl"), "--json", *arguments[1:]]
        began = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
        want(done.returncode == code, f"{self.name}: {' '.join(arguments)}: exit code {done.returncode}, not {code}: "
                                      f"{done.stdout}{done.stderr}")
        told = json.loads(done.stdout)["outcome"]
        told["seconds"] = time.monotonic() - began
        return told

    @property
    def daemon(self):
        return int(read(os.path.join(self.directory, {"docker": "dockerd.pid", "podman": "service.pid"}[self.name])))


class Container:
    def __init__(self, engine, identity):
        self.engine, self.id = engine, identity
        found = [os.path.dirname(f) for pattern in ("/sys/fs/cgroup", "/sys/fs/cgroup/*") for f in
                 glob.glob(f"{pattern}/**/*{identity}*/cgroup.procs", recursive=True)]
        self.dirs = {d.split("/")[4] if not os.path.exists("/sys/fs/cgroup/cgroup.procs") else "": d for d in found}
        self.group = "/" + "/".join(next(iter(self.dirs.values())).split("/")[5 if "" not in self.dirs else 4:])

    def file(self, controller, v1, v2):
        """Value in the kernel, by its v1 or v2 name."""
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

    def told(self):
        return self.engine.ask("GET", f"/containers/{self.id}/json")

    def status(self):
        return self.told()["State"]["Status"]


def limits_are_the_engines_own(engine, container):
    before = container.memory(), container.cores(), container.pids()
    done = engine.act("limit", container.group, "memory.max=96M", "cpu.max=25%", "pids.max=40")
    want(f"{engine.name} knows of it" in done["text"], f"{engine.name} was not told: {done}")
    now = container.memory(), container.cores(), container.pids()
    want(now == (str(96 * MIB), 0.25, "40"), f"{engine.name}: the kernel has {now}")
    if engine.name == "docker":  # Podman 4.3 writes an update to the kernel and does not store it
        host = container.told()["HostConfig"]
        told = host["Memory"], host["MemorySwap"], host["NanoCpus"], host["PidsLimit"]
        want(told == (96 * MIB, 160 * MIB, 250_000_000, 40), f"docker reports {told}")
        # The next update writes all stored limits, which must be the new values.
        engine.ask("POST", f"/containers/{container.id}/update", {"CpuShares": 600})
        want((container.memory(), container.pids()) == now[::2], "docker restored old values")
    engine.act("undo", done["undo"])
    after = container.memory(), container.cores(), container.pids()
    want(after == before, f"{engine.name}: {before} became {after}")
    if engine.name == "docker":
        host = container.told()["HostConfig"]
        told = host["Memory"], host["NanoCpus"], host["PidsLimit"]
        want(told == (64 * MIB, 500_000_000, 50), f"docker reports {told} after the undo")


def what_had_no_limit_has_none_again(engine):
    """Docker's API cannot express an unlimited value, so a large number is set instead."""
    made = engine.ask("POST", "/containers/create?name=cgwarden-test-free",
                      {"Image": "cgwarden-test/box:1", "NetworkDisabled": True})
    engine.ask("POST", f"/containers/{made['Id']}/start")
    try:
        container = engine.container("cgwarden-test-free")
        before = container.memory(), container.cores(), container.pids()
        done = engine.act("limit", container.group, "memory.max=96M", "cpu.max=25%", "pids.max=40")
        engine.act("undo", done["undo"])
        want((container.memory(), container.cores(), container.pids()) == before, "limits differ from the initial ones")
        engine.ask("POST", f"/containers/{container.id}/update", {"CpuShares": 600})
        now = container.memory(), container.cores(), container.pids()
        want(now == before, f"docker restored old values: {now}, not {before}")
        # Docker's own command for CPUs still works.
        engine.ask("POST", f"/containers/{container.id}/update", {"NanoCpus": 500_000_000})
    finally:
        engine.ask("DELETE", f"/containers/{made['Id']}?force=true")


def a_limit_for_a_time_ends_for_the_engine_too(engine, container):
    before = container.pids()
    engine.act("limit", container.group, "pids.max=41", "--for", "1s")
    want(container.pids() == "41", "no limit")
    eventually(lambda: container.pids() == before, "the lease expires")
    if engine.name == "docker":
        eventually(lambda: container.told()["HostConfig"]["PidsLimit"] == int(before), "docker is updated after the lease")


def a_freeze_is_the_engines_pause(engine, container):
    done = engine.act("freeze", container.group, "--for", "30s")
    want(done["route"] == engine.name, f"{engine.name} did not do it: {done}")
    want(container.frozen() and container.status() == "paused", f"{engine.name}: {container.status()}")
    engine.act("thaw", container.group)
    want(not container.frozen() and container.status() == "running", f"{engine.name}: {container.status()}")
    engine.act("freeze", container.group, "--for", "700ms")
    eventually(lambda: not container.frozen(), "the freeze ends")
    eventually(lambda: container.status() == "running", f"{engine.name} knows that it runs again")


def a_pause_of_somebody_else_is_left_alone(engine, container):
    engine.ask("POST", f"/containers/{container.id}/pause")
    done = engine.act("freeze", container.group, "--for", "1s", code=6)
    want("paused by another program" in done["text"], done["text"])
    want(container.status() == "paused", "cgtop ended a pause of another program")
    engine.act("thaw", container.group)  # allowed for users, not for rules
    want(container.status() == "running", "a thaw did not end the pause")


def an_engine_that_hangs_is_not_waited_for(engine, container):
    before = container.pids()
    os.kill(engine.daemon, signal.SIGSTOP)
    try:
        done = engine.act("limit", container.group, "pids.max=42")
        want("does not know of it" in done["text"] and "no answer in time" in done["text"], done["text"])
        want(container.pids() == "42", "no limit")
        frozen = engine.act("freeze", container.group, "--for", "1500ms")
        want(frozen["route"] == "cgroupfs" and container.frozen(), f"not frozen: {frozen}")
        eventually(lambda: not container.frozen(), "the freeze ends")
        engine.act("undo", done["undo"])
        want(container.pids() == before, "not undone")
    finally:
        os.kill(engine.daemon, signal.SIGCONT)
    eventually(lambda: container.status() == "running", f"{engine.name} goes on")


def without_its_socket_people_are_told(engine, container):
    silent = Engine(engine.name, os.path.dirname(engine.directory), engine.cgtop)
    silent.socket = "none"
    done = silent.act("limit", container.group, "pids.max=43", "--dry-run")
    want(f"{engine.name} does not know of it" in done["text"], done["text"])


def a_kill_is_an_end_as_any(engine, container):
    engine.act("freeze", container.group, "--for", "30s")
    engine.act("kill", container.group, "--yes")
    eventually(lambda: container.status() == "exited", f"{engine.name} sees that it has ended: {container.status()}")
    want(container.told()["State"]["ExitCode"] == 137, "exit status is not that of SIGKILL")


def check(engine):
    container = engine.container({"docker": "cgwarden-test-docker", "podman": "cgwarden-test-podman"}[engine.name])
    limits_are_the_engines_own(engine, container)
    if engine.name == "docker":
        what_had_no_limit_has_none_again(engine)
    a_limit_for_a_time_ends_for_the_engine_too(engine, container)
    a_freeze_is_the_engines_pause(engine, container)
    a_pause_of_somebody_else_is_left_alone(engine, container)
    an_engine_that_hangs_is_not_waited_for(engine, container)
    without_its_socket_people_are_told(engine, container)
    a_kill_is_an_end_as_any(engine, container)


def main(cgtop, *chosen):
    if os.geteuid() != 0:
        print("SKIP: root is required to start containers")
        return 77
    directory = tempfile.mkdtemp(prefix="cgwarden-test-engines-")
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
                check(Engine(name, directory, cgtop))
            except Fault as fault:
                print(f"FAIL: {fault}")
                return 1
            ran.append(name)
    if not ran:
        print("SKIP: no container runtime can run here")
        return 77
    print("daemons that were updated: " + ", ".join(ran))
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
