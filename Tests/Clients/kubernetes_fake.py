"""A fake of the Kubernetes API, as faithful to the published OpenAPI as its resources go, since no cluster is at hand here.

  python3 kubernetes_fake.py FOLDER [--image NAME ...] [--gateway PORT]

writes certificates and FOLDER/kubeconfig with the contexts lab (a token), lab-cert (a client certificate), lab-reader (may look,
and nothing else), lab-stranger (a token that nobody knows), lab-untrusted (another authority) and lab-nowhere (nobody listens), and
serves until SIGTERM. Objects are in kubernetes_cluster.py, who manages their fields in kubernetes_fields.py, what runs in
kubernetes_node.py, what routes traffic in kubernetes_gateway.py. Standard library only.

As in a cluster: paths, kinds, discovery, lists with their kind and resourceVersion, pages and their 410, watch, labels, Status
objects, uid/generation/resourceVersion, server-side apply with managers and conflicts, optimistic locking, deletion with grace,
finalizers, owners; logs and exec (v4 and v5.channel.k8s.io) of pods that really run.
POST /fake/faults {"status": 429, "count": 2, "headers": {...}} has the next calls answered so, /fake/pages {"limit": 1} makes pages
small, /fake/expire {"count": 1} forgets the next ones, /fake/clear ends all that. GET /fake/sent: what was written.
"""

import argparse
import base64
import copy
import hashlib
import http.server
import json
import os
import select
import signal
import ssl
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
import uuid

