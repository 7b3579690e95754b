#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cgtop on other hosts: through agents, over HTTP, HTTPS, a Unix socket, with a password, through what fails.

  cgtop_sources_test.py CGTOP AGENT

Agents run on recorded hosts, so every machine shows the same. Exit status: 0, 1, or 77 with a line SKIP.
"""

import base64
import http.client
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

CGTOP, AGENT = sys.argv[1], sys.argv[2]
HOSTS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "hosts")
WAIT = 60


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Agent:
    """On a recorded host."""

    def __init__(self, host, folder):
        self.port, self.socket = free_port(), f"{folder}/{host}.sock"
        place = f"{HOSTS}/{host}"
        self.process = subprocess.Popen(
            [AGENT, "--web.listen-address", f"127.0.0.1:{self.port}", "--web.listen-address", f"unix:{self.socket}",
             "--path.procfs", f"{place}/proc", "--path.sysfs", f"{place}/sys", "--path.cgroupfs",
             f"{place}/sys/fs/cgroup", "--path.rootfs", place, "--log.level", "error"])
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the agent does not answer")

    def close(self):
        self.process.terminate()
        self.process.wait(WAIT)


class Front(http.server.BaseHTTPRequestHandler):
    """What people put before an agent: TLS and a password."""
    port, password, answer = 0, None, None
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.answer is not None:
            self.wfile.write(self.answer)
            self.close_connection = True
            return
        wanted = "Basic " + base64.b64encode(self.password.encode()).decode() if self.password else None
        if wanted and self.headers.get("Authorization") != wanted:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        behind = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)
        behind.request("GET", self.path, headers={"Accept-Encoding": self.headers.get("Accept-Encoding", "")})
        answer = behind.getresponse()
        body = answer.read()
        behind.close()
        self.send_response(answer.status)
        for name in ("Content-Type", "Content-Encoding", "ETag"):
            if answer.getheader(name):
                self.send_header(name, answer.getheader(name))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # clients that leave are what is tested


class Sources(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="cgwarden-test-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.agent = Agent("v2", cls.folder.name)
        cls.addClassCleanup(cls.agent.close)

    def front(self, tls=None, **what):
        server = Server(("127.0.0.1", 0), type("Front", (Front,), {"port": self.agent.port, **what}))
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server.server_address[1]

    def certificate(self, name):
        cert, key = f"{self.folder.name}/{name}.pem", f"{self.folder.name}/{name}.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout", key, "-out", cert, "-days", "2", "-subj", f"/CN={name}", "-addext",
                        f"subjectAltName={name}"], check=True, capture_output=True)
        return cert, key

    def dump(self, url, *arguments, status=0, **env):
        done = subprocess.run([CGTOP, "dump", "--agent", url, "-j", "-d", "600ms", *arguments], capture_output=True,
                              text=True, check=False, timeout=WAIT, env={**os.environ, **env})
        self.assertEqual(done.returncode, status, done.stderr)
        if status:
            self.assertEqual(done.stdout, "")
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            return done.stderr
        return json.loads(done.stdout)

    def test_an_agent_shows_what_its_host_shows(self):
        place = f"{HOSTS}/v2"
        live = json.loads(subprocess.run(
            [CGTOP, "dump", "-j", "-d", "50ms", "--path.procfs", f"{place}/proc", "--path.sysfs", f"{place}/sys",
             "--path.cgroupfs", f"{place}/sys/fs/cgroup", "--path.rootfs", place],
            capture_output=True, text=True, check=True).stdout)
        away = self.dump(f"http://127.0.0.1:{self.agent.port}")
        self.assertEqual((live["source"], away["source"]), ("cgroupfs", "agent"))
        self.assertEqual({**live["host"], "boot_id": ""}, {**away["host"], "boot_id": ""})
        passing = ("age", "id", "parent_id")     # made by who reads the recording, and when
        strip = lambda groups: [{k: v for k, v in g.items() if k not in passing} for g in groups]
        self.assertEqual(len(live["groups"]), len(away["groups"]))
        for a, b in zip(strip(live["groups"]), strip(away["groups"])):
            self.assertEqual(a, b)

    def test_an_agent_is_reached_by_every_kind_of_address(self):
        count = len(self.dump(f"127.0.0.1:{self.agent.port}")["groups"])
        self.assertEqual(len(self.dump(f"unix:{self.agent.socket}")["groups"]), count)
        tls = self.certificate("DNS:localhost")
        port = self.front(tls=tls)
        self.assertEqual(len(self.dump(f"https://localhost:{port}", "--tls-ca", tls[0])["groups"]), count)
        self.assertEqual(len(self.dump(f"https://127.0.0.1:{port}", "--tls-insecure")["groups"]), count)

    def test_a_certificate_that_nobody_trusts_is_refused(self):
        tls = self.certificate("DNS:localhost")
        port = self.front(tls=tls)
        self.assertIn("--tls-ca", self.dump(f"https://localhost:{port}", status=5))
        self.assertIn("TLS fails", self.dump(f"https://127.0.0.1:{port}", "--tls-ca", tls[0], status=5))
        self.assertIn("TLS fails", self.dump(f"https://127.0.0.1:{self.agent.port}", status=5))

    def test_a_password_comes_from_the_address_the_environment_or_a_file(self):
        port = self.front(password="me:se:cret")
        self.assertIn("CGTOP_AUTH", self.dump(f"http://127.0.0.1:{port}", status=5))
        self.assertIn("wrong (401)", self.dump(f"http://me:no@127.0.0.1:{port}", status=5))
        self.assertNotIn("no@", self.dump(f"http://me:no@127.0.0.1:{port}", status=5))
        self.dump(f"http://me:se%3Acret@127.0.0.1:{port}")
        self.dump(f"http://127.0.0.1:{port}", CGTOP_AUTH="me:se:cret")
        with open(f"{self.folder.name}/auth", "w", encoding="ascii") as file:
            file.write("me:se:cret\n")
        self.dump(f"http://127.0.0.1:{port}", "--auth-file", file.name)
        self.dump(f"http://127.0.0.1:{port}", "--auth-file", "/nonexistent", status=2)

    def test_what_is_no_agent_is_said_in_one_line(self):
        self.assertIn("refused", self.dump(f"http://127.0.0.1:{free_port()}", status=5))
        self.assertIn("no agent", self.dump(f"http://127.0.0.1:{self.agent.port}/elsewhere", status=5))
        for answer in (b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
                       b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n",
                       b"HTTP/1.1 500 X\r\nContent-Length: 5\r\n\r\n\x1b[31m", b"", b"\x15\x03\x01\x00\x02\x02\x46",
                       b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n{}",
                       b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"):
            said = self.dump(f"http://127.0.0.1:{self.front(answer=answer)}", status=5)
            self.assertNotIn("\x1b", said)
        self.dump("ftp://127.0.0.1", status=2)
        self.dump(f"unix:{self.folder.name}/none", status=5)
        subprocess.run([CGTOP, "ps", "/", "--agent", f"127.0.0.1:{self.agent.port}"], check=False, capture_output=True)

    def test_what_an_agent_said_can_be_recorded(self):
        file = f"{self.folder.name}/recording"
        subprocess.run([CGTOP, "record", file, "--agent", f"127.0.0.1:{self.agent.port}", "-n", "2", "-d", "600ms"],
                       check=True, capture_output=True)
        again = json.loads(subprocess.run([CGTOP, "dump", "-j", "--from", file], check=True, capture_output=True,
                                          text=True).stdout)
        now = self.dump(f"127.0.0.1:{self.agent.port}")
        self.assertEqual([g["path"] for g in again["groups"]], [g["path"] for g in now["groups"]])
        self.assertEqual(again["host"]["name"], now["host"]["name"])


def main():
    if shutil.which("openssl") is None:
        print("SKIP: no openssl here; scripts/install-deps test brings it")
        sys.exit(77)
    sys.exit(0 if unittest.main(argv=sys.argv[:1] + sys.argv[3:], exit=False, warnings="ignore").result.wasSuccessful() else 1)


if __name__ == "__main__":
    main()
