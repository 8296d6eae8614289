"""The node of kubernetes_fake: a scheduler and a kubelet that run pods as processes of this machine, on loopback.

A pod has an address of 127.0.0.0/8 of its own, and its container is a process group in a folder of its own. There are no
images: the known ones are names, whose entrypoint is the command itself. What is as in a cluster: phases, container states,
back-off of images, secrets, $(VAR), SIGTERM to the first process only, SIGKILL to all, commands that outlive their caller.
"""

import base64
import os
import re
import shutil
import signal
import subprocess
import threading
import time

from kubernetes_cluster import now

CGROUPS = "/sys/fs/cgroup/memory"
IMAGE_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?")
UNITS = {"": 1, "m": 0.001, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2 ** 10, "Mi": 2 ** 20, "Gi": 2 ** 30}


def quantity(text):
    number, unit = re.fullmatch(r"([0-9.]+)([a-zA-Z]*)", str(text)).groups()
    return float(number) * UNITS[unit]


def expand(text, variables):
    """$(NAME) of what is known, and $$ for a dollar, as in kubernetes/third_party/forked/golang/expansion."""
    def one(found):
        if found.group(0) == "$$":
            return "$"
        return variables.get(found.group(1), found.group(0))
    return re.sub(r"\$\$|\$\(([^)]*)\)", one, text)


class Container:
    """A process group, from its start to its end."""

    def __init__(self, folder, argv, environment, limit):
        self.folder, self.environment = folder, environment
        os.makedirs(f"{folder}/root", exist_ok=True)
        self.log = f"{folder}/log"
        self.cgroup = None
        if limit and os.access(CGROUPS, os.W_OK):
            self.cgroup = f"{CGROUPS}/{os.path.basename(folder)}"
            os.makedirs(self.cgroup, exist_ok=True)
            with open(f"{self.cgroup}/memory.limit_in_bytes", "w") as file:
                file.write(str(int(limit)))
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                self.wrapped(argv), cwd=f"{folder}/root", env=environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True)
        self.started = now()

    def wrapped(self, argv):
        if not self.cgroup:
            return argv
        return ["/bin/sh", "-c", f'echo $$ > {self.cgroup}/cgroup.procs; exec "$@"', "sh", *argv]

    def kill(self, number):
        """SIGTERM goes to the first process, SIGKILL to all."""
        try:
            if number == signal.SIGKILL:
                os.killpg(self.process.pid, number)
            else:
                self.process.send_signal(number)
        except ProcessLookupError:
            pass

    def sweep(self):
        """With its first process a container's others end, wherever they have gone: they know its folder as their own."""
        mark = f"VAGUS_FAKE_CONTAINER={self.folder}".encode()
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    if mark in file.read().split(b"\0"):
                        os.kill(int(pid), signal.SIGKILL)
            except OSError:
                pass

    @property
    def was_out_of_memory(self):
        if not self.cgroup:
            return False
        with open(f"{self.cgroup}/memory.oom_control") as file:
            return "oom_kill 0" not in file.read()

    def forget(self):
        if self.cgroup:
            for _ in range(50):
                try:
                    os.rmdir(self.cgroup)
                    break
                except OSError:
                    time.sleep(0.02)


