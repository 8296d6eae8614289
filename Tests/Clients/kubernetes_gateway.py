"""The Gateway of kubernetes_fake: carries real HTTP by the HTTPRoutes, Services and EndpointSlices that it finds.

Gateway API v1 as far as routes need it: hostnames, path prefixes, header matches by precedence, weights, URLRewrite of a prefix,
RequestMirror by fraction, timeouts, and in status what its controller has accepted. One Gateway, infra/public.
"""

import http.client
import http.server
import random
import re
import threading
import time
import uuid

from kubernetes_cluster import now

CONTROLLER = "fake.test/gateway"
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "proxy-connection", "content-length"}


class Gateway:
    namespace, name = "infra", "public"

    def __init__(self, cluster, port):
        self.cluster = cluster
        self.table, self.slices = [], {}
        self.seen = 0
        with cluster.lock:
            cluster.add("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {
                "name": self.namespace, "uid": str(uuid.uuid4()), "creationTimestamp": now()}, "status": {"phase": "Active"}})
            cluster.add("gateways", {
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {
                    "namespace": self.namespace, "name": self.name, "uid": str(uuid.uuid4()), "creationTimestamp": now(), "generation": 1},
                "spec": {"gatewayClassName": "fake", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {
                    "namespaces": {"from": "All"}}}]},
                "status": {"conditions": [{"type": "Programmed", "status": "True", "observedGeneration": 1}]}})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), type("Bound", (Traffic,), {"gateway": self}))
        self.server.daemon_threads = True
        self.port = self.server.server_port

    def start(self):
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        threading.Thread(target=self.loop, daemon=True).start()

    def loop(self):
        while True:
            with self.cluster.lock:
                if self.cluster.version == self.seen:
                    self.cluster.changed.wait(0.2)
                if self.cluster.version != self.seen:
                    self.seen = self.cluster.version
                    self.program()
            time.sleep(0.005)

    def program(self):
        """Takes up what is there, then says so."""
        rules = []
        verdicts = []
        for route in self.cluster.all("httproutes"):
            meta, spec = route["metadata"], route["spec"]
            for parent in spec.get("parentRefs", []):
                if (parent.get("namespace", meta["namespace"]), parent["name"]) != (self.namespace, self.name):
                    continue
                absent = [one["name"] for rule in spec["rules"] for one in rule.get("backendRefs", [])
                          if self.cluster.find("services", meta["namespace"], one["name"]) is None]
                verdicts.append((route, parent, absent))
                rules += [(host.lower(), match, rule, meta["namespace"], (position, number))
                          for host in spec.get("hostnames") or [""] for position, rule in enumerate(spec["rules"])
                          for number, match in enumerate(rule["matches"])]
        # The most specific first: host, then path, then conditions, then the order written (Gateway API, HTTPRouteRule.matches).
        rules.sort(key=lambda one: (-len(one[0]), -len(one[1]["path"]["value"]), -len(one[1].get("headers", [])), one[4]))
        slices = {}
        for piece in self.cluster.all("endpointslices"):
            key = piece["metadata"]["namespace"], piece["metadata"]["labels"]["kubernetes.io/service-name"]
            for endpoint in piece["endpoints"]:
                if endpoint.get("conditions", {}).get("ready", True):
                    slices.setdefault(key, []).append((endpoint["addresses"][0], piece["ports"][0]["port"]))
        self.table, self.slices = rules, slices
        for route, parent, absent in verdicts:
            self.judge(route, parent, absent)

    def judge(self, route, parent, absent):
        generation = route["metadata"]["generation"]
        resolved = {"type": "ResolvedRefs", "status": "False", "reason": "BackendNotFound", "message": f"no Service {absent[0]}"} if absent else {
            "type": "ResolvedRefs", "status": "True", "reason": "ResolvedRefs", "message": ""}
        conditions = [{**one, "observedGeneration": generation, "lastTransitionTime": now()} for one in (
            {"type": "Accepted", "status": "True", "reason": "Accepted", "message": ""}, resolved)]
        old = route.get("status", {}).get("parents", [])
        if old and [(one["status"], one["observedGeneration"]) for one in old[0]["conditions"]] == \
                [(one["status"], one["observedGeneration"]) for one in conditions]:
            return
        route["status"] = {"parents": [{"parentRef": parent, "controllerName": CONTROLLER, "conditions": conditions}]}
        self.cluster.touch("httproutes", route)
        self.seen = self.cluster.version


def matches(match, path, headers):
    prefix = match["path"]["value"].rstrip("/")
    if not (path == prefix or path.startswith(prefix + "/") or not prefix):
        return False
    for wanted in match.get("headers", []):
        values = headers.get_all(wanted["name"]) or []
        if wanted.get("type", "Exact") == "Exact":
            good = wanted["value"] in values
        else:
            good = any(re.search(wanted["value"], value) for value in values)
        if not good:
            return False
    return True


class Traffic(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A head and its body are two writes: the second would wait for the other side to acknowledge the first.
    disable_nagle_algorithm = True
    gateway = None

    def log_message(self, *_):
        pass

    def answer(self, status, headers, body):
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_any(self):
        table, slices = self.gateway.table, self.gateway.slices
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        host = (self.headers.get("Host") or "").split(":")[0].lower()
        for name, match, rule, namespace, _ in table:
            if name in ("", host) and matches(match, path, self.headers):
                return self.route(match, rule, namespace, slices, path, query, body)
        self.answer(404, [], b"no route")

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = handle_any

    def route(self, match, rule, namespace, slices, path, query, body):
        backends = [(namespace, one["name"]) for one in rule["backendRefs"]]
        weights = [one["weight"] for one in rule["backendRefs"]]
        mirror = None
        for filter in rule.get("filters", []):
            if filter["type"] == "URLRewrite":
                rest = path[len(match["path"]["value"].rstrip("/")):]
                path = filter["urlRewrite"]["path"]["replacePrefixMatch"].rstrip("/") + (rest or "/")
            elif filter["type"] == "RequestMirror":
                mirror = filter["requestMirror"]
        target = path + ("?" + query if query else "")
        if mirror and random.random() < mirror["fraction"]["numerator"] / mirror["fraction"]["denominator"]:
            copy = slices.get((namespace, mirror["backendRef"]["name"]), [])
            threading.Thread(target=lambda: copy and self.send(random.choice(copy), target, body), daemon=True).start()
        endpoints = slices.get(random.choices(backends, weights)[0] if sum(weights) else None, [])
        if not endpoints:
            return self.answer(503, [], b"no endpoint")
        try:
            status, headers, answer = self.send(random.choice(endpoints), target, body)
        except OSError as error:
            return self.answer(502, [], str(error).encode())
        self.answer(status, headers, answer)

    def send(self, endpoint, target, body):
        connection = http.client.HTTPConnection(*endpoint, timeout=10)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            connection.request(self.command, target, body or None, headers)
            response = connection.getresponse()
            answer = response.read()
            return response.status, [one for one in response.getheaders() if one[0].lower() not in HOP_BY_HOP], answer
        finally:
            connection.close()
