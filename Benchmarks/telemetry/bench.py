#!/usr/bin/env python3
"""Telemetry: Vagus beside Debian's Prometheus and VictoriaMetrics, one after the other in one run, with the same bytes.

    Benchmarks/telemetry/bench.py [--servers vagus,prometheus,victoria-metrics] [--sizes 10000x240,100000x40]
                                  [--rounds 20] [--logs 500000] [--spans 200000] [--out FILE]

A size is series x scrapes, 15 s apart, the last one two to four hours ago, at the end of a range that becomes a block. All
remote-write bodies are made before anything is timed; each has 2,000 samples of one scrape, half of them counters, half
buckets of histograms. They are sent over one connection, one after the other. CPU seconds are those of the server's process
(/proc/PID/stat), from start to the end of writing; memory is its peak (VmHWM) after the queries. "WAL" is what the
write-ahead log holds after writing, "block" the size of a block of all samples: Vagus writes it within two minutes of the
first sample that is newer (the same queries are then asked of the block: the second line), Prometheus for a snapshot;
VictoriaMetrics keeps no such log: its data folder after a merge. Queries are asked as many times as there are rounds, without
caches of results where they can be switched off, and the median is told.
Peers are installed by scripts/setup-telemetry-peers; Python by scripts/setup (.venv-clients: numpy, cramjam).
"""
import argparse
import http.client
import json
import pathlib
import statistics
import subprocess
import sys
import time
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).resolve()
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent.parent.parent / "Tests/Clients")]
import bench  # noqa: E402
import cramjam  # noqa: E402
import numpy  # noqa: E402
import promql_scripts as wire  # noqa: E402

INTERVAL, PER_REQUEST, BUCKETS = 15_000, 2_000, 10
# What the two servers with blocks of a fixed range put in one, in milliseconds.
BLOCK_RANGE = 7_200_000
QUERIES = [
    ("sum by", "query", "sum by (path) (http_requests_total)"),
    ("rate 1h@15s", "query_range", "sum by (job) (rate(http_requests_total[5m]))"),
    ("quantile 1h@15s", "query_range", "histogram_quantile(0.99, sum by (le) (rate(request_seconds_bucket[5m])))"),
    ("topk", "query", "topk(10, rate(http_requests_total[5m]))"),
    ("regex", "query", 'count(http_requests_total{path=~"/api/v1/item-(1|2).*"})'),
]


# Payloads


