"""What all benchmarks share: starting programs, reading /proc, percentiles, writing a result. Standard library only.

A figure is taken of a release build on an otherwise idle machine; every result names the machine, the date and the load.
"""
import contextlib
import datetime
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
VAGUS = pathlib.Path(os.environ.get("VAGUS_BINARY", ROOT / ".build-release/release/vagus"))
# The programs that we are held against; made by Benchmarks/setup.
PEERS = ROOT / ".venv-benchmarks"
RESULTS = ROOT / "Benchmarks/results"
# The data folder that the demo leaves; made by Benchmarks/setup.
DEMO_DATA = ROOT / "demo-data"
TICK = os.sysconf("SC_CLK_TCK")
ENDED = {"succeeded", "failed", "cancelled", "skipped", "superseded"}


def say(text):
    print(f"++ {text}", file=sys.stderr, flush=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(look, seconds, what, every=0.02):
    """Looks until it finds something; the answer of the look."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(every)
    sys.exit(f"waited {seconds} s for {what}")


def percentile(values, share):
    """The smallest value that `share` of all are not above (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * share // 1).__int__() - 1)]


# Processes


def stat(pid):
    """Parent and CPU seconds of a process; None when it is gone."""
    try:
        words = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(words[1]), (int(words[11]) + int(words[12])) / TICK
    except (OSError, ValueError):
        return None


def tree(pid):
    """A process and all below it."""
    parents = {}
    for place in pathlib.Path("/proc").iterdir():
        if place.name.isdigit() and (found := stat(place.name)):
            parents.setdefault(found[0], []).append(int(place.name))
    all_pids, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        all_pids.append(one)
        waiting += parents.get(one, [])
    return all_pids


def cpu(pids):
    return sum(found[1] for pid in pids if (found := stat(pid)))


def cpu_with_ended(pid):
    """CPU seconds of a process and of all its children that have ended and were waited for."""
    words = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(word) for word in words[11:15]) / TICK


def memory(pid):
    """Resident and proportional bytes, of which anonymous, and the number of threads."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = {name: int(re.search(rf"^{name}:\s+(\d+) kB", text, re.M)[1]) * 1024 for name in ("Rss", "Pss", "Anonymous")}
    found["Threads"] = len(os.listdir(f"/proc/{pid}/task"))
    return found


def stop(process, seconds=20):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def workplace():
    """A folder on the disk of the repository (not in memory), removed at the end."""
    base = ROOT / ".build-release"
    base.mkdir(exist_ok=True)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Vagus:
    """A `vagus dev` (or `vagus server`) on free ports, and the commands that speak to it."""

    def __init__(self, data, mode="dev", options=()):
        self.data, self.mode, self.options = pathlib.Path(data), mode, list(options)
        self.log = self.data.parent / f"{self.data.name}.log"
        self.process = self.url = self.proxy = None
        self.token = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        stop(self.process)

    def command(self, port, proxy_port):
        words = [str(VAGUS), self.mode, "--data", str(self.data), "--listen", f"127.0.0.1:{port}", *self.options]
        return words + (["--proxy-listen", f"127.0.0.1:{proxy_port}"] if self.mode == "dev" else [])

    def start(self):
        """Starts it and waits for GET /-/ready; the seconds from exec to its 200."""
        port, proxy_port = free_port(), free_port()
        self.url, self.proxy = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{proxy_port}"
        with open(self.log, "a", encoding="utf-8") as log:
            began = time.monotonic()
            self.process = subprocess.Popen(
                self.command(port, proxy_port), stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        while not is_ready(port):
            if self.process.poll() is not None or time.monotonic() - began > 60:
                sys.exit(f"vagus {self.mode} did not become ready:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.001)
        return time.monotonic() - began

    def run(self, *words, given=None, check=True, seconds=600):
        environment = {**os.environ, "VAGUS_SERVER": self.url}
        if self.token:
            environment["VAGUS_TOKEN"] = self.token
        done = subprocess.run(
            [str(VAGUS), *map(str, words)], input=given, capture_output=True, text=True, timeout=seconds,
            env=environment, check=False)
        if check and done.returncode != 0:
            sys.exit(f"vagus {' '.join(map(str, words))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def json(self, *words):
        return json.loads(self.run(*words, "-o", "json"))

    def get(self, path):
        import urllib.request
        request = urllib.request.Request(self.url + path)
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def apply(self, text):
        return self.run("apply", "-f", "-", given=text)


def is_ready(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


# Results


def machine():
    model = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    total = int(re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())[1])
    return (f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores, {total / 2**20:.0f} GiB, "
            f"Linux {platform.release()}")


def commit():
    """The commit of the tree; the binary may be older: its own time is told too."""
    done = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


class Result:
    """A page of Benchmarks/results: how it was measured, tables, remarks."""

    def __init__(self, name, title):
        if not VAGUS.exists():
            sys.exit(f"{VAGUS} is missing; run: make bench (or set VAGUS_BINARY)")
        self.name = name
        built = datetime.datetime.fromtimestamp(VAGUS.stat().st_mtime, datetime.timezone.utc)
        now = datetime.datetime.now(datetime.timezone.utc)
        self.lines = [
            f"# {title}", "",
            f"- Command: `{' '.join([pathlib.Path(sys.argv[0]).resolve().relative_to(ROOT).as_posix(), *sys.argv[1:]])}`",
            f"- Date: {now:%Y-%m-%d %H:%M} UTC; load at the start {os.getloadavg()[0]:.1f}",
            f"- Machine: {machine()}",
            f"- Vagus: tree {commit()}, binary `{'/'.join(VAGUS.parts[-2:])}` of {built:%Y-%m-%d %H:%M} UTC", "",
        ]

    def say(self, text):
        self.lines += [text, ""]
        print(text, flush=True)

    def table(self, heads, rows):
        """`rows` hold texts; the first column is left, the others right."""
        widths = [max(len(str(row[i])) for row in [heads, *rows]) for i in range(len(heads))]

        def line(cells):
            return "| " + " | ".join(
                str(c).ljust(w) if i == 0 else str(c).rjust(w) for i, (c, w) in enumerate(zip(cells, widths))) + " |"

        text = [line(heads), "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"]
        text += [line(row) for row in rows]
        self.lines += [*text, ""]
        print("\n".join(text), flush=True)

    def write(self):
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{self.name}.md"
        path.write_text("\n".join(self.lines).rstrip() + "\n", encoding="utf-8")
        say(f"wrote {path.relative_to(ROOT)}")


def bar(value, limit, text, at_most=True):
    """A figure held against what the issue asks for."""
    holds = value <= limit if at_most else value >= limit
    return f"{text} {'✓' if holds else '✗ (missed)'}"
