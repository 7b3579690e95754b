#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Find words that docs/glossary.md replaces, in every text that a person reads.

  words.py [--count] [PATH...]   check the project, or only these files
    --count      print the number of findings per rule instead of the findings
    --self-test  plant sentences and check that they are found

Checked: Markdown, string literals of C++, comments, strings of scripts and CMake files, alerts, dashboards, unit files, and
test names. Not checked: recorded hosts, golden files, text in `backquotes`, code blocks, and literals of tests (they are
data). Rules: words.rules. Exceptions: words.exceptions. Exit status: 0 nothing found, 1 findings, 2 usage.
"""

import json
import os
import re
import subprocess
import sys
from collections import Counter

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
KINDS = {"doc", "string", "comment", "script", "config", "name"}
DATA = ("tests/hosts/", "tests/data/", "tests/golden/", "tests/fuzz/corpus/", "build/", "docs/pictures/")
GENERATED = ("docs/metrics.md", "docs/coverage.md")   # from HELP texts and from tests/integration/interface_files_test.py

CPP = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\((.*?)\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'', re.S)
PYTHON = re.compile(r'#[^\n]*|"""(?:\\.|[^\\])*?"""|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
SHELL = re.compile(r'(?:^|(?<=\s))#[^\n]*|"(?:\\.|[^"\\])*"|\'[^\']*\'', re.S)
CMAKE = re.compile(r'#[^\n]*|"(?:\\.|[^"\\])*"', re.S)
TEST = re.compile(r"\bTEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\)")
JSON_TEXTS = {"title", "description", "content", "text", "legendFormat", "displayName"}


class Rules(list):
    """(compiled regex, replacement, kinds) of each rule; `any` matches if one of them does, which is much faster."""
    any = None


def rules_of(text):
    rules, every = Rules(), []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split("\t")
        if len(fields) != 3 or not (scope := KINDS if fields[2] == "all" else set(fields[2].split(","))) <= KINDS:
            raise SystemExit(f"words.rules:{number}: not REGEX<TAB>REPLACEMENT<TAB>SCOPE: {line}")
        rules.append((re.compile(rf"(?<![\w-])(?:{fields[0]})(?![\w])", re.I), fields[1], scope))
        every.append(fields[0])
    rules.any = re.compile(rf"(?<![\w-])(?:{'|'.join(every)})(?![\w])", re.I)
    return rules


def exceptions_of(text):
    """[(regex of paths, regex of texts)]"""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            fields = line.split("\t")
            if len(fields) != 2:
                raise SystemExit(f"words.exceptions:{number}: not PATH<TAB>TEXT: {line}")
            found.append((re.compile(fields[0]), re.compile(fields[1])))
    return found


def lines_of(text, match, group=0):
    """(line number, text) of each line of a match."""
    first = text.count("\n", 0, match.start(group)) + 1
    for n, line in enumerate(match.group(group).split("\n")):
        yield first + n, line


def of_markdown(text):
    fence = False
    for n, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("```"):
            fence = not fence
        elif not fence:
            yield n, "doc", re.sub(r"`[^`]*`|\]\([^)]*\)|<!--.*?-->", " ", line)


def of_cpp(path, text):
    test = path.startswith("tests/")
    if test:
        for match in TEST.finditer(text):
            words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", " ".join(match.groups()))
            yield text.count("\n", 0, match.start()) + 1, "name", words
    for match in CPP.finditer(text):
        token = match.group(0)
        kind = "comment" if token.startswith(("//", "/*")) else "string"
        if token.startswith("'") or (kind == "string" and test):
            continue
        before = text[text.rfind("\n", 0, match.start()) + 1:match.start()]
        if kind == "string" and re.match(r"\s*#\s*include\b", before):
            continue
        for n, line in lines_of(text, match):
            yield n, kind, re.sub(r"`[^`]*`", " ", line)


def of_tokens(text, tokens):
    for match in tokens.finditer(text):
        kind = "comment" if match.group(0).startswith(("#", '"""')) else "script"
        for n, line in lines_of(text, match):
            yield n, kind, re.sub(r"`[^`]*`", " ", line)


def of_json(text):
    def walk(node):
        if isinstance(node, dict):
            for key, value in node.items():
                if key in JSON_TEXTS and isinstance(value, str):
                    yield value
                yield from walk(value)
        elif isinstance(node, list):
            for value in node:
                yield from walk(value)
    try:
        texts = list(walk(json.loads(text)))
    except ValueError:
        return
    for value in texts:
        at = text.find(json.dumps(value, ensure_ascii=False)[1:-1])
        yield text.count("\n", 0, max(at, 0)) + 1, "config", value


def of_lines(text):
    for n, line in enumerate(text.split("\n"), 1):
        if not re.match(r"\s*(?:expr|- name|SPDX)\b", line):
            yield n, "config", line


def parts_of(path, text):
    """(line number, kind, text) of everything that a person reads in the file."""
    if path.endswith(".md"):
        return of_markdown(text)
    if path.endswith((".cpp", ".h", ".c")):
        return of_cpp(path, text)
    if path.endswith((".cmake", "CMakeLists.txt")):
        return of_tokens(text, CMAKE)
    first = text.split("\n", 1)[0]
    if path.endswith(".py") or "python" in first:
        return of_tokens(text, PYTHON)
    if path.endswith(".sh") or re.match(r"#!.*\b(?:ba)?sh\b|# shellcheck shell", first):
        return of_tokens(text, SHELL)
    if path.endswith(".json"):
        return of_json(text)
    if path.endswith((".yaml", ".yml", ".service", ".env", ".clang-tidy", "permitted-skips")) or path.startswith("docs/man/"):
        return of_lines(text)
    return []


