#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cgtop in a real terminal: `cgtop_test.py CGTOP`. tmux runs it, the tests send keys and read the screen back; on a raw pty
they check every byte that it writes. Exit status 77 if the tests cannot run here; the line that starts with "SKIP:" has the
reason."""

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

CGTOP = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else "cgtop"
NAME = f"cgwarden-test-{os.getpid()}"
WAIT = float(os.environ.get("CGWARDEN_TEST_WAIT", "40"))  # seconds; long enough for a loaded machine


def hierarchy():
    """Mount point of a hierarchy in which a cgroup can be created; None if there is none."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        lines = [line.split() for line in file]
    mounts = [(fields[fields.index("-") + 1], fields[4]) for fields in lines]
    for kind in ("cgroup2", "cgroup"):
        for fstype, place in mounts:
            if fstype != kind:
                continue
            try:
                os.mkdir(f"{place}/{NAME}")
                return place
            except OSError:
                continue
    return None


def hostile_names():
    """Names with every control byte that a cgroup name may contain (not NUL, slash, newline), C1 and bidi characters in UTF-8,
    invalid UTF-8 and escape sequences."""
    names = [b"x" + bytes([b]) + b"y" for b in [*range(1, 0x20), *range(0x7F, 0x100)] if b != 0x0A]
    names += [b"x" + chr(c).encode() + b"y"
              for c in [*range(0x80, 0xA0), 0x061C, *range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x206A),
                        0xFEFF]]
    names += [b"x\xed\xa0\x80y", b"x\xc0\xafy", b"x\xf4\x90\x80\x80y", b"x\x1b]0;owned\x07y", b"x\x1b[31my"]
    return names


def escaped(name):
    return "".join(chr(b) if 0x20 <= b < 0x7F else f"\\x{b:02x}" for b in name)


class TestCgroup:
    def __init__(self):
        self.place = hierarchy()
        if self.place is None:
            print("SKIP: no cgroup can be created here")
            sys.exit(77)
        self.path = f"{self.place}/{NAME}".encode()
        self.made = [self.path]

    def child(self, name):
        path = self.path + b"/" + name
        os.mkdir(path)
        self.made.append(path)

    def remove(self):
        for path in reversed(self.made):
            for _ in range(50):
                try:
                    os.rmdir(path)
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.1)


class FreezableCgroup:
    """A cgroup with one process, in every hierarchy that can freeze."""

    def __init__(self):
        self.name = f"{NAME}-freezable"
        self.folders = []
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.split() for line in file]
        self.process = subprocess.Popen(["sleep", "300"])
        for fields in lines:
            kind, options = fields[fields.index("-") + 1], fields[-1].split(",")
            if kind != "cgroup2" and not (kind == "cgroup" and "freezer" in options):
                continue
            folder = f"{fields[4]}/{self.name}"
            try:
                os.mkdir(folder)
            except OSError:
                continue
            self.folders.append(folder)
            with open(f"{folder}/cgroup.procs", "w", encoding="ascii") as file:
                file.write(str(self.process.pid))

    def is_frozen(self):
        for folder in self.folders:
            for name, line in (("freezer.state", "FROZEN"), ("cgroup.events", "frozen 1")):
                if os.path.exists(f"{folder}/{name}"):
                    with open(f"{folder}/{name}", encoding="ascii") as file:
                        if line in file.read().splitlines():
                            return True
        return False

    def remove(self):
        for folder in self.folders:  # on v1 a frozen process does not exit
            for name, text in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
                if os.path.exists(f"{folder}/{name}"):
                    with open(f"{folder}/{name}", "w", encoding="ascii") as file:
                        file.write(text)
        self.process.kill()
        self.process.wait()
        for folder in self.folders:
            os.rmdir(folder)


