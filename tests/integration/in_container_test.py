#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The agent in a container, as described in docs/install.md: it must export the same data of the host as outside.

  in_container_test.py AGENT

runC runs the agent with separate namespaces except PID, the host mounted at /host and two capabilities. The test
creates a cgroup with mode 0700, and a container of runC in it. It compares the names of all their series, and the
values that cannot change in between.

All objects are named cgwarden-test-... and are always removed. Exit status: 0, 1, or 77 if runC cannot run.
"""

import contextlib
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

NAME = f"cgwarden-test-in-{os.getpid()}"
HOST = ["--path.rootfs=/host", "--path.procfs=/host/proc", "--path.sysfs=/host/sys", "--path.cgroupfs=/host/sys/fs/cgroup"]
SAME = re.compile(r"^cgroup_(container|namespace|chroot|unit|memory_max|memory_high|pids_max|cpu_quota|cpuset)")


def directories():
    """Directories of the cgroup of the test, in every hierarchy."""
    places = glob.glob("/sys/fs/cgroup/*/cgroup.procs") + glob.glob("/sys/fs/cgroup/cgroup.procs")
    return [os.path.join(os.path.dirname(os.path.realpath(place)), NAME) for place in sorted(set(map(os.path.realpath, places)))]


def bundle(directory, binds, change):
    """Creates a bundle for `runc run`: a root with the libraries of this machine, and the default config after `change`."""
    root = os.path.join(directory, "root")
    for at in ["proc", "sys", "dev", "host", *(bind.lstrip("/") for bind in binds)]:
        os.makedirs(os.path.join(root, at), exist_ok=True)
    for link in ("bin", "lib", "lib64", "sbin"):
        if os.path.islink("/" + link):
            os.symlink(os.readlink("/" + link), os.path.join(root, link))
    subprocess.run(["runc", "spec", "--bundle", directory], check=True)
    path = os.path.join(directory, "config.json")
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    config["root"] = {"path": root, "readonly": True}
    config["process"]["terminal"] = False
    for bind in binds:
        config["mounts"].append({"destination": bind, "type": "none", "source": bind, "options": ["rbind", "ro"]})
    change(config)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file)


def series(text):
    """{name and labels: value} of the series of the cgroup of the test and its descendants."""
    out = {}
    for line in text.splitlines():
        if line.startswith("cgroup_") and f'cgroup="/{NAME}/' in line:
            name, _, value = line.rpartition(" ")
            out[name] = value
    return out


def run(agent, directory, cleanup):
    for place in directories():
        os.mkdir(place)
        cleanup.callback(os.rmdir, place)
        for file in ("cpuset.cpus", "cpuset.mems"):  # v1: no process can be attached while these are empty
            with contextlib.suppress(OSError):
                shutil.copyfile(os.path.join(os.path.dirname(place), file), os.path.join(place, file))

    def sleeper(config):
        config["process"]["args"] = ["/usr/bin/sleep", "300"]
        config["linux"]["cgroupsPath"] = f"/{NAME}/{NAME}-seen"
        config["linux"]["resources"] = {"memory": {"limit": 67108864}, "pids": {"limit": 50}}

    seen = os.path.join(directory, "seen")
    bundle(seen, ["/usr"], sleeper)
    cleanup.callback(subprocess.run, ["runc", "delete", "--force", f"{NAME}-seen"], check=False, stderr=subprocess.DEVNULL)
    subprocess.run(["runc", "run", "--detach", "--bundle", seen, f"{NAME}-seen"], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=30)
    for place in directories():
        os.chown(place, 65534, 65534)
        os.chmod(place, 0o700)

    def itself(config):
        config["process"]["args"] = [agent, "--once", *HOST]
        rights = ["CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE"]
        config["process"]["capabilities"] = {kind: rights for kind in ("bounding", "effective", "permitted")}
        spaces = {space["type"] for space in config["linux"]["namespaces"]} - {"pid"} | {"cgroup"}
        config["linux"]["namespaces"] = [{"type": space} for space in sorted(spaces)]
        config["mounts"].append({"destination": "/host", "type": "none", "source": "/", "options": ["rbind", "ro", "rslave"]})
        config["linux"]["cgroupsPath"] = f"/{NAME}/{NAME}-agent"

    inside = os.path.join(directory, "inside")
    bundle(inside, ["/usr", "/etc", os.path.dirname(agent)], itself)
    cleanup.callback(subprocess.run, ["runc", "delete", "--force", f"{NAME}-agent"], check=False, stderr=subprocess.DEVNULL)
    time.sleep(1)  # wait until the processes of the container are in their final cgroups
    outside = subprocess.run([agent, "--once"], check=True, capture_output=True, text=True, timeout=60)
    within = subprocess.run(["runc", "run", "--bundle", inside, f"{NAME}-agent"], check=False, capture_output=True, text=True,
                            timeout=60, stdin=subprocess.DEVNULL)
    if within.returncode:
        return [f"the agent in the container: exit status {within.returncode}: {within.stderr}"]
    faults = [f"it says: {line}" for line in within.stderr.splitlines()]
    theirs = {name: value for name, value in series(within.stdout).items() if f"{NAME}-agent" not in name}
    mine = series(outside.stdout)
    faults += [f"only outside: {name}" for name in sorted(mine.keys() - theirs.keys())]
    faults += [f"only in the container: {name}" for name in sorted(theirs.keys() - mine.keys())]
    faults += [f"{name}: {value} outside, {theirs[name]} in the container" for name, value in sorted(mine.items())
               if SAME.match(name) and theirs.get(name, value) != value]
    if not any(name.startswith("cgroup_container_info") and f'container="{NAME}-seen"' in name for name in mine):
        faults.append("the container has no name outside")
    if not any(name.startswith("cgroup_namespace_info") and 'host="true"' in name for name in theirs):
        faults.append("no namespace is known as the host's in the container")
    print(f"{len(mine)} series outside, {len(theirs)} of them in the container")
    return faults


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        print("SKIP: root is required to start containers")
        return 77
    if not shutil.which("runc"):
        print("SKIP: runc is not installed")
        return 77
    with contextlib.ExitStack() as cleanup:
        directory = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="cgwarden-test-in-"))
        faults = run(os.path.realpath(sys.argv[1]), directory, cleanup)
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
