"""Services in a Kubernetes cluster, through the real binary, and a canary whose weights stand in an HTTPRoute.

NO CLUSTER IS AT HAND where this project is built: the API is a fake of our own (kubernetes_fake.py), faithful to the published
OpenAPI as far as it goes, whose pods are processes of this machine and whose Gateway carries real requests. What is not ours here: the
schemas of kubernetes-validate (1.37's and older) that all core objects are held against, and kubectl, which reads the fake.
"""

import collections
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request

from kubernetes_validate import validate
from vagus_process import BINARY, Vagus, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
IMAGES = ["registry.test/lab/shop:1", "registry.test/lab/shop:2"]
# The versions whose schemas everything must pass.
VERSIONS = ["1.28", "1.34", "1.37"]
ENVIRONMENT = """
kind: Environment
name: %(name)s
targets: [{ kubernetes: %(context)s, namespace: shop }]
"""
SERVICE = """
kind: Service
name: shop
environment: lab
workload:
  container: { image: "%(image)s" }
  command: [/bin/sh, -c, "mkdir -p www && echo $COLOUR > www/colour && echo ok > www/ready && exec python3 -m http.server --bind $POD_IP $PORT -d www"]
  replicas: 2
  port: 9000
  variables: { COLOUR: %(colour)s }
  secrets: { TOKEN: shop_token }
  resources: { memory: 64Mi, cpu: 500m }
health:
  http: /ready
  interval: 200ms
  unhealthy_after: 2
  start: { tcp: true, interval: 100ms }
  live: { exec: "test ! -e www/dead", interval: 500ms, unhealthy_after: 2 }
  stop_grace: 1s
rollout: { strategy: canary, steps: [{ weight: 20 }, { pause: {} }] }
rollback: { scale_down_delay: 1s, abort_delay: 1s }
"""


