"""`kill -9` of the server and of the runner, in turn, during 100 running jobs: none lost, none doubled, back soon.

Each job notes what it does in one file, so that a step that ran twice shows. A step whose runner was killed runs again,
under the job's next attempt: that is the one thing that may be there twice, and only so.
"""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request

import vagus_process
from vagus_process import free_port, wait_for

JOBS = 100
# Seconds within which a killed server answers again, and a killed runner works again: what a release build has to hold
# (VAGUS_BINARY), and what a debug build on a busy machine, several times slower, may take.
BACK = 3.0 if "VAGUS_BINARY" in os.environ else 15.0
JOB = """
      j{number}:
        steps:
          - run: echo "$VAGUS_JOB one $VAGUS_ATTEMPT" >> "$MARKS"
          - run: |
              echo "$VAGUS_JOB begin $VAGUS_ATTEMPT" >> "$MARKS"
              flock --shared "$MARKS.lock" true
              echo "$VAGUS_JOB end $VAGUS_ATTEMPT" >> "$MARKS"
          - run: echo "$VAGUS_JOB three $VAGUS_ATTEMPT" >> "$MARKS\""""


class Fleet:
    """A server and a runner as processes of their own, each of which can be killed and started again."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {**os.environ, "VAGUS_SERVER": self.url}
        self.server = self.runner = None

    def log(self, name):
        return os.path.join(self.folder, f"{name}.log")

    def spawn(self, name, *words):
        with open(self.log(name), "a") as log:
            return subprocess.Popen([vagus_process.BINARY, *words], stdout=log, stderr=subprocess.STDOUT)

    def start_server(self):
        self.server = self.spawn(
            "server", "server", "--data", os.path.join(self.folder, "data"), "--listen", f"127.0.0.1:{self.port}")
        wait_for(self.is_ready, 30, "the server to be ready")

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def start_runner(self):
        self.runner = self.spawn(
            "runner", "runner", "--data", os.path.join(self.folder, "runner"), "--name", "fleet", "--capacity", str(JOBS),
            "--server", self.url, "--token", self.agent)

    def sign_in(self):
        told = wait_for(lambda: re.search(r"--token (\S+)", open(self.log("server")).read()), 10, "the first token")
        self.environment["VAGUS_TOKEN"] = told[1]
        self.environment["VAGUS_TOKEN"] = self.json("token", "redeem", "admin")["token"]
        self.agent = self.json("token", "create", "fleet", "--permission", "agent")["token"]

    def run(self, *words, input=None):
        done = subprocess.run(
            [vagus_process.BINARY, *words], input=input, capture_output=True, text=True, timeout=120, env=self.environment)
        if done.returncode != 0:
            raise AssertionError(f"vagus {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def json(self, *words):
        return json.loads(self.run(*words, "-o", "json"))

    def end(self):
        for process in (self.runner, self.server):
            if process and process.poll() is None:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()
    return time.monotonic()


def scenario(fleet, folder):
    marks = os.path.join(folder, "marks")
    open(marks, "w").close()

    def told(word, attempt=None):
        lines = [line.split() for line in open(marks)]
        return [(job, int(which)) for job, what, which in lines if what == word and attempt in (None, int(which))]

    fleet.start_server()
    fleet.sign_in()
    fleet.start_runner()
    jobs = "".join(JOB.format(number=number) for number in range(JOBS))
    fleet.run("apply", "-f", "-", input=(
        f"kind: Pipeline\nname: many\nvariables: {{ MARKS: \"{marks}\" }}\nstages:\n  - name: all\n    jobs:{jobs}\n"))
    # As long as this lock is held no job goes on: all of them run at the same time.
    with open(marks + ".lock", "w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fleet.run("run", "many")
        wait_for(lambda: len(told("begin")) == JOBS, 120, f"{JOBS} jobs to run")

        for round in (1, 2):
            began = kill(fleet.server)
            fleet.start_server()
            server_back = time.monotonic() - began
            statuses = [job["status"] for job in fleet.json("runs", "many:1")["jobs"]]
            assert statuses == ["running"] * JOBS, statuses
            assert len(told("begin")) == JOBS * round, "a restart of the server began a step anew"

            began = kill(fleet.runner)
            fleet.start_runner()
            wait_for(lambda: told("begin", attempt=round + 1), 60, "the runner to work again")
            first_back = time.monotonic() - began
            wait_for(lambda: len(told("begin")) == JOBS * (round + 1), 120, "all jobs to run again")
            all_back = time.monotonic() - began
            print(f"round {round}: the server was back after {server_back:.2f} s, the runner after {first_back:.2f} s "
                  f"({JOBS} jobs after {all_back:.2f} s)")
            assert server_back < BACK, f"the server was away for {server_back:.2f} s"
            assert first_back < BACK, f"the runner was away for {first_back:.2f} s"
    fleet.run("runs", "many:latest", "--follow")

    run = fleet.json("runs", "many:1")
    assert run["status"] == "succeeded", run.get("reason")
    assert [job["status"] for job in run["jobs"]] == ["succeeded"] * JOBS
    names = sorted(f"all/j{number}" for number in range(JOBS))
    # Finished steps never again; the step that was cut off once an attempt, its end once.
    for word, attempts in (("one", [1]), ("begin", [1, 2, 3]), ("end", [3]), ("three", [3])):
        seen = sorted(told(word))
        wanted = sorted((name, attempt) for name in names for attempt in attempts)
        assert seen == wanted, f"{word}: {len(seen)} notes, wanted {len(wanted)}; odd: {sorted(set(seen) ^ set(wanted))[:5]}"
    print(fleet.run("audit", "verify").strip())


def main():
    folder = tempfile.mkdtemp(prefix="vagus-crash-")
    fleet = Fleet(folder)
    try:
        scenario(fleet, folder)
    except BaseException:
        for name in ("server", "runner"):
            if os.path.exists(fleet.log(name)):
                print(f"{name}:\n{open(fleet.log(name)).read()[-3000:]}")
        raise
    finally:
        fleet.end()
        shutil.rmtree(folder, ignore_errors=True)
    print("test_crash: passed")


if __name__ == "__main__":
    main()
