"""Two services as one release, through the real binary: what is ready waits for the other, all are promoted together, and
an abort of one takes both back; and a process that fails its live command is replaced."""

import os
import urllib.request

from vagus_process import Vagus, wait_for

PROGRAM = (
    "import http.server as h, os; "
    "H = type('H', (h.BaseHTTPRequestHandler,), dict(log_message=lambda *a: None, "
    "do_GET=lambda s: (s.send_response(200), s.end_headers(), s.wfile.write(os.environ['VERSION'].encode())))); "
    "h.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), H).serve_forever()")
SERVICE = """
kind: Service
name: %(name)s
workload: { command: [python3, -u, -c, "%(program)s"], variables: { VERSION: %(version)s } }
health:
  http: /
  interval: 200ms
  live: { exec: "test ! -e dead && test -n \\"$PORT\\"", interval: 300ms, unhealthy_after: 2 }
rollout: %(rollout)s
rollback: { scale_down_delay: 1s }
---
"""
CANARY = "{ strategy: canary, steps: [{ weight: 20 }, { pause: {} }] }"
ROLLING = "{ strategy: rolling }"


def services(version):
    return "".join(
        SERVICE % {"name": name, "program": PROGRAM, "version": version, "rollout": rollout}
        for name, rollout in [("api", CANARY), ("web", ROLLING)])


def main():
    with Vagus() as vagus:
        release = lambda: vagus.json("release", "status", "shop")
        stable = lambda: [vagus.json("status", name)["stable_revision"] for name in ("api", "web")]

        def answer(name):
            with urllib.request.urlopen(f"{vagus.proxy}/services/{name}/", timeout=5) as response:
                return response.read().decode()

        vagus.run("apply", "-f", "-", input=services("one") + "kind: Release\nname: shop\nservices: [api, web]\n")
        wait_for(lambda: release()["phase"] == "released", 30, "the first release")
        assert stable() == [1, 1]

        vagus.run("apply", "-f", "-", input=services("two"))
        wait_for(lambda: [m["state"] for m in release()["services"]] == ["going", "ready"], 30, "web to wait for api")
        assert "web is ready" in vagus.run("release", "status", "shop").stdout
        assert stable() == [1, 1]
        vagus.run("release", "promote", "shop")
        wait_for(lambda: release()["phase"] == "released" and stable() == [2, 2], 30, "the second release")
        assert (answer("api"), answer("web")) == ("two", "two")
        print("what was ready waited for the other, and both were promoted")

        vagus.run("apply", "-f", "-", input=services("three"))
        wait_for(lambda: [m["state"] for m in release()["services"]] == ["going", "ready"], 30, "web to wait again")
        vagus.run("abort", "api", "--reason", "wrong prices")
        wait_for(lambda: release()["phase"] == "taken_back", 20, "the release to be taken back")
        assert stable() == [2, 2] and vagus.json("status", "web")["completion"] == "aborted"
        wait_for(lambda: (answer("api"), answer("web")) == ("two", "two"), 20, "the second release's answers")
        vagus.run("release", "undo", "shop", check=False)
        print("the abort of one took both back: " + release()["message"])

        copies = [name for name in os.listdir(f"{vagus.data}/instances")
                  if name.startswith("default.web.2.") and os.path.isdir(f"{vagus.data}/instances/{name}/work")]
        assert len(copies) == 1, copies
        open(f"{vagus.data}/instances/{copies[0]}/work/dead", "w").close()
        lost = lambda: [event["data"]["reason"] for event in vagus.json("events", "--about", "web")["items"]
                        if event["name"] == "instance.lost"]
        wait_for(lambda: lost() == ["it did not live: 2 bad answers in a row"], 20, "the dead copy to be seen")
        wait_for(lambda: vagus.json("status", "web")["revisions"][0]["ready"] == 1, 20, "another in its place")
        assert answer("web") == "two"
        print("a process that failed its live command was replaced")
        vagus.run("delete", "release", "shop")
        vagus.run("delete", "service", "api")
        vagus.run("delete", "service", "web")
    print("test_releases: passed")


if __name__ == "__main__":
    main()
