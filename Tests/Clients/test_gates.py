"""Approvals and secrets through the command line of the real binary, with tokens: two people, one runner, one canary."""

import os
import re
import shutil
import signal
import subprocess
import tempfile

from vagus_process import BINARY, wait_for

CANARY = "canary-value-93f1"
MANIFESTS = """
kind: Pipeline
name: shop
stages:
  - name: deploy
    environment: production
    jobs:
      app:
        steps: [{ run: 'printf %%s "$DB_URL" > %(out)s', variables: { DB_URL: "${{ secrets.DB_URL }}" } }]
---
{ kind: Team, name: sre, members: [ana, cleo] }
---
kind: Environment
name: production
approval_gates: { approvals: { min: 2, from: ["team:sre"], comment: required } }
secrets: { DB_URL: "vault:kv/shop/prod#db_url" }
"""


class House:
    """`vagus server` and `vagus runner`, with tokens."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="vagus-gates-")
        self.processes = []
        self.tokens = {}
        text = self.start("server", "--data", f"{self.folder}/data", "--listen", "127.0.0.1:0", until=r"listens on (\S+)")
        self.url = re.search(r"listens on (\S+)", text).group(1)
        first = re.search(r"--token (vg_\S+)", text).group(1)
        self.tokens["admin"] = self.vagus("first", "token", "redeem", "admin", token=first).stdout.strip()
        for name, permission in [("ana", "run"), ("cleo", "run"), ("bob", "run"), ("robot", "agent")]:
            made = self.vagus("admin", "token", "create", name, "--permission", permission)
            self.tokens[name] = made.stdout.strip()
        self.start(
            "runner", "--server", self.url, "--token", self.tokens["robot"], "--name", "one", "--data",
            f"{self.folder}/runner", until=None)

    def start(self, *arguments, until):
        path = f"{self.folder}/{arguments[0]}.log"
        with open(path, "w") as log:
            self.processes.append(subprocess.Popen([BINARY, *arguments], stdout=log, stderr=subprocess.STDOUT))
        if until is None:
            return ""
        return wait_for(lambda: re.search(until, open(path).read()) and open(path).read(), 20, arguments[0])

    def vagus(self, who, *arguments, input=None, token=None, code=0):
        done = subprocess.run(
            [BINARY, *arguments], input=input, capture_output=True, text=True, timeout=60,
            env={**os.environ, "VAGUS_SERVER": self.url, "VAGUS_TOKEN": token or self.tokens[who]})
        assert code in (None, done.returncode), (arguments, done.returncode, done.stdout, done.stderr)
        return done

    def end(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(20)


def main():
    house = House()
    try:
        out = os.path.join(house.folder, "out")
        house.vagus("admin", "apply", "-f", "-", input=MANIFESTS % {"out": out})
        house.vagus(
            "admin", "secret", "set", "kv/shop/prod#db_url", "--from-file", "-", "--environment", "production",
            input=CANARY + "\n")
        assert "environment production" in house.vagus("ana", "secret", "list").stdout
        house.vagus("ana", "secret", "set", "X", input="x", code=1)
        house.vagus("bob", "run", "shop")
        inbox = wait_for(
            lambda: "shop:1" in house.vagus("ana", "approvals", "--mine").stdout and house.vagus("ana", "approvals").stdout,
            10, "the inbox")
        print(inbox)
        assert "may be approved by you" in inbox
        refused = house.vagus("bob", "approve", "shop:1", "--comment", "mine", code=1)
        assert "bob is not asked" in refused.stderr, refused.stderr
        refused = house.vagus("ana", "approve", "shop:1", code=1)
        assert "wants to know why" in refused.stderr, refused.stderr
        assert "1 of 2" in house.vagus("ana", "approve", "shop:1", "deploy", "--comment", "read the diff").stdout
        assert not os.path.exists(out)
        house.vagus("cleo", "approve", "shop:1", "--comment", "looked at staging")
        house.vagus("bob", "runs", "shop:1", "--follow")
        assert open(out).read() == CANARY
        shown = house.vagus("bob", "runs", "shop:1").stdout
        print(shown)
        assert "approved by ana" in shown and "read the diff" in shown

        house.vagus("bob", "run", "shop")
        wait_for(lambda: "shop:2" in house.vagus("ana", "approvals").stdout, 10, "the second run")
        assert "has rejected it" in house.vagus("cleo", "reject", "shop:2", "--comment", "not today").stdout
        house.vagus("bob", "runs", "shop:2", "--follow", code=2)
        names = [event for event in re.findall(r"(?:approval|secret|gate)\.[a-z-]+", house.vagus("admin", "audit", "list").stdout)]
        assert {"approval.requested", "approval.granted", "approval.rejected", "secret.released"} <= set(names), names

        house.end()
        os.remove(out)
        for folder, _, files in os.walk(house.folder):
            for name in files:
                content = open(os.path.join(folder, name), "rb").read()
                assert CANARY.encode() not in content, f"{folder}/{name} holds the secret"
    finally:
        for process in house.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        shutil.rmtree(house.folder, ignore_errors=True)
    print("test_gates: passed")


if __name__ == "__main__":
    main()
