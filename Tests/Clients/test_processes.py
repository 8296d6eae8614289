"""Server, runner and proxy as processes of their own: a restart of the server, and kill -9 of it, under traffic and in the
middle of a step, drops no request and kills no step."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request

from vagus_process import BINARY, free_port, wait_for

SERVICE = """
kind: Service
name: web
workload:
  command: [python3, -u, -c, "%(program)s"]
health: { http: /, interval: 200ms }
---
kind: Pipeline
name: long
stages:
  - name: work
    jobs:
      one:
        steps:
          - run: |
              echo begun >> %(marks)s
              while [ ! -e %(marks)s.go ]; do sleep 0.05; done
              echo ended >> %(marks)s
          - run: echo second >> %(marks)s
"""
PROGRAM = (
    "import http.server as h, os; "
    "H = type('H', (h.BaseHTTPRequestHandler,), dict(protocol_version='HTTP/1.1', log_message=lambda *a: None, "
    "do_GET=lambda s: (s.send_response(200), s.send_header('Content-Length', '2'), s.end_headers(), s.wfile.write(b'ok')))); "
    "h.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), H).serve_forever()")


class Part:
    """One process of the house, started again under the same name."""

    def __init__(self, folder, name, *arguments):
        self.log, self.words, self.process = os.path.join(folder, f"{name}.log"), [BINARY, *arguments], None

    def start(self):
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(self.words, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    def end(self, number):
        self.process.send_signal(number)
        self.process.wait(30)

    def text(self):
        with open(self.log) as log:
            return log.read()


class Traffic(threading.Thread):
    """Asks for the service over and over on one connection each time; keeps every answer that was not good."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.url, self.ended, self.good, self.bad = url, threading.Event(), 0, []

    def run(self):
        while not self.ended.is_set():
            try:
                with urllib.request.urlopen(self.url, timeout=10) as answer:
                    body = answer.read()
                self.good += body == b"ok"
                if body != b"ok":
                    self.bad.append(repr(body))
            except OSError as error:
                self.bad.append(str(error))


def main():
    folder = tempfile.mkdtemp(prefix="vagus-processes-")
    parts = []
    marks = os.path.join(folder, "marks")
    url, proxy_url = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    environment = {**os.environ, "VAGUS_SERVER": url}

    def vagus(*words, token=None, input=None):
        done = subprocess.run([BINARY, *words], input=input, capture_output=True, text=True, timeout=60,
                              env={**environment, **({"VAGUS_TOKEN": token} if token else {})})
        assert done.returncode == 0, f"vagus {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def begin(name, *words):
        part = Part(folder, name, *words)
        parts.append(part)
        part.start()
        return part

    def ready():
        try:
            with urllib.request.urlopen(url + "/-/ready", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    try:
        server = begin("server", "server", "--data", f"{folder}/server", "--listen", url.removeprefix("http://"))
        wait_for(ready, 20, "the server")
        once = re.search(r"--token (\S+)", server.text())[1]
        admin = re.search(r"vg_\w+", vagus("token", "redeem", "admin", "--token", once))[0]
        second = subprocess.run([BINARY, "token", "redeem", "again", "--token", once], env=environment, capture_output=True,
                                text=True, timeout=60)
        assert second.returncode == 1 and "error:" in second.stderr, second
        print("the first token works once; then: " + second.stderr.strip().splitlines()[0])
        agent = re.search(r"vg_\w+", vagus("token", "create", "agents", "--permission", "agent", token=admin))[0]
        begin("runner", "runner", "--server", url, "--token", agent, "--data", f"{folder}/runner", "--name", "far")
        begin("proxy", "proxy", "--server", url, "--token", agent, "--data", f"{folder}/proxy", "--listen",
              proxy_url.removeprefix("http://"))
        vagus("apply", "-f", "-", token=admin, input=SERVICE % {"program": PROGRAM, "marks": marks})
        phase = lambda: json.loads(vagus("status", "web", "-o", "json", token=admin))["phase"]
        wait_for(lambda: phase() == "healthy", 60, "the service to be healthy")
        vagus("run", "long", token=admin)
        wait_for(lambda: os.path.exists(marks), 30, "the step to begin")

        traffic = [Traffic(f"{proxy_url}/services/web/") for _ in range(4)]
        wait_for(lambda: urllib.request.urlopen(f"{proxy_url}/services/web/", timeout=5).status == 200, 20, "the proxy")
        for thread in traffic:
            thread.start()
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
            before = sum(t.good for t in traffic)
            wait_for(lambda: sum(t.good for t in traffic) > before + 50, 20, "traffic before the restart")
            began = time.monotonic()
            server.end(number)
            without = sum(t.good for t in traffic)
            wait_for(lambda: sum(t.good for t in traffic) > without + 50, 20, "traffic without a server")
            server.start()
            wait_for(ready, 20, "the server to be back")
            print(f"server ended by signal {int(number)}, back after {time.monotonic() - began:.1f} s")
            wait_for(lambda: phase() == "healthy", 30, "the service to be healthy again")
        for thread in traffic:
            thread.ended.set()
        for thread in traffic:
            thread.join(20)
        bad = [text for thread in traffic for text in thread.bad]
        assert not bad, f"{len(bad)} requests failed: {bad[:3]}"
        print(f"{sum(t.good for t in traffic)} requests through three ends of the server, 0 failed")

        open(marks + ".go", "w").close()
        wait_for(lambda: open(marks).read().split()[-1] == "second", 60, "the job to go on")
        # The runner's leases were renewed late, but in time: neither step began twice.
        assert open(marks).read().split() == ["begun", "ended", "second"], open(marks).read()
        run = lambda: json.loads(vagus("runs", "long:1", "-o", "json", token=admin))
        wait_for(lambda: run()["status"] == "succeeded", 30, "the run to end")
        job = run()["jobs"][0]
        assert job["attempt"] == 1 and [step["attempts"] for step in job["steps"]] == [1, 1], job
        print("the step went on through all of it: " + vagus("audit", "verify", token=admin).strip())
        vagus("delete", "service", "web", token=admin)
        wait_for(lambda: not copies(folder), 30, "the copies of the service to end")
    except BaseException:
        for part in parts:
            print(f"-- {part.log}\n{part.text()[-2000:]}")
        raise
    finally:
        for part in reversed(parts):
            if part.process.poll() is None:
                part.end(signal.SIGTERM)
        shutil.rmtree(folder, ignore_errors=True)
    print("test_processes: passed")


def copies(folder):
    """Processes whose working folder lies in the server's data."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.readlink(f"/proc/{entry}/cwd").startswith(f"{folder}/server/instances/"):
                found.append(int(entry))
        except OSError:
            continue
    return found


if __name__ == "__main__":
    main()