class Tmux:
    """A shell in a tmux session of its own."""

    def __init__(self, width, height, **env):
        self.socket = f"{NAME}-{time.monotonic_ns()}"
        variables = {"PATH": os.environ["PATH"], "HOME": "/", "LC_ALL": "C.UTF-8", "PS1": "ready$ ", "TERM": "screen",
                     "HISTFILE": "/dev/null", **env}
        self.call("new-session", "-d", "-x", str(width), "-y", str(height), "env -i " + " ".join(
            f"{k}='{v}'" for k, v in variables.items()) + " bash --norc --noprofile -i")
        self.call("set-option", "-g", "window-size", "manual")
        self.until("ready$")

    def call(self, *arguments):
        return subprocess.run(["tmux", "-L", self.socket, "-f", "/dev/null", *arguments], check=True,
                              capture_output=True).stdout.decode()

    def keys(self, *keys):
        self.call("send-keys", *keys)

    def type(self, text):
        self.call("send-keys", "-l", text)

    def has_mouse(self):
        return self.call("display-message", "-p", "#{mouse_any_flag}").strip() == "1"

    def mouse(self, text, button=0):
        """Sends a mouse button event at the beginning of `text`, encoded as the program requested; 64 and 65 are the wheel."""
        assert self.has_mouse()
        lines = self.screen().split("\n")
        row = next(i for i, line in enumerate(lines) if text in line)
        column = lines[row].index(text)
        if self.call("display-message", "-p", "#{mouse_sgr_flag}").strip() == "1":
            what = f"\x1b[<{button};{column + 1};{row + 1}M" + (f"\x1b[<0;{column + 1};{row + 1}m" if button == 0 else "")
        else:
            where = chr(33 + column) + chr(33 + row)
            what = f"\x1b[M{chr(32 + button)}{where}" + (f"\x1b[M#{where}" if button == 0 else "")
        self.call("send-keys", "-H", *[f"{b:02x}" for b in what.encode("latin-1")])

    def screen(self, *options):
        return self.call("capture-pane", "-p", *options)

    def until(self, text, gone=False):
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            screen = self.screen()
            found = text(screen) if callable(text) else text in screen if isinstance(text, str) else text.search(screen)
            if bool(found) != gone:
                return screen
            time.sleep(0.05)
        what = text.__name__ if callable(text) else repr(text)
        raise AssertionError(f"{what} {'is still there' if gone else 'is missing'}:\n{self.screen()}")

    def close(self):
        subprocess.run(["tmux", "-L", self.socket, "kill-server"], check=False, capture_output=True)
        folder = os.environ.get("TMUX_TMPDIR", "/tmp") + f"/tmux-{os.getuid()}"
        if os.path.exists(f"{folder}/{self.socket}"):
            os.unlink(f"{folder}/{self.socket}")