def check(path, text, rules, exceptions):
    """[(line number, word, replacement, rule)]"""
    found = []
    accepted = [text_regex for path_regex, text_regex in exceptions if path_regex.search(path)]
    for n, kind, part in parts_of(path, text):
        if not rules.any.search(part):
            continue
        matches = [(match, replacement) for regex, replacement, kinds in rules if kind in kinds
                   for match in regex.finditer(part)]
        if not matches:
            continue
        spans = [m.span() for r in accepted for m in r.finditer(part)]
        for match, replacement in sorted(matches, key=lambda m: (m[0].start(), -m[0].end())):
            if not any(a <= match.start() and match.end() <= b for a, b in spans):
                spans.append(match.span())      # a longer phrase includes the shorter ones
                found.append((n, match.group(0), replacement, match.re.pattern))
    return sorted(found)


def project_files():
    git = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                         capture_output=True, check=False)
    if git.returncode == 0:
        names = [os.fsdecode(n) for n in git.stdout.split(b"\0") if n]
    else:
        names = []
        for folder, folders, files in os.walk(ROOT):
            folders[:] = [f for f in folders if f not in ("build", ".git")]
            names += [os.path.relpath(os.path.join(folder, f), ROOT) for f in files]
    return sorted(n for n in names if not n.startswith(DATA) and n not in GENERATED)


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def self_test(rules, exceptions):
    """(path, text, words that must be found)"""
    cases = [
        ("docs/a.md", "What nobody asks for costs nothing.\n", ["nobody asks"]),
        ("docs/a.md", "Of nobody.\n", ["nobody"]),
        ("docs/a.md", "The daemon is told of it.\n", ["told"]),
        ("docs/a.md", "A group is a cgroup; `group` is code.\n", ["group"]),
        ("docs/a.md", "```\nwhoever\n```\nThe process group and the user group docker.\n", []),
        ("docs/a.md", "Set memory.oom.group; a rule group of Prometheus; a control group.\n", []),
        ("docs/a.md", "The behaviour is cancelled.\n", ["behaviour", "cancelled"]),
        ("src/a.cpp", '// Swap could not be had.\nint told = 1;\nauto s = "5 rules, 2 in earnest";\n', ["could not be had", "in earnest"]),
        ("src/a.cpp", 'auto a = "a file"; /* ever more seldom\n */ #include "src/group.h"\n', ["ever more seldom"]),
        ("src/a.cpp", '#include "src/engine.h"\nauto flat_labelled = group_of(born);\n', []),
        ("tests/a.cpp", 'TEST(Told, ByADaemon) { auto data = "groups"; }\n', ["Told"]),
        ("tests/a.cpp", "TEST_F(Writer, takes_a_group_of_the_dead) {}\n", ["group", "the dead"]),
        ("scripts/a", "#!/usr/bin/env bash\n# for want of a thing\necho 'with no rights'\n", ["for want of", "rights"]),
        ("a.py", '#!/usr/bin/python3\n"""An engine.\n"""\ndef born(): pass  # its birth\n', ["engine", "birth"]),
        ("dashboards/a.json", '{"title": "Groups", "expr": "group_left", "x": "group"}', ["Groups"]),
        ("alerts/a.yaml", "  expr: sum by (group)\n  summary: A group died\n", ["group", "died"]),
        ("cmake/a.cmake", '# Somebody\'s tool\nset(group "the like")\n', ["Somebody", "the like"]),
    ]
    faults = []
    for path, text, wanted in cases:
        found = [word for _, word, _, _ in check(path, text, rules, exceptions)]
        if sorted(w.lower() for w in found) != sorted(w.lower() for w in wanted):
            faults.append(f"self-test: {path}: {text!r}: found {found}, not {wanted}")
    found = check("docs/a.md", "x\n\nIt was born.\n", rules, exceptions)
    if [(n, word) for n, word, _, _ in found] != [(3, "born")]:
        faults.append("self-test: the line number is wrong")
    print(f"{len(cases) + 1} cases")
    return faults


def main():
    arguments = sys.argv[1:]
    if any(a.startswith("-") and a not in ("--count", "--self-test") for a in arguments):
        print(__doc__)
        return 0 if arguments[0] in ("-h", "--help") else 2
    rules = rules_of(read(os.path.join(HERE, "words.rules")))
    exceptions = exceptions_of(read(os.path.join(HERE, "words.exceptions")))
    if "--self-test" in arguments:
        faults = self_test(rules, exceptions)
        print("\n".join(faults), end="\n" if faults else "")
        return 1 if faults else 0
    counting = "--count" in arguments
    paths = [os.path.relpath(os.path.abspath(a), ROOT) for a in arguments if not a.startswith("--")] or project_files()
    counts, files, total = Counter(), {}, 0
    for path in paths:
        full = os.path.join(ROOT, path)
        if not os.path.isfile(full):
            continue
        for n, word, replacement, rule in check(path, read(full), rules, exceptions):
            total += 1
            counts[rule] += 1
            files.setdefault(rule, set()).add(path)
            if not counting:
                print(f"{path}:{n}: '{word}': use '{replacement}'")
    if counting:
        for rule, count in counts.most_common():
            print(f"{count:6}  {len(files[rule]):4} files  {rule[len('(?<![' + chr(92) + 'w-])(?:'):-len(')(?![' + chr(92) + 'w])')]}")
    print(f"words: {len(paths)} files, {total} findings")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
