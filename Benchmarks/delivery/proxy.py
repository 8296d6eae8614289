#!/usr/bin/env python3
"""The proxy beside nginx and HAProxy, one worker each, in front of the same upstreams (nginx), in one run.

    Benchmarks/delivery/proxy.py [--seconds 4] [--rounds 3] [--parts load,latency,change,split] [--only vagus]

load     wrk with one thread, 1, 32 and 256 connections, a small and a 100 kB body; proxies take turns, the median counts.
         The figure to trust is requests by CPU second of the proxy's process (/proc/PID/stat).
latency  h2load at half of what the proxy can do with 32 connections; p50 and p99 beside those of the upstream alone at the
         same rate, in turns.
change   weights changed eight times under load: time from the control server's answer to the proxy's word that the table is
         in force, and every request's fate. nginx and HAProxy likewise, by reload and by runtime socket.
split    10,000 requests at 80/20, counted at the upstreams themselves (stub_status).

Proxies are bound to one core, load and upstreams to the other. `vagus proxy` gets its tables from a control server of this
script, as it would from `vagus server`. Peers are installed by scripts/setup-routers, wrk and h2load by Benchmarks/setup.
"""
import argparse
import contextlib
import http.server
import json
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).resolve()
sys.path[:0] = [str(HERE.parent.parent)]
import bench  # noqa: E402

PROXY_CORE, LOAD_CORE = 0, (1 if (os.cpu_count() or 1) > 1 else 0)
LARGE = 100_000
CONNECTIONS = (1, 32, 256)


def pinned(core, *words):
    return ["taskset", "-c", str(core), *map(str, words)]


class Program:
    """A server in a folder of its own."""

    name = ""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = bench.free_port()
        self.process = None

    def spawn(self, core, *words):
        log = open(self.folder / "log", "a", encoding="utf-8")
        self.process = subprocess.Popen(pinned(core, *words), stdout=log, stderr=log, start_new_session=True)
        bench.until(self.answers, 15, f"{self.name}:\n{(self.folder / 'log').read_text()[-1500:]}")

    def answers(self):
        with contextlib.suppress(OSError):
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        return False

    def close(self):
        if self.process:
            bench.stop(self.process)

    def cpu(self):
        return bench.cpu(bench.tree(self.process.pid))


