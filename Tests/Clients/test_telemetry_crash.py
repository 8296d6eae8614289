"""kill -9 under load: no sample, line or span that was acknowledged is lost.

    Tests/Clients/test_telemetry_crash.py [--times 5]

One thread each writes samples, lines and spans as fast as they are taken; the server is killed at a random moment and started
again on the same data folder; then everything that was acknowledged is asked for.
"""

import argparse
import json
import random
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from promql_scripts import series_bytes, snappy
from vagus_process import Vagus, wait_for


def post(url, body, kind, **headers):
    request = urllib.request.Request(url, body, {"Content-Type": kind, **headers})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.status


def get(url, **form):
    with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(form)}", timeout=60) as answer:
        return json.load(answer)


class Writer(threading.Thread):
    """Writes numbered things until the server is gone; `told` is how many were acknowledged in all."""

    def __init__(self, base, start):
        super().__init__(daemon=True)
        self.base, self.told = base, start

    def run(self):
        while True:
            try:
                self.send(self.told)
            except (OSError, urllib.error.URLError):
                return
            self.told += 1


class Samples(Writer):
    def send(self, number):
        at = 1_700_000_000_000 + number * 1000
        body = series_bytes({"__name__": "crash_total", "job": "crash"}, [(at, float(number))])
        assert post(self.base + "/prometheus/api/v1/write", snappy(body), "application/x-protobuf") == 204

    def check(self, base):
        end = 1_700_000_000 + self.told
        found = get(base + "/prometheus/api/v1/query", query=f"count_over_time(crash_total[{self.told + 10}s])", time=end)
        count = int(found["data"]["result"][0]["value"][1]) if self.told else 0
        assert count in (self.told, self.told + 1), f"{count} samples instead of {self.told}"
        return count


class Lines(Writer):
    def send(self, number):
        value = [str(time.time_ns()), f"line {number}"]
        body = json.dumps({"streams": [{"stream": {"app": "crash"}, "values": [value]}]}).encode()
        assert post(self.base + "/loki/api/v1/push", body, "application/json") == 204

    def check(self, base):
        found = get(base + "/loki/api/v1/query", query='sum(count_over_time({app="crash"}[1h]))',
                    time=str(time.time_ns() + 10**9))
        count = int(found["data"]["result"][0]["value"][1]) if self.told else 0
        assert count in (self.told, self.told + 1), f"{count} lines instead of {self.told}"
        return count


class Spans(Writer):
    def send(self, number):
        now = time.time_ns()
        span = {"traceId": f"{number + 1:032x}", "spanId": f"{number + 1:016x}", "name": "work",
                "startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 1000)}
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "crash"}}]}
        body = json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}).encode()
        assert post(self.base + "/otlp/v1/traces", body, "application/json") == 200

    def check(self, base):
        for number in random.sample(range(self.told), min(20, self.told)) + ([self.told - 1] if self.told else []):
            assert get(f"{base}/jaeger/api/traces/{number + 1:032x}")["data"], f"trace {number} is lost"
        return self.told


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    counts = [0, 0, 0]
    with Vagus() as vagus:
        for _ in range(options.times):
            writers = [kind(vagus.url, count) for kind, count in zip((Samples, Lines, Spans), counts)]
            for writer in writers:
                writer.start()
            time.sleep(random.uniform(0.2, 2))
            vagus.kill()
            for writer in writers:
                writer.join(30)
            vagus.start()
            wait_for(lambda: get(vagus.url + "/prometheus/api/v1/labels"), 20, "the server to answer")
            counts = [writer.check(vagus.url) for writer in writers]
    print(f"test_telemetry_crash: passed ({options.times} kills; {counts[0]} samples, {counts[1]} lines, {counts[2]} spans)")


if __name__ == "__main__":
    main()
