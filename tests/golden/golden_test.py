#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The whole agent on a recorded host must print what it printed before: the diff of a golden file is part of a review.

  golden_test.py AGENT [HOST...]            compare tests/golden/HOST.prom; default: every folder of tests/hosts
  golden_test.py --update AGENT [HOST...]   take what the agent prints now as right

What differs from run to run is left out: the agent's own metrics (cgwarden_*, process_*). Exit status: 0 same, 1 not,
2 usage.
"""

import difflib
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
HOSTS = os.path.join(os.path.dirname(HERE), "hosts")
VOLATILE = re.compile(r"(?:# (?:HELP|TYPE|UNIT) )?(?:cgwarden_|process_)")


def exposition(agent, host):
    """What the agent says about a recorded host; it must not complain on the way."""
    base = os.path.join(HOSTS, host)
    ran = subprocess.run([agent, "--once", "--path.procfs", f"{base}/proc", "--path.sysfs", f"{base}/sys",
                          "--path.cgroupfs", f"{base}/sys/fs/cgroup", "--path.rootfs", base], capture_output=True, check=False, timeout=60)
    if ran.returncode != 0:
        raise SystemExit(f"{host}: the agent ended with {ran.returncode}: {ran.stderr.decode(errors='replace')}")
    text = ran.stdout.decode("utf-8")       # an exposition is UTF-8, whatever the groups are called
    return [line for line in text.splitlines() if not VOLATILE.match(line)]


def compare(agent, host, update):
    path = os.path.join(HERE, f"{host}.prom")
    now = exposition(agent, host)
    if now != exposition(agent, host):
        print(f"{host}: two runs differ: the order or a value is not determined by the host")
        return False
    if not any(line.startswith("cgroup_") for line in now):
        print(f"{host}: not a single cgroup_ series")
        return False
    if update:
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(now) + "\n")
        print(f"{host}: {len(now)} lines, {os.path.getsize(path) // 1024} KiB")
        return True
    try:
        with open(path, encoding="utf-8") as file:
            before = file.read().splitlines()
    except FileNotFoundError:
        before = []
    difference = list(difflib.unified_diff(before, now, f"tests/golden/{host}.prom", "what the agent prints", n=1,
                                           lineterm=""))
    for line in difference[:80]:
        print(line)
    if difference:
        print(f"{host}: {len(difference)} lines of difference; if they are right: golden_test.py --update AGENT {host}")
    return not difference


def main():
    arguments = sys.argv[1:]
    update = "--update" in arguments
    arguments = [a for a in arguments if a != "--update"]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    agent = os.path.abspath(arguments[0])
    hosts = arguments[1:] or sorted(entry.name for entry in os.scandir(HOSTS) if entry.is_dir())
    return 0 if all([compare(agent, host, update) for host in hosts]) else 1


if __name__ == "__main__":
    sys.exit(main())
