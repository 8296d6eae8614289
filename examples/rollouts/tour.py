"""A tour of all five strategies, and of bad versions, under load. Standard library only; see README.md."""

import argparse
import collections
import http.client
import json
import os
import subprocess
import sys
import threading
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
APP = os.path.join(HERE, "app.py")


class Load:
    """Clients that ask all the time, each on a connection of its own, about `rate` times a second together."""

    def __init__(self, proxy, path, clients=4, rate=80, headers=lambda client, turn: {}):
        self.address = urllib.parse.urlparse(proxy).netloc
        self.path, self.pause, self.headers = path, clients / rate, headers
        self.ended, self.lock = threading.Event(), threading.Lock()
        self.revisions, self.failures, self.seen = collections.Counter(), [], []
        self.threads = [threading.Thread(target=self.ask, args=(i,), daemon=True) for i in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join(30)

    def ask(self, client):
        connection, turn = None, 0
        while not self.ended.is_set():
            turn += 1
            try:
                connection = connection or http.client.HTTPConnection(self.address, timeout=20)
                headers = self.headers(client, turn)
                connection.request("GET", self.path, headers=headers)
                answer = connection.getresponse()
                answer.read()
                revision = answer.getheader("X-Vagus-Revision", "none")
                with self.lock:
                    self.revisions[revision] += 1
                    self.seen.append((time.monotonic(), revision, headers))
                    if answer.status >= 400:
                        self.failures.append((time.monotonic(), answer.status, revision))
            except (OSError, http.client.HTTPException) as problem:
                connection = None
                with self.lock:
                    self.failures.append((time.monotonic(), str(problem), "none"))
            time.sleep(self.pause)


class Tour:
    def __init__(self, vagus, proxy, server=None):
        """`vagus` is the words of the command; `proxy` the address of the data plane."""
        self.vagus, self.proxy = vagus, proxy.rstrip("/")
        self.environment = {**os.environ, **({"VAGUS_SERVER": server} if server else {})}

    # The command line is all that the tour knows of vagus.

    def run(self, *words, text=None, check=True):
        done = subprocess.run([*self.vagus, *words], input=text, capture_output=True, text=True, timeout=60,
                              env=self.environment)
        if check and done.returncode != 0:
            raise AssertionError(f"vagus {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def json(self, *words):
        return json.loads(self.run(*words, "-o", "json").stdout)

    def status(self, service):
        return self.json("status", service)

    def wait(self, service, what, until, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            status = self.status(service)
            if until(status):
                return status
            time.sleep(0.1)
        raise AssertionError(f"{service}: waited {seconds} s for {what}: {json.dumps(self.status(service), indent=1)}")

    def apply(self, name, version=1, rename=None, change=lambda text: text, **faults):
        with open(os.path.join(HERE, f"{name}.yaml")) as file:
            text = file.read()
        variables = ", ".join([f'VERSION: "{version}"'] + [f'{key}: "{value}"' for key, value in faults.items()])
        text = text.replace("./app.py", APP).replace('VERSION: "1"', variables)
        service = f"tour-{name.replace('_', '-')}"
        if rename:
            text, service = text.replace(f"name: {service}", f"name: {rename}"), rename
        self.run("apply", "-f", "-", text=change(text))
        return service

    def begin(self, name, **more):
        service = self.apply(name, **more)
        self.wait(service, "revision 1", lambda s: s["stable_revision"] == 1 and s["phase"] == "healthy")
        return service

    def tell(self, service, load, since=0):
        """The events, and the requests of each revision as the clients and as the proxy counted them."""
        print(f"\n== {service}")
        for event in self.json("events", "--about", service)["items"]:
            facts = {key: value for key, value in event["data"].items() if key in ("revision", "weight", "step_name", "reason")}
            print(f"   {event['name']:28} {json.dumps(facts)}")
        time.sleep(1)
        status = self.status(service)
        for one in status["revisions"]:
            mine = load.revisions[str(one["revision"])]
            print(f"   revision {one['revision']}: {mine} answers at the clients, {one['requests']} requests at the proxy, "
                  f"{one['errors']} failed")
        print(f"   {sum(load.revisions.values())} requests, {len(load.failures)} failed")
        return status

    # The five strategies

    def rolling(self):
        service = self.begin("rolling")
        with Load(self.proxy, f"/services/{service}/") as load:
            self.apply("rolling", 2)
            status = self.wait(service, "revision 2", lambda s: s["stable_revision"] == 2)
            time.sleep(0.5)
        self.tell(service, load)
        assert not load.failures, load.failures[:5]
        assert status["completion"] == "promoted"
        assert load.revisions["1"] > 0 and load.revisions["2"] > 0

    def recreate(self):
        service = self.begin("recreate")
        with Load(self.proxy, f"/services/{service}/") as load:
            time.sleep(1)
            self.apply("recreate", 2)
            self.wait(service, "revision 2", lambda s: s["stable_revision"] == 2)
            time.sleep(1)
        self.tell(service, load)
        gone = [at for at, _, _ in load.failures]
        print(f"   nobody was there for {max(gone) - min(gone):.1f} s" if gone else "   the gap was shorter than a request")
        revisions = [revision for _, revision, _ in load.seen if revision in "12"]
        assert revisions == sorted(revisions), "both revisions answered at once"

    def canary(self):
        service = self.begin("canary")
        def headers(client, turn):
            return {"X-Staff": "1"} if client == 0 else {}
        with Load(self.proxy, f"/services/{service}/", headers=headers, rate=120) as load:
            self.apply("canary", 2)
            status = self.wait(service, "the pause at 50 %", lambda s: s["phase"] == "paused" and s["step"] == 6, 90)
            weights = {one["revision"]: one["weight"] for one in status["revisions"]}
            assert weights[2] == 50 and [arm["weight"] for arm in status["arms"]] == [25], status
            analysis = self.json("analysis", service)
            assert all(run["phase"] in ("successful", "running") for run in analysis["runs"]), analysis
            self.run("promote", service)
            self.wait(service, "revision 2", lambda s: s["stable_revision"] == 2 and s["phase"] == "healthy")
            time.sleep(0.5)
        self.tell(service, load)
        assert not load.failures, load.failures[:5]
        routed = [revision for _, revision, sent in load.seen if sent and revision == "2"]
        assert routed, "nobody of the staff saw revision 2"
        self.run("undo", service)
        status = self.wait(service, "the way back", lambda s: s["stable_revision"] == 1)
        assert status["completion"] == "rolled_back"
        refused = self.run("apply", "-f", "-", check=False, text=open(os.path.join(HERE, "canary.yaml")).read()
                           .replace("./app.py", APP).replace('VERSION: "1"', 'VERSION: "2"'))
        assert refused.returncode == 1 and "went back from just this" in refused.stderr, refused
        print(f"   applied again: {refused.stderr.strip().splitlines()[0]}")

    def blue_green(self):
        service = self.begin("blue_green")
        with Load(self.proxy, f"/services/{service}/") as load:
            self.apply("blue_green", 2)
            status = self.wait(service, "the preview", lambda s: s["phase"] == "paused")
            assert {one["revision"]: one["weight"] for one in status["revisions"]} == {1: 100, 2: 0}
            address = urllib.parse.urlparse(self.proxy).netloc
            preview = http.client.HTTPConnection(address, timeout=10)
            preview.request("GET", f"/services/{service}-preview/")
            assert preview.getresponse().read() == b"version 2\n"
            self.run("promote", service)
            self.wait(service, "revision 2", lambda s: s["stable_revision"] == 2)
            time.sleep(0.5)
        self.tell(service, load)
        assert not load.failures, load.failures[:5]

    def a_b_testing(self):
        service = self.begin("a_b_testing")
        def headers(client, turn):
            return {"X-User": f"user-{client}-{turn % 100}"}
        with Load(self.proxy, f"/services/{service}/", clients=4, rate=200, headers=headers) as load:
            self.apply("a_b_testing", 2)
            self.wait(service, "both sides", lambda s: s["step"] == 1)
            time.sleep(3)
            sides = {}
            for _, revision, sent in list(load.seen)[-450:]:
                sides.setdefault(sent["X-User"], set()).add(revision)
            items = []
            for number, (user, revisions) in enumerate(sorted(sides.items())):
                revision = int(sorted(revisions)[0])
                # Each second user of the new version signs up, and each twentieth of the old one.
                items.append({"entity": user, "revision": revision,
                              "outcome": "signup" if number % (2 if revision == 2 else 20) == 0 else ""})
            self.outcomes(service, items)
            self.wait(service, "the better side", lambda s: s["stable_revision"] == 2, 60)
        moved = [user for user, revisions in sides.items() if len(revisions) > 1]
        self.tell(service, load)
        print(f"   {self.json('analysis', service)['runs'][0]['message']}")
        assert not moved, f"{len(moved)} of {len(sides)} users were on both sides"
        assert not load.failures, load.failures[:5]

    def outcomes(self, service, items):
        server = urllib.parse.urlparse(self.environment.get("VAGUS_SERVER", "http://127.0.0.1:8420"))
        connection = http.client.HTTPConnection(server.netloc, timeout=20)
        headers = {"Content-Type": "application/json"}
        if token := self.environment.get("VAGUS_TOKEN"):
            headers["Authorization"] = f"Bearer {token}"
        connection.request("POST", f"/api/v1/projects/default/services/{service}/outcomes",
                           json.dumps({"items": items}), headers)
        answer = connection.getresponse()
        assert answer.status < 300, (answer.status, answer.read())

    # Bad versions

    def bad(self, title, rename, expect, change=lambda text: text, headers=lambda client, turn: {}, seen=0, **faults):
        """A bad second version: caught, taken back, and the stable copies untouched."""
        def settings(text):
            return change(text)
        service = self.begin("canary", rename=rename, change=settings)
        before = self.copies(service)
        with Load(self.proxy, f"/services/{service}/", headers=headers, rate=160) as load:
            self.apply("canary", 2, rename=rename, change=settings, **faults)
            status = self.wait(service, "the abort", lambda s: s["aborted"], 90)
            at = time.monotonic()
            time.sleep(2)
            late = [f for f in load.failures if f[0] > at + 1]
        print(f"\n== {title}: {status['message']}")
        print(f"   {sum(load.revisions.values())} requests, {len(load.failures)} failed, {len(late)} of them after the abort")
        assert any(words in status["message"] for words in expect.split("|")), status["message"]
        assert {one["revision"]: one["weight"] for one in status["revisions"]}[1] == 100
        assert status["stable_revision"] == 1 and not late
        assert all(revision == "2" for _, _, revision in load.failures), load.failures[:5]
        assert len(load.failures) <= seen, f"{len(load.failures)} requests failed"
        assert self.copies(service) == before, "the stable copies were touched"

    def copies(self, service):
        events = self.json("events", "--about", service)["items"]
        return [e["data"]["instance"] for e in events
                if e["name"] == "instance.started" and e["data"]["revision"] == 1]

    def bad_versions(self):
        short = lambda text: text.replace("deadline: 30s", "deadline: 4s")
        self.bad("fails", "bad-fails", "errors failed", FAIL="0.5", seen=400)
        slow = lambda text: text.replace("built_in: error_rate", "built_in: latency_p95")
        self.bad("is slow", "bad-slow", "errors failed", change=slow, SLOW="0.3")
        # Whichever comes first: its failed requests, or copies that are missing for too long.
        self.bad("crashes", "bad-crash", "were well after 4s|errors failed", change=short, CRASH="5", seen=60)
        self.bad("is never ready", "bad-ready", "0 of 1 copies of revision 2 were well after 4s", change=short, NEVER="1")
        staff = lambda text: text.replace("    - weight: 10\n", "")
        self.bad("is bad for one header", "bad-header", "errors failed", change=lambda t: staff(t).replace(
            "  baseline: { replicas: 1 }\n", "").replace("against: baseline, ", ""),
            headers=lambda client, turn: {"X-Staff": "1"} if client == 0 else {}, STAFF="0.5", seen=400)

    def all(self):
        for part in (self.rolling, self.recreate, self.canary, self.blue_green, self.a_b_testing, self.bad_versions):
            part()
        print("\nthe tour is over: five strategies, five bad versions")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vagus", default="vagus")
    parser.add_argument("--proxy", default="http://127.0.0.1:8480")
    parser.add_argument("parts", nargs="*", help="rolling, recreate, canary, blue_green, a_b_testing, bad_versions; absent: all")
    asked = parser.parse_args()
    tour = Tour([asked.vagus], asked.proxy)
    for part in asked.parts or ["all"]:
        getattr(tour, part)()
    sys.exit(0)