class InTmux(unittest.TestCase):
    def start(self, width=120, height=30, arguments="", **env):
        self.tmux = Tmux(width, height, **env)
        self.addCleanup(self.tmux.close)
        self.tmux.type(f"{CGTOP} -d 200ms {arguments}\n")
        return self.tmux

    def test_shows_cgroups_and_handles_keys(self):
        tmux = self.start(arguments=NAME)
        screen = tmux.until("plain-b")
        lines = screen.split("\n")
        self.assertIn("cgtop", lines[0])
        self.assertIn("LIVE", lines[0])
        self.assertIn("[1 Overview]", screen)
        self.assertRegex(screen, r"(?m)^> - " + NAME)
        self.assertRegex(screen, r"(?m)^ +plain-a ")
        tmux.keys("2")
        tmux.until("[2 CPU]")
        tmux.keys("Tab")
        tmux.until("[3 Memory]")
        tmux.keys("Space")
        tmux.until(f"+ {NAME}")
        tmux.until("plain-a", gone=True)
        tmux.keys("Space")
        tmux.until("plain-a")
        tmux.keys("/")
        tmux.type("name=plain-b")
        tmux.until("plain-a", gone=True)
        tmux.keys("Enter", "G", "Enter")
        tmux.until("[1 Summary]")
        tmux.until(f"/{NAME}/plain-b")
        tmux.keys("2")
        tmux.until("processes in this cgroup")
        tmux.keys("Escape")
        tmux.until("[3 Memory]")
        tmux.keys("C-l")
        tmux.until("plain-a")
        tmux.keys("T")
        tmux.until(f"/{NAME}/plain-a")
        tmux.keys("?")
        tmux.until("MOVE")
        tmux.keys("NPage", "NPage", "NPage")
        tmux.until("FILTER")
        tmux.keys("Escape")
        tmux.keys("p")
        tmux.until("PAUSED")
        tmux.keys("p")
        tmux.until("LIVE")
        tmux.keys("s")
        tmux.until("Sort by")
        tmux.type("memory_peak")
        tmux.keys("Enter")
        tmux.until("(by memory_peak v)")

    def test_handles_the_mouse(self):
        for term in ("screen", "xterm-256color"):  # two encodings of mouse events
            with self.subTest(term=term):
                tmux = self.start(arguments=f"--tree {NAME}", TERM=term)
                tmux.until("plain-b")
                tmux.mouse("plain-b")
                tmux.until(re.compile(r"(?m)^> +plain-b "))
                tmux.mouse("plain-a")
                tmux.until(re.compile(r"(?m)^> +plain-a "))
                tmux.mouse("plain-a")
                tmux.until("[1 Summary]")
                tmux.mouse("4 IO devices")
                tmux.until("[4 IO devices]")
                tmux.keys("Escape")
                tmux.until("[1 Overview]")
                tmux.mouse("%LIM")
                tmux.until("%LIMv")
                tmux.mouse("%LIMv")
                tmux.until("%LIM^")
                tmux.mouse("3 Memory")
                tmux.until("[3 Memory]")
                tmux.mouse("CGROUP", button=65)
                tmux.until(re.compile(r"  CGROUP.*\n(?!.*" + NAME + ")"))  # the first row has scrolled off the screen
                tmux.mouse("CGROUP", button=64)
                tmux.until(re.compile(r"  CGROUP.*\n.*- " + NAME))
                tmux.keys("q")
                tmux.until("ready$")
                self.assertFalse(tmux.has_mouse())

    def test_copies_to_the_clipboard_of_the_terminal(self):
        tmux = self.start(arguments=f"--tree {NAME}")
        tmux.call("set-option", "-g", "set-clipboard", "on")
        tmux.until("plain-b")
        tmux.mouse("plain-b")
        tmux.until(re.compile(r"(?m)^> +plain-b "))
        tmux.keys("y")
        tmux.until(f"copied: /{NAME}/plain-b")
        self.assertEqual(tmux.call("show-buffer"), f"/{NAME}/plain-b")
        tmux.keys("Y")
        tmux.until("copied as JSON")
        self.assertEqual(json.loads(tmux.call("show-buffer"))["cgroups"][0]["name"], "plain-b")

    def test_leaves_the_mouse_to_the_terminal_with_no_mouse(self):
        home = tempfile.mkdtemp(prefix="cgwarden-test-")
        self.addCleanup(shutil.rmtree, home)
        tmux = self.start(arguments=f"--no-mouse {NAME}", HOME=home)
        tmux.until("plain-a")
        self.assertFalse(tmux.has_mouse())
        tmux.keys("W")
        tmux.until("settings saved")
        tmux.keys("q")
        tmux.until("ready$")
        for arguments, mouse in (("", False), ("--mouse", True)):
            tmux.type(f"clear; {CGTOP} -d 200ms {arguments} {NAME}\n")
            tmux.until("plain-a")
            self.assertEqual(tmux.has_mouse(), mouse, "the command line takes precedence over the configuration file")
            tmux.keys("q")
            tmux.until(re.compile(r"ready\$\s*\Z"))

    def test_follows_the_size_of_the_terminal(self):
        tmux = self.start(arguments=NAME)
        tmux.until("plain-a")
        for width, height in ((80, 24), (40, 8), (20, 3), (200, 50), (10, 2), (120, 30)):
            tmux.call("resize-window", "-x", str(width), "-y", str(height))

            def fills_it(screen, width=width, height=height):  # until it is redrawn, parts of the previous screen remain
                lines = screen.rstrip("\n").split("\n")
                return (re.match(r" cgtop .*LIVE.*\n(.*\n){0,5}?  CGROUP", screen) and NAME[:7] in screen
                        and len(lines) == height and "Enter open" in lines[-1] and max(map(len, lines)) <= width)

            if width >= 40:
                tmux.until(fills_it)
        tmux.keys("q")
        tmux.until("ready$")

    def test_freezes_undoes_and_kills_after_confirmation(self):
        cgroup = FreezableCgroup()
        self.addCleanup(cgroup.remove)
        state = tempfile.mkdtemp(prefix="cgwarden-test-")
        self.addCleanup(shutil.rmtree, state)
        tmux = self.start(arguments=f"--state-dir {state} --audit-file {state}/audit {cgroup.name}")
        tmux.until(re.compile(rf"(?m)^> +{cgroup.name}"))

        tmux.keys("f")
        tmux.until(re.compile(r"thaw after +60s(.*\n)+.* -> (1|FROZEN)(.*\n)+.*Enter apply"))
        self.assertFalse(cgroup.is_frozen(), "only the plan was requested")
        tmux.keys("Enter")
        tmux.until(f"freeze /{cgroup.name}: done, for 60 s; press u to undo")
        self.assertTrue(cgroup.is_frozen())
        tmux.keys("u")
        tmux.until(f"would undo freeze /{cgroup.name}")
        self.assertTrue(cgroup.is_frozen())
        tmux.keys("Enter")
        tmux.until("undo: done")
        self.assertFalse(cgroup.is_frozen())
        tmux.keys("Enter", "7")
        tmux.until(re.compile(r"ACTIONS BY CGWARDEN\n.* thaw done +uid 0.*\n.* freeze done +uid 0: for 60 s"))
        tmux.keys("Escape")
        tmux.until("Enter open")

        tmux.keys("x")
        tmux.until("1 process in 1 cgroup")
        tmux.keys("Enter")
        tmux.until("type the name to confirm")
        tmux.keys("Escape")
        tmux.until("type the name", gone=True)
        self.assertIsNone(cgroup.process.poll())
        tmux.keys("x")
        tmux.until("1 process in 1 cgroup")
        tmux.type(cgroup.name)
        tmux.keys("Enter")
        tmux.until(f"kill /{cgroup.name}: done, 1 process killed")
        self.assertEqual(cgroup.process.wait(WAIT), -signal.SIGKILL)
        with open(f"{state}/audit", encoding="utf-8") as file:
            events = [json.loads(line) for line in file]
        self.assertEqual([(e["event"], e["action"]) for e in events],
                         [(when, verb) for verb in ("freeze", "thaw", "kill") for when in ("begin", "end")])

    def test_saves_settings(self):
        home = tempfile.mkdtemp(prefix="cgwarden-test-")
        self.addCleanup(shutil.rmtree, home)
        tmux = self.start(arguments=NAME, HOME=home)
        tmux.until("plain-a")
        tmux.keys("3", "m", "S", "W")
        tmux.until(f"settings saved: {home}/.config/cgtop/cgtop.conf")
        tmux.keys("q")
        tmux.until("ready$")
        tmux.type(f"{CGTOP} {NAME}\n")
        tmux.until("[3 Memory]")
        tmux.until("MEM^")
        tmux.keys("q")
        tmux.until("ready$")
        tmux.type(f"{CGTOP} --set cpu -s name:desc {NAME}\n")
        tmux.until("[2 CPU]")
        tmux.until("CGROUPv")
        tmux.keys("q")
        tmux.until("ready$")
        tmux.type(f"clear; {CGTOP} {NAME} | head -1; echo done=$?\n")
        self.assertIn("CPU%", tmux.until("done=0"), "printed output does not depend on the configuration file")
        with open(f"{home}/.config/cgtop/cgtop.conf", "a", encoding="utf-8") as file:
            file.write("color = red\n")
        tmux.type(f"clear; {CGTOP} {NAME}; echo status=$?\n")
        tmux.until(".conf:11: unknown key 'color'")
        tmux.until("status=2")

    def test_disables_actions_with_read_only(self):
        tmux = self.start(arguments=f"--read-only {NAME}")
        tmux.until("plain-a")
        tmux.keys("x")
        tmux.until("actions are disabled by --read-only")

    def test_restores_the_terminal(self):
        for how, status in (("q", 0), ("C-c", 130), ("TERM", 143), ("HUP", 0), ("SEGV", 139)):
            with self.subTest(how=how):
                tmux = Tmux(100, 30)
                self.addCleanup(tmux.close)
                tmux.type("stty -g > /tmp/" + NAME + "; echo before\n")
                tmux.until(re.compile(r"(?m)^before"))
                tmux.type(f"{CGTOP} -d 200ms {NAME}\n")
                tmux.until("plain-a")
                self.assertTrue(tmux.has_mouse())
                if how in ("q", "C-c"):
                    tmux.keys(how)
                else:
                    pane = int(tmux.call("display-message", "-p", "#{pane_pid}"))
                    with open(f"/proc/{pane}/task/{pane}/children", encoding="ascii") as file:
                        children = file.read().split()
                    os.kill(int(children[0]), getattr(signal, f"SIG{how}"))
                tmux.until("plain-a", gone=True)
                tmux.type("echo status=$?\n")
                screen = tmux.until(re.compile(r"status=\d"))
                self.assertIn(f"status={status}", screen)
                self.assertRegex(screen, r"(?m)^before", "the previous screen is restored")
                tmux.type(f"test $(stty -g) = $(cat /tmp/{NAME}) && echo sa''me\n")
                tmux.until("same")
                self.assertEqual(tmux.call("display-message", "-p", "#{cursor_flag} #{alternate_on}").split(), ["1", "0"])
                self.assertFalse(tmux.has_mouse())
                os.unlink(f"/tmp/{NAME}")

    def test_can_be_suspended(self):
        tmux = self.start(arguments=NAME)
        tmux.until("plain-a")
        tmux.keys("C-z")
        tmux.until("Stopped")
        self.assertFalse(tmux.has_mouse())
        tmux.type("fg\n")
        tmux.until("plain-a")
        self.assertTrue(tmux.has_mouse())
        tmux.keys("2")
        tmux.until("[2 CPU]")

    def test_shows_only_ascii_without_utf8(self):
        tmux = self.start(arguments=NAME, LC_ALL="C")
        tmux.until("plain-a")
        time.sleep(1)
        self.assertTrue(tmux.screen().isascii())

    def test_uses_no_colors_when_disabled(self):
        color = re.compile(r"\x1b\[[0-9;]*\b(3[0-7]|38|9[0-7])[;m]")
        tmux = self.start(arguments=NAME)
        tmux.until("plain-a")
        self.assertRegex(tmux.screen("-e"), color)
        tmux.close()
        for arguments, env in (("", {"NO_COLOR": "1"}), ("-C", {}), ("--theme mono", {}),
                               ("--theme high-contrast", {"NO_COLOR": "1", "TERM": "xterm-256color"})):
            tmux = self.start(arguments=f"{arguments} {NAME}", **env)
            tmux.until("plain-a")
            self.assertNotRegex(tmux.screen("-e"), color)
            tmux.close()

    def test_draws_in_the_selected_theme(self):
        for theme, ink, background in (("light", "38;5;25", ""), ("high-contrast", "38;5;231", "48;5;16")):
            tmux = self.start(arguments=f"--theme {theme} {NAME}", TERM="xterm-256color")
            tmux.until("plain-a")
            screen = tmux.screen("-e")
            self.assertRegex(screen, rf"\x1b\[[0-9;]*{ink}[;m][^\n]*cgtop")
            if background:
                title = screen.split("\n")[0]
                self.assertIn(background, title)
                self.assertNotIn("\x1b[49m", title.split("LIVE")[0], "the background covers empty cells, too")
                tmux.type(":theme default\n")
                tmux.until(lambda _, tmux=tmux, background=background: background not in tmux.screen("-e"))
            tmux.close()
        tmux = self.start(arguments=f"--theme nonsense {NAME}; echo status=$?")
        screen = tmux.until("status=2")
        self.assertIn("--theme: unknown value 'nonsense'; use default, dark, light, high-contrast or mono", screen)

    def test_prints_tables_on_a_dumb_terminal(self):
        tmux = self.start(arguments=NAME, TERM="dumb")
        tmux.until(re.compile(r"PATH .*CPU%"))
        tmux.keys("C-c")
        tmux.until(re.compile(r"\^C\s+ready\$|ready\$ $"))

    def test_reports_errors_before_it_opens_the_screen(self):
        tmux = self.start(arguments="no-such-cgroup; echo status=$?")
        screen = tmux.until(re.compile(r"status=\d"))
        self.assertIn("cgroup no-such-cgroup: not found", screen)
        tmux.until("status=3")

    def test_reads_keys_from_the_terminal_when_standard_input_is_a_pipe(self):
        tmux = Tmux(100, 30)
        self.addCleanup(tmux.close)
        tmux.type(f"echo | {CGTOP} -d 200ms {NAME}\n")
        tmux.until("plain-a")
        tmux.keys("3")
        tmux.until("[3 Memory]")
        tmux.keys("q")
        tmux.until("ready$")


