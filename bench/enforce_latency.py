#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Latency from a condition to its action: a process in one of many cgroups allocates memory, and the time until the
policy has limited its cgroup is measured, several times. Needs root. Creates and removes cgroups below
cgwarden-test-enforce-PID.

  enforce_latency.py AGENT [--cgroups N] [--rounds N] [--interval SECONDS] [--rules N]
"""

import argparse
import contextlib
import os
import random
import statistics
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests/integration"))
import enforce_test as enforce  # noqa: E402


def ms(values):
    values = sorted(values)
    return (f"median {statistics.median(values) * 1000:.0f} ms, min {values[0] * 1000:.0f}, "
            f"max {values[-1] * 1000:.0f}, {len(values)} rounds")


def mean(enforcer, name):
    count = enforcer.metric(f"{name}_count") or 0
    return (enforcer.metric(f"{name}_sum") or 0) / count * 1000 if count else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("agent")
    parser.add_argument("--cgroups", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--interval", default="1")
    parser.add_argument("--rules", type=int, default=1)
    options = parser.parse_args()
    policy = ""
    for i in range(options.rules):
        above = "60MiB, clear_below: 30MiB" if i == 0 else "900GiB"
        policy += (f"  - {{ name: r{i}, match: {{ path: /{enforce.TOP}/** }}, max_targets: 100000, max_actions_per_hour: 10000, "
                   f"dry_run: false, cooldown: 0s, when: {{ field: memory_current, above: {above} }}, "
                   f"do: [ limit: {{ memory.max: {256 + i}MiB }} ] }}\n")
    waits = []
    with tempfile.TemporaryDirectory(prefix="cgwarden-test-") as folder, enforce.Groups(["hog"]) as cgroups:
        os.chmod(folder, 0o755)
        others = [f"{mount}/{enforce.TOP}/other-{i}" for mount in cgroups.mounts for i in range(options.cgroups - 2)]
        try:
            for path in others:
                os.mkdir(path)
            with enforce.Enforcer(os.path.abspath(options.agent), folder, policy, interval=options.interval) as enforcer:
                for _ in range(options.rounds):
                    time.sleep(random.random() * float(options.interval))
                    cgroups.tell("hog", "grow", 80)
                    begun = time.monotonic()
                    while cgroups.memory_limit("hog") is None:
                        if time.monotonic() - begun > 30:
                            raise SystemExit(enforce.read(enforcer.log)[-2000:])
                        time.sleep(0.001)
                    waits.append(time.monotonic() - begun)
                    cgroups.tell("hog", "free")
                    enforce.until(lambda: cgroups.memory_limit("hog") is None, "the limit is undone")
                ticks = os.sysconf("SC_CLK_TCK")
                stat = enforce.read(f"/proc/{enforcer.process.pid}/stat").rsplit(") ", 1)[1].split()
                print(f"{options.cgroups} cgroups, {options.rules} rules, sampling interval {options.interval} s")
                print(f"condition to limit: {ms(waits)}")
                for name in ("decision_duration", "action_duration", "action_latency"):
                    print(f"{name}: mean {mean(enforcer, f'cgwarden_policy_{name}_seconds'):.2f} ms")
                samples = enforcer.metric("cgwarden_policy_samples_total")
                cpu = (int(stat[11]) + int(stat[12])) / ticks
                print(f"CPU: {cpu / samples * 1000:.1f} ms per sample, {samples:.0f} samples")
                enforcer.stop()
        finally:
            for path in others:
                with contextlib.suppress(OSError):
                    os.rmdir(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
