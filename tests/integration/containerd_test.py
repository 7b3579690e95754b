#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The agent with a real containerd: queries, the event stream, and recovery after containerd stops, is killed and
restarts.

  containerd_test.py AGENT

Images, labels and exit statuses must match the output of `ctr`. A container that is created between two scrapes must
have its image in the next one, which only the event stream can provide in time. A stopped containerd must not delay a
scrape.

All objects are named cgwarden-test-... and are always removed. Exit status: 0, 1, or 77 if the test cannot run.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

from runtimes_test import PATIENCE, Agent, Checks, lab, named

IMAGE = "docker.io/cgwarden-test/box:1"
MADE = ("cgwarden-test-late", "cgwarden-test-again")
SLACK = 1.0 * PATIENCE  # seconds; a scrape that waits for the daemon would take 2 s longer


class Containerd:
    def __init__(self, directory):
        self.directory = os.path.join(directory, "containerd")
        self.socket = os.path.join(self.directory, "containerd.sock")

    @property
    def pid(self):
        with open(os.path.join(self.directory, "containerd.pid"), encoding="utf-8") as file:
            return int(file.read())

    def ctr(self, *arguments, check=True):
        return subprocess.run(["ctr", "-a", self.socket, "-n", "cgwarden-test", *arguments], check=check, capture_output=True,
                              text=True, timeout=60, stdin=subprocess.DEVNULL)

    def info(self, name):
        return json.loads(self.ctr("containers", "info", name).stdout)

    def begin(self, name):
        """Runs in the foreground: ctr exits with the container, and with its exit status."""
        command = ["ctr", "-a", self.socket, "-n", "cgwarden-test", "run", "--label", "org.cgwarden.tier=" + name, IMAGE, name,
                   "/bin/cgwarden-test-load"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

    def start_again(self):
        with open(os.path.join(self.directory, "containerd.log"), "ab") as log:
            process = subprocess.Popen(["containerd", "-c", os.path.join(self.directory, "config.toml")], stdout=log,
                                       stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        with open(os.path.join(self.directory, "containerd.pid"), "w", encoding="utf-8") as file:
            file.write(str(process.pid))
        if not eventually(15, lambda: self.ctr("version", check=False).returncode == 0):
            raise RuntimeError("containerd does not respond after a restart")

    def remove(self):
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGCONT)
        for name in MADE:
            self.ctr("tasks", "kill", "-s", "KILL", name, check=False)
        time.sleep(0.3)
        for name in MADE:
            self.ctr("tasks", "rm", name, check=False)
            self.ctr("containers", "rm", name, check=False)


def eventually(seconds, condition):
    """Waits for `condition`; returns its last value."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        answer = condition()
        if answer or time.monotonic() > deadline:
            return answer
        time.sleep(0.1)


def info(agent, name):
    return named(agent.series(), {"name": name, "runtime": "containerd"}) or {}


def exit_code(agent, name):
    return next((value for metric, labels, value in agent.series()
                 if metric == "cgroup_container_exit_code" and labels.get("container") == name), None)


def failures(agent, reason):
    with urllib.request.urlopen(agent.url, timeout=30) as answer:
        text = answer.read().decode()
    found = re.search(rf'^cgwarden_discovery_daemon_failures_total\{{daemon="containerd",reason="{reason}"\}} (\S+)$', text, re.M)
    return float(found.group(1)) if found else 0.0


def logged(agent, text):
    agent.log.seek(0)
    return agent.log.read().count(text)


def slowest_scrape(agent, seconds):
    slowest, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        before = time.monotonic()
        agent.series()
        slowest = max(slowest, time.monotonic() - before)
        time.sleep(0.1)
    return slowest


def same_as_ctr(what, agent, containerd, name, checks):
    theirs = containerd.info(name)
    eventually(2, lambda: info(agent, name).get("image"))
    mine = info(agent, name)
    checks.same(f"{what}: image of {name}", mine.get("image"), theirs["Image"])
    checks.same(f"{what}: id of {name}", mine.get("id"), theirs["ID"])
    labels = {k: v for k, v in theirs["Labels"].items() if k.startswith("org.cgwarden.")}
    checks.same(f"{what}: labels of {name}",
                {k: mine.get("label_" + k.replace(".", "_")) for k in labels}, labels)


def check_origin(agent, containerd, checks):
    one = next((c for c in agent.containers() if c.get("name") == "cgwarden-test-ctr"), {"from": {}})
    checks.same("printed source of the image", one["from"].get("image"), "unix:" + containerd.socket)
    checks.same("state on disk takes precedence", one["from"].get("name", "").endswith("/config.json"), True)


def check_first_scrape(what, agent, containerd, name, checks):
    agent.series()
    time.sleep(1)
    process = containerd.begin(name)
    eventually(10, lambda: re.search(rf"^{name} .*RUNNING", containerd.ctr("tasks", "ls").stdout, re.M))
    time.sleep(1.5 * PATIENCE)
    checks.same(f"{what}: image in the first scrape after {name} was made", info(agent, name).get("image"), IMAGE)
    same_as_ctr(what, agent, containerd, name, checks)
    return process


def check_events(agent, containerd, checks):
    late = MADE[0]
    process = check_first_scrape("a new container", agent, containerd, late, checks)
    containerd.ctr("containers", "label", late, "org.cgwarden.color=blue")  # only in the database
    blue = eventually(3, lambda: info(agent, late).get("label_org_cgwarden_color"))
    checks.same("label that was added later", blue, containerd.info(late)["Labels"]["org.cgwarden.color"])

    containerd.ctr("tasks", "kill", "-s", "TERM", late)
    theirs = process.wait(30)
    checks.same("exit status of the load", theirs, 3)
    checks.same("exit code", eventually(5, lambda: exit_code(agent, late)), theirs)
    containerd.ctr("containers", "rm", late)
    time.sleep(1)
    checks.same("exit status after removal", exit_code(agent, late), theirs)
    checks.same("image after removal", info(agent, late).get("image"), IMAGE)


def usual_scrape(agent, flags):
    """Duration of the slowest scrape of an agent that queries everything and gets responses."""
    first = Agent(agent.path, flags)
    try:
        return max(slowest_scrape(first, 4), slowest_scrape(agent, 2))
    finally:
        first.stop()


def check_stopped(agent, flags, containerd, usual, checks, cleanup):
    os.kill(containerd.pid, signal.SIGSTOP)
    second = Agent(agent.path, flags)
    cleanup.callback(second.stop)
    slowest = max(slowest_scrape(second, 4), slowest_scrape(agent, 2))
    checks.same(f"a scrape of {slowest:.2f} s with a stopped containerd is not slower than others", slowest < usual + SLACK, True)
    checks.same("name from disk, with a stopped containerd", info(second, "cgwarden-test-ctr").get("container"),
                "cgwarden-test-ctr")
    checks.same("image that was known before the stop", info(agent, "cgwarden-test-ctr").get("image"), IMAGE)
    checks.same("timeouts are counted", failures(second, "timeout") >= 1, True)
    os.kill(containerd.pid, signal.SIGCONT)
    image = eventually(15, lambda: info(second, "cgwarden-test-ctr").get("image"))
    checks.same("image after containerd continued", image, IMAGE)
    print(f"slowest scrape with a stopped containerd: {1000 * slowest:.0f} ms, with a running one: {1000 * usual:.0f} ms")


def check_killed(agent, containerd, usual, checks):
    os.kill(containerd.pid, signal.SIGKILL)
    checks.same("lost event stream is logged", bool(eventually(5, lambda: logged(agent, "event stream lost"))), True)
    slowest = slowest_scrape(agent, 2)
    checks.same(f"a scrape of {slowest:.2f} s without containerd is not slower than others", slowest < usual + SLACK, True)
    checks.same("image without containerd", info(agent, "cgwarden-test-ctr").get("image"), IMAGE)
    checks.same("failed query is counted", failures(agent, "unreachable") >= 1, True)
    containerd.start_again()
    checks.same("restored event stream is logged", bool(eventually(20, lambda: logged(agent, "event stream connected again"))), True)
    process = check_first_scrape("after containerd came back", agent, containerd, MADE[1], checks)
    containerd.ctr("tasks", "kill", "-s", "KILL", MADE[1])
    process.wait(30)
    checks.same("number of lost-stream messages", logged(agent, "event stream lost"), 1)


def main(agent_path):
    if os.geteuid() != 0:
        print("SKIP: root is required to start containers")
        return 77
    checks = Checks()
    directory = tempfile.mkdtemp(prefix="cgwarden-test-containerd-")
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, directory, ignore_errors=True)
        cleanup.callback(lab, "containerd", "down", directory)
        up = lab("containerd", "up", directory)
        if up.returncode == 77:
            print(f"SKIP: no container runtime can run here: {(up.stderr or up.stdout).strip()}")
            return 77
        containerd = Containerd(directory)
        cleanup.callback(containerd.remove)
        flags = ["--discovery.labels=org.cgwarden.*", *lab("containerd", "flags", directory).stdout.split()]
        agent = Agent(agent_path, flags)
        cleanup.callback(agent.stop)
        same_as_ctr("from the start", agent, containerd, "cgwarden-test-ctr", checks)
        check_origin(agent, containerd, checks)
        check_events(agent, containerd, checks)
        usual = usual_scrape(agent, flags)
        check_stopped(agent, flags, containerd, usual, checks, cleanup)
        check_killed(agent, containerd, usual, checks)
        if agent.process.poll() is not None:
            checks.failed.append("the agent ended by itself")
    for failure in checks.failed:
        print(f"FAIL: {failure}")
    print(f"{len(checks.failed)} differences from the output of ctr")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