class OnARawPty(unittest.TestCase):
    """Every byte that cgtop writes."""

    def written(self, arguments, rows=500, columns=160, seconds=3.0, keys=b"", until=b""):
        pid, fd = pty.fork()
        if pid == 0:
            # The parent sets the size immediately; the screen is then redrawn.
            os.environ.update(TERM="xterm-256color", LC_ALL="C.UTF-8")
            os.execv(CGTOP, [CGTOP, *arguments])
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        out = b""
        end = time.monotonic() + (WAIT if until else seconds)
        sent = False
        try:
            while time.monotonic() < end:
                if select.select([fd], [], [], 0.1)[0]:
                    try:
                        out += os.read(fd, 65536)
                    except OSError:
                        break
                if until and until in out:
                    end = min(end, time.monotonic() + seconds)
                    until = b""
                    if keys and not sent:
                        os.write(fd, keys)
                        sent = True
        finally:
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
            os.close(fd)
        return out

    def test_no_hostile_name_reaches_the_terminal_raw(self):
        names = hostile_names()
        for arguments, keys in ((["-d", "200ms", "--flat", "-s", "name", NAME], b""),
                                (["-d", "200ms", "--tree", "-s", "name", NAME], b"G\n"),
                                (["-b", "-1", NAME], b""), (["-1", "-j", NAME], b""), (["-1", "-f", "prom", NAME], b""),
                                (["-1", "-f", "csv", NAME], b""), (["-1", "-f", "kv", NAME], b"")):
            with self.subTest(arguments=arguments):
                out = self.written(arguments, keys=keys, until=b"xffy" if "-j" not in arguments else b"cgroups")
                text = out.decode("utf-8", "surrogateescape")
                for name in names:
                    self.assertNotIn(name, out)
                if "-j" not in arguments and "prom" not in arguments:  # they escape names in their own formats
                    missing = [n for n in names if escaped(n) not in text]
                    self.assertEqual(missing, [], "every name is on the screen, escaped")

    def test_writes_little_when_little_changes(self):
        first = self.written(["-d", "200ms", f"/{NAME}"], rows=30, columns=120, seconds=1.0, until=b"plain-a")
        more = self.written(["-d", "200ms", f"/{NAME}"], rows=30, columns=120, seconds=5.0, until=b"plain-a")
        per_refresh = (len(more) - len(first)) / 20
        print(f"bytes for the first screen and a second: {len(first)}; for a refresh: {per_refresh:.0f}")
        self.assertLess(per_refresh, 1500)