class Cluster:
    """The fake, and kubectl to look at it."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="vagus-cluster-")
        self.kubeconfig = f"{self.folder}/kubeconfig"
        self.kubectl_program = os.path.join(os.path.dirname(sys.executable), "kubectl")
        images = [word for image in IMAGES for word in ("--image", image)]
        self.process = subprocess.Popen(
            [sys.executable, "-B", f"{HERE}/kubernetes_fake.py", self.folder, "--gateway", "0", *images])

    def __enter__(self):
        self.url, port = wait_for(lambda: os.path.exists(f"{self.folder}/ready") and open(f"{self.folder}/ready").read().split(), 20, "the fake")
        self.gateway = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def kubectl(self, *arguments, check=True):
        done = subprocess.run([self.kubectl_program, "--kubeconfig", self.kubeconfig, "--namespace", "shop", *arguments],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    def items(self, kinds, selector="app.kubernetes.io/managed-by=vagus"):
        return json.loads(self.kubectl("get", kinds, "-l", selector, "-o", "json"))["items"]

    def weights(self):
        """As they stand in the route: revision → weight."""
        routes = self.items("httproutes")
        if not routes:
            return None
        rule = routes[0]["spec"]["rules"][-1]
        return {int(backend["name"].rsplit("-r", 1)[1]): backend["weight"] for backend in rule["backendRefs"]}

    def sent(self):
        context = ssl.create_default_context(cafile=f"{self.folder}/ca.crt")
        return json.loads(urllib.request.urlopen(f"{self.url}/fake/sent", context=context, timeout=10).read())


def ask(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read().decode().strip()
    except (urllib.error.URLError, OSError) as error:
        return f"failed: {error}"


class Steering:
    """`vagus proxy` that steers the Gateway of the cluster."""

    def __init__(self, cluster, vagus):
        self.command = [
            BINARY, "proxy", "--server", vagus.url, "--name", "gateway", "--data", f"{cluster.folder}/proxy", "--listen",
            cluster.gateway.removeprefix("http://"), "--router", "kubernetes", "--router-gateway", "infra/public",
            "--router-context", "lab", "--router-namespace", "shop", "--kubeconfig", cluster.kubeconfig]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


class Load:
    """Keeps asking the Gateway, from four threads, until it is ended."""

    def __init__(self, url):
        self.url, self.seen, self.is_over = url, collections.Counter(), False
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(4)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while not self.is_over:
            self.seen[ask(self.url)] += 1

    def end(self):
        self.is_over = True
        for thread in self.threads:
            thread.join()
        return self.seen


def uids(cluster):
    return {pod["metadata"]["uid"] for pod in cluster.items("pods")}


def main():
    with Cluster() as cluster, Vagus(["--kubeconfig", cluster.kubeconfig]) as vagus:
        with Steering(cluster, vagus):
            first(cluster, vagus)
            canary(cluster, vagus)
            faults(cluster, vagus)
            before = uids(cluster)
            load = Load(f"{cluster.gateway}/services/shop/colour")
            vagus.kill()
            assert ask(f"{cluster.gateway}/services/shop/colour") == "green", "the Gateway needs no server"
            vagus.start()
        with Steering(cluster, vagus):  # the server's port is another one now
            adopted(cluster, vagus, before, load)
            end(cluster, vagus)
    print("test_kubernetes: passed")


def first(cluster, vagus):
    assert "kubeconfig" in vagus.run("explain", "environment.targets.kubernetes").stdout
    vagus.run("secret", "set", "shop_token", "--from-file", "-", input="s3cr3t")
    vagus.run("apply", "-f", "-", input=ENVIRONMENT % {"name": "lab", "context": "lab"})
    vagus.run("apply", "-f", "-", input=SERVICE % {"image": IMAGES[0], "colour": "blue"})
    wait_for(lambda: vagus.json("status", "shop")["phase"] == "healthy", 60, "the pods to be well")
    wait_for(lambda: ask(f"{vagus.proxy}/services/shop/colour") == "blue", 20, "an answer through our proxy")
    wait_for(lambda: ask(f"{cluster.gateway}/services/shop/colour") == "blue", 20, "an answer through the Gateway")
    pods = cluster.items("pods")
    assert len(pods) == 2 and all(pod["status"]["phase"] == "Running" for pod in pods), pods
    assert "s3cr3t" not in json.dumps(pods), "the secret does not stand in the pod"
    assert len(cluster.items("secrets", "vagus/service=shop")) == 2
    told = cluster.kubectl("get", "pods,services,endpointslices,httproutes", "-l", "app.kubernetes.io/managed-by=vagus")
    assert all(word in told for word in ("pod/shop-r1-1", "service/vagus-", "endpointslice.discovery", "httproute.gateway")), told
    print("two pods answer behind our proxy and behind the Gateway; kubectl sees them with their Service, slice and route")


def canary(cluster, vagus):
    status = lambda: vagus.json("status", "shop")
    shares = lambda: {one["revision"]: one["weight"] for one in status()["revisions"] if one["weight"] > 0}
    load = Load(f"{cluster.gateway}/services/shop/colour")
    vagus.run("apply", "-f", "-", input=SERVICE % {"image": IMAGES[1], "colour": "green"})
    wait_for(lambda: status()["phase"] == "paused", 60, "the canary to wait for a yes")
    assert shares() == {1: 80, 2: 20}, status()
    wait_for(lambda: cluster.weights() == {1: 80, 2: 20}, 20, "the weights in the route")
    assert {pod["metadata"]["labels"]["vagus/revision"] for pod in cluster.items("pods")} == {"1", "2"}
    seen = collections.Counter(ask(f"{cluster.gateway}/services/shop/colour") for _ in range(500))
    assert set(seen) == {"blue", "green"} and 55 <= seen["green"] <= 150, seen  # 100 of 500 ± 5 standard deviations
    exact = collections.Counter(ask(f"{vagus.proxy}/services/shop/colour") for _ in range(500))
    assert exact["green"] == 100, exact
    vagus.run("promote", "shop")
    wait_for(lambda: status()["phase"] == "healthy" and status()["stable_revision"] == 2, 60, "the promotion")
    wait_for(lambda: cluster.weights() == {2: 100}, 20, "all of the traffic in the route")
    wait_for(lambda: {pod["metadata"]["labels"]["vagus/revision"] for pod in cluster.items("pods")} == {"2"}, 30, "the old pods to go")
    wait_for(lambda: len(cluster.items("services")) == 1, 20, "the old Service to go")
    seen = load.end()
    assert set(seen) == {"blue", "green"}, seen
    print(f"canary 80/20, then promoted: weights in status and in the HTTPRoute; of 500 requests {exact['green']} (our proxy) went to "
          f"the canary; {sum(seen.values())} requests under load, none failed")


def faults(cluster, vagus):
    status = lambda: vagus.json("status", "shop")
    ready = lambda: {one["revision"]: one["ready"] for one in status()["revisions"]}[2]  # the revision behind it was aborted
    before = uids(cluster)
    vagus.run("apply", "-f", "-", input=SERVICE % {"image": "registry.test/lab/absent:9", "colour": "red"})
    wait_for(lambda: "could not be fetched (" in status()["message"], 30, "the missing image to be told")
    assert ask(f"{cluster.gateway}/services/shop/colour") == "green", "nobody has noticed"
    vagus.run("abort", "shop")
    wait_for(lambda: uids(cluster) == before, 30, "nothing of it to be left")
    for context, words in (("lab-reader", "does not let us"), ("lab-stranger", "does not know us"), ("lab-nowhere", "does not answer"),
                           ("no-such", "has no context")):
        name = f"shop-{context}"
        vagus.run("apply", "-f", "-", input=ENVIRONMENT % {"name": context, "context": context})
        vagus.run("apply", "-f", "-", input=(SERVICE % {"image": IMAGES[0], "colour": "blue"}).replace("name: shop\n", f"name: {name}\n")
                  .replace("environment: lab", f"environment: {context}"))
        wait_for(lambda: words in vagus.json("status", name)["message"], 60, f"{context}: {words}")
        vagus.run("delete", "service", name)
    print("an image that is not there, a cluster that forbids, does not know us or does not answer: told, and nobody harmed")
    victim = cluster.items("pods")[0]["metadata"]["name"]
    cluster.kubectl("exec", victim, "--", "touch", "www/dead")
    wait_for(lambda: victim not in {pod["metadata"]["name"] for pod in cluster.items("pods")}, 30, "the dead pod to go")
    wait_for(lambda: len(cluster.items("pods")) == 2 and ready() == 2, 30, "another in its place")
    victim = cluster.items("pods")[0]["metadata"]["name"]
    cluster.kubectl("delete", "pod", victim, "--grace-period=1", "--wait=false")
    wait_for(lambda: len(cluster.items("pods")) == 2 and victim not in {pod["metadata"]["name"] for pod in cluster.items("pods")}
             and ready() == 2, 30, "another for the one that kubectl has deleted")
    print("a pod whose live probe fails, and one that somebody deletes, are replaced")


def adopted(cluster, vagus, before, load):
    # The last rollout was aborted, which the phase says.
    wait_for(lambda: vagus.json("status", "shop")["phase"] == "degraded", 30, "the server to be back")
    wait_for(lambda: ask(f"{vagus.proxy}/services/shop/colour") == "green", 20, "an answer through our proxy")
    seen = load.end()
    assert uids(cluster) == before, "they are the same pods"
    assert set(seen) == {"green"}, seen
    print(f"after kill -9 of the server they are the same pods; {sum(seen.values())} requests meanwhile, none failed")


def end(cluster, vagus):
    vagus.run("delete", "service", "shop")
    kinds = "pods,secrets,services,endpointslices,httproutes"
    wait_for(lambda: not cluster.items(kinds), 30, "all that was ours to be gone")
    folders = os.path.join(vagus.data, "clusters", "copies")
    assert any(name.startswith("default.shop.") for name in os.listdir(folders)), "the output of each copy is kept"
    counts = collections.Counter()
    for thing in cluster.sent():
        counts[thing["kind"]] += 1
        if thing["kind"] != "HTTPRoute":  # of no schema in the package: the fake has its own rules for it
            for version in VERSIONS:
                validate(thing, version, strict=True)
    assert set(counts) == {"Pod", "Secret", "Service", "EndpointSlice", "HTTPRoute"}, counts
    print(f"after a delete nothing is left; all that was sent passes the schemas of {', '.join(VERSIONS)}: {dict(counts)}")


if __name__ == "__main__":
    main()
