#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Run one fuzzer for a while on what the recorded hosts hold and on what its own folder does: inputs to begin with, and
what once found a mistake.

  run.py FUZZER [--seconds N] [--keep DIR]
     --keep DIR   where new interesting inputs go, to go on from the next time

What it finds is left in the current folder (crash-*). Once mended, it belongs into tests/fuzz/corpus/NAME.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
HOSTS = os.path.join(os.path.dirname(HERE), "hosts")
MOUNTINFO = os.path.join(os.path.dirname(HERE), "data/mountinfo")
EACH, LARGEST = 3, 16384      # contents of one file name; more of the same teaches nothing


def seeds(folder):
    """Recorded files: EACH different contents for every name, in an order that does not change."""
    seen, count = set(), {}
    for top in (HOSTS, MOUNTINFO):
        for path, folders, files in os.walk(top):
            folders.sort()
            for name in sorted(files):
                source = os.path.join(path, name)
                if count.get(name, 0) >= EACH or not 0 < os.path.getsize(source) <= LARGEST:
                    continue
                with open(source, "rb") as file:
                    content = file.read()
                digest = hashlib.sha1(content).hexdigest()
                if digest not in seen:
                    seen.add(digest)
                    count[name] = count.get(name, 0) + 1
                    with open(os.path.join(folder, digest), "wb") as file:
                        file.write(content)
    return len(seen)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("fuzzer")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--keep")
    options = parser.parse_args()
    name = os.path.basename(options.fuzzer)
    with tempfile.TemporaryDirectory(prefix="cgwarden-fuzz-") as folder:
        grown = options.keep or os.path.join(folder, "grown")
        start = os.path.join(folder, "seeds")
        os.makedirs(grown, exist_ok=True)
        os.mkdir(start)
        known = os.path.join(HERE, "corpus", name)
        folders = [grown, start] + ([known] if os.path.isdir(known) else [])
        print(f"{seeds(start)} recorded files, {len(os.listdir(known)) if len(folders) > 2 else 0} inputs of its own")
        ran = subprocess.run([os.path.abspath(options.fuzzer), f"-max_total_time={options.seconds}", "-timeout=10",
                              "-rss_limit_mb=2048", f"-max_len={LARGEST}", "-print_final_stats=1", *folders],
                             capture_output=True, check=False)
        output = ran.stderr.decode(errors="replace").splitlines()
        if ran.returncode == 0:
            print("\n".join(line for line in output if line.startswith(("Done", "stat::number_of_executed"))))
        else:
            print("\n".join(output[-60:]))
        return ran.returncode


if __name__ == "__main__":
    sys.exit(main())