import kubernetes_fields as fields
from kubernetes_cluster import RESOURCES, SHORT, VERBS, Cluster, Refusal, check, complete, invalid, now, selected
from kubernetes_node import Node

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_version = "kubernetes_fake"
    fake = None  # the Fake

    def log_message(self, *_):
        pass

    def setup(self):
        self.request.settimeout(60)
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()
        super().setup()

    def user(self):
        """Whoever calls, by certificate or token; their rights are their own."""
        certificate = self.request.getpeercert() if isinstance(self.request, ssl.SSLSocket) else None
        for part in (certificate or {}).get("subject", ()):
            for key, value in part:
                if key == "commonName":
                    return value
        token = self.headers.get("Authorization", "")
        return self.fake.tokens.get(token.removeprefix("Bearer "))

    def answer(self, code, body, headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **dict(headers)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def handle_any(self):
        url = urllib.parse.urlsplit(self.path)
        pairs = urllib.parse.parse_qsl(url.query, keep_blank_values=True)
        query = dict(pairs)
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size) if size else b""
        try:
            if url.path.startswith("/fake/"):
                return self.answer(200, self.fake.control(url.path, json.loads(body or b"{}")))
            with self.fake.cluster.lock:
                fault = self.fake.faults.pop(0) if self.fake.faults else None
            if fault:
                status, headers = fault
                return self.answer(status, Refusal(status, "TooManyRequests", "too many requests, please try again later").status, headers)
            user = self.user()
            if user is None:
                raise Refusal(401, "Unauthorized", "Unauthorized")
            if url.path in ("/healthz", "/readyz", "/livez"):
                return self.answer(200, b"ok", [("Content-Type", "text/plain")])
            found = self.fake.discovery(url.path)
            if found is not None:
                return self.answer(200, found)
            self.resource(user, url.path, query, pairs, body)
        except Refusal as refusal:
            self.answer(refusal.status["code"], refusal.status)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    # Objects

    def resource(self, user, path, query, pairs, body):
        words = path.strip("/").split("/")
        group, version, rest = ("", words[1], words[2:]) if words[0] == "api" else (words[1], words[2], words[3:]) if len(words) > 2 else ("?", "", [])
        namespace = None
        if len(rest) > 2 and rest[0] == "namespaces":
            namespace, rest = rest[1], rest[2:]
        plural, name, part = (rest + [None] * 3)[:3]
        known = [one for one in RESOURCES if one[:3] == (group, version, plural)]
        if not known or len(rest) > 3:
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        kind = known[0][3]
        is_watch = query.get("watch") in ("true", "1")
        verb = {"GET": "watch" if is_watch else "get" if name else "list", "POST": "create", "PUT": "update", "PATCH": "patch",
                "DELETE": "delete"}[self.command]
        self.permit(user, verb if part != "exec" else "create", group, plural + (f"/{part}" if part else ""), namespace)
        if part in ("log", "exec"):
            return self.pod(namespace, name, part, query, pairs)
        cluster = self.fake.cluster
        if is_watch:
            return self.watch(plural, kind, group, version, namespace, name, query)
        with cluster.lock:
            if self.command == "GET" and not name:
                return self.answer(200, self.list(plural, kind, group, version, namespace, query))
            if self.command == "POST":
                obj = json.loads(body)
                cluster.sent.append(copy.deepcopy(obj))
                return self.answer(201, self.create(plural, kind, group, version, namespace, obj, query))
            found = cluster.find(plural, namespace or "", name)
            if self.command == "PATCH" and self.headers["Content-Type"] == "application/apply-patch+yaml":
                config = json.loads(body)
                cluster.sent.append(copy.deepcopy(config))
                return self.answer(200 if found else 201, self.apply(plural, kind, group, version, namespace, name, found, config, query))
            if found is None:
                raise Refusal(404, "NotFound", f'{plural}{"." + group if group else ""} "{name}" not found', kind=plural, name=name)
            if self.command == "GET":
                return self.answer(200, found)
            if self.command == "DELETE":
                cluster.delete(plural, found, json.loads(body or b"{}"))
                if plural == "pods" or found["metadata"].get("deletionTimestamp"):
                    return self.answer(200, found)
                return self.answer(200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                                         "details": {"name": name, "kind": plural, "uid": found["metadata"]["uid"]}})
            patch = json.loads(body)
            new = patch if self.command == "PUT" else merged(found, patch)
            return self.answer(200, self.update(plural, kind, found, new, part, query))

    def permit(self, user, verb, group, resource, namespace):
        if self.fake.may(user, verb, resource):
            return
        where = f' in the namespace "{namespace}"' if namespace else " at the cluster scope"
        raise Refusal(403, "Forbidden", f'{resource} is forbidden: User "{user}" cannot {verb} resource "{resource}" in API group "{group}"{where}',
                      kind=resource)

    def list(self, plural, kind, group, version, namespace, query):
        cluster = self.fake.cluster
        if query.get("continue"):
            if self.fake.expiring > 0:
                self.fake.expiring -= 1
                cluster.pages.clear()
            if query["continue"] not in cluster.pages:
                raise Refusal(410, "Expired", "The provided continue parameter is too old to display a consistent list result.")
            at, items = cluster.pages.pop(query["continue"])
        else:
            at, items = cluster.version, [
                copy.deepcopy(obj) for key, obj in sorted(cluster.objects[plural].items())
                if namespace in (None, key[0]) and selected(obj, query)]
        if "." not in group or group == "discovery.k8s.io":
            # Built-in kinds say in the list what its items are, and not in each of them.
            items = [{key: value for key, value in item.items() if key not in ("kind", "apiVersion")} for item in items]
        limit = int(query.get("limit") or 0) or len(items)
        limit = min(limit, self.fake.page or limit)
        metadata = {"resourceVersion": str(at)}
        if len(items) > limit:
            token = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()
            cluster.pages[token] = (at, items[limit:])
            metadata.update({"continue": token, "remainingItemCount": len(items) - limit})
        return {"kind": f"{kind}List", "apiVersion": f"{group}/{version}" if group else version, "metadata": metadata, "items": items[:limit]}

    def watch(self, plural, kind, group, version, namespace, name, query):
        cluster = self.fake.cluster
        since = int(query.get("resourceVersion") or 0) or cluster.version
        end = time.monotonic() + int(query.get("timeoutSeconds") or 600)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        def chunk(data):
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        if since < cluster.oldest - 1:
            gone = Refusal(410, "Expired", f"too old resource version: {since} ({cluster.oldest})").status
            chunk(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
        else:
            while time.monotonic() < end and not self.fake.is_ended:
                with cluster.lock:
                    fresh = [event for event in cluster.events if event[0] > since and event[2] == plural]
                    if not fresh:
                        cluster.changed.wait(0.2)
                for number, what, _, obj in fresh:
                    since = number
                    if namespace in (None, obj["metadata"].get("namespace", "")) and selected(obj, query):
                        chunk(json.dumps({"type": what, "object": obj}).encode() + b"\n")
        chunk(b"")

    def named(self, kind, group, version, namespace, name, obj):
        wanted = f"{group}/{version}" if group else version
        if (obj.get("kind"), obj.get("apiVersion")) != (kind, wanted):
            raise Refusal(400, "BadRequest", f"the object provided is unrecognized: no kind \"{obj.get('kind')}\" is registered for version \"{obj.get('apiVersion')}\"")
        meta = obj.setdefault("metadata", {})
        if meta.get("namespace", namespace or "") != (namespace or ""):
            raise Refusal(400, "BadRequest", "the namespace of the provided object does not match the namespace sent on the request")
        if name and meta.get("name") != name:
            raise Refusal(400, "BadRequest", f"the name of the object ({meta.get('name')}) does not match the name on the URL ({name})")
        if namespace:
            meta["namespace"] = namespace
            if self.fake.cluster.find("namespaces", "", namespace) is None:
                raise Refusal(404, "NotFound", f'namespaces "{namespace}" not found', kind="namespaces", name=namespace)
        if not meta.get("name"):
            if not meta.get("generateName"):
                raise invalid(kind, "", "metadata.name", "Required value: name or generateName is required")
            meta["name"] = meta["generateName"] + uuid.uuid4().hex[:5]

    def create(self, plural, kind, group, version, namespace, obj, query):
        self.named(kind, group, version, namespace, None, obj)
        check(kind, obj)
        if self.fake.cluster.find(plural, namespace or "", obj["metadata"]["name"]):
            name = obj["metadata"]["name"]
            raise Refusal(409, "AlreadyExists", f'{plural}{"." + group if group else ""} "{name}" already exists', kind=plural, name=name)
        obj.pop("status", None)
        fields.updated(None, obj, query.get("fieldManager") or self.headers.get("User-Agent", "unknown").split("/")[0], now())
        complete(self.fake.cluster, kind, obj)
        if "dryRun" not in query:
            self.fake.cluster.add(plural, obj)
        return obj

    def apply(self, plural, kind, group, version, namespace, name, found, config, query):
        if not query.get("fieldManager"):
            raise Refusal(400, "BadRequest", "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch")
        self.named(kind, group, version, namespace, name, config)
        if config["metadata"].get("managedFields"):
            raise Refusal(400, "BadRequest", "metadata.managedFields must be nil")
        uid = config["metadata"].get("uid")
        if uid and (not found or found["metadata"]["uid"] != uid):
            raise Refusal(409, "Conflict", "uid mismatch")
        check(kind, config)
        new, conflicts = fields.applied(found, config, query["fieldManager"], query.get("force") == "true", now())
        if conflicts:
            told = [{"reason": "FieldManagerConflict", "message": f'conflict with "{who}"',
                     "field": "." + ".".join(step[2:] if step.startswith("f:") else f"[{step[2:]}]" for step in path)} for path, who in conflicts]
            raise Refusal(409, "Conflict", f"Apply failed with {len(told)} conflict{'s' if len(told) > 1 else ''}: "
                          + "; ".join(f"{one['message']}: {one['field']}" for one in told), told, plural, name)
        complete(self.fake.cluster, kind, new)
        check(kind, new)
        if "dryRun" in query:
            return new
        if found is None:
            self.fake.cluster.add(plural, new)
        elif {**new, "metadata": {**new["metadata"], "managedFields": 0}} != {**found, "metadata": {**found["metadata"], "managedFields": 0}} \
                or new["metadata"].get("managedFields") != found["metadata"].get("managedFields"):
            self.unchanging(kind, found, new)
            self.fake.cluster.replace(plural, found, new)
        return self.fake.cluster.find(plural, namespace or "", name)

    def unchanging(self, kind, old, new):
        if kind == "Pod" and old["spec"] != new["spec"]:
            raise Refusal(422, "Invalid", f'Pod "{old["metadata"]["name"]}" is invalid: spec: Forbidden: pod updates may not change fields other than '
                          "`spec.containers[*].image`", kind="Pod", name=old["metadata"]["name"])

    def update(self, plural, kind, old, new, part, query):
        told = new["metadata"].get("resourceVersion")
        if told and told != old["metadata"]["resourceVersion"]:
            raise Refusal(409, "Conflict", f'Operation cannot be fulfilled on {plural} "{old["metadata"]["name"]}": the object has been modified; '
                          "please apply your changes to the latest version and try again", kind=plural, name=old["metadata"]["name"])
        new = copy.deepcopy(new)
        new["metadata"] = {**new["metadata"], **{key: old["metadata"][key] for key in ("uid", "creationTimestamp", "generation") if key in old["metadata"]}}
        if part == "status":
            new = {**old, "status": new.get("status", {})}
        elif "status" in old:
            new["status"] = old["status"]
        check(kind, new)
        self.unchanging(kind, old, new)
        new["metadata"]["managedFields"] = old["metadata"].get("managedFields", [])
        fields.updated(old, new, query.get("fieldManager") or self.headers.get("User-Agent", "unknown").split("/")[0], now())
        self.fake.cluster.replace(plural, old, new)
        return new

    # Pods

    def pod(self, namespace, name, part, query, pairs):
        with self.fake.cluster.lock:
            pod = self.fake.cluster.find("pods", namespace, name)
            if pod is None:
                raise Refusal(404, "NotFound", f'pods "{name}" not found', kind="pods", name=name)
            container = self.fake.node.containers.get(pod["metadata"]["uid"])
            known = [one["name"] for one in pod["spec"]["containers"]]
        if query.get("container") not in (None, *known):
            raise Refusal(400, "BadRequest", f'container {query["container"]} is not valid for pod {name}')
        if container is None:
            log = f"{self.fake.node.folder}/{pod['metadata']['uid']}/log"
            if part == "log" and os.path.exists(log):
                return self.answer(200, open(log, "rb").read(), [("Content-Type", "text/plain")])
            raise Refusal(400, "BadRequest", f'container "{known[0]}" in pod "{name}" is waiting to start: ContainerCreating')
        (self.follow if part == "log" else self.execute)(container, query, pairs)

    def follow(self, container, query, _):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with open(container.log, "rb") as log:
            while True:
                over = container.process.poll() is not None or query.get("follow") != "true" or self.fake.is_ended
                data = log.read(1 << 16)
                if data:
                    self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                elif over:
                    break
                else:
                    time.sleep(0.02)
        self.wfile.write(b"0\r\n\r\n")

    def execute(self, container, query, pairs):
        protocols = [one.strip() for one in self.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        protocol = next((one for one in ("v5.channel.k8s.io", "v4.channel.k8s.io") if one in protocols), None)
        if self.headers.get("Upgrade", "").lower() != "websocket" or protocol is None:
            raise Refusal(400, "BadRequest", "Upgrade request required")
        if container.process.poll() is not None:
            raise Refusal(500, "InternalError", "cannot exec in a stopped container")
        digest = hashlib.sha1((self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        self.send_response(101)
        for key, value in {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": base64.b64encode(digest).decode(),
                           "Sec-WebSocket-Protocol": protocol}.items():
            self.send_header(key, value)
        self.end_headers()
        self.close_connection = True
        words = [value for key, value in pairs if key == "command"]
        try:
            process = subprocess.Popen(words, cwd=f"{container.folder}/root", env=container.environment, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        except OSError as error:
            self.frame(3, json.dumps({"status": "Failure", "reason": "InternalError", "code": 500, "message":
                                      f"error executing command in container: exec: {error}"}).encode())
            return self.frame(None, b"")
        try:
            self.listen(process)
            code = process.wait()
            code = 128 - code if code < 0 else code
            status = {"metadata": {}, "status": "Success"} if code == 0 else {
                "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode", "message": f"command terminated with non-zero exit code: exit status {code}",
                "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]}}
            self.frame(3, json.dumps(status).encode())
            self.frame(None, b"")
        except OSError:
            pass  # nobody listens any more: the command runs on, as in a cluster

    def listen(self, process):
        channels = {process.stdout.fileno(): 1, process.stderr.fileno(): 2}
        while channels:
            ready, _, _ = select.select([*channels, self.connection], [], [], 0.05)
            if self.connection in ready and not self.connection.recv(1 << 12):
                raise OSError("the caller has gone")
            for one in [one for one in ready if one in channels]:
                data = os.read(one, 1 << 14)
                if data:
                    self.frame(channels[one], data)
                else:
                    del channels[one]

    def frame(self, channel, data):
        """A binary message of one channel, or the farewell."""
        payload = struct.pack(">H", 1000) if channel is None else bytes([channel]) + data
        head = bytes([0x88 if channel is None else 0x82])
        head += bytes([len(payload)]) if len(payload) < 126 else struct.pack(">BH", 126, len(payload)) if len(payload) < 65536 else struct.pack(">BQ", 127, len(payload))
        self.wfile.write(head + payload)


def merged(obj, patch):
    """JSON merge patch (RFC 7386); of a strategic merge patch what objects need of it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(obj) if isinstance(obj, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


class Fake:
    """The cluster with its server, its node and, if asked for, its gateway."""

    def __init__(self, folder, images):
        self.folder, self.is_ended = folder, False
        self.cluster = Cluster()
        self.faults = []
        self.page = self.expiring = 0
        self.tokens = {"lab-token": "admin", "lab-reader-token": "reader"}
        self.node = Node(self.cluster, f"{folder}/pods", images)
        for name in ("default", "shop"):
            self.cluster.add("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {
                "name": name, "uid": str(uuid.uuid4()), "creationTimestamp": now()}, "status": {"phase": "Active"}})
        self.cluster.add("nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {
            "name": Node.name, "uid": str(uuid.uuid4()), "creationTimestamp": now()}, "status": {
                "allocatable": {"cpu": str(Node.cpus), "memory": str(Node.memory)}, "conditions": [{"type": "Ready", "status": "True"}]}})
        self.certificates()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"fake": self}))
        self.server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{folder}/server.crt", f"{folder}/server.key")
        context.load_verify_locations(f"{folder}/ca.crt")
        context.verify_mode = ssl.CERT_OPTIONAL
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://127.0.0.1:{self.server.server_port}"
        self.kubeconfig()

    def may(self, user, verb, resource):
        if user == "reader":
            return verb in ("get", "list", "watch") and resource != "secrets"
        return user == "admin"

    def certificates(self):
        def openssl(*arguments):
            subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)
        with open(f"{self.folder}/names", "w") as file:
            file.write("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        for ca in ("ca", "other"):
            openssl("req", "-x509", *curve, "-keyout", f"{ca}.key", "-out", f"{ca}.crt", "-days", "2", "-subj", f"/CN=fake-{ca}")
        for name, subject in (("server", "/CN=kube-apiserver"), ("admin", "/O=system:masters/CN=admin")):
            openssl("req", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
            openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                    "-out", f"{name}.crt", *(["-extfile", "names"] if name == "server" else []))

    def kubeconfig(self):
        def data(name):
            return base64.b64encode(open(f"{self.folder}/{name}", "rb").read()).decode()
        clusters = {"lab": (self.url, "ca.crt"), "untrusted": (self.url, "other.crt"), "nowhere": ("https://127.0.0.1:1", "ca.crt")}
        users = {"admin": {"token": "lab-token"}, "cert": {"client-certificate": "admin.crt", "client-key-data": data("admin.key")},
                 "reader": {"token": "lab-reader-token"}, "stranger": {"token": "nobody-knows"}}
        contexts = [("lab", "lab", "admin"), ("lab-cert", "lab", "cert"), ("lab-reader", "lab", "reader"), ("lab-stranger", "lab", "stranger"),
                    ("lab-untrusted", "untrusted", "admin"), ("lab-nowhere", "nowhere", "admin")]
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{"name": name, "cluster": {"server": url, "certificate-authority-data": data(ca)}} for name, (url, ca) in clusters.items()],
            "users": [{"name": name, "user": user} for name, user in users.items()],
            "contexts": [{"name": name, "context": {"cluster": cluster, "user": user, "namespace": "default"}} for name, cluster, user in contexts]}
        with open(f"{self.folder}/kubeconfig", "w") as file:
            json.dump(config, file, indent=1)

    def control(self, path, order):
        with self.cluster.lock:
            if path == "/fake/faults":
                self.faults += [(order["status"], list((order.get("headers") or {}).items()))] * order.get("count", 1)
            elif path == "/fake/pages":
                self.page = order["limit"]
            elif path == "/fake/expire":
                self.expiring = order["count"]
            elif path == "/fake/clear":
                self.faults, self.page, self.expiring = [], 0, 0
            elif path == "/fake/sent":
                return self.cluster.sent
            return {}

    def discovery(self, path):
        groups = {}
        for group, version, *_ in RESOURCES:
            groups.setdefault(group, version)
        def told(group, version):
            gv = {"groupVersion": f"{group}/{version}", "version": version}
            return {"name": group, "versions": [gv], "preferredVersion": gv}
        if path == "/version":
            return {"major": "1", "minor": "34", "gitVersion": "v1.34.0-fake", "platform": "linux/amd64"}
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        if path == "/apis":
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [told(g, v) for g, v in groups.items() if g]}
        for group, version in groups.items():
            if path == (f"/apis/{group}/{version}" if group else "/api/v1"):
                return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{group}/{version}" if group else version, "resources": [
                    {"name": plural, "singularName": kind.lower(), "namespaced": namespaced, "kind": kind, "verbs": VERBS,
                     "shortNames": SHORT.get(plural, [])} for g, _, plural, kind, namespaced in RESOURCES if g == group]}
            if group and path == f"/apis/{group}":
                return {"kind": "APIGroup", "apiVersion": "v1", **told(group, version)}
        return None

    def run(self):
        self.node.start()
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()

    def end(self):
        self.is_ended = True
        self.server.shutdown()
        self.node.end()
        self.node.clear()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--image", action="append", default=[])
    parser.add_argument("--gateway", type=int)
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    fake = Fake(os.path.abspath(options.folder), options.image or ["registry.test/lab/shop:1", "registry.test/lab/shop:2"])
    gateway = None
    if options.gateway is not None:
        from kubernetes_gateway import Gateway
        gateway = Gateway(fake.cluster, options.gateway)
        gateway.start()
    fake.run()
    print(f"ready {fake.url}" + (f" gateway {gateway.port}" if gateway else ""), flush=True)
    with open(f"{fake.folder}/ready.new", "w") as file:
        file.write(f"{fake.url} {gateway.port if gateway else 0}\n")
    os.rename(file.name, f"{fake.folder}/ready")  # whole from the first moment that it is seen
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()
    fake.end()


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    main()
