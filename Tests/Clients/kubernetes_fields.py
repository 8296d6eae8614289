"""Who manages which field of an object: server-side apply as Kubernetes describes it, for kubernetes_fake.

A field is a path of steps: `f:NAME` of an object, `k:{...}` of a list whose items have keys. Lists that are not in KEYED are
one value, as x-kubernetes-list-type: atomic says.
"""

import copy
import json

# Lists whose items are known by some of their fields (x-kubernetes-list-map-keys of the published OpenAPI).
KEYED = {
    ("metadata", "ownerReferences"): ("uid",),
    ("spec", "containers"): ("name",),
    ("spec", "containers", "env"): ("name",),
    ("spec", "containers", "ports"): ("containerPort", "protocol"),
    ("spec", "containers", "volumeMounts"): ("mountPath",),
    ("spec", "volumes"): ("name",),
    ("spec", "imagePullSecrets"): ("name",),
    ("spec", "listeners"): ("name",),
    ("status", "conditions"): ("type",),
}
SERVICE_PORTS = ("port", "protocol")
DEFAULTS = {"protocol": "TCP"}
# Never anybody's: the server's own, and what names the object.
UNMANAGED = {("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace"), ("metadata", "uid"),
             ("metadata", "resourceVersion"), ("metadata", "generation"), ("metadata", "creationTimestamp"),
             ("metadata", "managedFields"), ("metadata", "deletionTimestamp"), ("metadata", "deletionGracePeriodSeconds")}


def keys_of(kind, path):
    if kind == "Service" and path == ("spec", "ports"):
        return SERVICE_PORTS
    return KEYED.get(path)


def key_of(item, keys):
    return "k:" + json.dumps({key: item.get(key, DEFAULTS.get(key)) for key in keys}, sort_keys=True, separators=(",", ":"))


def leaves(kind, value, path=(), plain=()):
    """Each leaf's path with its value."""
    if plain in UNMANAGED:
        return
    if isinstance(value, dict) and value:
        for name, part in value.items():
            yield from leaves(kind, part, path + (f"f:{name}",), plain + (name,))
        return
    keys = keys_of(kind, plain)
    if keys and isinstance(value, list):
        for item in value:
            step = path + (key_of(item, keys),)
            for name, part in item.items():
                yield from leaves(kind, part, step + (f"f:{name}",), plain + (name,))
        return
    yield path, value


def find(obj, path):
    """The value at a path; a pair (is there, value)."""
    at = obj
    for step in path:
        if step.startswith("f:"):
            if not isinstance(at, dict) or step[2:] not in at:
                return False, None
            at = at[step[2:]]
        else:
            keys = json.loads(step[2:])
            found = [item for item in at or [] if all(item.get(k, DEFAULTS.get(k)) == v for k, v in keys.items())]
            if not found:
                return False, None
            at = found[0]
    return True, at


def put(obj, path, value):
    at = obj
    for position, step in enumerate(path):
        last = position == len(path) - 1
        if step.startswith("f:"):
            if last:
                at[step[2:]] = copy.deepcopy(value)
                return
            follows_key = path[position + 1].startswith("k:")
            if not isinstance(at.get(step[2:]), (dict, list)):
                at[step[2:]] = [] if follows_key else {}
            at = at[step[2:]]
        else:
            keys = json.loads(step[2:])
            found = [item for item in at if all(item.get(k, DEFAULTS.get(k)) == v for k, v in keys.items())]
            if not found:
                found = [dict(keys)]
                at.append(found[0])
            at = found[0]


def remove(obj, path):
    there, parent = find(obj, path[:-1])
    if there and isinstance(parent, dict):
        parent.pop(path[-1][2:], None)
    # An item of a list of which nothing is left but its keys goes with its last field.
    if len(path) > 2 and path[-2].startswith("k:") and there and set(parent) <= set(json.loads(path[-2][2:])):
        inside, items = find(obj, path[:-2])
        if inside and parent in items:
            items.remove(parent)
    elif len(path) > 1 and there and parent == {} and path[-2].startswith("f:"):
        remove(obj, path[:-1])


def as_fields(paths):
    tree = {}
    for path in sorted(paths):
        at = tree
        for step in path:
            at = at.setdefault(step, {})
    return tree


def from_fields(tree, path=()):
    if not tree and path:
        return {path}
    return set().union(*(from_fields(below, path + (step,)) for step, below in tree.items()), set())


def managers(obj):
    return {(entry["manager"], entry["operation"]): from_fields(entry["fieldsV1"])
            for entry in obj["metadata"].get("managedFields", [])}


def note(obj, owned, now):
    before = {(e["manager"], e["operation"]): e for e in obj["metadata"].get("managedFields", [])}
    entries = []
    for (manager, operation), paths in owned.items():
        if not paths:
            continue
        fields, old = as_fields(paths), before.get((manager, operation))
        at = old["time"] if old and old["fieldsV1"] == fields else now
        entries.append({"manager": manager, "operation": operation, "apiVersion": obj["apiVersion"], "time": at,
                        "fieldsType": "FieldsV1", "fieldsV1": fields})
    obj["metadata"]["managedFields"] = entries


def updated(old, new, manager, now):
    """After a create or an update: what was changed is the manager's."""
    owned = managers(old or new)
    before = dict(leaves(new["kind"], old)) if old else {}
    after = dict(leaves(new["kind"], new))
    changed = {path for path, value in after.items() if path not in before or before[path] != value}
    gone = set(before) - set(after)
    for who in owned:
        owned[who] = owned[who] - changed - gone
    mine = (manager, "Update")
    owned[mine] = owned.get(mine, set()) | changed
    note(new, owned, now)


def applied(old, config, manager, force, now):
    """The object after a server-side apply, or the conflicts as (path, manager)."""
    wanted = dict(leaves(config["kind"], config))
    owned = managers(old) if old else {}
    mine = (manager, "Apply")
    new = copy.deepcopy(old) if old else {
        "apiVersion": config["apiVersion"], "kind": config["kind"],
        "metadata": {key: config["metadata"][key] for key in ("name", "namespace") if key in config["metadata"]}}
    conflicts = []
    for who, paths in owned.items():
        if who == mine:
            continue
        for path in paths & set(wanted):
            if find(old, path)[1] != wanted[path]:
                conflicts.append((path, who[0]))
    if conflicts and not force:
        return None, conflicts
    for path, name in conflicts:
        for who in owned:
            if who[0] == name and who != mine:
                owned[who] = owned[who] - {path}
    others = set().union(*(paths for who, paths in owned.items() if who != mine), set())
    for path in sorted(owned.get(mine, set()) - set(wanted) - others, reverse=True):
        remove(new, path)
    for path, value in wanted.items():
        put(new, path, value)
    owned[mine] = set(wanted)
    note(new, owned, now)
    return new, []