class Node:
    """One node with some processors and memory."""
    name, cpus, memory = "lab-node-1", 4, 2 ** 33

    def __init__(self, cluster, folder, images):
        self.cluster, self.folder, self.images = cluster, folder, set(images)
        self.containers = {}  # uid -> Container
        self.addresses = {}
        self.count = 0
        self.seed = os.getpid() % 200 + 20
        self.is_ended = False
        self.thread = threading.Thread(target=self.loop, daemon=True)

    def start(self):
        self.thread.start()

    def end(self):
        self.is_ended = True
        self.thread.join()
        for container in self.containers.values():
            container.kill(signal.SIGKILL)
            container.process.wait()
            container.sweep()
            container.forget()

    def loop(self):
        while not self.is_ended:
            with self.cluster.lock:
                pods = [pod for pod in self.cluster.all("pods")]
            for pod in pods:
                self.reconcile(pod["metadata"]["namespace"], pod["metadata"]["name"])
            known = {pod["metadata"]["uid"] for pod in pods}
            for uid in [uid for uid in self.containers if uid not in known]:
                self.lost(uid)
            time.sleep(0.02)

    def lost(self, uid):
        """Its pod was deleted with no grace: the container is ended all the same, a little later."""
        with self.cluster.lock:
            if any(pod["metadata"]["uid"] == uid for pod in self.cluster.all("pods")):
                return
        container = self.containers.pop(uid)
        container.kill(signal.SIGKILL)
        container.process.wait()
        container.sweep()
        container.forget()

    def reconcile(self, namespace, name):
        with self.cluster.lock:
            pod = self.cluster.find("pods", namespace, name)
            if pod is None:
                return
            uid, status = pod["metadata"]["uid"], pod["status"]
            container = self.containers.get(uid)
            going = pod["metadata"].get("deletionTimestamp")
            if status.get("phase") in ("Succeeded", "Failed"):
                if going:
                    self.finish(pod, container)
                return
            if container is None:
                if going:
                    return self.finish(pod, None)
                return self.begin(pod)
            if container.process.poll() is None:
                if going:
                    self.ask_to_end(pod, container)
                return
        # Ended: not under the lock, as it looks at all processes.
        container.sweep()
        with self.cluster.lock:
            pod = self.cluster.find("pods", namespace, name)
            if pod and pod["metadata"]["uid"] == uid:
                self.ended(pod, container)

    # What comes

    def schedule(self, pod):
        def asked(one, what):
            return sum(quantity(part.get("resources", {}).get("requests", {}).get(what, 0)) for part in one["spec"]["containers"])
        others = [one for one in self.cluster.all("pods") if one["spec"].get("nodeName")
                  and one["status"].get("phase") not in ("Succeeded", "Failed")]
        lacking = [title for what, title, room in (("cpu", "Insufficient cpu", self.cpus), ("memory", "Insufficient memory", self.memory))
                   if asked(pod, what) + sum(asked(one, what) for one in others) > room]
        if lacking:
            self.condition(pod, "PodScheduled", "False", "Unschedulable",
                           f"0/1 nodes are available: {', '.join('1 ' + one for one in lacking)}. preemption: 0/1 nodes are available: "
                           "1 No preemption victims found for incoming pod.")
            return False
        pod["spec"]["nodeName"] = self.name
        self.condition(pod, "PodScheduled", "True")
        pod["status"].update({"hostIP": "127.0.0.1", "startTime": now(), "phase": "Pending"})
        return True

    def begin(self, pod):
        if not pod["spec"].get("nodeName") and not self.schedule(pod):
            return
        spec, uid = pod["spec"]["containers"][0], pod["metadata"]["uid"]
        policy = spec.get("imagePullPolicy", "IfNotPresent")
        if not IMAGE_NAME.fullmatch(spec["image"]):
            return self.waits(pod, "InvalidImageName", f'Failed to apply default image tag "{spec["image"]}": couldn\'t parse image name')
        if spec["image"] not in self.images:
            if policy == "Never":
                return self.waits(pod, "ErrImageNeverPull", f'Container image "{spec["image"]}" is not present with pull policy of Never')
            if self.waiting(pod) is None:
                return self.waits(pod, "ErrImagePull", f'failed to pull and unpack image "{spec["image"]}": not found')
            return self.waits(pod, "ImagePullBackOff", f'Back-off pulling image "{spec["image"]}"')
        try:
            if uid not in self.addresses:
                self.count += 1
                self.addresses[uid] = f"127.{self.seed}.{self.count // 250}.{self.count % 250 + 1}"
            variables = self.variables(pod, spec)
        except KeyError as error:
            return self.waits(pod, "CreateContainerConfigError", str(error.args[0]))
        argv = [expand(word, variables) for word in spec.get("command", []) + spec.get("args", [])]
        limit = spec.get("resources", {}).get("limits", {}).get("memory")
        folder = f"{self.folder}/{uid}"
        own = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOSTNAME": pod["metadata"]["name"], "VAGUS_FAKE_CONTAINER": folder}
        try:
            container = Container(folder, argv, {**own, **variables}, limit and quantity(limit))
        except (OSError, IndexError) as error:
            status = {"terminated": {"exitCode": 128, "reason": "StartError", "message": str(error), "startedAt": now(), "finishedAt": now()}}
            return self.state(pod, "Failed", status, False)
        self.containers[uid] = container
        pod["status"]["podIP"] = self.addresses[uid]
        pod["status"]["podIPs"] = [{"ip": self.addresses[uid]}]
        self.state(pod, "Running", {"running": {"startedAt": container.started}}, True)

    def variables(self, pod, spec):
        variables = {}
        for entry in spec.get("env", []):
            source = entry.get("valueFrom")
            if source is None:
                variables[entry["name"]] = expand(entry.get("value", ""), variables)
            elif "secretKeyRef" in source:
                wanted = source["secretKeyRef"]
                secret = self.cluster.find("secrets", pod["metadata"]["namespace"], wanted["name"])
                if secret is None:
                    raise KeyError(f'secret "{wanted["name"]}" not found')
                if wanted["key"] not in secret.get("data", {}):
                    raise KeyError(f'couldn\'t find key {wanted["key"]} in Secret {pod["metadata"]["namespace"]}/{wanted["name"]}')
                variables[entry["name"]] = base64.b64decode(secret["data"][wanted["key"]]).decode()
            else:
                path = source["fieldRef"]["fieldPath"]
                known = {"status.podIP": self.addresses[pod["metadata"]["uid"]], "metadata.name": pod["metadata"]["name"],
                         "metadata.namespace": pod["metadata"]["namespace"]}
                variables[entry["name"]] = known[path]
        return variables

    # What goes

    def ask_to_end(self, pod, container):
        grace = pod["metadata"].get("deletionGracePeriodSeconds", 30)
        if not hasattr(container, "asked"):
            container.asked = time.monotonic()
            container.kill(signal.SIGTERM)
        elif time.monotonic() - container.asked > grace:
            container.kill(signal.SIGKILL)

    def ended(self, pod, container):
        code = container.process.returncode
        code = 128 - code if code < 0 else code
        reason = "OOMKilled" if container.was_out_of_memory else "Completed" if code == 0 else "Error"
        self.state(pod, "Succeeded" if code == 0 else "Failed",
                   {"terminated": {"exitCode": code, "reason": reason, "startedAt": container.started, "finishedAt": now()}}, False)
        if pod["metadata"].get("deletionTimestamp"):
            self.finish(pod, container)

    def finish(self, pod, container):
        """Its containers are gone, and so it may be."""
        if container is not None:
            container.forget()
            self.containers.pop(pod["metadata"]["uid"], None)
        if not pod["metadata"].get("finalizers"):
            self.cluster.drop("pods", pod)

    # What is told

    def waiting(self, pod):
        states = pod["status"].get("containerStatuses", [])
        return states[0]["state"].get("waiting") if states else None

    def waits(self, pod, reason, message):
        if (self.waiting(pod) or {}).get("reason") != reason:
            self.state(pod, "Pending", {"waiting": {"reason": reason, "message": message}}, False)

    def state(self, pod, phase, state, is_ready):
        spec = pod["spec"]["containers"][0]
        pod["status"].update({"phase": phase, "containerStatuses": [{
            "name": spec["name"], "image": spec["image"], "imageID": "", "ready": is_ready, "started": is_ready, "restartCount": 0,
            "state": state, "lastState": {}}]})
        self.condition(pod, "Ready", "True" if is_ready else "False")

    def condition(self, pod, kind, status, reason=None, message=None):
        conditions = pod["status"].setdefault("conditions", [])
        old = next((one for one in conditions if one["type"] == kind), None)
        new = {"type": kind, "status": status, "lastTransitionTime": now(), **({"reason": reason, "message": message} if reason else {})}
        if old and all(old.get(key) == new.get(key) for key in ("status", "reason", "message")) and kind != "Ready":
            return
        conditions[:] = [one for one in conditions if one["type"] != kind] + [new]
        self.cluster.touch("pods", pod)

    def clear(self):
        shutil.rmtree(self.folder, ignore_errors=True)
