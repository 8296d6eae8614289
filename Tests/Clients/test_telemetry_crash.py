"""kill -9 under load: no sample, line or span that was acknowledged is lost.

    Tests/Clients/test_telemetry_crash.py [--times 5]

One thread each writes samples, lines and spans as fast as they are taken, up to fifty a request; the server is killed at a
random moment and started again on the same data folder; then everything that was acknowledged is asked for.
"""

import argparse
import http.client
import json
import random
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from promql_scripts import series_bytes, snappy
from vagus_process import Vagus, wait_for

# Things in one request.
AT_ONCE = 50


def post(url, body, kind, **headers):
    request = urllib.request.Request(url, body, {"Content-Type": kind, **headers})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.status


def get(url, **form):
    with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(form)}", timeout=60) as answer:
        return json.load(answer)


class Writer(threading.Thread):
    """Writes numbered things until the server is gone.

    `told` is how many were acknowledged in all, `sent` how many at most were sent: what lies between may be there or not.
    """

    def __init__(self, base, start):
        super().__init__(daemon=True)
        self.base, self.start_at, self.told, self.sent = base, start, start, start
        self.refused = None

    def run(self):
        while True:
            count = random.randint(1, AT_ONCE)
            self.sent = self.told + count
            try:
                self.send(range(self.told, self.sent))
            except urllib.error.HTTPError as error:
                self.refused = error
                return
            except (OSError, http.client.HTTPException):
                return
            self.told = self.sent

    def look(self, base):
        """How many are there; fails when an acknowledged one is not."""
        assert self.refused is None, f"the server refused: {self.refused}"
        count = self.count(base) if self.sent else 0
        what = type(self).__name__.lower()
        assert self.told <= count <= self.sent, f"{count} {what}, but {self.told} were acknowledged and {self.sent} sent"
        return count


class Samples(Writer):
    def send(self, numbers):
        points = [(1_700_000_000_000 + number * 1000, float(number)) for number in numbers]
        body = series_bytes({"__name__": "crash_total", "job": "crash"}, points)
        assert post(self.base + "/prometheus/api/v1/write", snappy(body), "application/x-protobuf") == 204

    def count(self, base):
        found = get(base + "/prometheus/api/v1/query", query=f"count_over_time(crash_total[{self.sent + 10}s])",
                    time=1_700_000_000 + self.sent)
        return int(found["data"]["result"][0]["value"][1])


class Lines(Writer):
    def send(self, numbers):
        now = time.time_ns()
        values = [[str(now + place), f"line {number}"] for place, number in enumerate(numbers)]
        body = json.dumps({"streams": [{"stream": {"app": "crash"}, "values": values}]}).encode()
        assert post(self.base + "/loki/api/v1/push", body, "application/json") == 204

    def count(self, base):
        found = get(base + "/loki/api/v1/query", query='sum(count_over_time({app="crash"}[2h]))',
                    time=str(time.time_ns() + 10**9))
        return int(found["data"]["result"][0]["value"][1])


class Spans(Writer):
    def send(self, numbers):
        now = time.time_ns()
        spans = [{"traceId": f"{number + 1:032x}", "spanId": f"{number + 1:016x}", "name": "work",
                  "startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 1000)} for number in numbers]
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "crash"}}]}
        body = json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}).encode()
        assert post(self.base + "/otlp/v1/traces", body, "application/json") == 200

    def count(self, base):
        """Looks for some of what is older, and for all of this round."""
        older = random.sample(range(self.start_at), min(20, self.start_at))
        for number in [*older, *range(self.start_at, self.told)]:
            try:
                assert get(f"{base}/jaeger/api/traces/{number + 1:032x}")["data"]
            except urllib.error.HTTPError as error:
                raise AssertionError(f"the span of trace {number} was acknowledged and is lost") from error
        return self.told


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--times", type=int, default=5, help="how many kills")
    options = parser.parse_args()
    counts = [0, 0, 0]
    with Vagus() as vagus:
        for number in range(1, options.times + 1):
            writers = [kind(vagus.url, count) for kind, count in zip((Samples, Lines, Spans), counts)]
            for writer in writers:
                writer.start()
            time.sleep(random.uniform(0.05, 2))
            vagus.kill()
            for writer in writers:
                writer.join(30)
            vagus.start()
            wait_for(lambda: get(vagus.url + "/prometheus/api/v1/labels"), 20, "the server to answer")
            counts = [writer.look(vagus.url) for writer in writers]
            if number % 10 == 0:
                print(f"{number} kills: {counts[0]} samples, {counts[1]} lines, {counts[2]} spans", flush=True)
    print(f"test_telemetry_crash: passed ({options.times} kills; {counts[0]} samples, {counts[1]} lines, {counts[2]} spans)")


if __name__ == "__main__":
    main()
