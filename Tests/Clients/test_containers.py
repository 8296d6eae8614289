"""A service in containers, through the real binary and a real Podman: traffic, probes, a bad image, kill -9, a deploy by a
pipeline, and an end without anything left.

What is not set up here (see scripts/setup-podman) is told and left out; scripts/test sets it up.
"""

import json
import os
import subprocess

from vagus_process import Vagus, wait_for

SOCKET = os.environ.get("VAGUS_TEST_PODMAN")
IMAGE = os.environ.get("VAGUS_TEST_PODMAN_IMAGE", "")
NETWORK = os.environ.get("VAGUS_TEST_PODMAN_NETWORK")
ENTER = ["nsenter", f"--net={NETWORK}"]
# httpd of busybox: /ready and /colour are files of its folder, so a command inside can take them away.
SERVICE = """
kind: Service
name: shop
workload:
  container: { image: "%(image)s", pull: never }
  command: [sh, -c, "mkdir -p /www && echo $COLOUR > /www/colour && echo ok > /www/ready && exec httpd -f -p $PORT -h /www"]
  replicas: 2
  port: 9000
  variables: { COLOUR: %(colour)s }
  secrets: { TOKEN: shop_token }
  resources: { memory: 64Mi, cpu: 500m }
health:
  http: /ready
  interval: 200ms
  unhealthy_after: 1
  start: { tcp: true, interval: 100ms }
  live: { exec: "test ! -e /www/dead", interval: 300ms, unhealthy_after: 2 }
  stop_grace: 1s
rollout: { strategy: blue_green }
rollback: { scale_down_delay: 1s }
"""
PIPELINE = """
kind: Pipeline
name: ship
stages: [{ name: deploy, type: deploy, deploy: { service: shop, image: "%s" } }]
"""


def engine(method, path):
    """What the engine answers, which is asked from outside of vagus."""
    done = subprocess.run(
        ["curl", "--silent", "--unix-socket", SOCKET, "-X", method, f"http://d{path}"], capture_output=True, text=True,
        timeout=60, check=True)
    return json.loads(done.stdout) if done.stdout else None


def containers(vagus):
    return [found for found in engine("GET", "/containers/json?all=1")
            if found["Labels"].get("vagus.platform", "").startswith(vagus.data)]


def execute(name, *words):
    """A command in a container, as a person would do it."""
    body = json.dumps({"Cmd": words, "AttachStdout": True})
    made = subprocess.run(
        ["curl", "--silent", "--unix-socket", SOCKET, "-H", "Content-Type: application/json", "-d", body,
         f"http://d/containers/{name}/exec"], capture_output=True, text=True, timeout=60, check=True)
    begun = subprocess.run(
        ["curl", "--silent", "--unix-socket", SOCKET, "-H", "Content-Type: application/json", "-d", "{}",
         f"http://d/exec/{json.loads(made.stdout)['Id']}/start"], capture_output=True, timeout=60, check=True)
    return begun.stdout.decode(errors="replace")


def answer(vagus, path):
    done = subprocess.run([*ENTER, "curl", "--silent", "--max-time", "5", f"{vagus.proxy}/services/shop{path}"],
                          capture_output=True, text=True, timeout=20)
    return done.stdout.strip()


def main():
    with Vagus(["--podman-socket", SOCKET], ENTER) as vagus:
        status = lambda: vagus.json("status", "shop")
        vagus.run("secret", "set", "shop_token", "--from-file", "-", input="s3cr3t")
        vagus.run("apply", "-f", "-", input=SERVICE % {"image": IMAGE, "colour": "blue"})
        wait_for(lambda: status()["phase"] == "healthy", 60, "the containers to be well")
        wait_for(lambda: answer(vagus, "/colour") == "blue", 20, "an answer through the proxy")
        running = containers(vagus)
        assert len(running) == 2 and all(found["State"] == "running" for found in running), running
        inspected = engine("GET", f"/containers/{running[0]['Id']}/json")
        assert inspected["HostConfig"]["Memory"] == 64 << 20, inspected["HostConfig"]
        assert "TOKEN=s3cr3t" in inspected["Config"]["Env"], "the secret is there"
        print("two containers answer behind the proxy, with their bounds and their secret")

        ids = {found["Id"] for found in running}
        vagus.kill()
        vagus.start()
        wait_for(lambda: status()["phase"] == "healthy", 30, "the server to find them again")
        wait_for(lambda: answer(vagus, "/colour") == "blue", 20, "an answer after kill -9")
        assert {found["Id"] for found in containers(vagus)} == ids, "they are the same containers"
        print("after kill -9 of the server they are the same containers")

        execute(running[0]["Id"], "rm", "/www/ready")
        wait_for(lambda: status()["revisions"][-1]["ready"] == 1, 20, "the copy that is not ready to be seen")
        assert answer(vagus, "/colour") == "blue" and {c["Id"] for c in containers(vagus)} == ids, "it lives on"
        execute(running[0]["Id"], "touch", "/www/dead")
        wait_for(lambda: running[0]["Id"] not in {c["Id"] for c in containers(vagus)}, 20, "the dead copy to go")
        wait_for(lambda: status()["phase"] == "healthy", 30, "another in its place")
        reasons = [event["data"].get("reason") for event in vagus.json("events", "--about", "shop")["items"]
                   if event["name"] == "instance.lost"]
        assert reasons == ["it did not live: 2 bad answers in a row"], reasons
        print("a copy that is not ready lost its traffic; one that did not live was replaced")

        engine("POST", f"/containers/{[c['Id'] for c in containers(vagus)][0]}/kill")
        wait_for(lambda: len([c for c in containers(vagus) if c["State"] == "running"]) == 2, 30, "the killed one anew")

        vagus.run("apply", "-f", "-", input=PIPELINE % "localhost/no-such-image:1")
        vagus.run("apply", "-f", "-", input=PIPELINE.replace("name: ship", "name: good") % IMAGE)
        vagus.run("run", "good")
        run = lambda name: vagus.json("runs", name)
        wait_for(lambda: run("good:1")["status"] == "succeeded", 60, "the deploy of an image")
        assert status()["revisions"][-1]["image"] == IMAGE, status()
        vagus.run("run", "ship")
        wait_for(lambda: "is not on this machine" in status()["message"], 30, "the missing image to be told")
        vagus.run("abort", "shop")
        wait_for(lambda: run("ship:1")["status"] == "failed", 30, "its run to fail")
        assert answer(vagus, "/colour") == "blue", "nobody has noticed"
        print("a pipeline has deployed an image; one that is not there was told and harmed nobody")

        vagus.run("delete", "service", "shop")
        wait_for(lambda: not containers(vagus), 30, "all containers to be gone")
        logs = [os.path.join(folder, name) for folder, _, names in os.walk(f"{vagus.data}/containers") for name in names]
        assert logs, "the output of each copy is kept"
    print("test_containers: passed")


if __name__ == "__main__":
    if SOCKET and NETWORK:
        main()
    else:
        print("SKIPPED: containers need VAGUS_TEST_PODMAN; scripts/setup-podman tells it")
        print("test_containers: passed")