def label_sets(count):
    for index in range(count // 2):
        yield {"__name__": "http_requests_total", "code": "200", "instance": f"host-{index % 200}:9100", "job": "api",
               "method": "GET", "path": f"/api/v1/item-{index // 200}"}
    for index in range(count - count // 2):
        bucket = index % BUCKETS
        le = "+Inf" if bucket == BUCKETS - 1 else repr(0.01 * 2 ** bucket)
        yield {"__name__": "request_seconds_bucket", "handler": f"h-{index // BUCKETS // 200}",
               "instance": f"host-{index // BUCKETS % 200}:9100", "job": "api", "le": le}


class Part:
    """The body of one request as a template, in which values and times are put in place."""

    def __init__(self, labels, at):
        body, self.values, self.times = bytearray(), [], []
        for one in labels:
            series = b"".join(wire.message(1, wire.text(1, n) + wire.text(2, v)) for n, v in sorted(one.items()))
            sample = wire.double(1, 0.0) + wire.field(2, 0, wire.varint(at))
            whole = wire.message(1, series + wire.message(2, sample))
            end = len(body) + len(whole)
            self.values.append(end - len(sample) + 1)
            self.times.append(end - 6)
            body += whole
        assert len(wire.varint(at)) == 6
        self.body = numpy.frombuffer(bytes(body), dtype=numpy.uint8).copy()
        self.values = numpy.array(self.values)[:, None] + numpy.arange(8)
        self.times = numpy.array(self.times)[:, None] + numpy.arange(6)

    def filled(self, values, at):
        self.body[self.values] = values.astype("<f8").view(numpy.uint8).reshape(-1, 8)
        self.body[self.times] = numpy.frombuffer(wire.varint(at), dtype=numpy.uint8)
        return bytes(cramjam.snappy.compress_raw(self.body.tobytes()))


def payloads(series, scrapes, end):
    """Bodies, oldest first: a list for each scrape."""
    start = end - (scrapes - 1) * INTERVAL
    labels = list(label_sets(series))
    parts = [Part(labels[i:i + PER_REQUEST], start) for i in range(0, series, PER_REQUEST)]
    random = numpy.random.default_rng(4)
    values = random.integers(0, 1_000_000, series).astype(float)
    # Buckets of one histogram ascend.
    steps = random.integers(0, 30, series)
    for scrape in range(scrapes):
        grown = random.poisson(steps)
        half = series // 2
        tail = grown[half:][: (series - half) // BUCKETS * BUCKETS].reshape(-1, BUCKETS)
        grown[half:half + tail.size] = numpy.cumsum(tail, axis=1).ravel()
        values += grown
        at = start + scrape * INTERVAL
        yield [part.filled(values[i * PER_REQUEST:(i + 1) * PER_REQUEST], at) for i, part in enumerate(parts)]


# Servers


class Server:
    """A server on a free port with a data folder of its own."""

    prefix, extra = "", {}

    def __init__(self, folder):
        self.folder, self.port = folder / self.name, bench.free_port()
        self.folder.mkdir(exist_ok=True)

    def __enter__(self):
        self.log = open(self.folder / "log", "w")
        self.process = subprocess.Popen(self.command(), stdout=self.log, stderr=self.log, cwd=self.folder)
        bench.until(self.is_ready, 60, f"{self.name} to be ready")
        return self

    def __exit__(self, *_):
        bench.stop(self.process)
        self.log.close()

    def is_ready(self):
        try:
            self.get(self.ready)
            return True
        except OSError:
            return False

    def get(self, path, data=None):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", data, timeout=300) as answer:
            return answer.read()

    def cpu(self):
        return bench.cpu(bench.tree(self.process.pid))

    def peak(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in text.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024

    def post_all(self, path, bodies, headers):
        """Sends the bodies one after the other; a 429 is obeyed. Returns (CPU seconds, wall seconds)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        cpu, wall = self.cpu(), time.monotonic()
        for body in bodies:
            while True:
                connection.request("POST", path, body, headers)
                answer = connection.getresponse()
                said = answer.read()
                if answer.status != 429:
                    break
                time.sleep(float(answer.headers.get("Retry-After", 1)))
            if answer.status // 100 != 2:
                sys.exit(f"{self.name}: {answer.status} {said[:500]}")
        return self.cpu() - cpu, time.monotonic() - wall

    def write(self, bodies):
        return self.post_all(self.prefix + "/api/v1/write", bodies, {
            "Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0"})

    def query(self, path, query, end, seconds=3600, step=15):
        form = {"query": query, "time": end / 1000} if path == "query" else {
            "query": query, "start": end / 1000 - seconds, "end": end / 1000, "step": step}
        data = urllib.parse.urlencode({**form, **self.extra}).encode()
        began = time.monotonic()
        answer = self.get(f"{self.prefix}/api/v1/{path}", data)
        took = time.monotonic() - began
        result = json.loads(answer)["data"]["result"]
        if not result:
            sys.exit(f"{self.name}: {query} found nothing")
        return took, result


class Prometheus(Server):
    name, ready = "prometheus", "/-/ready"

    def command(self):
        (self.folder / "prometheus.yml").write_text("")
        return ["prometheus", f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/data",
                f"--web.listen-address=127.0.0.1:{self.port}", "--web.enable-remote-write-receiver",
                "--web.enable-admin-api", "--log.level=error"]

    def version(self):
        told = subprocess.run(["prometheus", "--version"], capture_output=True, text=True)
        return (told.stdout + told.stderr).split("version ")[1].split("+")[0].split(",")[0]

    def disk(self):
        wal = size(self.folder / "data/wal")
        name = json.loads(self.get("/api/v1/admin/tsdb/snapshot", b""))["data"]["name"]
        return wal, size(self.folder / "data/snapshots" / name)


class VictoriaMetrics(Server):
    name, ready, extra = "victoria-metrics", "/health", {"nocache": "1"}

    def command(self):
        return ["victoria-metrics", f"-storageDataPath={self.folder}/data", f"-httpListenAddr=127.0.0.1:{self.port}",
                "-retentionPeriod=100y", "-search.latencyOffset=0s", "-loggerLevel=ERROR"]

    def version(self):
        told = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "victoria-metrics"], capture_output=True, text=True)
        return told.stdout.split("+")[0]

    def disk(self):
        self.get("/internal/force_flush")
        self.get("/internal/force_merge")
        # The merge goes on behind the answer: the folder is looked at until it stays as it is.
        last = -1
        while (now := size(self.folder / "data/data") + size(self.folder / "data/indexdb")) != last:
            last = now
            time.sleep(2)
        return None, now

    def settle(self):
        self.get("/internal/force_flush")


class Vagus(Server):
    name, ready, prefix = "vagus", "/prometheus/-/ready", "/prometheus"

    def command(self):
        return [str(bench.VAGUS), "dev", "--data", str(self.folder / "data"), "--listen", f"127.0.0.1:{self.port}",
                "--proxy-listen", f"127.0.0.1:{bench.free_port()}"]

    def version(self):
        return bench.commit()

    def disk(self):
        wal = size(self.folder / "data/telemetry/metrics/wal")
        place = self.folder / "data/telemetry/metrics/blocks"
        newer = wire.series_bytes({"__name__": "newer"}, [(int(time.time() * 1000), 1.0)])
        self.write([bytes(cramjam.snappy.compress_raw(newer))])
        bench.until(lambda: any(place.glob("block-*/meta")), 200, "the block of what is old", every=0.5)
        return wal, size(place)


def size(folder):
    return sum(place.stat().st_size for place in pathlib.Path(folder).rglob("*") if place.is_file())


SERVERS = {kind.name: kind for kind in (Vagus, Prometheus, VictoriaMetrics)}


# Measuring


def measure(kind, bodies, samples, end, rounds):
    """Rows of the table, and how many series each query found."""
    with bench.workplace() as folder, kind(folder) as server:
        bench.say(f"{server.name}: {len(bodies)} requests, {samples / 1e6:.1f} M samples")
        cpu, wall = server.write(bodies)
        if hasattr(server, "settle"):
            server.settle()
        medians, results = ask(server, end, rounds)
        peak = server.peak()
        wal, block = server.disk()
        per = lambda amount: "–" if amount is None else f"{amount / samples:.2f}"
        rows = [[f"{server.name} {server.version()}", f"{samples / cpu / 1000:,.0f}k", f"{samples / wall / 1000:,.0f}k",
                 f"{peak / 2**20:,.0f}", per(wal), per(block), *medians]]
        if isinstance(server, Vagus):
            again, found = ask(server, end, rounds)
            rows.append([f"{server.name}, from the block", "", "", "", "", "", *again])
            if found != results:
                sys.exit(f"the block answers with {found} series, memory did with {results}")
        return rows, results


def ask(server, end, rounds):
    """The queries' medians in milliseconds, as text, and how many series each found."""
    medians, results = [], []
    for _, path, query in QUERIES:
        taken = [server.query(path, query, end) for _ in range(rounds)]
        medians.append(f"{statistics.median(took for took, _ in taken) * 1000:,.1f}")
        results.append(len(taken[0][1]))
    return medians, results


def log_bodies(count):
    """Loki pushes in JSON, a thousand lines each, twenty streams."""
    now, bodies = time.time_ns() - 60 * 10**9, []
    for start in range(0, count, 1000):
        streams = {}
        for index in range(start, min(start + 1000, count)):
            line = (f'level=info ts={index} msg="request served" path=/api/v1/item-{index % 977} status=200 '
                    f'took={index % 113}ms trace={index * 2654435761 % 2**64:016x}')
            streams.setdefault(index % 20, []).append([str(now + index * 1000), line])
        bodies.append(json.dumps({"streams": [
            {"stream": {"app": "api", "pod": f"pod-{n}"}, "values": values} for n, values in streams.items()]}).encode())
    return bodies


def span_bodies(count):
    """OTLP exports in protobuf, five hundred spans each, six attributes a span."""
    text = lambda n, key, value: wire.message(n, wire.text(1, key) + wire.message(2, wire.text(1, value)))
    now, bodies = time.time_ns() - 60 * 10**9, []
    for start in range(0, count, 500):
        spans = bytearray()
        for index in range(start, min(start + 500, count)):
            trace = (index // 8 + 1).to_bytes(16, "big")
            fixed = lambda n, value: wire.field(n, 1, value.to_bytes(8, "little"))
            span = (wire.message(1, trace) + wire.message(2, (index + 1).to_bytes(8, "big")) + wire.text(5, "GET /api/v1/item")
                    + wire.field(6, 0, b"\x02") + fixed(7, now + index * 1000) + fixed(8, now + index * 1000 + 5_000_000))
            if index % 8:
                span += wire.message(4, (index // 8 * 8 + 1).to_bytes(8, "big"))
            for key, value in (("http.method", "GET"), ("http.route", "/api/v1/item"), ("http.status_code", "200"),
                               ("net.peer.name", f"host-{index % 200}"), ("user.agent", "bench/1"), ("n", str(index))):
                span += text(9, key, value)
            spans += wire.message(2, span)
        resource = wire.message(1, text(1, "service.name", f"shop-{start // 500 % 5}"))
        bodies.append(wire.message(1, resource + wire.message(2, bytes(spans))))
    return bodies


def measure_others(lines, spans):
    """Rows of logs and spans, of Vagus alone."""
    rows = []
    with bench.workplace() as folder, Vagus(folder) as server:
        for what, count, path, kind, bodies in (
                ("log lines", lines, "/loki/api/v1/push", "application/json", log_bodies(lines)),
                ("spans", spans, "/otlp/v1/traces", "application/x-protobuf", span_bodies(spans))):
            if not count:
                continue
            bench.say(f"vagus: {count} {what}")
            cpu, wall = server.post_all(path, bodies, {"Content-Type": kind})
            rows.append([what, f"{count:,}", f"{count / wall:,.0f}", f"{count / cpu:,.0f}", f"{server.peak() / 2**20:,.0f}"])
    return rows


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "|" + "|".join(["---"] + ["---:"] * (len(heads) - 1)) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--servers", default=",".join(SERVERS))
    parser.add_argument("--sizes", default="10000x240,100000x40")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--logs", type=int, default=500_000, help="log lines for Vagus; 0 leaves them out")
    parser.add_argument("--spans", type=int, default=200_000, help="spans for Vagus; 0 leaves them out")
    parser.add_argument("--out", type=pathlib.Path, help="a Markdown file")
    options = parser.parse_args()
    servers = [SERVERS[name] for name in options.servers.split(",")]
    if Vagus in servers and not bench.VAGUS.exists():
        sys.exit(f"{bench.VAGUS} is missing; run: make bench (or set VAGUS_BINARY, or name other --servers)")
    page = ["# Telemetry beside Prometheus and VictoriaMetrics", "",
            f"- Command: `Benchmarks/telemetry/bench.py {' '.join(sys.argv[1:])}`",
            f"- Date: {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC; tree {bench.commit()}",
            f"- Machine: {bench.machine()}", ""]
    for wanted in options.sizes.split(","):
        series, scrapes = map(int, wanted.split("x"))
        end = (int(time.time() * 1000) // BLOCK_RANGE - 1) * BLOCK_RANGE - 60_000
        bodies, samples = [body for scrape in payloads(series, scrapes, end) for body in scrape], series * scrapes
        rows, shapes = [], {}
        for kind in servers:
            measured, shapes[kind.name] = measure(kind, bodies, samples, end, options.rounds)
            rows += measured
        heads = ["server", "samples / CPU s", "samples / s", "RSS peak MiB", "WAL B/sample", "block B/sample"]
        page += [f"## {series:,} series × {scrapes} scrapes", "", *table(heads + [f"{q[0]} ms" for q in QUERIES], rows), ""]
        if len({tuple(shape) for shape in shapes.values()}) > 1:
            page += [f"The servers did not answer with the same number of series: {shapes}", ""]
    if Vagus in servers and (options.logs or options.spans):
        page += ["## Logs and spans", "", *table(["what", "number", "per s", "per CPU s", "RSS peak MiB"],
                                                measure_others(options.logs, options.spans)), ""]
    print("\n".join(page))
    if options.out:
        options.out.write_text("\n".join(page), encoding="utf-8")


if __name__ == "__main__":
    main()
