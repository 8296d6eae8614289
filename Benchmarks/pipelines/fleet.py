"""`vagus server` and one `vagus runner` as processes of their own, so that the CPU of each can be told apart."""
import datetime
import http.client
import json
import re
import subprocess
import sys
import time
import urllib.parse

import bench

PROJECT = "/api/v1/projects/default"


def moment(text):
    """Seconds since 1970 of a time as the API writes it."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Fleet:
    def __init__(self, folder, capacity=2):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.capacity = folder, capacity
        self.server = bench.Vagus(folder / "data", "server")
        self.runner = None
        self.connection = None

    def __enter__(self):
        try:
            self.enter()
        except BaseException:
            self.__exit__()
            raise
        return self

    def enter(self):
        self.server.start()
        told = bench.until(lambda: re.search(r"--token (\S+)", self.server.log.read_text()), 10, "the first token")[1]
        self.server.token = told
        answer = self.server.json("token", "redeem", "admin")
        self.server.token = answer["token"]
        self.agent = self.server.json("token", "create", "runner", "--permission", "agent")["token"]
        self.start_runner()

    def __exit__(self, *_):
        for process in (self.runner, self.server.process):
            if process:
                bench.stop(process)

    def start_runner(self):
        with open(self.folder / "runner.log", "a", encoding="utf-8") as log:
            self.runner = subprocess.Popen(
                [str(bench.VAGUS), "runner", "--server", self.server.url, "--token", self.agent, "--name", "bench",
                 "--data", str(self.folder / "runner"), "--capacity", str(self.capacity)],
                stdout=log, stderr=subprocess.STDOUT)
        bench.until(lambda: self.server.get("/api/v1/runners")["items"], 20, "the runner to join")

    def run(self, *words):
        return self.server.run(*words)

    def apply(self, text):
        return self.server.apply(text)

    # One kept-alive connection: a figure of a benchmark must not hold the start of a program.

    def call(self, method, path, body=None):
        status, found = self.try_call(method, path, body)
        if status >= 300:
            sys.exit(f"{method} {path} answered {status}: {json.dumps(found)[:500]}")
        return found

    def try_call(self, method, path, body=None):
        if self.connection is None:
            host, port = self.server.url.removeprefix("http://").split(":")
            self.connection = http.client.HTTPConnection(host, int(port), timeout=60)
        self.connection.request(method, path, None if body is None else json.dumps(body), {
            "Content-Type": "application/json", "Authorization": f"Bearer {self.server.token}"})
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())

    def start(self, pipeline):
        return self.call("POST", f"{PROJECT}/pipelines/{pipeline}/runs", {})

    def get_run(self, run):
        return self.call("GET", f"{PROJECT}/runs/{run}")

    def ended(self, run, seconds, every=0.25):
        """The run when it has ended; looked at seldom, since looking is work for the server too."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            status = next(one["status"] for one in self.call("GET", f"{PROJECT}/runs?limit=5")["items"] if one["id"] == run)
            if status in bench.ENDED:
                return self.get_run(run)
            time.sleep(every)
        sys.exit(f"run {run} did not end in {seconds} s")

    def log(self, run, job, offset=0, limit=262_144, wait=False):
        query = urllib.parse.urlencode({"job": job, "offset": offset, "limit": limit, "wait": str(wait).lower()})
        return self.call("GET", f"{PROJECT}/runs/{run}/log?{query}")

    def line(self, run, job, number):
        query = urllib.parse.urlencode({"job": job, "line": number, "lines": 1})
        return self.call("GET", f"{PROJECT}/runs/{run}/log?{query}")

    def follow(self, run, job, pattern, seconds=30):
        """The first match of `pattern` in the log, and the time when that had arrived."""
        end, text, offset = time.monotonic() + seconds, "", 0
        while time.monotonic() < end:
            chunk = self.log(run, job, offset, wait=True)
            seen = time.time()
            text += chunk["text"]
            offset = chunk["next_offset"]
            if found := re.search(pattern, text, re.M):
                return found, seen
            if chunk["ended"]:
                break
        sys.exit(f"the log of {run} never told {pattern!r}: {text[:500]}")
