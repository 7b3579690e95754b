#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Print random sentences of the texts that a person reads, for a review of the language.

  sample_sentences.py [--seed N] [--count N] [--kind KIND[,KIND]...] [PROGRAM...]
    --seed   start of the random sequence; the same tree and seed give the same sentences (default 1)
    --count  number of sentences (default 40)
    --kind   only these of help (HELP of metrics), option (--help, from PROGRAM), string (errors, log messages),
             doc (Markdown), comment (default: all, in equal shares)
    PROGRAM  programs whose --help is included: build/dev/cgwarden build/dev/cgtop

Output: PATH:LINE: KIND: SENTENCE.
"""

import argparse
import os
import random
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import words    # noqa: E402  beside this file

ROW_HELP = re.compile(r'\.help =\s*((?:"(?:\\.|[^"\\])*"\s*)+)')
LITERALS = re.compile(r'"((?:\\.|[^"\\\n])*)"(?:\s*"((?:\\.|[^"\\\n])*)")*')
KINDS = ("help", "option", "string", "doc", "comment")


def sentences(text):
    for part in re.split(r"(?<=[.!?])\s+(?=[A-Z`])", text):
        part = " ".join(part.split())
        if len(part.split()) >= 4:
            yield part


def literal(match):
    return "".join(re.findall(r'"((?:\\.|[^"\\])*)"', match)).replace('\\"', '"').replace("\\n", " ")


def from_source(path, text):
    """(line, kind, sentence) of a C++ file: HELP texts, strings with at least four words, comments."""
    taken = []
    for match in ROW_HELP.finditer(text):
        taken.append(match.span())
        for sentence in sentences(literal(match.group(1))):
            yield text.count("\n", 0, match.start()) + 1, "help", sentence
    if not path.startswith("tests/"):
        for match in LITERALS.finditer(text):
            if not any(a <= match.start() < b for a, b in taken):
                for sentence in sentences(literal(match.group(0))):
                    if re.search(r"[a-z]{3,} [a-z]", sentence):
                        yield text.count("\n", 0, match.start()) + 1, "string", sentence
    # consecutive comment lines are one text
    for match in re.finditer(r"(?:^[ \t]*//[^\n]*\n)+|(?<=[;{}),]  )//[^\n]*\n", text, re.M):
        comment = " ".join(re.sub(r"^\s*/+ ?", "", line) for line in match.group(0).strip("\n").split("\n"))
        for sentence in sentences(comment):
            if "SPDX" not in sentence:
                yield text.count("\n", 0, match.start()) + 1, "comment", sentence.replace("SPDX-License-Identifier: Apache-2.0 ", "")


def from_markdown(text):
    fence, paragraph, first = False, [], 0
    for n, line in enumerate(text.split("\n") + [""], 1):
        if line.lstrip().startswith("```"):
            fence = not fence
        if fence or line.lstrip().startswith(("```", "#", "<!--")) or not line.strip() or line.startswith("|"):
            for sentence in sentences(" ".join(paragraph)):
                yield first, "doc", sentence
            paragraph = []
            if line.startswith("|") and not fence:
                for cell in line.split("|"):
                    for sentence in sentences(cell):
                        yield n, "doc", sentence
            continue
        if not paragraph:
            first = n
        paragraph.append(line.strip())


def from_script(text):
    for match in re.finditer(r"(?:^[ \t]*#(?!!)[^\n]*\n)+", text, re.M):
        comment = " ".join(re.sub(r"^\s*#+ ?", "", line) for line in match.group(0).strip("\n").split("\n"))
        for sentence in sentences(comment):
            if "SPDX" not in sentence:
                yield text.count("\n", 0, match.start()) + 1, "comment", sentence


def from_program(program):
    text = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    name = os.path.basename(program)
    for match in re.finditer(r"^  (?:-\w, ?)?(--?[\w.-]+).*\n(?:^ {10,}.*\n)*", text, re.M):
        entry = " ".join(match.group(0).split())
        if len(entry.split()) >= 4:
            yield f"{name} --help", text.count("\n", 0, match.start()) + 1, "option", entry


def main():
    parser = argparse.ArgumentParser(usage=__doc__, add_help=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--kind", default=",".join(KINDS))
    parser.add_argument("programs", nargs="*")
    options = parser.parse_args()
    kinds = options.kind.split(",")
    if not set(kinds) <= set(KINDS):
        parser.error(f"--kind: unknown kind; known are {', '.join(KINDS)}")
    found = {kind: [] for kind in kinds}
    for path in words.project_files():
        full = os.path.join(words.ROOT, path)
        if not os.path.isfile(full):
            continue
        if path.endswith((".cpp", ".h", ".c")):
            parts = from_source(path, words.read(full))
        elif path.endswith(".md"):
            parts = from_markdown(words.read(full))
        elif path.endswith((".py", ".sh", ".cmake", ".service", ".yaml")) or path.startswith("scripts/"):
            parts = from_script(words.read(full))
        else:
            continue
        for line, kind, sentence in parts:
            if kind in found:
                found[kind].append((path, line, kind, sentence))
    if "option" in found:
        for program in options.programs:
            found["option"] += from_program(program)
    chance = random.Random(options.seed)
    pools = [pool for pool in found.values() if pool]
    for pool in pools:
        pool.sort()
        chance.shuffle(pool)
    chosen = []
    while len(chosen) < options.count and any(pools):
        for pool in pools:
            if pool and len(chosen) < options.count:
                chosen.append(pool.pop())
    for path, line, kind, sentence in sorted(chosen):
        print(f"{path}:{line}: {kind}: {sentence}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
