#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cgtop with remote sources: agents over HTTP, HTTPS and Unix sockets, with a password, and with failing servers.

  cgtop_sources_test.py CGTOP AGENT

The agents run on recorded hosts, so the output is the same on every machine. Exit status: 0, 1, or 77 with a line
"SKIP:".
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
import urllib.parse
import urllib.request

CGTOP, AGENT = sys.argv[1], sys.argv[2]
HOSTS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "hosts")
WAIT = 60


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Agent:
    """An agent on a recorded host."""

    def __init__(self, host, folder, place=None):
        self.port, self.socket = free_port(), f"{folder}/{host}.sock"
        place = place or f"{HOSTS}/{host}"
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
        raise AssertionError("the agent does not listen")

    def close(self):
        self.process.terminate()
        self.process.wait(WAIT)


class Front(http.server.BaseHTTPRequestHandler):
    """A reverse proxy in front of an agent, with TLS and a password."""
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
        upstream = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)
        upstream.request("GET", self.path, headers={"Accept-Encoding": self.headers.get("Accept-Encoding", "")})
        answer = upstream.getresponse()
        body = answer.read()
        upstream.close()
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
        pass  # the tests disconnect clients on purpose


class Sources(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="cgwarden-test-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.agent = Agent("v2", cls.folder.name)
        cls.addClassCleanup(cls.agent.close)

    def front(self, tls=None, **attributes):
        server = Server(("127.0.0.1", 0), type("Front", (Front,), {"port": self.agent.port, **attributes}))
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

    def test_agent_reports_the_same_values_as_its_host(self):
        place = f"{HOSTS}/v2"
        live = json.loads(subprocess.run(
            [CGTOP, "dump", "-j", "-d", "50ms", "--path.procfs", f"{place}/proc", "--path.sysfs", f"{place}/sys",
             "--path.cgroupfs", f"{place}/sys/fs/cgroup", "--path.rootfs", place],
            capture_output=True, text=True, check=True).stdout)
        remote = self.dump(f"http://127.0.0.1:{self.agent.port}")
        self.assertEqual((live["source"], remote["source"]), ("cgroupfs", "agent"))
        self.assertEqual({**live["host"], "boot_id": ""}, {**remote["host"], "boot_id": ""})
        varying = ("age", "id", "parent_id")     # depends on the reader of the recording and on the time
        strip = lambda cgroups: [{k: v for k, v in g.items() if k not in varying} for g in cgroups]
        self.assertEqual(len(live["cgroups"]), len(remote["cgroups"]))
        for a, b in zip(strip(live["cgroups"]), strip(remote["cgroups"])):
            self.assertEqual(a, b)

    def test_agent_is_reachable_over_tcp_unix_socket_and_tls(self):
        count = len(self.dump(f"127.0.0.1:{self.agent.port}")["cgroups"])
        self.assertEqual(len(self.dump(f"unix:{self.agent.socket}")["cgroups"]), count)
        tls = self.certificate("DNS:localhost")
        port = self.front(tls=tls)
        self.assertEqual(len(self.dump(f"https://localhost:{port}", "--tls-ca", tls[0])["cgroups"]), count)
        self.assertEqual(len(self.dump(f"https://127.0.0.1:{port}", "--tls-insecure")["cgroups"]), count)

    def test_untrusted_certificate_is_rejected(self):
        tls = self.certificate("DNS:localhost")
        port = self.front(tls=tls)
        self.assertIn("--tls-ca", self.dump(f"https://localhost:{port}", status=5))
        self.assertIn("not valid for this host name", self.dump(f"https://127.0.0.1:{port}", "--tls-ca", tls[0], status=5))
        self.assertIn("TLS handshake failed", self.dump(f"https://127.0.0.1:{self.agent.port}", status=5))

    def test_credentials_come_from_the_url_the_environment_or_a_file(self):
        port = self.front(password="me:se:cret")
        self.assertIn("CGTOP_AUTH", self.dump(f"http://127.0.0.1:{port}", status=5))
        self.assertIn("401: wrong user name or password", self.dump(f"http://me:no@127.0.0.1:{port}", status=5))
        self.assertNotIn("no@", self.dump(f"http://me:no@127.0.0.1:{port}", status=5))
        self.dump(f"http://me:se%3Acret@127.0.0.1:{port}")
        self.dump(f"http://127.0.0.1:{port}", CGTOP_AUTH="me:se:cret")
        with open(f"{self.folder.name}/auth", "w", encoding="ascii") as file:
            file.write("me:se:cret\n")
        self.dump(f"http://127.0.0.1:{port}", "--auth-file", file.name)
        self.dump(f"http://127.0.0.1:{port}", "--auth-file", "/nonexistent", status=2)

    def test_server_that_is_not_an_agent_causes_a_one_line_error(self):
        self.assertIn("refused", self.dump(f"http://127.0.0.1:{free_port()}", status=5))
        self.assertIn("no cgwarden agent", self.dump(f"http://127.0.0.1:{self.agent.port}/elsewhere", status=5))
        for answer in (b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
                       b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n",
                       b"HTTP/1.1 500 X\r\nContent-Length: 5\r\n\r\n\x1b[31m", b"", b"\x15\x03\x01\x00\x02\x02\x46",
                       b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n{}",
                       b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"):
            error = self.dump(f"http://127.0.0.1:{self.front(answer=answer)}", status=5)
            self.assertNotIn("\x1b", error)
        self.dump("ftp://127.0.0.1", status=2)
        self.dump(f"unix:{self.folder.name}/none", status=5)
        subprocess.run([CGTOP, "ps", "/", "--agent", f"127.0.0.1:{self.agent.port}"], check=False, capture_output=True)

    def test_samples_of_an_agent_can_be_recorded(self):
        file = f"{self.folder.name}/recording"
        subprocess.run([CGTOP, "record", file, "--agent", f"127.0.0.1:{self.agent.port}", "-n", "2", "-d", "600ms"],
                       check=True, capture_output=True)
        again = json.loads(subprocess.run([CGTOP, "dump", "-j", "--from", file], check=True, capture_output=True,
                                          text=True).stdout)
        now = self.dump(f"127.0.0.1:{self.agent.port}")
        self.assertEqual([g["path"] for g in again["cgroups"]], [g["path"] for g in now["cgroups"]])
        self.assertEqual(again["host"]["name"], now["host"]["name"])


@unittest.skipIf(shutil.which("prometheus") is None, "prometheus is not installed")
class Fleet(unittest.TestCase):
    """A Prometheus server scrapes the agents of three recorded hosts; cgtop reads it."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="cgwarden-test-")
        cls.addClassCleanup(cls.folder.cleanup)
        folder, cls.hosts = cls.folder.name, ("v1", "v2", "hybrid")
        busy = f"{folder}/busy"  # v2, with counters that advance
        shutil.copytree(f"{HOSTS}/v2", busy, symlinks=True)
        agents = []
        for host in cls.hosts:
            agents.append(Agent(host, folder, busy if host == "v2" else None))
            cls.addClassCleanup(agents[-1].close)
        stop = threading.Event()
        clock = threading.Thread(target=cls.use_cpu, args=(f"{busy}/sys/fs/cgroup/system.slice/cpu.stat", stop))
        clock.start()
        cls.addClassCleanup(clock.join)
        cls.addClassCleanup(stop.set)
        cls.port = free_port()
        with open(f"{folder}/prometheus.yml", "w", encoding="ascii") as file:
            file.write("global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n- job_name: cgwarden\n  static_configs:\n")
            for host, agent in zip(cls.hosts, agents):
                file.write(f"  - targets: ['127.0.0.1:{agent.port}']\n    labels: {{instance: 'host-{host}:10753'}}\n")
        log = open(f"{folder}/log", "w", encoding="utf-8")  # pylint: disable=consider-using-with
        cls.addClassCleanup(log.close)
        prometheus = subprocess.Popen(["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                                       f"--web.listen-address=127.0.0.1:{cls.port}"], stdout=log, stderr=log)
        cls.addClassCleanup(prometheus.wait, WAIT)
        cls.addClassCleanup(prometheus.kill)
        cls.url, end = f"http://127.0.0.1:{cls.port}", time.monotonic() + WAIT
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(f"{cls.url}/api/v1/query?query=count(up==1)", timeout=WAIT) as answer:
                    found = json.load(answer)["data"]["result"]
                    if found and found[0]["value"][1] == "3":
                        return
            except OSError:
                pass
            time.sleep(0.2)
        raise AssertionError("prometheus cannot scrape the agents")

    @staticmethod
    def use_cpu(file, stop):
        """Advances the counter by about a quarter of a CPU."""
        with open(file, encoding="ascii") as old:
            rest = old.read().split("\n", 1)[1]
        with open(file, "wb", buffering=0) as stat:  # the agent keeps the file open, so write once with the same length
            while not stop.wait(0.2):
                stat.seek(0)
                stat.write(f"usage_usec {10**12 + int(time.monotonic() * 250_000)}\n{rest}".encode())

    def dump(self, *arguments, status=0):
        done = subprocess.run([CGTOP, "dump", "--prometheus", self.url, "-j", *arguments], capture_output=True, text=True,
                              check=False, timeout=WAIT)
        self.assertEqual(done.returncode, status, done.stderr)
        return json.loads(done.stdout)["cgroups"] if status == 0 else done.stderr

    def query(self, expression):
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{query}", timeout=WAIT) as answer:
            return {(r["metric"]["instance"].split(":")[0], r["metric"]["cgroup"]): float(r["value"][1])
                    for r in json.load(answer)["data"]["result"]}

    def test_shows_every_cgroup_of_every_host_with_its_values(self):
        cgroups = {g["path"]: g for g in self.dump("-o", "host,memory_current,pids_current")}
        for metric, field in (("cgroup_memory_current_bytes", "memory_current"), ("cgroup_pids_current", "pids_current")):
            values = self.query(metric)
            self.assertGreater(len(values), 20)
            for (host, path), value in values.items():
                cgroup = cgroups[f"/{host}" + ("" if path == "/" else path)]
                self.assertEqual(cgroup[field], value)
                self.assertEqual(cgroup["host"], host)

    def test_sorts_and_filters_over_all_hosts(self):
        listed = self.dump("-o", "host,memory", "-s", "memory", "-F", "memory>1M")
        sizes = [g["memory"] for g in listed]
        self.assertEqual(sizes, sorted(sizes, reverse=True))
        self.assertGreater(len({g["host"] for g in listed}), 1)
        self.assertEqual({g["host"] for g in self.dump("-o", "host", "-F", "host=host-v1")}, {"host-v1"})
        top = [g for g in self.dump("-o", "host") if g["parent_id"] is None]
        self.assertEqual(sorted(g["name"] for g in top), sorted(f"host-{h}" for h in self.hosts))

    def test_rate_is_the_increase_between_two_scrapes(self):
        end = time.monotonic() + WAIT
        rate = None
        while rate is None and time.monotonic() < end:
            rate = next(g["cpu"] for g in self.dump("-o", "cpu") if g["path"] == "/host-v2/system.slice")
            time.sleep(0.5)
        query = urllib.parse.urlencode(
            {"query": 'cgroup_cpu_usage_seconds_total{instance=~"host-v2.*",cgroup="/system.slice"}[5m]'})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{query}", timeout=WAIT) as answer:
            samples = [(t, float(v)) for t, v in json.load(answer)["data"]["result"][0]["values"]]
        between = [(v - w) / (t - u) for t, v in samples for u, w in samples if t > u + 20]
        self.assertGreater(rate, 0)
        self.assertTrue(any(abs(rate - r) < 1e-3 for r in between), f"{rate} is not in {between}")

    def test_at_selects_an_earlier_time(self):
        self.assertTrue(self.dump("--at", "now", "-L", "1"))
        self.assertIn("at that time", self.dump("--at", "2020-01-01", status=3))
        self.dump("--at", "soon", status=2)

    def test_server_that_is_not_prometheus_causes_a_one_line_error(self):
        for url in (f"127.0.0.1:{free_port()}", f"{self.url}/elsewhere"):
            done = subprocess.run([CGTOP, "dump", "--prometheus", url], capture_output=True, text=True, check=False,
                                  timeout=WAIT)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (5, 1), done.stderr)


def main():
    if shutil.which("openssl") is None:
        print("SKIP: openssl is not installed; run scripts/install-deps test")
        sys.exit(77)
    sys.exit(0 if unittest.main(argv=sys.argv[:1] + sys.argv[3:], exit=False, warnings="ignore").result.wasSuccessful() else 1)


if __name__ == "__main__":
    main()
