#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The recipe "A field" of docs/adding.md, applied as it is written there.

  recipe_test.py AGENT    AGENT is in a build directory of the preset dev (Ninja, compile_commands.json)

The project's files are copied to a temporary directory and the row of the recipe is added to its table. The changed file is
compiled and linked with the libraries of the build directory; nothing else is compiled. Then a recorded host gets the interface
file of the row, and the new metric must appear in the catalogue, the exposition, the JSON API and the regenerated documents.
Exit status: 0 passed, 1 failed, 2 usage.
"""

import http.client
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VALUE = 4711
SKIPPED = ("tests/hosts/", "tests/golden/", "tests/fuzz/corpus/", "docs/pictures/")
HOST = "tests/hosts/v2"


def fail(text):
    raise SystemExit(f"recipe_test.py: {text}")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def recipe():
    """(file, table, row, commands) of the section "A field"."""
    section = re.search(r"^## A field\n(.*?)^## ", read(os.path.join(ROOT, "docs/adding.md")), re.S | re.M)
    if not section:
        fail("docs/adding.md: no section 'A field'")
    text = section.group(1)
    place = re.search(r"in `(collectors/\w+\.cpp)`, at the end of the table\s+`(\w+)`", text)
    row = re.search(r"```cpp field\n(.*?)```", text, re.S)
    commands = re.search(r"```sh regenerate\n(.*?)```", text, re.S)
    if not place or not row or not commands:
        fail("docs/adding.md: the file, the row or the commands of the recipe are missing")
    return place.group(1), place.group(2), row.group(1).rstrip() + "\n", commands.group(1).split("\n")


def copy_tree(target):
    git = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                         capture_output=True, check=False)
    if git.returncode == 0:
        names = [os.fsdecode(n) for n in git.stdout.split(b"\0") if n]
        for name in names:
            if not name.startswith(SKIPPED) and os.path.isfile(os.path.join(ROOT, name)):
                os.makedirs(os.path.dirname(os.path.join(target, name)), exist_ok=True)
                shutil.copy(os.path.join(ROOT, name), os.path.join(target, name))
    else:
        shutil.copytree(ROOT, target, dirs_exist_ok=True, symlinks=True,
                        ignore=lambda folder, _: {"build", ".git", "golden"} if folder in (ROOT, f"{ROOT}/tests") else set())
    shutil.copytree(os.path.join(ROOT, HOST), os.path.join(target, HOST), symlinks=True, dirs_exist_ok=True)


def add_row(path, table, row):
    text = read(path)
    start = text.find(f"{table}[] = {{")
    end = text.find("\n};", start)
    if start < 0 or end < 0:
        fail(f"{path}: no table {table}")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text[:end + 1] + row + text[end + 1:])


def build(agent, tree, source):
    """Compile the changed file and link it before the library, so that it replaces the library's object."""
    folder = os.path.dirname(agent)
    entry = next((e for e in json.loads(read(f"{folder}/compile_commands.json"))
                  if e["file"] == os.path.join(ROOT, source)), None)
    if entry is None:
        fail(f"{folder}/compile_commands.json: {source} is not compiled on its own")
    made, program = os.path.join(tree, "changed.o"), os.path.join(tree, "cgwarden")
    command = [re.sub(rf"^(-I|-isystem|){re.escape(ROOT)}(?=/|$)(?!/build/)", rf"\1{tree}", word)
               for word in shlex.split(entry["command"])]
    command[command.index("-o") + 1] = made
    subprocess.run(command, cwd=entry["directory"], check=True)
    links = subprocess.run(["ninja", "-C", folder, "-t", "commands", "cgwarden"], capture_output=True, text=True,
                           check=True).stdout.strip().split("\n")
    link = next(line for line in reversed(links) if " -o cgwarden " in line)
    link = link.replace(" -o cgwarden ", f" {shlex.quote(made)} -o {shlex.quote(program)} ")
    subprocess.run(link, shell=True, cwd=folder, check=True)
    return program


