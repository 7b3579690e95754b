#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the summary of scripts/test from ctest's JUnit files: failed tests with their output, skipped tests with the
reason, and totals in ctest's format. Exit status 1 if a test or a build failed."""

import argparse
import os
import re
import sys
import xml.etree.ElementTree as ET


def permitted_skips(path):
    """Returns [(compiled pattern, reason)] from lines of the form "PATTERN: reason"."""
    found = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            line = line.strip()
            if line and not line.startswith("#"):
                pattern, _, reason = line.partition(": ")
                found.append((re.compile(pattern), reason))
    return found


def reason_of(output):
    """Returns the skip reason from the output: scripts print "SKIP: reason", GoogleTest the message of GTEST_SKIP."""
    match = re.search(r"^SKIP: (.*)$", output, re.M)
    if not match:
        match = re.search(r": Skipped\n(.+)$", output, re.M)
    return match.group(1).strip() if match else "no reason given"


def cases(path):
    """Yields (name, "passed" | "failed" | "skipped", output) for each test."""
    for case in ET.parse(path).getroot().iter("testcase"):
        output = case.findtext("system-out") or ""
        if case.find("failure") is not None or case.get("status") == "fail":
            yield case.get("name"), "failed", output
        elif case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
            # "notrun" without a skip reason means that the test program is missing
            unavailable = case.find("skipped")
            message = unavailable.get("message", "") if unavailable is not None else ""
            lost = "not available" in message.lower() or "Unable to find" in output
            yield case.get("name"), "failed" if lost else "skipped", output or message
        else:
            yield case.get("name"), "passed", output


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--logs", required=True)
    parser.add_argument("--permitted", required=True)
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("stages", nargs="+")
    options = parser.parse_args()
    in_ci = os.environ.get("CI", "").lower() not in ("", "0", "false", "no")
    permitted = permitted_skips(options.permitted)

    count = {"passed": 0, "failed": 0, "skipped": 0}
    failed, skipped = [], []
    print("== summary")
    for stage in options.stages:
        path = os.path.join(options.logs, f"{stage}.xml")
        if not os.path.exists(path):
            print(f"{stage:5} build failed: {options.logs}/{stage}.build.log")
            failed.append((stage, "build", ""))
            count["failed"] += 1
            continue
        here = {"passed": 0, "failed": 0, "skipped": 0}
        for name, result, output in cases(path):
            reason = reason_of(output) if result == "skipped" else ""
            if result == "skipped" and in_ci and not any(p.search(f"{name}: {reason}") for p, _ in permitted):
                result, output = "failed", f"skip not listed in tests/permitted-skips: {reason}"
            here[result] += 1
            if result == "failed":
                failed.append((stage, name, output))
            elif result == "skipped":
                skipped.append((stage, name, reason))
        with open(os.path.join(options.logs, f"{stage}.status"), encoding="utf-8") as file:
            status = file.read().strip()
        if status != "0" and not here["failed"]:
            failed.append((stage, "ctest", f"exit status {status}: {options.logs}/{stage}.test.log"))
            here["failed"] += 1
        if not sum(here.values()):
            failed.append((stage, "ctest", f"no test was run: {options.logs}/{stage}.test.log"))
            here["failed"] += 1
        print(f"{stage:5} {here['passed']} passed, {here['failed']} failed, {here['skipped']} skipped")
        for key, value in here.items():
            count[key] += value

    for stage, name, reason in skipped:
        print(f"skipped: {stage} {name}: {reason}")
    for stage, name, output in failed:
        print(f"FAILED: {stage} {name}")
        for line in output.strip().splitlines()[-60:]:
            print(f"    {line}")
    total = sum(count.values())
    print(f"in {options.seconds // 60} min {options.seconds % 60} s")
    percent = 100 * (total - count["failed"]) // total if total else 0
    print(f"{percent}% tests passed, {count['failed']} tests failed out of {total}")
    print(f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
