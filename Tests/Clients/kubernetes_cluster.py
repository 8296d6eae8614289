"""The objects of kubernetes_fake: kinds, numbers of changes, defaults, rules, owners and deletion."""

import copy
import re
import threading
import time
import uuid

# group, version, plural, kind, is namespaced
RESOURCES = [
    ("", "v1", "namespaces", "Namespace", False), ("", "v1", "nodes", "Node", False), ("", "v1", "pods", "Pod", True),
    ("", "v1", "services", "Service", True), ("", "v1", "secrets", "Secret", True), ("", "v1", "configmaps", "ConfigMap", True),
    ("apps", "v1", "deployments", "Deployment", True),
    ("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", True),
    ("gateway.networking.k8s.io", "v1", "gatewayclasses", "GatewayClass", False),
    ("gateway.networking.k8s.io", "v1", "gateways", "Gateway", True),
    ("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute", True),
]
SHORT = {"namespaces": ["ns"], "pods": ["po"], "services": ["svc"], "deployments": ["deploy"], "gateways": ["gtw"], "nodes": ["no"]}
VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
LABEL = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)")


class Refusal(Exception):
    def __init__(self, code, reason, message, causes=None, kind="", name=""):
        super().__init__(message)
        details = {key: value for key, value in (("name", name), ("kind", kind), ("causes", causes)) if value}
        self.status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
                       "reason": reason, "details": details, "code": code}


def invalid(kind, name, path, message):
    return Refusal(422, "Invalid", f'{kind} "{name}" is invalid: {path}: {message}',
                   [{"reason": "FieldValueInvalid", "message": message, "field": path}], kind, name)


class Cluster:
    """All objects, under one lock; every change has a number."""
    HISTORY = 1000

    def __init__(self):
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.objects = {plural: {} for _, _, plural, _, _ in RESOURCES}
        self.version = 100
        self.events = []  # (version, type, plural, object)
        self.oldest = self.version
        self.pages = {}  # continue tokens: a list as it was
        self.sent = []
        self.addresses = 1

    def all(self, plural):
        return list(self.objects[plural].values())

    def find(self, plural, namespace, name):
        return self.objects[plural].get((namespace, name))

    def tell(self, kind, plural, obj):
        with self.lock:
            self.version += 1
            obj["metadata"]["resourceVersion"] = str(self.version)
            self.events.append((self.version, kind, plural, copy.deepcopy(obj)))
            if len(self.events) > self.HISTORY:
                self.events = self.events[-self.HISTORY:]
                self.oldest = self.events[0][0]
            self.changed.notify_all()

    def key(self, obj):
        return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]

    def touch(self, plural, obj):
        if self.key(obj) in self.objects[plural]:
            self.tell("MODIFIED", plural, obj)

    def add(self, plural, obj):
        self.objects[plural][self.key(obj)] = obj
        self.tell("ADDED", plural, obj)

    def replace(self, plural, old, new):
        if fields_of_spec(old) != fields_of_spec(new):
            new["metadata"]["generation"] = old["metadata"].get("generation", 1) + 1
        self.objects[plural][self.key(new)] = new
        self.tell("MODIFIED", plural, new)
        if new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers") and plural != "pods":
            self.drop(plural, new)

    def drop(self, plural, obj):
        if self.objects[plural].pop(self.key(obj), None) is None:
            return
        self.tell("DELETED", plural, obj)
        # What belongs to it goes too (the garbage collector, which takes a moment in a cluster).
        uid = obj["metadata"]["uid"]
        for other in [name for _, _, name, _, _ in RESOURCES]:
            for child in self.all(other):
                owners = child["metadata"].get("ownerReferences", [])
                if owners and all(owner["uid"] == uid for owner in owners):
                    self.delete(other, child, {})

    def delete(self, plural, obj, options):
        wanted = options.get("preconditions") or {}
        for key, have in (("uid", obj["metadata"]["uid"]), ("resourceVersion", obj["metadata"]["resourceVersion"])):
            if wanted.get(key, have) != have:
                raise Refusal(409, "Conflict", f"the {key} in the precondition ({wanted[key]}) does not match the {key} in record ({have})")
        grace = options.get("gracePeriodSeconds")
        if plural == "pods":
            grace = obj["spec"]["terminationGracePeriodSeconds"] if grace is None else grace
            if obj["status"].get("phase") in ("Succeeded", "Failed") or not obj["spec"].get("nodeName"):
                grace = 0
        if obj["metadata"].get("finalizers") or (plural == "pods" and grace > 0):
            if not obj["metadata"].get("deletionTimestamp"):
                obj["metadata"]["deletionTimestamp"] = now()
                obj["metadata"]["deletionGracePeriodSeconds"] = grace or 0
            elif plural == "pods":
                obj["metadata"]["deletionGracePeriodSeconds"] = min(grace, obj["metadata"]["deletionGracePeriodSeconds"])
            self.tell("MODIFIED", plural, obj)
        else:
            self.drop(plural, obj)


def fields_of_spec(obj):
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}


