"""Models that people approve, through the command line of the real binary with tokens: two who say yes at once, an author who may
not, an approval that ran out, and a file that changed after it was signed. Each outcome is in the event log."""

import glob
import json
import os
import subprocess
import time
import urllib.request

from test_gates import House
from vagus_process import BINARY

MANIFESTS = """
{ kind: Team, name: leads, members: [ana, cleo, bob] }
---
kind: Model
name: churn
require_signature: true
stages:
  - { name: production, aliases: [champion], approvals: { min: 2, from: ["team:leads"], comment: required } }
  - { name: canary, aliases: [challenger], approvals: { min: 1, from: ["team:leads"], expires: 2s } }
"""


def post(house, who, path, body, kind):
    headers = {"Authorization": f"Bearer {house.tokens[who]}", "Content-Type": kind}
    return json.load(urllib.request.urlopen(urllib.request.Request(house.url + path, body, headers, method="POST")))


def register(house, who, text):
    digest = post(house, "robot", "/api/v1/blobs", text.encode(), "application/octet-stream")["digest"]
    version = {"digest": digest, "format": "linear", "metrics": {"auc": 0.9}}
    made = post(house, who, "/api/v1/projects/default/models/churn/versions", json.dumps(version).encode(), "application/json")
    return made["version"], digest


def at_once(house, *commands):
    """Commands of several people, begun together; how each ended."""
    begun = [subprocess.Popen(
        [BINARY, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "VAGUS_SERVER": house.url, "VAGUS_TOKEN": house.tokens[who]}) for who, *words in commands]
    return [(process.communicate(timeout=60)[0], process.returncode) for process in begun]


def refused(house, who, *words, says):
    done = house.vagus(who, *words, code=1)
    assert says in done.stderr, (words, done.stderr)
    print(f"   {who}: vagus {' '.join(words)}\n   {done.stderr.strip()}")


def main():
    house = House()
    try:
        house.vagus("admin", "apply", "-f", "-", input=MANIFESTS)
        number, digest = register(house, "bob", "one")
        one = f"churn@{number}"
        house.vagus("bob", "models", "ask", one, "--stage", "production")
        print("== the author")
        refused(house, "bob", "models", "approve", one, "--comment", "mine", says="somebody else")
        refused(house, "admin", "models", "alias", "churn", f"champion={number}", says="needs version 1 approved")
        print("== two at once")
        ends = at_once(house, *[(who, "models", "approve", one, "--comment", f"by {who}") for who in ("ana", "cleo")])
        assert [code for _, code in ends] == [0, 0], ends
        refused(house, "ana", "models", "approve", one, "--comment", "again", says="approved already")
        house.vagus("admin", "models", "alias", "churn", f"champion={number}")
        two, _ = register(house, "bob", "two")
        print("== an approval that ran out")
        house.vagus("bob", "models", "ask", f"churn@{two}", "--stage", "canary")
        house.vagus("ana", "models", "approve", f"churn@{two}", "--comment", "tried")
        time.sleep(2.5)
        refused(house, "admin", "models", "alias", "churn", f"challenger={two}", says="needs version 2 approved")
        print("== a file that changed after it was signed")
        sound = json.loads(house.vagus("admin", "models", "verify", one, "-o", "json").stdout)
        assert sound["outcome"] == "sound", sound
        name = digest.removeprefix("sha256:")
        file, = glob.glob(f"{house.folder}/data/blobs/**/*{name[2:]}", recursive=True)
        os.chmod(file, 0o600)
        with open(file, "w") as blob:
            blob.write("ONE")
        changed = house.vagus("admin", "models", "verify", one, "-o", "json", code=None)
        assert json.loads(changed.stdout)["outcome"] != "sound", changed.stdout
        print("   verify:", json.loads(changed.stdout)["outcome"])
        refused(house, "bob", "models", "ask", one, "--stage", "canary", says="is not what was registered")
        refused(house, "admin", "models", "alias", "churn", f"challenger={number}", says="challenger")
        events = json.loads(house.vagus("admin", "events", "--about", "churn", "--kind", "Model", "-o", "json").stdout)
        told = [(event["name"], event["actor"]) for event in events["items"]]
        print("== the event log\n  ", "\n   ".join(f"{name} by {actor}" for name, actor in told))
        given = [actor for name, actor in told if name == "model.approval-given"]
        assert sorted(given[:2]) == ["token:ana", "token:cleo"] and "token:bob" not in given, told
        for wanted in (("model.approval-refused", "token:bob"), ("model.alias-moved", "token:admin"),
                       ("model.approval-expired", "system:experiments"), ("model.refused", "token:bob")):
            assert wanted in told, (wanted, told)
        assert [name for name, _ in told].count("model.alias-moved") == 1, told
        print(house.vagus("admin", "audit", "verify").stdout.strip())
    finally:
        house.end()
    print("test_approvals: passed")


if __name__ == "__main__":
    main()
