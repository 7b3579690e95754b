#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Rules of the house that a compiler does not know. Each is a function below; `layers_test.py RULE` checks one,
`layers_test.py` all that need no agent, `layers_test.py --self-test` breaks each rule on purpose and wants it noticed.

  includes              a room includes only rooms below it, and a library only where it belongs
  licences              every file of ours says under which licence it is
  names                 nothing names a developer's own machine
  metrics-doc AGENT     docs/metrics.md is what the agent prints of itself; with --update it is made so
  dashboards AGENT      every metric of dashboards/*.json and alerts/*.yaml exists
  readme AGENT          README.md names every collector and every flag
  alerts                promtool has nothing to say about the alert rules, and they fire in the cases of tests/alerts
  metric-names AGENT    promtool has nothing to say about any name of the catalogue, whatever this host shows of it
"""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# A room and the rooms it may see. Lowest first: what is not named here is not to be seen.
ROOMS = {
    "src/base": [],
    "src/model": ["src/base"],
    "src/cgroup": ["src/base", "src/model"],
    "collectors": ["src/base", "src/model", "src/cgroup"],
    "src/discovery": ["src/base", "src/model", "src/cgroup"],
    "src/control": ["src/base", "src/model", "src/cgroup", "src/discovery"],
    # These three look at snapshots only: they cannot touch a kernel file even by mistake.
    "exporter": ["src/base", "src/model"],
    "src/policy": ["src/base", "src/model"],
    "src/record": ["src/base", "src/model"],
    "src/cgtop": ["src/base", "src/model", "src/cgroup", "collectors", "src/discovery", "src/control",
                  "src/record", "exporter"],
    "src/agent": ["src/base", "src/model", "src/cgroup", "collectors", "src/discovery", "src/control", "src/policy",
                  "src/record", "exporter"],
}

# Libraries that belong into some rooms only: a library's own code does not log and knows no command line.
LIBRARIES = {
    "spdlog/": ["src/agent", "src/cgtop"],
    "CLI/": ["src/agent", "src/cgtop"],
    "systemd/": ["src/agent", "src/control"],
    "sdbus-c++/": ["src/control"],
    "zstd": ["src/record"],
    "nghttp2/": ["src/discovery"],
    "yaml-cpp/": ["src/policy", "exporter"],
    "boost/beast": ["exporter", "src/cgtop", "src/discovery"],
    "prometheus/": ["exporter", "src/agent"],
    "nlohmann/": ["src/model", "src/control", "exporter", "src/agent", "src/discovery", "src/cgtop"],
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def project_files():
    """Paths of the project's files, without the recorded hosts and what tests compare with byte by byte."""
    git = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                         capture_output=True, check=False)
    if git.returncode == 0:
        names = [os.fsdecode(n) for n in git.stdout.split(b"\0") if n]
    else:
        names = []
        for folder, folders, files in os.walk(ROOT):
            folders[:] = [f for f in folders if f not in ("build", ".git")]
            names += [os.path.relpath(os.path.join(folder, f), ROOT) for f in files]
    data = ("tests/hosts/", "tests/data/", "tests/golden/", "tests/fuzz/corpus/", "build/")
    return sorted(n for n in names if not n.startswith(data) and os.path.isfile(os.path.join(ROOT, n)))


def room_of(path):
    return next((room for room in ROOMS if path.startswith(room + "/")), None)


def check_includes(files):
    """files: {path: text}"""
    faults = []
    for path, text in files.items():
        if not path.endswith((".cpp", ".h")):
            continue
        room = room_of(path)
        if room is None:
            if path.startswith("src/") or "/" not in path:
                faults.append(f"{path}: belongs to no room; the rooms are in tests/layers/layers_test.py")
            continue
        for match in INCLUDE.finditer(text):
            quote, included = match.groups()
            line = text.count("\n", 0, match.start()) + 1
            other = room_of(included)
            if quote == '"' and other is None:
                faults.append(f'{path}:{line}: "{included}" is not the path of a header from the top folder')
            elif other not in (None, room) and other not in ROOMS[room]:
                faults.append(f"{path}:{line}: {room} must not include {other} ({included})")
            for library, rooms in LIBRARIES.items():
                if included.startswith(library) and room not in rooms:
                    faults.append(f"{path}:{line}: <{included}> belongs into {' and '.join(rooms)} only")
    return faults


# Files that cannot hold a comment, and texts for people; the licence is in LICENSE beside them.
NO_LICENCE_LINE = (".md", ".json", ".gitignore", ".shellcheckrc", ".clang-format", "LICENSE", "README", ".txt", ".svg", ".png")


def check_licences(files):
    return [f"{path}: has no line 'SPDX-License-Identifier: Apache-2.0' among its first three"
            for path, text in files.items()
            if not path.endswith(NO_LICENCE_LINE)
            and "SPDX-License-Identifier: Apache-2.0" not in "\n".join(text.split("\n")[:3])]


# Split, or this file would name what it forbids.
FORBIDDEN = re.compile(r"(?:^|[^\w.])(?:/wo" r"rk/|/home/\w|process_" r"api)", re.M)


def check_names(files):
    faults = []
    for path, text in files.items():
        for match in FORBIDDEN.finditer(text):
            line = text.count("\n", 0, match.start() + 1) + 1
            faults.append(f"{path}:{line}: names a place on somebody's own machine: {match.group(0).strip()}")
    return faults


def agent_says(agent, *arguments):
    return subprocess.run([agent, *arguments], check=True, capture_output=True, text=True).stdout


def scrape(agent):
    """What a recorded host looks like to Prometheus. Twice: a family of its own may appear with the first answer."""
    host = os.path.join(ROOT, "tests/hosts/v2")
    with tempfile.TemporaryDirectory(prefix="cgwarden-test-") as folder:
        address = os.path.join(folder, "socket")
        process = subprocess.Popen([agent, "--web.listen-address", f"unix:{address}", "--path.procfs", f"{host}/proc",
                                    "--path.sysfs", f"{host}/sys", "--path.cgroupfs", f"{host}/sys/fs/cgroup",
                                    "--docker.socket", f"{folder}/none", "--podman.socket", f"{folder}/none",
                                    "--containerd.socket", f"{folder}/none",
                                    "--log.level", "error"])
        try:
            deadline = time.monotonic() + 20
            answers = []
            while len(answers) < 2:
                connection = http.client.HTTPConnection("localhost", timeout=20)
                connection.sock = socket.socket(socket.AF_UNIX)
                try:
                    connection.sock.connect(address)
                except OSError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise SystemExit(f"the agent does not listen on {address}") from None
                    time.sleep(0.05)
                    continue
                connection.request("GET", "/metrics")
                answers.append(connection.getresponse().read().decode())
                connection.close()
            return answers[-1]
        finally:
            process.kill()
            process.wait()


# docs/metrics.md is text for people around two generated parts.
PARTS = ("own metrics", "catalogue")


def begin(part):
    return f"<!-- {part}: generated; layers_test.py metrics-doc AGENT --update -->\n"


def end(part):
    return f"<!-- end of {part} -->\n"


def own_metrics(exposition):
    """A table of the agent's own families: HELP and TYPE are all that can be known from outside."""
    families = {}
    for line in exposition.splitlines():
        match = re.match(r"# (HELP|TYPE) ((?:cgwarden|process)_\w+) (.*)", line)
        if match:
            families.setdefault(match.group(2), {})[match.group(1)] = match.group(3)
    rows = "".join(f"| `{name}` | {f.get('TYPE', 'untyped')} | {f.get('HELP', '')} |\n"
                   for name, f in sorted(families.items()))
    return "| metric | type | meaning |\n|---|---|---|\n" + rows


def generated_doc(doc, parts):
    for part in PARTS:
        start, stop = doc.find(begin(part)), doc.find(end(part))
        if start < 0 or stop < start:
            raise SystemExit(f"docs/metrics.md: the marks of '{part}' are missing")
        doc = doc[:start] + begin(part) + "\n" + parts[part].strip("\n") + "\n\n" + doc[stop:]
    return doc


def check_metrics_doc(doc, parts):
    wanted = generated_doc(doc, parts)
    if doc == wanted:
        return []
    old, new = doc.splitlines(), wanted.splitlines()
    line = next((i for i, (a, b) in enumerate(zip(old, new)) if a != b), min(len(old), len(new)))
    return [f"docs/metrics.md:{line + 1}: is not what the agent prints; "
            "tests/layers/layers_test.py metrics-doc AGENT --update makes it so"]


def expressions(dashboard):
    """Every PromQL expression of a dashboard: (where, text)."""
    def walk(node, where):
        if isinstance(node, dict):
            title = node.get("title") or node.get("name")
            here = f"{where} / {title}" if isinstance(title, str) and title else where
            if isinstance(node.get("expr"), str):
                yield here, node["expr"]
            query = node.get("query")
            if isinstance(query, dict):
                query = query.get("query")
            if node.get("type") == "query" and isinstance(query, str):
                match = re.match(r"label_values\((.*),\s*\w+\)$", query.strip(), re.S)
                yield here, match.group(1) if match else query
            for key, value in node.items():
                yield from walk(value, here if key not in ("datasource",) else where)
        elif isinstance(node, list):
            for value in node:
                yield from walk(value, where)
    yield from walk({k: v for k, v in dashboard.items() if k != "title"}, dashboard.get("title", "?"))


def alert_expressions(text):
    """Every PromQL expression of a file of alert rules, which is YAML with `expr: ...` or `expr: >-`: (alert, text)."""
    for match in re.finditer(r"- alert: (\w+)\n(\s+)expr:(?: >-)?((?:.*\n)(?:\2 +.*\n)*)", text):
        yield match.group(1), match.group(3)


PROMQL_WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "offset", "bool",
                "inf", "nan"}


def metrics_of(expr):
    """Names of the metrics in a PromQL expression: the names that are neither labels nor functions nor words."""
    expr = re.sub(r'"(?:\\.|[^"\\])*"', '""', expr)
    expr = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", expr)
    expr = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", expr)
    expr = re.sub(r"\$\{?\w+(?::\w+)?\}?", " ", expr)
    return {m.group(1) for m in re.finditer(r"(?<![\w:.])([a-zA-Z_:][\w:]*)(?!\s*\(|[\w:])", expr)
            if m.group(1).lower() not in PROMQL_WORDS}


def known_metrics(catalogue, exposition):
    known = {row["metric"] for row in catalogue} | {"up", "scrape_duration_seconds", "scrape_samples_scraped"}
    for line in exposition.splitlines():
        match = re.match(r"# TYPE (\w+) (\w+)", line)
        if match and not match.group(1).startswith("cgroup_"):
            known.add(match.group(1))
            if match.group(2) == "histogram":
                known |= {match.group(1) + suffix for suffix in ("_bucket", "_sum", "_count")}
        elif match:
            known.add(match.group(1))
    return known


def enforcer_metrics(source):
    """Its families by their names in the source: they reach the exporter as a file, which a test has none of."""
    return set(re.findall(r'"(cgwarden_(?:policy|textfile)_\w+)"', source))


def check_dashboards(dashboards, known):
    """dashboards: {path: parsed JSON, or the text of alert rules}"""
    faults = []
    for path, dashboard in dashboards.items():
        found = list(alert_expressions(dashboard) if isinstance(dashboard, str) else expressions(dashboard))
        if not found:
            faults.append(f"{path}: has no expression at all")
        for where, expr in found:
            for metric in sorted(metrics_of(expr) - known):
                faults.append(f"{path}: {where}: there is no metric {metric}")
    return faults


def check_metric_names(catalogue):
    """catalogue: rows of --print-catalogue=json"""
    text = ""
    for row in catalogue:
        kind = "counter" if row["kind"] == "counter" else "gauge"
        text += f'# HELP {row["metric"]} {row["help"]}\n# TYPE {row["metric"]} {kind}\n{row["metric"]} 1\n'
    lint = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    complaints = (lint.stdout + lint.stderr).strip().splitlines()
    return complaints or ([f"promtool ended with {lint.returncode}"] if lint.returncode else [])


def need_promtool():
    if not shutil.which("promtool"):
        print("SKIP: no promtool here; scripts/install-deps test brings it")
        sys.exit(77)


def check_alerts():
    faults = []
    for command in (["check", "rules", "alerts/cgwarden.yaml"], ["test", "rules", "tests/alerts/alerts_test.yaml"]):
        done = subprocess.run(["promtool", *command], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            faults += (done.stdout + done.stderr).strip().splitlines()
    tested = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts", read("tests/alerts/alerts_test.yaml")))
    rules = {name for name, _ in alert_expressions(read("alerts/cgwarden.yaml"))}
    return faults + [f"tests/alerts/alerts_test.yaml: {name} is never seen to fire" for name in sorted(rules - tested)]


# A family of flags, of which README.md names one for all.
FLAG_FAMILIES = ("--collector.", "--no-collector.", "--discovery.")


def check_readme(readme, catalogue, help_text):
    words = set(re.findall(r"[\w.-]+", readme))
    faults = [f"README.md: the collector {c} is not named" for c in sorted({row["collector"] for row in catalogue})
              if not re.search(rf"`{re.escape(c)}`", readme)]
    for flag in sorted(set(re.findall(r"(?<![\w-])--[a-z][\w.-]*\w", help_text))):
        if flag not in words and not flag.startswith(FLAG_FAMILIES):
            faults.append(f"README.md: the flag {flag} is not named")
    return faults


def run(rule, arguments):
    if rule in ("includes", "licences", "names"):
        files = {path: read(path) for path in project_files()}
        return {"includes": check_includes, "licences": check_licences, "names": check_names}[rule](files)
    if rule == "alerts":
        need_promtool()
        return check_alerts()
    if not arguments:
        raise SystemExit(f"{rule} needs the agent's path")
    agent = os.path.abspath(arguments[0])
    if rule == "readme":
        return check_readme(read("README.md"), json.loads(agent_says(agent, "--print-catalogue=json")),
                            agent_says(agent, "--help"))
    if rule == "metric-names":
        need_promtool()
        return check_metric_names(json.loads(agent_says(agent, "--print-catalogue=json")))
    exposition = scrape(agent)
    if rule == "metrics-doc":
        parts = {"own metrics": own_metrics(exposition), "catalogue": agent_says(agent, "--print-catalogue=md")}
        doc = read("docs/metrics.md")
        if "--update" in arguments:
            with open(os.path.join(ROOT, "docs/metrics.md"), "w", encoding="utf-8") as file:
                file.write(generated_doc(doc, parts))
            return []
        return check_metrics_doc(doc, parts)
    if rule == "dashboards":
        catalogue = json.loads(agent_says(agent, "--print-catalogue=json"))
        boards = {p: json.loads(read(p)) for p in project_files() if re.match(r"dashboards/[^/]+\.json$", p)}
        rules = {p: read(p) for p in project_files() if re.match(r"alerts/[^/]+\.yaml$", p)}
        if not boards or not rules:
            return ["dashboards/ or alerts/ is empty"]
        known = known_metrics(catalogue, exposition)
        for path in ("src/agent/enforcer_metrics.cpp", "exporter/textfile.cpp"):
            known |= enforcer_metrics(read(path))
        return check_dashboards(boards | rules, known)
    raise SystemExit(f"there is no rule '{rule}'; see --help")


def self_test():
    """Each rule must notice what breaks it, and let pass what does not."""
    good = '// SPDX-License-Identifier: Apache-2.0\n#include <vector>\n#include "src/base/text.h"\n'
    def inc(path, line):
        return check_includes({path: line + "\n"})
    cases = [
        ("a clean file", check_includes({"src/model/a.cpp": good}), 0),
        ("model looks up to cgroup", inc("src/model/a.h", '#include "src/cgroup/tree.h"'), 1),
        ("base looks up to model", inc("src/base/a.h", '#include "src/model/field.h"'), 1),
        ("exporter looks at cgroup", inc("exporter/a.cpp", '#include "src/cgroup/tree.h"'), 1),
        ("exporter looks at collectors", inc("exporter/a.cpp", '#  include "collectors/collectors.h"'), 1),
        ("with angle brackets too", inc("exporter/a.cpp", "#include <collectors/collectors.h>"), 1),
        ("policy looks at control", inc("src/policy/a.cpp", '#include "src/control/writer.h"'), 1),
        ("collectors look at the agent", inc("collectors/a.cpp", '#include "src/agent/agent.h"'), 1),
        ("the agent sees all", inc("src/agent/main.cpp", '#include "exporter/server.h"\n#include <spdlog/spdlog.h>'), 0),
        ("a collector logs", inc("collectors/a.cpp", "#include <spdlog/spdlog.h>"), 1),
        ("a path from the file's own folder", inc("exporter/a.cpp", '#include "gzip.h"'), 1),
        ("a new room nobody told us of", check_includes({"src/new/a.h": ""}), 1),
        ("a file without licence", check_licences({"scripts/x": "#!/bin/sh\n"}), 1),
        ("a file with licence", check_licences({"scripts/x": "#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\n"}), 0),
        ("text for people", check_licences({"README.md": "# x\n"}), 0),
        ("a place on a machine", check_names({"README.md": "see /wo" "rk/x"}), 1),
        ("an address that only looks so", check_names({"README.md": "https://example.org/wo" "rk/x net/wo" "rk/"}), 0),
    ]
    doc = "x\n" + "".join(begin(p) + "\nold\n\n" + end(p) for p in PARTS)
    cases += [
        ("a document that is old", check_metrics_doc(doc, {p: "new\n" for p in PARTS}), 1),
        ("a document that is right", check_metrics_doc(doc, {p: "old\n" for p in PARTS}), 0),
    ]
    known = known_metrics([{"metric": "cgroup_a_total"}], "# TYPE cgwarden_h histogram\n")
    def board(expr):
        return check_dashboards({"d.json": {"title": "d", "panels": [{"title": "p", "targets": [{"expr": expr}]}]}}, known)
    def alert(lines):
        return check_dashboards({"a.yaml": f"      - alert: A\n        {lines}\n        for: 5m\n"}, known)
    cases += [
        ("a metric that exists", board('sum by (cgroup) (rate(cgroup_a_total{instance=~"$i", cgroup="b_c"}[$__rate_interval]))'), 0),
        ("a metric that does not", board("rate(cgroup_b_total[5m])"), 1),
        ("one of two", board("cgroup_a_total / on (cgroup) group_left cgroup_c"), 1),
        ("a histogram's bucket", board("histogram_quantile(0.9, sum by (le) (rate(cgwarden_h_bucket[5m])))"), 0),
        ("a number in scientific form", board("cgroup_a_total * 1e6"), 0),
        ("a collector and a flag that are named", check_readme("`cpu` `--a.b X`", [{"collector": "cpu"}], " --a.b TEXT"), 0),
        ("a collector that is not", check_readme("cpu", [{"collector": "cpu"}], ""), 1),
        ("a flag that is not", check_readme("`cpu` --a.bc", [{"collector": "cpu"}], " --a.b TEXT"), 1),
        ("an alert on a metric that exists", alert("expr: >-\n          rate(cgroup_a_total[5m]) > 0\n          and up == 1"), 0),
        ("an alert on one that does not", alert("expr: cgroup_b_total > 0"), 1),
        ("an alert that ends with one that does not", alert("expr: >-\n          cgroup_a_total\n          > cgroup_b_total"), 1),
        ("an alert without an expression", alert("for: 10m"), 1),
        ("a dashboard without expressions", check_dashboards({"d.json": {"panels": []}}, known), 1),
    ]
    faults = [f"self-test: {name}: {found}" for name, found, wanted in cases if (len(found) > 0) != (wanted > 0)]
    print(f"{len(cases)} cases")
    return faults


def main():
    arguments = sys.argv[1:]
    if arguments and arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    if arguments and arguments[0] == "--self-test":
        faults = self_test()
    elif arguments:
        faults = run(arguments[0], arguments[1:])
    else:
        faults = [f for rule in ("includes", "licences", "names") for f in run(rule, [])]
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
