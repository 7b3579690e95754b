#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Actions of cgtop on the kernel of this machine: exit statuses, JSON, leases that expire, and a dry run, which is
traced to verify that no system call writes.

  control_test.py CGTOP

Exit status: 0, 1, or 77 if cgroups cannot be created.
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


class Group:
    """One cgroup with one process in every hierarchy."""

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
        """Content of the file in the first hierarchy that has it, or None."""
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
        print("SKIP: root and a mounted cgroup file system are required")
        return 77
    with tempfile.TemporaryDirectory(prefix="cgwarden-test-") as folder, Group() as group:
        def run(*words, prefix=()):
            where = ["--state-dir", f"{folder}/state", "--audit-file", f"{folder}/audit"]
            return subprocess.run([*prefix, cgtop, *words, *where], capture_output=True, text=True, check=False, timeout=120,
                                  stdin=subprocess.DEVNULL)

        def code(wanted, *words):
            done = run(*words)
            want(done.returncode == wanted, f"{words}: {done.returncode}, wanted {wanted}: {done.stderr}")
            want((done.stderr == "") == (wanted == 0), f"{words}: on standard error only what went wrong: {done.stderr!r}")
            want(done.stderr.count("\n") <= 1, f"{words}: one line: {done.stderr!r}")
            return done

        code(0, "freeze", NAME, "--dry-run")
        code(2, "freeze", NAME, "--for", "2h")
        code(2, "limit", NAME, "memory.mx=1")
        code(2, "limit", NAME, "io.max.rbps@nonesuch=1M")
        code(2, "kill", NAME)     # no terminal for the confirmation
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
            print("     strace is not installed: the dry run was not traced")

        done = json.loads(code(0, "freeze", NAME, "--for", "1s", "-j").stdout)["outcome"]
        want(done["kind"] == "done" and done["undo"], f"JSON: {done}")
        while group.frozen():     # bounded by the timeout of the test
            time.sleep(0.05)
        print("ok   a freeze ends after cgtop has exited")

        if group.file("pids.max") is not None:
            code(0, "limit", NAME, "pids.max=77", "--for", "1s")
            while group.file("pids.max") != "max":
                time.sleep(0.05)
            print("ok   a limit with a lease ends as well")
        code(0, "freeze", NAME)
        code(0, "undo")
        want(not group.frozen(), "undo thaws")
        code(0, "kill", NAME, "--yes")
        group.process.wait(timeout=60)
        with open(f"{folder}/audit", encoding="utf-8") as lines:
            events = [json.loads(line)["event"] for line in lines]
        want(events.count("begin") == events.count("end") + events.count("lease_end") and "thaw" in events, f"the audit: {events}")
        print("ok   undo, kill, audit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
