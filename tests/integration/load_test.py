#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The agent under many concurrent clients, while cgroups are created and removed and it is reloaded. Meant for
sanitizer builds, in which a finding terminates the agent with a non-zero exit status.

  load_test.py AGENT

Creates and removes only cgroups below cgwarden-test-load-PID (as root). Exit status: 0 or 1.
"""

import contextlib
import glob
import gzip
import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

SECONDS, CLIENTS = 4.0, 6
BAD = [b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70000 + b"\r\n\r\n", b"\x00\xff\x16\x03\x01" * 20, b"GET /metrics HTTP/1.1\r\nHo",
       b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789", b"GET " + b"/" * 9000 + b" HTTP/1.1\r\n\r\n"]


def connect(address):
    connection = http.client.HTTPConnection("localhost", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(30)
    connection.sock.connect(address)
    return connection


class Load:
    def __init__(self, address):
        self.address, self.end = address, time.monotonic() + SECONDS
        self.answers, self.faults, self.lock = 0, [], threading.Lock()

    def running(self):
        return time.monotonic() < self.end

    def scrape(self, seed):
        """Requests all formats in turn over a keep-alive connection."""
        pick = random.Random(seed)
        connection = connect(self.address)
        while self.running():
            openmetrics, packed = pick.random() < 0.5, pick.random() < 0.5
            headers = {"Accept": "application/openmetrics-text;version=1.0.0" if openmetrics else "text/plain"}
            if packed:
                headers["Accept-Encoding"] = "gzip"
            connection.request("GET", pick.choice(["/metrics", "/metrics", "/metrics", "/", "/-/ready"]), headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            if answer.getheader("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            metrics = answer.getheader("Content-Type", "").startswith(("text/plain; version", "application/openmetrics-text"))
            whole = not metrics or (body.endswith(b"# EOF\n") if openmetrics else body.endswith(b"\n"))
            with self.lock:
                self.answers += 1
                # 503 means too many concurrent requests; no other error is a valid response to a valid request
                if answer.status not in (200, 503) or (answer.status == 200 and not whole):
                    self.faults.append(f"status {answer.status}, {len(body)} bytes, whole: {whole}")
            if answer.getheader("Connection", "").lower() == "close":
                connection.close()
                connection = connect(self.address)
        connection.close()

    def annoy(self, seed):
        """Invalid requests, clients that disconnect in the middle of a response, and one that never reads."""
        pick = random.Random(seed)
        deaf = connect(self.address)
        with contextlib.suppress(OSError):
            deaf.sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        while self.running():
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as s:
                s.settimeout(5)
                s.connect(self.address)
                s.sendall(pick.choice(BAD + [b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"]))
                if pick.random() < 0.5:
                    s.recv(10)
        deaf.close()

    def breed(self, tops):
        while self.running():
            for top in tops:
                for i in range(10):
                    os.mkdir(f"{top}/{i}")
            for top in tops:
                for i in range(10):
                    os.rmdir(f"{top}/{i}")


def hierarchies():
    """Mount points in which a cgroup can be created without enabling a controller."""
    found = [d for d in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified") if os.path.exists(f"{d}/cgroup.procs")]
    return found + [os.path.dirname(f) for f in glob.glob("/sys/fs/cgroup/pids/cgroup.procs")]


def run(agent, folder, cleanup):
    address = os.path.join(folder, "socket")
    log = open(os.path.join(folder, "log"), "w+", encoding="utf-8", errors="replace")
    cleanup.callback(log.close)
    process = subprocess.Popen([agent, "--web.listen-address", f"unix:{address}"], stderr=log)
    cleanup.callback(process.wait)
    cleanup.callback(process.kill)
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError):
            connect(address).close()
            break
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            raise SystemExit("the agent does not accept connections: " + log.read()[-2000:])
        time.sleep(0.05)

    tops = []
    if os.geteuid() == 0:
        for mount in hierarchies():
            top = f"{mount}/cgwarden-test-load-{os.getpid()}"
            with contextlib.suppress(OSError):
                os.mkdir(top)
                tops.append(top)
    def remove():
        for top in tops:
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
    cleanup.callback(remove)

    load = Load(address)
    jobs = [threading.Thread(target=load.scrape, args=(i,)) for i in range(CLIENTS)]
    jobs += [threading.Thread(target=load.annoy, args=(100,))]
    if tops:
        jobs.append(threading.Thread(target=load.breed, args=(tops,)))
    for job in jobs:
        job.start()
    for _ in range(3):
        time.sleep(SECONDS / 4)
        process.send_signal(signal.SIGHUP)
    for job in jobs:
        job.join()
    process.send_signal(signal.SIGTERM)
    status = process.wait(timeout=30)
    print(f"{load.answers} responses in {SECONDS:.0f} s to {CLIENTS} clients; cgroups created in {len(tops)} hierarchies; "
          f"ended with {status}")
    faults = load.faults[:5]
    if load.answers < 2 * CLIENTS:
        faults.append("too few responses")
    if status != 0:
        log.seek(0)
        faults.append(f"the agent exited with status {status}:\n{log.read()[-6000:]}")
    for fault in faults:
        print("FAIL", fault)
    return 1 if faults else 0


def main():
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="cgwarden-test-") as folder, contextlib.ExitStack() as cleanup:
        return run(os.path.abspath(sys.argv[1]), folder, cleanup)


if __name__ == "__main__":
    sys.exit(main())
