"""A full disk under the store of telemetry: what was acknowledged stays, refusals say so, and it goes on once there is room.

Mounts a small file system in a mount namespace of its own, so it needs root (or a user namespace); without, it says so and passes.
"""

import json
import os
import pathlib
import random
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

from promql_scripts import series_bytes, snappy
from vagus_process import Vagus, wait_for

INSIDE = "--inside"
SIZE = 48 << 20
# What is left to the store before the disk is full.
LEFT = 3 << 20
# So many answers in a row that refuse are a full disk.
REFUSALS = 5


def post(url, body, kind):
    """Status, Retry-After and text of the answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": kind}), timeout=30) as answer:
            return answer.status, None, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("Retry-After"), error.read().decode(errors="replace")


def get(url, **form):
    with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(form)}", timeout=60) as answer:
        return json.load(answer)


def noise(number, count):
    """Bytes that do not compress, the same for a number each time: a sender repeats what was refused as it was."""
    return random.Random(number).randbytes(count).hex()


class Kind:
    """One kind of telemetry: sends the next numbers, counts those that are there."""

    at_once = 500

    def __init__(self):
        self.told = self.sent = 0
        self.refused = []

    def send(self, base):
        """Sends the next ones, or those that were refused last time again; whether they were taken."""
        numbers = range(self.told, self.told + self.at_once)
        self.sent = max(self.sent, numbers.stop)
        status, after, text = post(*self.request(base, numbers))
        if status // 100 == 2:
            self.told = numbers.stop
            return True
        self.refused.append((status, after, text))
        return False

    def look(self, base):
        count = self.count(base)
        name = type(self).__name__.lower()
        assert count >= self.told, f"{count} {name}, but {self.told} were acknowledged"
        return count


class Samples(Kind):
    start = int(time.time() * 1000) - 600_000

    def request(self, base, numbers):
        body = b"".join(
            series_bytes({"__name__": "full_total", "n": str(number), "pad": f"{number:0200d}"}, [(self.start, number / 7)])
            for number in numbers)
        return base + "/prometheus/api/v1/write", snappy(body), "application/x-protobuf"

    def count(self, base):
        found = get(base + "/prometheus/api/v1/query", query="count(full_total)", time=self.start / 1000)["data"]["result"]
        return int(found[0]["value"][1]) if found else 0


class Lines(Kind):
    start = time.time_ns() - 600 * 10**9

    def request(self, base, numbers):
        values = [[str(self.start + number * 1000), f"line {number} {noise(number, 200)}"] for number in numbers]
        body = json.dumps({"streams": [{"stream": {"app": "full"}, "values": values}]}).encode()
        return base + "/loki/api/v1/push", body, "application/json"

    def count(self, base):
        # A batch that was refused may have been written in part: its lines are the same when they come again.
        found = get(base + "/loki/api/v1/query", query='sum(count_over_time({app="full"}[1h]))', time=str(time.time_ns()))
        return int(found["data"]["result"][0]["value"][1]) if found["data"]["result"] else 0


class Spans(Kind):
    start = time.time_ns() - 600 * 10**9

    def request(self, base, numbers):
        spans = [{"traceId": f"{number + 1:032x}", "spanId": f"{number + 1:016x}", "name": "work",
                  "startTimeUnixNano": str(self.start + number), "endTimeUnixNano": str(self.start + number + 1000),
                  "attributes": [{"key": "pad", "value": {"stringValue": noise(number, 100)}}]} for number in numbers]
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "full"}}]}
        body = json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}).encode()
        return base + "/otlp/v1/traces", body, "application/json"

    def count(self, base):
        for number in [*random.sample(range(self.told), min(50, self.told)), self.told - 1]:
            try:
                get(f"{base}/jaeger/api/traces/{number + 1:032x}")
            except urllib.error.HTTPError as error:
                raise AssertionError(f"the span of trace {number} was acknowledged and is lost") from error
        return self.told


def fill(vagus, kinds):
    """Writes each kind until the disk is full for it."""
    for kind in kinds:
        while len(kind.refused) < REFUSALS:
            kind.send(vagus.url)
        for status, after, text in kind.refused:
            assert status in (429, 503), f"{type(kind).__name__}: {status} {text[:300]}"
            assert after is not None, f"{type(kind).__name__}: {status} without Retry-After"
            assert text.strip(), f"{type(kind).__name__}: {status} without a word"


def inside():
    vagus = Vagus()
    place = pathlib.Path(vagus.data) / "telemetry"
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", place], check=True)
    with vagus:
        try:
            told = run(vagus, place)
        finally:
            vagus.stop()
            subprocess.run(["umount", place], check=False)
    print(f"test_telemetry_full_disk: passed ({told})")


def run(vagus, place):
    kinds = [Samples(), Lines(), Spans()]
    for kind in kinds:
        assert kind.send(vagus.url), f"{type(kind).__name__}: {kind.refused}"
    ballast, room = place / "ballast", os.statvfs(place)
    with open(ballast, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - LEFT)
    fill(vagus, kinds)
    for kind in kinds:
        kind.look(vagus.url)
    status, _, text = kinds[0].refused[-1]
    ballast.unlink()
    for kind in kinds:
        try:
            wait_for(lambda: kind.send(vagus.url), 20, f"{type(kind).__name__} to be taken again")
        except AssertionError as error:
            raise AssertionError(f"{error}: {kind.refused[-1]}") from error
        kind.look(vagus.url)
    vagus.kill()
    vagus.start()
    wait_for(lambda: get(vagus.url + "/prometheus/api/v1/labels"), 20, "the server to answer")
    counts = [kind.look(vagus.url) for kind in kinds]
    return f"{counts[0]} samples, {counts[1]} lines, {counts[2]} spans kept; refused with {status}: {text.strip()[:120]}"


def main():
    if INSIDE in sys.argv:
        return inside()
    enter = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*enter, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True).returncode != 0:
        print("test_telemetry_full_disk: passed (left out: no mount namespace here)")
        return None
    sys.exit(subprocess.run([*enter, sys.executable, __file__, INSIDE]).returncode)


if __name__ == "__main__":
    main()
