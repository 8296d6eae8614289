"""A real Prometheus scrapes a target, remote-writes into Vagus, and both answer the same queries alike.

Debian's Prometheus is made by scripts/setup-telemetry-peers. The target is a small server of this test, scraped every
second. The receiver is `vagus dev`; with REMOTE_WRITE_PEER=prometheus a second Prometheus takes its place, which checks
this test itself.
"""

import http.server
import json
import os
import random
import shutil
import threading
import time
import urllib.parse
import urllib.request

from promql_scripts import Prometheus, close, number
from vagus_process import Vagus, wait_for

SCRAPES = 12
QUERIES = [
    "jobs_total", "sum by (queue) (jobs_total)", "rate(jobs_total[5s])", "increase(jobs_total[8s])",
    "histogram_quantile(0.9, sum by (le) (rate(wait_seconds_bucket[5s])))", "topk(2, depth)",
    'depth{queue=~"a|c"}', "avg_over_time(depth[4s])", "absent(nothing)", "count(jobs_total)", "up{job=\"shop\"}",
    "max(depth) - min(depth)", "label_replace(depth, \"q\", \"$1\", \"queue\", \"(.*)\")", "resets(jobs_total[10s])",
    "wait_seconds_sum / wait_seconds_count", "deriv(depth[6s])", "changes(depth[6s])", "sort_desc(depth)",
]


class Target(http.server.BaseHTTPRequestHandler):
    """Counters, gauges and a histogram that move with every scrape."""

    random = random.Random(4)
    # Far from zero: below it, where no counter was, Prometheus 2 and 3 extrapolate otherwise.
    jobs = dict.fromkeys("abcd", 1e6)
    buckets = dict.fromkeys((0.1, 0.5, 1, "+Inf"), 1_000_000)
    total = 0.0

    def do_GET(self):
        out = ["# TYPE jobs_total counter"]
        for queue in self.jobs:
            self.jobs[queue] += self.random.randint(0, 9)
            out.append(f'jobs_total{{queue="{queue}",note="a\\"b\\\\ ä"}} {self.jobs[queue]}')
        out.append("# TYPE depth gauge")
        out += [f'depth{{queue="{queue}"}} {self.random.uniform(-5, 50)}' for queue in self.jobs]
        out.append("# TYPE wait_seconds histogram")
        took = self.random.random() * 1.5
        type(self).total += took
        for bound in self.buckets:
            self.buckets[bound] += bound == "+Inf" or took <= bound
            out.append(f'wait_seconds_bucket{{le="{bound}"}} {self.buckets[bound]}')
        out += [f"wait_seconds_sum {self.total}", f'wait_seconds_count {self.buckets["+Inf"]}', ""]
        body = "\n".join(out).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def ask(base, path, **form):
    with urllib.request.urlopen(f"{base}/api/v1/{path}", urllib.parse.urlencode(form).encode(), timeout=20) as answer:
        return json.load(answer)["data"]


def series(data):
    """{labels: [(time, value)]} of an answer."""
    return {json.dumps(one["metric"], sort_keys=True): [(at, number(v)) for at, v in one.get("values", [one.get("value")])]
            for one in data["result"]}


def alike(one, other):
    return one.keys() == other.keys() and all(
        len(one[key]) == len(other[key])
        and all(a[0] == b[0] and close(a[1], b[1]) for a, b in zip(one[key], other[key])) for key in one)


def compare(prometheus, receiver):
    """Both answers to each query, at one time and over a range."""
    end = float(int(time.time()) - 2)
    for query in QUERIES:
        for path, form in (("query", {"time": end}), ("query_range", {"start": end - 8, "end": end, "step": 1})):
            left, right = (series(ask(base, path, query=query, **form)) for base in (prometheus, receiver))
            assert alike(left, right), f"{path} {query}:\n{left}\n{right}"
    for path in ("labels", "label/queue/values"):
        left, right = (get(base, path, end) for base in (prometheus, receiver))
        assert left == right, (path, left, right)


def get(base, path, end):
    form = urllib.parse.urlencode({"match[]": '{job="shop"}', "start": end - 60, "end": end})
    with urllib.request.urlopen(f"{base}/api/v1/{path}?{form}", timeout=20) as answer:
        return json.load(answer)["data"]


class Receiver:
    """Vagus, or another Prometheus."""

    def __enter__(self):
        if os.environ.get("REMOTE_WRITE_PEER") == "prometheus":
            self.server = Prometheus()
            return self.server.__enter__()
        self.server = Vagus()
        return self.server.__enter__().url + "/prometheus"

    def __exit__(self, *error):
        self.server.__exit__(*error)


def main():
    if not shutil.which("prometheus"):
        print("test_remote_write: skipped: no prometheus (scripts/setup-telemetry-peers)")
        return
    target = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Target)
    threading.Thread(target=target.serve_forever, daemon=True).start()
    with Receiver() as receiver:
        config = f"""
global: {{ scrape_interval: 1s, evaluation_interval: 1m }}
scrape_configs:
  - job_name: shop
    static_configs: [{{ targets: ["127.0.0.1:{target.server_port}"] }}]
remote_write:
  - url: {receiver}/api/v1/write
    queue_config: {{ batch_send_deadline: 100ms }}
"""
        with Prometheus(config) as prometheus:
            arrived = f"count_over_time(up[1m]) >= {SCRAPES}"
            wait_for(lambda: ask(receiver, "query", query=arrived)["result"], 60, f"{SCRAPES} scrapes to arrive")
            # What is compared lies two seconds back: the queue's deadline is a tenth of one.
            compare(prometheus, receiver)
    target.shutdown()
    print(f"test_remote_write: passed ({len(QUERIES)} queries, at one time and over a range)")


if __name__ == "__main__":
    main()
