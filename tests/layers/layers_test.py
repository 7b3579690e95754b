#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Project rules that the compiler does not check. Each rule is a function below. `layers_test.py RULE` checks one rule,
`layers_test.py` all rules that need no agent; `layers_test.py --self-test` breaks each rule and expects a finding.

  includes              a room includes only its own headers and those of the rooms it links (cmake/rooms.cmake)
  architecture          the table of rooms in docs/architecture.md matches cmake/rooms.cmake; --update rewrites it
  doc-paths             paths and identifiers in `backquotes` exist in the tree (CONTRIBUTING.md and some of docs/)
  licenses              every source file has an SPDX license line
  names                 no file contains a path of a developer's machine
  metrics-doc AGENT     docs/metrics.md matches the output of the agent; --update rewrites it
  dashboards AGENT      every metric in dashboards/*.json and alerts/*.yaml exists
  configuration AGENT   docs/configuration.md names every collector and every option
  links                 every relative link of README.md and docs/ leads to an existing file and heading
  alerts                promtool accepts the alert rules, and each alert fires in a case of tests/alerts
  metric-names AGENT    promtool accepts every metric name and HELP text of the catalogue
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

ROOMS_FILE = "cmake/rooms.cmake"


class Room:
    """One call of cgwarden_room(): a folder that is a library and a namespace."""

    def __init__(self, name, folder, purpose, links):
        self.name, self.folder, self.purpose, self.links = name, folder, purpose, links
        self.level = 0
        self.allowed = set()    # folders of the rooms that it may include


def parse_rooms(text):
    """cmake/rooms.cmake -> {folder: Room}. A room may include the transitive closure of the rooms that it links."""
    text = re.sub(r"^\s*#.*$", "", text, flags=re.M)
    rooms = {}
    for name, folder, body in re.findall(r'cgwarden_room\((\w+)\s+([\w/]+)((?:[^()"]|"[^"]*")*)\)', text):
        purpose = re.search(r'PURPOSE\s+"([^"]*)"', body)
        room = Room(name, folder, purpose.group(1) if purpose else "", re.findall(r"cgwarden::(\w+)", body))
        by_name = {other.name: other for other in rooms.values()}
        for link in room.links:
            if link not in by_name:
                raise SystemExit(f"{ROOMS_FILE}: {name} links {link}, which is not declared above it")
            room.allowed |= by_name[link].allowed | {by_name[link].folder}
            room.level = max(room.level, by_name[link].level + 1)
        rooms[folder] = room
    if not rooms or len(rooms) != text.count("cgwarden_room("):
        raise SystemExit(f"{ROOMS_FILE}: {text.count('cgwarden_room(')} calls, but {len(rooms)} rooms could be parsed")
    return rooms


# Libraries that only some rooms may include. Logging and option parsing are left to the two programs.
LIBRARIES = {
    "spdlog/": ["src/agent", "src/cgtop"],
    "CLI/": ["src/cli"],
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


ROOMS = parse_rooms(read(ROOMS_FILE))


def project_files():
    """Paths of the project's files, without recorded hosts, golden files and other test data."""
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
                faults.append(f"{path}: belongs to no room; rooms are declared in {ROOMS_FILE}")
            continue
        for match in INCLUDE.finditer(text):
            quote, included = match.groups()
            line = text.count("\n", 0, match.start()) + 1
            other = room_of(included)
            if quote == '"' and other is None:
                faults.append(f'{path}:{line}: "{included}" must be a path from the top folder')
            elif other not in (None, room) and other not in ROOMS[room].allowed:
                faults.append(f"{path}:{line}: {room} must not include {other} ({included})")
            for library, rooms in LIBRARIES.items():
                if included.startswith(library) and room not in rooms:
                    faults.append(f"{path}:{line}: only {' and '.join(rooms)} may include <{included}>")
    return faults


ROOMS_BEGIN = "<!-- rooms: generated from cmake/rooms.cmake; layers_test.py architecture --update -->\n"
ROOMS_END = "<!-- end of rooms -->\n"


def rooms_table(rooms):
    """Highest level first, as in a picture in which all arrows point down."""
    by_folder = {room.folder: room.name for room in rooms.values()}
    rows = "".join(f"| {room.level} | `{room.folder}` | {room.purpose} | "
                   f"{', '.join(sorted(by_folder[f] for f in room.allowed)) or '-'} |\n"
                   for room in sorted(rooms.values(), key=lambda r: (-r.level, r.folder)))
    return "| level | room | contents | may include |\n|---|---|---|---|\n" + rows


def with_rooms_table(doc, rooms):
    start, stop = doc.find(ROOMS_BEGIN), doc.find(ROOMS_END)
    if start < 0 or stop < start:
        raise SystemExit("docs/architecture.md: the marks of the table of rooms are missing")
    return doc[:start] + ROOMS_BEGIN + "\n" + rooms_table(rooms) + "\n" + doc[stop:]


def check_architecture(doc, rooms):
    if doc == with_rooms_table(doc, rooms):
        return []
    return [f"docs/architecture.md: the table of rooms differs from {ROOMS_FILE}; "
            "run tests/layers/layers_test.py architecture --update"]


# Documents about the source: what they quote must exist.
SOURCE_DOCS = ("CONTRIBUTING.md", "docs/adding.md", "docs/architecture.md", "docs/testing.md", "docs/glossary.md", "docs/performance.md")
FOLDERS = ("src/", "collectors/", "exporter/", "tests/", "cmake/", "scripts/", "docs/", "bench/", "systemd/", "alerts/", "dashboards/")


def check_doc_paths(docs, names, sources):
    """docs: {path: text}; names: paths of all files; sources: the text of all source files together"""
    known = set(names) | {os.path.dirname(n) for n in names}
    known |= {os.path.dirname(folder) for folder in known} | {os.path.dirname(os.path.dirname(f)) for f in known}
    identifiers = set(re.findall(r"\w+", sources))
    faults = []
    for path, text in docs.items():
        text = re.sub(r"^\s*```.*?^\s*```", lambda m: "\n" * m.group(0).count("\n"), text, flags=re.S | re.M)
        for match in re.finditer(r"`([^`\n]+)`", text):
            quoted, line = match.group(1), text.count("\n", 0, match.start()) + 1
            name = quoted.split()[0].rstrip("/")
            if name.startswith(FOLDERS) and not re.search(r"[*<>]", name) and name not in known:
                faults.append(f"{path}:{line}: {name} does not exist")
            identifier = re.fullmatch(r"(?:\w+::)*([a-z]\w*_\w+|k[A-Z]\w+|[A-Z][a-z]\w+)(?:\(\))?", quoted)
            if path in ("docs/adding.md", "docs/architecture.md") and identifier and identifier.group(1) not in identifiers:
                faults.append(f"{path}:{line}: no identifier {identifier.group(1)} in the sources")
    return faults


# Formats without comments, and documents. LICENSE applies to them too.
NO_LICENSE_LINE = (".md", ".json", ".gitignore", ".shellcheckrc", ".clang-format", "LICENSE", "README", ".txt", ".svg", ".png")


def check_licenses(files):
    return [f"{path}: the first three lines contain no 'SPDX-License-Identifier: Apache-2.0'"
            for path, text in files.items()
            if not path.endswith(NO_LICENSE_LINE)
            and "SPDX-License-Identifier: Apache-2.0" not in "\n".join(text.split("\n")[:3])]


# In pieces, so that this file does not match itself.
FORBIDDEN = re.compile(r"(?:^|[^\w.])(?:/wo" r"rk/|/home/\w|process_" r"api)", re.M)


def check_names(files):
    faults = []
    for path, text in files.items():
        for match in FORBIDDEN.finditer(text):
            line = text.count("\n", 0, match.start() + 1) + 1
            faults.append(f"{path}:{line}: contains a path of a developer's machine: {match.group(0).strip()}")
    return faults


def agent_says(agent, *arguments):
    return subprocess.run([agent, *arguments], check=True, capture_output=True, text=True).stdout


def scrape(agent):
    """The second scrape of a recorded host: some of the agent's own families appear only after the first one."""
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
                        raise SystemExit(f"{address}: the agent does not listen") from None
                    time.sleep(0.05)
                    continue
                connection.request("GET", "/metrics")
                answers.append(connection.getresponse().read().decode())
                connection.close()
            return answers[-1]
        finally:
            process.kill()
            process.wait()


# docs/metrics.md has two generated parts; the text around them is written by hand.
PARTS = ("own metrics", "catalogue")


def begin(part):
    return f"<!-- {part}: generated; layers_test.py metrics-doc AGENT --update -->\n"


def end(part):
    return f"<!-- end of {part} -->\n"


def own_metrics(exposition):
    """A table of the agent's own families, from HELP and TYPE of a scrape."""
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
    return [f"docs/metrics.md:{line + 1}: differs from the output of the agent; "
            "run tests/layers/layers_test.py metrics-doc AGENT --update"]


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
    """Every PromQL expression of a file of alert rules (YAML, `expr: ...` or `expr: >-`): (alert, text)."""
    for match in re.finditer(r"- alert: (\w+)\n(\s+)expr:(?: >-)?((?:.*\n)(?:\2 +.*\n)*)", text):
        yield match.group(1), match.group(3)


PROMQL_WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "offset", "bool",
                "inf", "nan"}


def metrics_of(expr):
    """Names of the metrics in a PromQL expression: names that are not labels, functions or keywords."""
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
    """Families of the enforcer, from its source: they reach the exporter as a textfile, so no scrape here has them."""
    return set(re.findall(r'"(cgwarden_(?:policy|textfile)_\w+)"', source))


def check_dashboards(dashboards, known):
    """dashboards: {path: parsed JSON, or the text of alert rules}"""
    faults = []
    for path, dashboard in dashboards.items():
        found = list(alert_expressions(dashboard) if isinstance(dashboard, str) else expressions(dashboard))
        if not found:
            faults.append(f"{path}: no PromQL expression found")
        for where, expr in found:
            for metric in sorted(metrics_of(expr) - known):
                faults.append(f"{path}: {where}: unknown metric {metric}")
    return faults


def check_metric_names(catalogue):
    """catalogue: rows of --print-catalogue=json"""
    text = ""
    for row in catalogue:
        kind = "counter" if row["kind"] == "counter" else "gauge"
        text += f'# HELP {row["metric"]} {row["help"]}\n# TYPE {row["metric"]} {kind}\n{row["metric"]} 1\n'
    lint = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    complaints = (lint.stdout + lint.stderr).strip().splitlines()
    return complaints or ([f"promtool: exit status {lint.returncode}"] if lint.returncode else [])


def need_promtool():
    if not shutil.which("promtool"):
        print("SKIP: promtool is not installed; run scripts/install-deps test")
        sys.exit(77)


def check_alerts():
    faults = []
    for command in (["check", "rules", "alerts/cgwarden.yaml"], ["test", "rules", "tests/alerts/alerts_test.yaml"]):
        done = subprocess.run(["promtool", *command], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            faults += (done.stdout + done.stderr).strip().splitlines()
    tested = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts", read("tests/alerts/alerts_test.yaml")))
    rules = {name for name, _ in alert_expressions(read("alerts/cgwarden.yaml"))}
    return faults + [f"tests/alerts/alerts_test.yaml: no test in which {name} fires" for name in sorted(rules - tested)]


# Families of flags, of which docs/configuration.md names one for all.
FLAG_FAMILIES = ("--collector.", "--no-collector.", "--discovery.")


def check_configuration(text, catalogue, help_text):
    words = set(re.findall(r"[\w.-]+", text))
    faults = [f"docs/configuration.md: the collector {c} is not named" for c in sorted({row["collector"] for row in catalogue})
              if not re.search(rf"`{re.escape(c)}`", text)]
    described = [line.split("  ")[0] for line in re.findall(r"^ +(-.*)", help_text, re.M)]
    for flag in sorted(set(re.findall(r"(?<![\w-])--[a-z][\w.-]*\w", "\n".join(described)))):
        if flag not in words and not flag.startswith(FLAG_FAMILIES):
            faults.append(f"docs/configuration.md: the flag {flag} is not named")
    return faults


def anchors(text):
    """The anchors of a page's headings, as GitHub makes them: a second heading of one name gets "-1"."""
    seen = {}
    for heading in re.findall(r"^#+ +(.*?) *$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M):
        anchor = re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", heading)).lower().replace(" ", "-")
        count = seen.get(anchor, 0)
        seen[anchor] = count + 1
        yield f"{anchor}-{count}" if count else anchor


def check_links(pages, exists):
    """pages: {path: text}; exists(path): whether the project has this file or folder"""
    faults = []
    for path, text in pages.items():
        text = re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", link):
                continue
            name, _, anchor = link.partition("#")
            target = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
            if not exists(target):
                faults.append(f"{path}: links to {link}, which does not exist")
            elif anchor and target in pages and anchor not in anchors(pages[target]):
                faults.append(f"{path}: links to {link}: the page has no such heading")
    return faults


def run(rule, arguments):
    if rule in ("includes", "licenses", "names"):
        files = {path: read(path) for path in project_files()}
        return {"includes": check_includes, "licenses": check_licenses, "names": check_names}[rule](files)
    if rule == "doc-paths":
        names = project_files()
        sources = "\n".join(read(n) for n in names if n.endswith((".cpp", ".h", ".py", ".cmake", "CMakeLists.txt", ".service")))
        names += ["tests/hosts", "tests/golden/cgtop", "tests/golden/golden_test.py"]
        return check_doc_paths({doc: read(doc) for doc in SOURCE_DOCS}, names, sources)
    if rule == "architecture":
        doc = read("docs/architecture.md")
        if "--update" in arguments:
            with open(os.path.join(ROOT, "docs/architecture.md"), "w", encoding="utf-8") as file:
                file.write(with_rooms_table(doc, ROOMS))
            return []
        return check_architecture(doc, ROOMS)
    if rule == "alerts":
        need_promtool()
        return check_alerts()
    if rule == "links":
        pages = {path: read(path) for path in project_files() if re.match(r"(docs/)?[^/]+\.md$", path)}
        return check_links(pages, lambda path: os.path.exists(os.path.join(ROOT, path)))
    if not arguments:
        raise SystemExit(f"{rule}: the path of the agent is missing; see --help")
    agent = os.path.abspath(arguments[0])
    if rule == "configuration":
        return check_configuration(read("docs/configuration.md"), json.loads(agent_says(agent, "--print-catalogue=json")),
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
            return ["dashboards/ or alerts/: no file found"]
        known = known_metrics(catalogue, exposition)
        for path in ("src/agent/enforcer_metrics.cpp", "exporter/textfile.cpp"):
            known |= enforcer_metrics(read(path))
        return check_dashboards(boards | rules, known)
    raise SystemExit(f"unknown rule '{rule}'; see --help")


def self_test():
    """Each rule must find what breaks it, and accept what does not."""
    good = '// SPDX-License-Identifier: Apache-2.0\n#include <vector>\n#include "src/base/text.h"\n'
    def inc(path, line):
        return check_includes({path: line + "\n"})
    graph = ('# cgwarden_room(comment src/comment)\ncgwarden_room(low src/low PURPOSE "(a)" LINKS x::y)\n'
             'cgwarden_room(mid src/mid EXCEPT main.cpp LINKS cgwarden::low)\ncgwarden_room(top top LINKS cgwarden::mid)\n')
    rooms = parse_rooms(graph)
    shown = "a\n" + ROOMS_BEGIN + "\n" + rooms_table(rooms) + "\n" + ROOMS_END
    def parse_fails(text):
        try:
            parse_rooms(text)
        except SystemExit:
            return ["failed"]
        return []
    cases = [
        ("closure of links", [] if rooms["top"].allowed == {"src/mid", "src/low"} else ["wrong"], 0),
        ("levels", [] if [r.level for r in rooms.values()] == [0, 1, 2] else ["wrong"], 0),
        ("a link to a room that is declared later", parse_fails(graph + "cgwarden_room(a a LINKS cgwarden::b)"), 1),
        ("a call that cannot be parsed", parse_fails(graph + "cgwarden_room(${name} a)"), 1),
        ("a table that matches", check_architecture(shown, rooms), 0),
        ("a table of another graph", check_architecture(shown, parse_rooms(graph.replace("::mid", "::low"))), 1),
        ("a clean file", check_includes({"src/model/a.cpp": good}), 0),
        ("model includes cgroup", inc("src/model/a.h", '#include "src/cgroup/tree.h"'), 1),
        ("base includes model", inc("src/base/a.h", '#include "src/model/field.h"'), 1),
        ("exporter includes cgroup", inc("exporter/a.cpp", '#include "src/cgroup/tree.h"'), 1),
        ("exporter includes collectors", inc("exporter/a.cpp", '#  include "collectors/collectors.h"'), 1),
        ("with angle brackets", inc("exporter/a.cpp", "#include <collectors/collectors.h>"), 1),
        ("discovery includes cgroup", inc("src/discovery/a.cpp", '#include "src/cgroup/tree.h"'), 1),
        ("policy includes control", inc("src/policy/a.cpp", '#include "src/control/writer.h"'), 1),
        ("collectors include the agent", inc("collectors/a.cpp", '#include "src/agent/agent.h"'), 1),
        ("the agent includes all", inc("src/agent/main.cpp", '#include "exporter/server.h"\n#include <spdlog/spdlog.h>'), 0),
        ("a collector logs", inc("collectors/a.cpp", "#include <spdlog/spdlog.h>"), 1),
        ("a path relative to the file's folder", inc("exporter/a.cpp", '#include "gzip.h"'), 1),
        ("a folder that is not a room", check_includes({"src/new/a.h": ""}), 1),
        ("a file without a license line", check_licenses({"scripts/x": "#!/bin/sh\n"}), 1),
        ("a file with a license line", check_licenses({"scripts/x": "#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\n"}), 0),
        ("a document", check_licenses({"README.md": "# x\n"}), 0),
        ("a path of a machine", check_names({"README.md": "see /wo" "rk/x"}), 1),
        ("a URL that contains such a path", check_names({"README.md": "https://example.org/wo" "rk/x net/wo" "rk/"}), 0),
    ]
    def doc_paths(text):
        return check_doc_paths({"docs/adding.md": text}, ["src/base/text.h", "docs/adding.md"], "struct Reader { kRows };")
    cases += [
        ("paths and identifiers that exist", doc_paths("`src/base/text.h`, `src/base`, `kRows`, `x::Reader`, `src/*.h`"), 0),
        ("a path that does not exist", doc_paths("`src/base/word.h`"), 1),
        ("an identifier that does not exist", doc_paths("`kColumns`"), 1),
        ("a code block", doc_paths("```\n`src/x.h`\n```\n"), 0),
    ]
    cases += [(f"LIBRARIES: {library}", [f"{room} is not a room" for room in folders if room not in ROOMS], 0)
              for library, folders in LIBRARIES.items()]
    doc = "x\n" + "".join(begin(p) + "\nold\n\n" + end(p) for p in PARTS)
    cases += [
        ("a document that is out of date", check_metrics_doc(doc, {p: "new\n" for p in PARTS}), 1),
        ("a document that is up to date", check_metrics_doc(doc, {p: "old\n" for p in PARTS}), 0),
    ]
    known = known_metrics([{"metric": "cgroup_a_total"}], "# TYPE cgwarden_h histogram\n")
    def link(text):
        pages = {"docs/a.md": text, "docs/b.md": "# A `b`: c\n## Two\n## Two\n"}
        return check_links(pages, {"x", *pages}.__contains__)
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
        ("a collector and a flag that are named", check_configuration("`cpu` `--a.b X`", [{"collector": "cpu"}], " --a.b TEXT"), 0),
        ("a collector that is not", check_configuration("cpu", [{"collector": "cpu"}], ""), 1),
        ("a flag that is not", check_configuration("`cpu` --a.bc", [{"collector": "cpu"}], " --a.b TEXT"), 1),
        ("a link to a heading", link("[b](b.md#a-b-c) [t](b.md#two-1) [x](../x) [w](https://example.org/y) `[n](n.md)`"), 0),
        ("a link to a page that does not exist", link("[c](c.md)"), 1),
        ("a link to a heading that does not exist", link("[b](b.md#two-2)"), 1),
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
        faults = [f for rule in ("includes", "architecture", "doc-paths", "licenses", "names") for f in run(rule, [])]
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