class Upstream(Program):
    name = "upstream"

    def __init__(self, folder, word):
        super().__init__(folder)
        (self.folder / "large").write_bytes(b"x" * LARGE)
        # As root its worker would be somebody else, who may not read in our folder.
        user = "user root;" if os.geteuid() == 0 else ""
        (self.folder / "nginx.conf").write_text(f"""
{user} daemon off; worker_processes 1; pid {self.folder}/pid; error_log {self.folder}/errors crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 3600s; sendfile on; tcp_nopush on; open_file_cache max=10;
  client_body_temp_path {self.folder}/b; proxy_temp_path {self.folder}/p; fastcgi_temp_path {self.folder}/f;
  uwsgi_temp_path {self.folder}/u; scgi_temp_path {self.folder}/s;
  server {{ listen 127.0.0.1:{self.port} backlog=4096; default_type text/plain;
    location / {{ return 200 "{word}"; }}
    location = /large {{ root {self.folder}; }}
    location = /status {{ stub_status; }} }}
}}""")
        self.spawn(LOAD_CORE, "nginx", "-c", self.folder / "nginx.conf")

    def requests(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/status", timeout=10) as answer:
            return int(re.search(r"(\d+)\s+(\d+)\s+(\d+)\s*\n\s*Reading", answer.read().decode())[3])


class Nginx(Program):
    name = "nginx"

    def __init__(self, folder, upstreams):
        super().__init__(folder)
        self.upstreams = upstreams
        self.write((100, 0))
        self.spawn(PROXY_CORE, "nginx", "-c", self.folder / "nginx.conf")

    def write(self, weights):
        servers = " ".join(
            f"server 127.0.0.1:{one.port} weight={weight};" for one, weight in zip(self.upstreams, weights) if weight)
        (self.folder / "nginx.conf").write_text(f"""
daemon off; worker_processes 1; pid {self.folder}/pid; error_log {self.folder}/errors crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 3600s;
  client_body_temp_path {self.folder}/b; proxy_temp_path {self.folder}/p; fastcgi_temp_path {self.folder}/f;
  uwsgi_temp_path {self.folder}/u; scgi_temp_path {self.folder}/s;
  upstream service {{ {servers} keepalive 512; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{self.port} backlog=4096;
    location / {{ proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Request-ID $request_id; }} }}
}}""")

    def change(self, weights):
        """Reloads; returns when a new worker is there."""
        before = set(bench.tree(self.process.pid))
        self.write(weights)
        began = time.monotonic()
        self.process.send_signal(signal.SIGHUP)
        bench.until(lambda: set(bench.tree(self.process.pid)) - before, 10, "nginx's new worker", every=0.002)
        return time.monotonic() - began


class HAProxy(Program):
    name = "haproxy"

    def __init__(self, folder, upstreams):
        super().__init__(folder)
        servers = "\n".join(
            f"  server s{index} 127.0.0.1:{one.port} weight {100 if index == 0 else 0} pool-max-conn 512"
            for index, one in enumerate(upstreams))
        (self.folder / "haproxy.cfg").write_text(f"""
global
  nbthread 1
  maxconn 4096
  stats socket {self.folder}/socket mode 600 level admin
defaults
  mode http
  timeout connect 2s
  timeout client 1h
  timeout server 1h
  http-reuse always
  option http-keep-alive
frontend in
  bind 127.0.0.1:{self.port} backlog 4096
  unique-id-format %[uuid()]
  unique-id-header X-Request-ID
  option forwardfor
  default_backend service
backend service
  balance roundrobin
{servers}
""")
        self.spawn(PROXY_CORE, "haproxy", "-f", self.folder / "haproxy.cfg", "-db")

    def change(self, weights):
        began = time.monotonic()
        for index, weight in enumerate(weights):
            with socket.socket(socket.AF_UNIX) as door:
                door.connect(str(self.folder / "socket"))
                door.sendall(f"set server service/s{index} weight {weight}\n".encode())
                door.recv(1000)
        return time.monotonic() - began


class Control(http.server.ThreadingHTTPServer):
    """Gives `vagus proxy` its routing table, and hears which one is in force."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.table = {"version": 1, "routes": []}
        self.bell = threading.Condition()
        self.in_force = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        have = int(query.get("have", ["0"])[0])
        control = self.server
        with control.bell:
            control.in_force = have
            control.bell.notify_all()
            control.bell.wait_for(lambda: control.table["version"] != have, timeout=15)
            body = json.dumps(control.table).encode()
        self.answer(body)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b"{}")

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Vagus(Program):
    name = "vagus"

    def __init__(self, folder, upstreams):
        super().__init__(folder)
        self.upstreams, self.control = upstreams, Control()
        self.control.table = self.table(2, (100, 0))
        self.spawn(
            PROXY_CORE, bench.VAGUS, "proxy", "--server", f"http://127.0.0.1:{self.control.server_port}", "--name", "bench",
            "--workers", 1, "--listen", f"127.0.0.1:{self.port}", "--data", self.folder / "data")
        bench.until(lambda: self.control.in_force == 2, 10, "the first table")

    def table(self, version, weights):
        revisions = [
            {"revision": str(index + 1), "weight": weight,
             "endpoints": [{"host": "127.0.0.1", "port": one.port, "instance": f"i{index}"}]}
            for index, (one, weight) in enumerate(zip(self.upstreams, weights))]
        return {"version": version, "routes": [{
            "service": "default/bench", "hosts": [], "strip_prefix": False, "revisions": revisions, "retry": True,
            "timeout_ms": 30000}]}

    def change(self, weights):
        control = self.control
        with control.bell:
            version = control.table["version"] + 1
            control.table = self.table(version, weights)
            control.bell.notify_all()
            began = time.monotonic()
            assert control.bell.wait_for(lambda: control.in_force == version, timeout=10), "the proxy does not follow"
            return time.monotonic() - began


# Load


def wrk(port, path, connections, seconds):
    done = subprocess.run(
        pinned(LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "10s",
               f"http://127.0.0.1:{port}{path}"), capture_output=True, text=True, check=True).stdout
    wrong = sum(int(n) for n in re.findall(r"(?:connect|read|write|timeout) (\d+)", done))
    wrong += sum(int(n) for n in re.findall(r"Non-2xx or 3xx responses: (\d+)", done))
    return {"requests": int(re.search(r"(\d+) requests in", done)[1]), "wrong": wrong,
            "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", done)[1]),
            "p50": milliseconds(re.search(r"\s50%\s+(\S+)", done)[1]),
            "p99": milliseconds(re.search(r"\s99%\s+(\S+)", done)[1])}


def milliseconds(text):
    number, unit = re.match(r"([\d.]+)(\w+)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000}[unit]


def steady(port, rate, seconds, connections=32):
    """p50 and p99 in ms at a steady rate."""
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        subprocess.run(
            pinned(LOAD_CORE, "h2load", "--h1", f"-c{connections}", f"--rps={max(1, rate // connections)}", f"-D{seconds}",
                   f"--log-file={log.name}", f"http://127.0.0.1:{port}/"), capture_output=True, check=True)
        times = [int(line.split("\t")[2]) / 1000 for line in open(log.name, encoding="ascii") if "\t200\t" in line]
    return bench.percentile(times, 0.5), bench.percentile(times, 0.99), len(times)


def load(proxies, rounds, seconds, result):
    best, capacity = {}, {}
    for path, body in (("/", "small"), ("/large", "100 kB")):
        rows = []
        for connections in CONNECTIONS:
            seen = {one.name: [] for one in proxies}
            for number in range(rounds):
                for one in proxies[number % len(proxies):] + proxies[:number % len(proxies)]:
                    before = one.cpu()
                    found = wrk(one.port, path, connections, seconds)
                    found["by cpu"] = found["requests"] / max(0.01, one.cpu() - before)
                    seen[one.name].append(found)
            wrong = {}
            for one in proxies:
                middle = {key: statistics.median(found[key] for found in seen[one.name])
                          for key in ("rate", "by cpu", "p50", "p99")}
                wrong[one.name] = sum(found["wrong"] for found in seen[one.name])
                best[one.name, connections, body] = middle
                if body == "small" and connections == 32:
                    capacity[one.name] = middle["rate"]
            for one in proxies:
                middle = best[one.name, connections, body]
                rows.append([f"{connections} × {one.name}", f"{middle['rate']:,.0f}", f"{middle['by cpu']:,.0f}",
                             ratio(best, one.name, connections, body), f"{middle['p50']:.2f}", f"{middle['p99']:.2f}", wrong[one.name]])
        result.say(f"## Load, {body} body")
        result.table(["connections", "req/s", "req / CPU s", "of nginx", "p50 ms", "p99 ms", "failed"], rows)
    if "nginx" in {one.name for one in proxies} and "vagus" in {one.name for one in proxies}:
        shares = [best["vagus", c, b]["by cpu"] / best["nginx", c, b]["by cpu"] for c in CONNECTIONS for b in ("small", "100 kB")]
        result.say(bench.bar(min(shares), 0.7, f"Vagus by CPU second of nginx: {min(shares):.2f} to {max(shares):.2f}; "
                             "asked for: at least 0.7", at_most=False))
    return capacity


def ratio(best, name, connections, body):
    nginx = best.get(("nginx", connections, body))
    return f"{best[name, connections, body]['by cpu'] / nginx['by cpu']:.2f}" if nginx else "–"


def latency(proxies, upstream, rounds, seconds, capacity, result):
    rows, added = [], {}
    for one in proxies:
        rate = int(capacity.get(one.name) or wrk(one.port, "/", 32, 2)["rate"]) // 2
        alone, through = [], []
        for _ in range(rounds):
            alone.append(steady(upstream.port, rate, seconds))
            through.append(steady(one.port, rate, seconds))
        direct = [statistics.median(found[i] for found in alone) for i in (0, 1)]
        seen = [statistics.median(found[i] for found in through) for i in (0, 1)]
        added[one.name] = seen[1] - direct[1]
        rows.append([one.name, f"{rate:,}", *(f"{number:.2f}" for number in (*direct, *seen)),
                     f"{seen[0] - direct[0]:.2f}", f"{added[one.name]:.2f}"])
    result.say("## Latency at half load, 32 connections, small body")
    result.table(["proxy", "req/s", "alone p50", "alone p99", "p50", "p99", "added p50", "added p99"], rows)
    if "vagus" in added:
        result.say(bench.bar(added["vagus"], 1, f"Vagus adds {added['vagus']:.2f} ms to p99; asked for: at most 1 ms"))


def change(proxies, seconds, result):
    rows, ours = [], None
    for one in proxies:
        found = {}
        runner = threading.Thread(target=lambda one=one, found=found: found.update(wrk(one.port, "/", 32, seconds)))
        runner.start()
        times = []
        for number in range(8):
            time.sleep(seconds / 10)
            times.append(one.change(((90, 10), (50, 50), (10, 90), (0, 100))[number % 4]))
        runner.join()
        one.change((100, 0))
        rows.append([one.name, 8, f"{max(times) * 1000:.1f}", f"{found['requests']:,}", found["wrong"]])
        if one.name == "vagus":
            ours = (max(times), found)
    result.say("## Weights changed under load, 32 connections")
    result.table(["proxy", "changes", "slowest ms", "requests", "failed"], rows)
    if ours:
        result.say(bench.bar(ours[0] + ours[1]["wrong"], 0.1, f"Vagus: {ours[0] * 1000:.1f} ms, {ours[1]['wrong']} failed of "
                             f"{ours[1]['requests']:,}; asked for: at most 100 ms, none of 30,000"))


def split(proxies, upstreams, result):
    rows, off = [], None
    for one in proxies:
        one.change((80, 20))
        time.sleep(0.5)
        before = [upstream.requests() for upstream in upstreams]
        subprocess.run(pinned(LOAD_CORE, "h2load", "--h1", "-c32", "-n10000", f"http://127.0.0.1:{one.port}/"),
                       capture_output=True, check=True)
        # Asking for the count is a request too.
        seen = [upstream.requests() - count - 1 for upstream, count in zip(upstreams, before)]
        rows.append([one.name, *(f"{number:,}" for number in seen), f"{abs(seen[1] / sum(seen) - 0.2) * 100:.2f}"])
        if one.name == "vagus":
            off = abs(seen[1] / sum(seen) - 0.2) * 100
    result.say("## 10,000 requests at 80/20, counted at the upstreams")
    result.table(["proxy", "first", "second", "points off"], rows)
    if off is not None:
        result.say(bench.bar(off, 0.1, f"Vagus: {off:.2f} points off; asked for: at most 0.1"))


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--seconds", type=int, default=4)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--parts", default="load,latency,change,split")
    options.add_argument("--only", default="vagus,nginx,haproxy")
    chosen = options.parse_args()
    result = bench.Result("proxy", "The proxy beside nginx and HAProxy")
    with bench.workplace() as folder, contextlib.ExitStack() as stack:
        upstreams = [Upstream(folder / word, word) for word in ("stable", "canary")]
        kinds = [kind for kind in (Vagus, Nginx, HAProxy) if kind.name in chosen.only.split(",")]
        for one in upstreams:
            stack.callback(one.close)
        proxies = []
        for kind in kinds:
            proxies.append(kind(folder / kind.name, upstreams))
            stack.callback(proxies[-1].close)
        for one in proxies:
            for path, size in (("/", 6), ("/large", LARGE)):
                with urllib.request.urlopen(f"http://127.0.0.1:{one.port}{path}", timeout=10) as answer:
                    assert len(answer.read()) == size, f"{one.name} gives another body"
        versions = " · ".join(version(kind.name) for kind in kinds if kind.name != "vagus")
        result.say(f"One worker each, bound to one core; load and upstreams (nginx) on the other. {versions}")
        capacity = {}
        for part in chosen.parts.split(","):
            if part == "load":
                capacity = load(proxies, chosen.rounds, chosen.seconds, result)
            elif part == "latency":
                latency(proxies, upstreams[0], chosen.rounds, chosen.seconds, capacity, result)
            elif part == "change":
                change(proxies, max(8, chosen.seconds), result)
            elif part == "split":
                split(proxies, upstreams, result)
    if chosen.parts == "load,latency,change,split":
        result.write()


def version(name):
    done = subprocess.run([name, "-v"], capture_output=True, text=True, check=False)
    found = re.search(r"(\d+\.\d+(\.\d+)?)", done.stdout + done.stderr)
    return f"{name} {found[1] if found else '?'}"


if __name__ == "__main__":
    main()