def complete(cluster, kind, obj):
    """Defaults, as the published API has them."""
    meta = obj["metadata"]
    meta.setdefault("uid", str(uuid.uuid4()))
    meta.setdefault("creationTimestamp", now())
    if kind in ("Deployment", "HTTPRoute", "Gateway", "EndpointSlice", "Pod"):
        meta.setdefault("generation", 1)
    spec = obj.get("spec", {})
    if kind == "Pod":
        for key, value in {"dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
                           "securityContext": {}, "terminationGracePeriodSeconds": 30}.items():
            spec.setdefault(key, value)
        for container in spec["containers"]:
            tag = container["image"].rsplit("/")[-1]
            latest = ":" not in tag or tag.endswith(":latest")
            for key, value in {"resources": {}, "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                               "imagePullPolicy": "Always" if latest else "IfNotPresent"}.items():
                container.setdefault(key, value)
            limits = container["resources"].get("limits")
            if limits:
                container["resources"]["requests"] = {**limits, **container["resources"].get("requests", {})}
        obj.setdefault("status", {"phase": "Pending", "qosClass": "Burstable"})
    elif kind == "Service":
        spec.setdefault("type", "ClusterIP")
        spec.setdefault("sessionAffinity", "None")
        for port in spec.get("ports", []):
            port.setdefault("protocol", "TCP")
            port.setdefault("targetPort", port["port"])
        if "clusterIP" not in spec:
            cluster.addresses += 1
            spec["clusterIP"] = f"10.96.{cluster.addresses // 250}.{cluster.addresses % 250}"
        spec["clusterIPs"] = [spec["clusterIP"]]
        obj.setdefault("status", {"loadBalancer": {}})
    elif kind == "HTTPRoute":
        for parent in spec.get("parentRefs", []):
            parent.setdefault("group", "gateway.networking.k8s.io")
            parent.setdefault("kind", "Gateway")
        for rule in spec.get("rules", []):
            rule.setdefault("matches", [{"path": {"type": "PathPrefix", "value": "/"}}])
            for backend in rule.get("backendRefs", []):
                for key, value in {"group": "", "kind": "Service", "weight": 1}.items():
                    backend.setdefault(key, value)
            for match in rule["matches"]:
                for header in match.get("headers", []):
                    header.setdefault("type", "Exact")
    elif kind == "Secret":
        obj.setdefault("type", "Opaque")


def check(kind, obj):
    """The rules that a client of this kind meets; the schemas themselves are held against by kubernetes-validate."""
    meta = obj["metadata"]
    name, spec = meta["name"], obj.get("spec") or {}
    limit = 63 if kind in ("Service", "Namespace") else 253
    if not NAME.fullmatch(name) or len(name) > limit:
        raise invalid(kind, name, "metadata.name", f'Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of lower case '
                      "alphanumeric characters, '-' or '.'")
    for key, value in {**meta.get("labels", {})}.items():
        if not KEY.fullmatch(key):
            raise invalid(kind, name, "metadata.labels", f'Invalid value: "{key}": name part must consist of alphanumeric characters')
        if not isinstance(value, str) or len(value) > 63 or not LABEL.fullmatch(value):
            raise invalid(kind, name, "metadata.labels", f'Invalid value: "{value}": a valid label must be an empty string or consist of '
                          "alphanumeric characters, '-', '_' or '.'")
    if kind == "Pod":
        if not spec.get("containers"):
            raise invalid(kind, name, "spec.containers", "Required value")
        for container in spec["containers"]:
            for key in ("name", "image"):
                if not container.get(key):
                    raise invalid(kind, name, f"spec.containers[0].{key}", "Required value")
            for entry in container.get("env", []):
                if not re.fullmatch(r"[-._a-zA-Z][-._a-zA-Z0-9]*", entry["name"]):
                    raise invalid(kind, name, "spec.containers[0].env[0].name", f'Invalid value: "{entry["name"]}"')
                if "value" in entry and not isinstance(entry["value"], str):
                    raise Refusal(400, "BadRequest", f"Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal {entry['value']!r}")
    if kind == "EndpointSlice" and obj.get("addressType") not in ("IPv4", "IPv6", "FQDN"):
        raise invalid(kind, name, "addressType", "Required value")
    if kind == "HTTPRoute":
        if len(spec.get("rules", [])) > 16:
            raise invalid(kind, name, "spec.rules", "Too many: must have at most 16 items")
        for rule in spec.get("rules", []):
            if len(rule.get("backendRefs", [])) > 16:
                raise invalid(kind, name, "spec.rules[0].backendRefs", "Too many: must have at most 16 items")
            for backend in rule.get("backendRefs", []):
                if not 0 <= backend.get("weight", 1) <= 1_000_000:
                    raise invalid(kind, name, "spec.rules[0].backendRefs[0].weight", f"Invalid value: {backend['weight']}")
                if backend.get("kind", "Service") == "Service" and "port" not in backend:
                    raise invalid(kind, name, "spec.rules[0].backendRefs[0]", "Must have port for Service reference")


def selected(obj, query):
    labels = obj["metadata"].get("labels", {})
    for term in filter(None, query.get("labelSelector", "").split(",")):
        if "!=" in term:
            key, value = term.split("!=")
            good = labels.get(key) != value
        elif "=" in term:
            key, value = term.replace("==", "=").split("=")
            good = labels.get(key) == value
        elif term.startswith("!"):
            good = term[1:] not in labels
        else:
            good = term in labels
        if not good:
            return False
    for term in filter(None, query.get("fieldSelector", "").split(",")):
        key, value = term.split("=", 1)
        at = obj
        for step in key.split("."):
            at = (at or {}).get(step)
        if at != value:
            return False
    return True


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