class InAPipe(unittest.TestCase):
    def run_it(self, *arguments, status=0):
        done = subprocess.run([CGTOP, *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def test_prints_one_table_and_tolerates_a_closed_pipe(self):
        self.assertIn("PATH", self.run_it().stdout.split("\n")[0])
        shell = subprocess.run(["bash", "-o", "pipefail", "-c", f"{CGTOP} -n 0 -d 50ms | head -n 1"], capture_output=True,
                               check=False, timeout=WAIT)
        self.assertEqual(shell.returncode, 0, shell.stderr)

    def test_prints_json_with_every_hostile_name(self):
        cgroups = json.loads(self.run_it("dump", NAME, "-j").stdout)["cgroups"]
        self.assertEqual(len(cgroups), 3 + len(hostile_names()))
        self.assertIn("x\x1b[31my", [g["name"] for g in cgroups])

    def test_returns_the_documented_exit_statuses(self):
        self.run_it("--no-such-option", status=2)
        self.run_it("-s", "nonsense", status=2)
        self.run_it("-o", "nonsense", status=2)
        self.assertIn("^", self.run_it("-F", "cpu>x", status=2).stderr)
        self.run_it("show", "no-such-cgroup", status=3)
        self.run_it("show", "999999999", status=3)
        self.run_it("show", NAME)
        self.run_it("ps", NAME)
        self.run_it("tree", NAME)
        self.run_it("fields")
        self.run_it("show", str(os.getpid()))
        doctor = subprocess.run([CGTOP, "doctor"], capture_output=True, text=True, check=False)
        self.assertEqual(doctor.returncode, 1 if re.search("(?m)^problem", doctor.stdout) else 0)


class Recordings(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="cgwarden-test-")
        self.addCleanup(folder.cleanup)
        self.file = f"{folder.name}/recording"

    def run_it(self, *arguments, status=0):
        return InAPipe.run_it(self, *arguments, status=status)

    def record(self, count=6):
        output = self.run_it("record", self.file, "-d", "100ms", "-n", str(count)).stdout
        self.assertIn(f": {count} samples", output)
        return count

    def samples(self, *arguments):
        output = self.run_it("dump", "--from", self.file, "-j", *arguments).stdout
        decoder, at, found = json.JSONDecoder(), 0, []
        while output[at:].strip():
            value, at = decoder.raw_decode(output, at + len(output[at:]) - len(output[at:].lstrip()))
            found.append(value)
        return found

    def test_contain_all_samples_and_are_appended_to(self):
        first = self.record()
        samples = self.samples("--begin", "@0")
        self.assertEqual(len(samples), first)
        self.assertTrue(all(s["source"] == "replay" for s in samples))
        names = [g["name"] for g in samples[-1]["cgroups"]]
        for name in ("plain-a", "x\x1b[31my"):
            self.assertIn(name, names)
        self.assertIsNone(samples[0]["interval_s"])
        self.assertGreater(samples[1]["interval_s"], 0.05)
        second = self.record()
        samples = self.samples("--begin", "@0")
        self.assertEqual(len(samples), first + second)
        self.assertIsNone(samples[first]["interval_s"], "no rate across the pause")
        at = samples[2]["time"]
        self.assertEqual([s["time"] for s in self.samples("--at", at)], [at])

    def test_are_complete_after_sigterm(self):
        recorder = subprocess.Popen([CGTOP, "record", self.file, "-d", "100ms"], stdout=subprocess.PIPE)
        end = time.monotonic() + WAIT
        while not os.path.exists(self.file) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.3)
        recorder.terminate()
        output, _ = recorder.communicate(timeout=WAIT)
        self.assertEqual(recorder.returncode, 0)
        self.assertEqual(len(self.samples("--begin", "@0")), int(re.search(rb": (\d+) samples", output).group(1)))

    def test_errors_return_the_documented_exit_statuses(self):
        self.record()
        piece = self.file + ".piece"
        self.run_it("snapshot", self.file, piece, "--begin", "-300ms")
        self.run_it("snapshot", self.file, piece, status=2)
        self.run_it("dump", "--from", self.file, "--at", "1999-01-01", status=3)
        self.run_it("dump", "--from", self.file + ".none", status=3)
        self.run_it("dump", "--from", "/etc/hostname", status=9)
        self.run_it("ps", NAME, "--from", self.file, status=2)
        self.run_it("dump", "--from", self.file, "--at", "soon", status=2)
        self.record()
        with open(self.file, "r+b") as file:
            file.seek(60)
            file.write(b"damage")
        done = self.run_it("dump", "--from", self.file, "-o", "memory", status=9)
        self.assertIn("plain-a", done.stdout)
        self.assertEqual(done.stderr.count("\n"), 1)
        with open("/etc/hostname", "rb") as file:
            before = file.read()
        self.run_it("record", "/etc/hostname", "-n", "1", status=9)
        with open("/etc/hostname", "rb") as file:
            self.assertEqual(file.read(), before)

    def test_are_replayed_with_a_timeline(self):
        self.record()
        tmux = Tmux(120, 30)
        self.addCleanup(tmux.close)
        tmux.type(f"{CGTOP} replay {self.file} {NAME} -d 50ms\n")
        screen = tmux.until("paused")  # at the end of the recording
        self.assertIn("REPLAY", screen)
        self.assertIn("plain-a", screen)
        self.assertIn("TIME", screen)
        tmux.type("<")
        tmux.type("J-1h\n")
        tmux.until("no older sample")
        tmux.type("q")
        tmux.until(re.compile(r"ready\$\s*\Z"))

    def test_are_started_by_a_key_of_the_screen(self):
        folder = os.path.dirname(self.file)
        tmux = Tmux(120, 30, XDG_STATE_HOME=folder)
        self.addCleanup(tmux.close)
        tmux.type(f"{CGTOP} -d 200ms {NAME}\n")
        tmux.until("plain-b")
        tmux.type("R")
        tmux.until("REC")
        time.sleep(0.6)
        tmux.type("q")
        tmux.until(re.compile(r"[0-9] samples, "))
        tmux.until(re.compile(r"ready\$\s*\Z"))
        made = os.listdir(folder + "/cgtop")
        self.assertEqual(len(made), 1)
        self.file = f"{folder}/cgtop/{made[0]}"
        self.assertGreater(len(self.samples("--begin", "@0")), 0)


def main():
    if shutil.which("tmux") is None:
        print("SKIP: tmux is missing; scripts/install-deps test installs it")
        sys.exit(77)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # a timeout must not leave cgroups behind
    cgroup = TestCgroup()
    try:
        for name in (b"plain-a", b"plain-b", *hostile_names()):
            cgroup.child(name)
        result = unittest.main(exit=False).result
    finally:
        cgroup.remove()
    sys.exit(0 if result.wasSuccessful() else 1)


if __name__ == "__main__":
    main()