def api(program, paths, field):
    """/api/v1/snapshot of the recorded host, with this field only."""
    with tempfile.TemporaryDirectory(prefix="cgwarden-test-") as folder:
        address = os.path.join(folder, "socket")
        agent = subprocess.Popen([program, "--web.listen-address", f"unix:{address}", "--no-discovery", "--log.level", "error",
                                  *paths])
        try:
            deadline = time.monotonic() + 60
            while True:
                connection = http.client.HTTPConnection("localhost", timeout=60)
                connection.sock = socket.socket(socket.AF_UNIX)
                try:
                    connection.sock.connect(address)
                    break
                except OSError:
                    if agent.poll() is not None or time.monotonic() > deadline:
                        fail(f"{address}: the agent does not listen")
                    time.sleep(0.05)
            connection.request("GET", f"/api/v1/snapshot?fields={field}")
            answer = connection.getresponse()
            text = answer.read().decode()
            if answer.status != 200:
                fail(f"/api/v1/snapshot?fields={field}: status {answer.status}: {text}")
            return json.dumps(json.loads(text))
        finally:
            agent.kill()
            agent.wait()


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return 2
    agent = os.path.abspath(sys.argv[1])
    source, table, row, commands = recipe()
    name = re.search(r'\.name = "(\w+)"', row).group(1)
    text = re.search(r'\.help = "([^"]*)"', row).group(1)
    interface = re.search(r'\.v2 = \{"([^"]+)"', row).group(1)
    metric = f"cgroup_{name}"
    faults = []

    def expect(what, condition):
        print(f"{'ok' if condition else 'FAILED'}: {what}")
        if not condition:
            faults.append(what)

    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cgwarden-test-recipe-") as tree:
        copy_tree(tree)
        before = {path: read(os.path.join(tree, path)) for path in ("docs/metrics.md", "docs/coverage.md")}
        add_row(os.path.join(tree, source), table, row)
        program = build(agent, tree, source)
        print(f"built in {time.monotonic() - started:.1f} s")

        host = os.path.join(tree, HOST)
        cgroup = next(folder for folder, _, files in sorted(os.walk(f"{host}/sys/fs/cgroup")) if "pids.current" in files)
        with open(os.path.join(cgroup, interface), "w", encoding="utf-8") as file:
            file.write(f"{VALUE}\n")
        paths = ["--path.procfs", f"{host}/proc", "--path.sysfs", f"{host}/sys", "--path.cgroupfs", f"{host}/sys/fs/cgroup",
                 "--path.rootfs", host]
        catalogue = json.loads(subprocess.run([program, "--print-catalogue=json"], check=True, capture_output=True).stdout)
        found = [field for field in catalogue if field["metric"] == metric]
        expect("the catalogue has the metric and its help", len(found) == 1 and found[0]["help"] == text)
        once = subprocess.run([program, "--once", "--no-discovery", *paths], check=True, capture_output=True, text=True).stdout
        path = "/" + os.path.relpath(cgroup, f"{host}/sys/fs/cgroup")
        expect("the exposition has HELP", f"# HELP {metric} {text}\n" in once)
        expect("the exposition has TYPE", f"# TYPE {metric} gauge\n" in once)
        expect("the exposition has the value", re.search(rf'^{metric}\{{cgroup="{re.escape(path)}"\}} {VALUE}$', once, re.M))
        snapshot = api(program, paths, name)
        expect("the JSON API has the field and the value", f'"{name}"' in snapshot and str(VALUE) in snapshot)

        os.makedirs(os.path.join(tree, "build/dev"))
        os.rename(program, os.path.join(tree, "build/dev/cgwarden"))
        for command in commands:
            if command.strip():
                subprocess.run(shlex.split(command), cwd=tree, check=True)
        metrics, coverage = (read(os.path.join(tree, path)) for path in before)
        added = [line for line in metrics.splitlines() if line not in before["docs/metrics.md"]]
        expect("docs/metrics.md has one new line", sum(metric in line and text in line for line in added) == 1)
        expect("docs/coverage.md has the interface file",
               f"`{interface}`" in coverage and f"`{interface}`" not in before["docs/coverage.md"])
        regenerated = [path for path in before if read(os.path.join(tree, path)) != before[path]]
        print(f"files edited: 1 ({source}); files regenerated: {len(regenerated)} ({', '.join(regenerated)})")
        expect("the recipe needs one edit and two regenerated files", len(regenerated) == 2)
    print(f"{time.monotonic() - started:.1f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
