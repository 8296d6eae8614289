"""One pipeline with a job for each executor, and services in containers, through the real binary.

What is not set up here (see scripts/setup-*) is told and left out; scripts/test sets all of it up.
"""

import json
import os
import shutil
import urllib.request

from vagus_process import Vagus, wait_for

SOCKET = os.environ.get("VAGUS_TEST_PODMAN")
IMAGE = os.environ.get("VAGUS_TEST_PODMAN_IMAGE", "")
NETWORK = os.environ.get("VAGUS_TEST_PODMAN_NETWORK")
SLURM = os.environ.get("VAGUS_TEST_SLURM_URL")
TOKEN = os.environ.get("VAGUS_TEST_SLURM_TOKEN_FILE", "")
PLAIN = """
kind: Pipeline
name: everywhere
stages:
  - name: build
    type: build
    jobs:
"""
JOBS = {
    "process": """
      process: { runs_on: { cpu: 500m }, steps: [{ run: "echo it runs as a process; test -d /proc/1" }] }
""",
    "sandbox": """
      sandbox:
        runs_on: { executor: sandbox }
        steps:
          - run: |
              test "$(ls /proc | grep -cE '^[0-9]+$')" -lt 20
              test "$(grep -c : /proc/net/dev)" = 1
              if touch /usr/mark 2>/dev/null; then exit 1; fi
              echo kept > kept.txt
          - run: test "$(cat kept.txt)" = kept
""",
    "podman": """
      podman:
        container: { image: %s, pull: never }
        runs_on: { memory: 128Mi, cpu: 500m }
        steps: [{ run: "echo from the image; test -x /bin/busybox; if test -e /usr/bin/python3; then exit 1; fi; echo x > x.txt" }, { run: test -s x.txt }]
      greedy:
        container: { image: %s, pull: never }
        runs_on: { memory: 32Mi }
        allow_failure: true
        steps: [{ run: "head -c 300000000 /dev/zero | tail" }]
""" % (IMAGE, IMAGE),
    "slurm": """
      slurm: { runs_on: { executor: slurm }, steps: [{ run: "echo on the cluster; id -u; echo key=4 >> $VAGUS_OUTPUT" }] }
""",
    "nowhere": """
      nowhere: { runs_on: { executor: ray }, steps: [{ run: "true" }] }
""",
}
SERVICES = """
kind: Pipeline
name: served
stages:
  - name: test
    type: test
    jobs:
      container:
        container: { image: %(image)s, pull: never }
        services: &services
          db:
            image: %(image)s
            command: [nc, -ll, -p, "7000", -e, echo, hello] # answers any number at once
            ports: [7000]
            health: { exec: "nc -w 5 127.0.0.1 7000 < /dev/null | grep -q hello", interval: 200ms }
        steps: [{ run: 'nc -w 10 "$VAGUS_SERVICE_DB_HOST" "$VAGUS_SERVICE_DB_PORT" < /dev/null | grep hello' }]
      process:
        services: *services
        steps: [{ run: "exec 3<>/dev/tcp/$VAGUS_SERVICE_DB_HOST/$VAGUS_SERVICE_DB_PORT; head -n 1 <&3 | grep hello" }]
      sick:
        allow_failure: true
        services:
          db: { image: %(image)s, command: [sh, -c, "echo cannot begin; exit 3"], health: { exec: "true", retries: 20 } }
        steps: [{ run: sleep 5 }]
"""


def ended(vagus, run):
    def look():
        found = vagus.json("runs", run)
        return found if found["status"] not in ("queued", "running", "waiting") else None
    return wait_for(look, 180, f"{run} to end")


def every_executor():
    arguments, wanted = ["--executor", "process"], ["process"]
    if shutil.which("bwrap"):
        arguments.append("sandbox"), wanted.append("sandbox")
    if SOCKET:
        arguments.append("podman"), wanted.append("podman")
    if SLURM:
        arguments.append("slurm"), wanted.append("slurm")
    if SOCKET:
        arguments += ["--podman-socket", SOCKET]
    if SLURM:
        arguments += ["--slurm-url", SLURM, "--slurm-token-file", TOKEN]
    for missing in {"sandbox", "podman", "slurm"} - set(wanted):
        print(f"SKIPPED: the {missing} executor is not set up here; scripts/setup-{missing} does it")
    with Vagus(arguments) as vagus:
        vagus.run("apply", "-f", "-", input=PLAIN + "".join(JOBS[name] for name in wanted))
        vagus.run("run", "everywhere")
        run = ended(vagus, "everywhere:1")
        jobs = {job["name"]: job for job in run["jobs"]}
        for name in wanted:
            assert jobs[name]["status"] == "succeeded", (name, jobs[name], vagus.run("logs", "everywhere:1", check=False).stdout)
        if SOCKET:
            assert "32Mi of memory" in jobs["greedy"]["reason"], jobs["greedy"]
        with urllib.request.urlopen(f"{vagus.url}/api/v1/runners") as answer:
            runner = json.load(answer)["items"][0]
        assert runner["executors"] == wanted, runner
        vagus.run("apply", "-f", "-", input=PLAIN + JOBS["nowhere"])
        vagus.run("run", "everywhere")
        reason = "no runner offers executor ray"
        wait_for(lambda: vagus.json("runs", "everywhere:2")["jobs"][0].get("reason") == reason, 20, "the reason why it waits")
    print(f"every executor: {', '.join(wanted)}")


def containers_beside_steps():
    if not (SOCKET and NETWORK):
        return print("SKIPPED: services in containers need VAGUS_TEST_PODMAN; scripts/setup-podman tells it")
    with Vagus(["--podman-socket", SOCKET], ["nsenter", f"--net={NETWORK}"]) as vagus:
        vagus.run("apply", "-f", "-", input=SERVICES % {"image": IMAGE})
        vagus.run("run", "served")
        run = ended(vagus, "served:1")
        jobs = {job["name"]: job for job in run["jobs"]}
        for name in ("container", "process"):
            assert jobs[name]["status"] == "succeeded", (jobs[name], vagus.run("logs", "served:1", check=False).stdout)
        assert "service \"db\" ended with exit code 3 before it was ready" in jobs["sick"]["reason"], jobs["sick"]
    print("services in containers: reached by name and by port, and waited for")


if __name__ == "__main__":
    every_executor()
    containers_beside_steps()
    print("test_executors: passed")
