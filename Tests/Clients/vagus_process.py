"""Starts the real binary for a test, on free ports of loopback and in a folder of its own; standard library only."""

import itertools
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# A build of its own for all tests, or the one that was named: figures are taken of a release build.
BINARY = os.environ.get("VAGUS_BINARY", os.path.join(ROOT, ".build", "debug", "vagus"))

# Below the ports of outgoing connections: one of those would be taken by somebody's connection before a server has it.
PORTS = itertools.cycle(random.sample(range(10_000, 20_000), 10_000))


def free_port():
    """A port of loopback that nobody has, for a server that must be told one, or be started again on the same."""
    while True:
        port = next(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Vagus:
    """One `vagus dev` and the commands that speak to it.

    `arguments` go to `vagus dev`; `prefix` goes before all commands, such as one that enters a network namespace.
    """

    def __init__(self, arguments=(), prefix=()):
        self.arguments, self.prefix = list(arguments), list(prefix)
        self.folder = tempfile.mkdtemp(prefix="vagus-test-")
        self.data = os.path.join(self.folder, "data")
        self.process = None
        self.url = self.proxy = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            print(open(self.log_path).read()[-4000:])
        self.stop()
        self.end_copies()
        shutil.rmtree(self.folder, ignore_errors=True)

    def end_copies(self):
        """Copies of services outlive the server; each works in a folder of the server's data."""
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{name}/cwd").startswith(self.data + "/"):
                    os.kill(int(name), signal.SIGKILL)
            except OSError:
                pass  # it has ended, or is not ours to look at

    def start(self):
        """Starts the server and waits until it listens, at most 20 s."""
        self.log_path = os.path.join(self.folder, "vagus.log")
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen(
                [*self.prefix, BINARY, "dev", "--data", self.data, "--listen", "127.0.0.1:0", "--proxy-listen",
                 "127.0.0.1:0", *self.arguments],
                stdout=log, stderr=subprocess.STDOUT)
        def told():
            text = open(self.log_path).read()
            return re.search(r"listens on (\S+)", text) and re.search(r"reached at (\S+)", text) and text
        text = wait_for(told, 20, "the server to listen")
        self.url = re.search(r"listens on (\S+)", text).group(1)
        self.proxy = re.search(r"reached at (\S+)", text).group(1)

    def kill(self):
        """kill -9: no good-bye."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def run(self, *arguments, input=None, check=True):
        """A command of the client; returns the finished process."""
        done = subprocess.run(
            [*self.prefix, BINARY, *arguments], input=input, capture_output=True, text=True, timeout=120,
            env={**os.environ, "VAGUS_SERVER": self.url})
        if check and done.returncode != 0:
            raise AssertionError(f"vagus {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def json(self, *arguments):
        return json.loads(self.run(*arguments, "-o", "json").stdout)


def wait_for(look, seconds, what):
    """Looks until there is something; a level, not a change."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s for {what}")


def git(folder, *arguments):
    subprocess.run(
        ["git", "-c", "user.name=Ana", "-c", "user.email=ana@example.com", *arguments], cwd=folder, check=True,
        capture_output=True, text=True)
