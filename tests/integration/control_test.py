#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Actions of cgtop on the kernel of this machine: exit codes, JSON, leases that expire, and a dry run that writes nothing
according to strace.

  control_test.py CGTOP

Exit status: 0, 1, or 77 if no cgroup can be created.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

NAME = f"/cgwarden-test-control-{os.getpid()}"


def mounts():
    """Mount points of all hierarchies."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        found = [line.split() for line in lines]
    return [f[4] for f in found if f[f.index("-") + 1] in ("cgroup", "cgroup2") and f[3] == "/"]


def want(holds, text):
    if not holds:
        raise AssertionError(text)


class Cgroup:
    """One cgroup in every hierarchy, with one process in it."""

    def __enter__(self):
        self.dirs = [m + NAME for m in mounts()]
        for folder in self.dirs:
            os.mkdir(folder)
        for folder in self.dirs:
            for name in ("cpuset.cpus", "cpuset.mems"):
                source = os.path.join(os.path.dirname(folder), name)
                if os.path.exists(source) and os.path.exists(os.path.join(folder, name)):
                    self.copy(source, os.path.join(folder, name))
        self.process = subprocess.Popen(["sleep", "10000"])
        for folder in self.dirs:
            self.write(os.path.join(folder, "cgroup.procs"), str(self.process.pid))
        return self

    def __exit__(self, *_):
        for folder in self.dirs:
            for name, value in (("cgroup.freeze", "0"), ("freezer.state", "THAWED")):
                if os.path.exists(os.path.join(folder, name)):
                    self.write(os.path.join(folder, name), value)
        self.process.kill()
        self.process.wait()
        for folder in self.dirs:
            for _ in range(200):
                try:
                    os.rmdir(folder)
                    break
                except OSError:
                    time.sleep(0.02)

    @staticmethod
    def write(path, text):
        with open(path, "w", encoding="ascii") as file:
            file.write(text)

    def copy(self, source, target):
        with open(source, encoding="ascii") as file:
            text = file.read().strip()
        if text:
            self.write(target, text)

    def file(self, name):
        """Content of the file in the first hierarchy that has it, else None."""
        for folder in self.dirs:
            path = os.path.join(folder, name)
            if os.path.exists(path):
                with open(path, encoding="ascii") as file:
                    return file.read().strip()
        return None

    def frozen(self):
        return "frozen 1" in (self.file("cgroup.events") or "") or self.file("freezer.state") == "FROZEN"


def main():
    cgtop = os.path.abspath(sys.argv[1])
    if os.geteuid() != 0 or not mounts():
        print("SKIP: creating cgroups needs root and a mounted cgroup file system")
        return 77
    with tempfile.TemporaryDirectory(prefix="cgwarden-test-") as folder, Cgroup() as cgroup:
        def run(*words, prefix=()):
            where = ["--state-dir", f"{folder}/state", "--audit-file", f"{folder}/audit"]
            return subprocess.run([*prefix, cgtop, *words, *where], capture_output=True, text=True, check=False, timeout=120,
                                  stdin=subprocess.DEVNULL)

        def code(wanted, *words):
            done = run(*words)
            want(done.returncode == wanted, f"{words}: {done.returncode}, wanted {wanted}: {done.stderr}")
            want((done.stderr == "") == (wanted == 0), f"{words}: standard error is for errors only: {done.stderr!r}")
            want(done.stderr.count("\n") <= 1, f"{words}: one line: {done.stderr!r}")
            return done

        code(0, "freeze", NAME, "--dry-run")
        code(2, "freeze", NAME, "--for", "2h")
        code(2, "limit", NAME, "memory.mx=1")
        code(2, "limit", NAME, "io.max.rbps@nonesuch=1M")
        code(2, "kill", NAME)     # standard input is not a terminal, so it cannot confirm
        code(3, "freeze", "/nonesuch")
        code(3, "undo")
        code(6, "freeze", "/")
        code(6, "kill", "/", "--dry-run")
        code(5, "freeze", NAME, "--socket", f"{folder}/nonesuch")
        print("ok   exit codes")

        if shutil.which("strace"):
            trace = f"{folder}/trace"
            calls = "open,openat,openat2,creat,write,pwrite64,writev,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,kill,tkill,tgkill,pidfd_send_signal,ftruncate,fork,vfork,clone,clone3"
            for words in (["freeze", NAME], ["kill", NAME], ["limit", NAME, "pids.max=5"], ["thaw", NAME]):
                done = run(*words, "--dry-run", prefix=["strace", "-f", "-o", trace, "-e", f"trace={calls}"])
                want(done.returncode == 0 or words[0] == "limit", f"{words}: {done.stderr}")
                with open(trace, encoding="utf-8", errors="replace") as lines:
                    for line in lines:
                        harmless = re.search(r"open\w*\(.*O_RDONLY|write\([12], |\+\+\+|---", line)
                        want(harmless, f"{words}: a dry run does {line.strip()}")
            print("ok   a dry run writes nothing")
        else:
            print("     strace is missing: the system calls of a dry run were not checked")

        done = json.loads(code(0, "freeze", NAME, "--for", "1s", "-j").stdout)["outcome"]
        want(done["kind"] == "done" and done["undo"], f"JSON: {done}")
        while cgroup.frozen():     # the time limit of the test applies
            time.sleep(0.05)
        print("ok   a freeze expires after cgtop has exited")

        if cgroup.file("pids.max") is not None:
            code(0, "limit", NAME, "pids.max=77", "--for", "1s")
            while cgroup.file("pids.max") != "max":
                time.sleep(0.05)
            print("ok   a limit with a lease expires")
        code(0, "freeze", NAME)
        code(0, "undo")
        want(not cgroup.frozen(), "undo thaws")
        code(0, "kill", NAME, "--yes")
        cgroup.process.wait(timeout=60)
        with open(f"{folder}/audit", encoding="utf-8") as lines:
            events = [json.loads(line)["event"] for line in lines]
        want(events.count("begin") == events.count("end") + events.count("lease_end") and "thaw" in events, f"the audit: {events}")
        print("ok   undo, kill, audit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
