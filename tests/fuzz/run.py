#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Run one fuzzer for some time, with the files of the recorded hosts and its own corpus as initial inputs. The corpus
also holds the inputs that once caused a failure.

  run.py FUZZER [--seconds N] [--keep DIR]
     --seconds N  duration; default 10
     --keep DIR   directory that keeps new interesting inputs for the next run

An input that causes a failure is written to the current directory (crash-*). After the fix, add it to
tests/fuzz/corpus/NAME.
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
MAX_PER_NAME, MAX_SIZE = 3, 16384  # similar contents do not increase coverage


def seeds(folder):
    """Copy recorded files to `folder`: MAX_PER_NAME different contents for each file name, in a fixed order."""
    seen, count = set(), {}
    for top in (HOSTS, MOUNTINFO):
        for path, folders, files in os.walk(top):
            folders.sort()
            for name in sorted(files):
                source = os.path.join(path, name)
                if count.get(name, 0) >= MAX_PER_NAME or not 0 < os.path.getsize(source) <= MAX_SIZE:
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
    parser = argparse.ArgumentParser(description="Run one fuzzer.")
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
        print(f"{seeds(start)} recorded files, {len(os.listdir(known)) if len(folders) > 2 else 0} corpus inputs")
        ran = subprocess.run([os.path.abspath(options.fuzzer), f"-max_total_time={options.seconds}", "-timeout=10",
                              "-rss_limit_mb=2048", f"-max_len={MAX_SIZE}", "-print_final_stats=1", *folders],
                             capture_output=True, check=False)
        output = ran.stderr.decode(errors="replace").splitlines()
        if ran.returncode == 0:
            print("\n".join(line for line in output if line.startswith(("Done", "stat::number_of_executed"))))
        else:
            print("\n".join(output[-60:]))
        return ran.returncode


if __name__ == "__main__":
    sys.exit(main())
