"""The two servers that `bench.py` asks, each on a free port with a folder of its own, and how runs get into them beforehand."""
import pathlib
import sqlite3
import subprocess
import sys
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent))
import bench  # noqa: E402
import load  # noqa: E402

# What is known of run number n, the same for both servers.
MODELS, TEAMS, BASE = 10, ("red", "green", "blue", "grey"), 1_760_000_000_000


def described(number):
    """Metrics, params and tags of a run."""
    mixed = number * 2654435761 % 2**32
    metrics = {"acc": mixed / 2**32, "loss": 1 - (mixed * 31 % 2**32) / 2**32, "auc": (mixed * 17 % 2**32) / 2**32}
    params = {"model": f"m{number % MODELS}", "lr": f"{10 ** -(number % 5)}", "depth": str(number % 7)}
    return metrics, params, {"team": TEAMS[mixed >> 8 & 3], "mlflow.runName": f"run-{number}"}


def run_id(number):
    return f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}{number:016x}"


class Server:
    def __init__(self, folder):
        self.folder = folder / self.name
        self.folder.mkdir(exist_ok=True)
        self.process, self.peak_bytes = None, 0

    def start(self, seconds=300):
        """Seconds from exec to a 200 of /health."""
        self.port = bench.free_port()
        with open(self.folder / "log", "a") as log:
            began = time.monotonic()
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, cwd=self.folder, start_new_session=True)
        try:
            bench.until(self.is_ready, seconds, f"{self.name} to be ready", every=0.002)
        except SystemExit:
            # Its own log says why; nobody else would end it.
            bench.say((self.folder / "log").read_text()[-3000:])
            bench.stop(self.process)
            raise
        return time.monotonic() - began

    def is_ready(self):
        if self.process.poll() is not None:
            sys.exit(f"{self.name} ended:\n{(self.folder / 'log').read_text()[-3000:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{self.mount}/health", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def stop(self):
        self.peak()
        bench.stop(self.process)

    def pids(self):
        return bench.tree(self.process.pid)

    def cpu(self):
        return bench.cpu(self.pids())

    def resident(self):
        """Proportional bytes of all its processes: what two share counts once."""
        return sum(bench.memory(pid)["Pss"] for pid in self.pids())

    def peak(self):
        """The sum of what each process had at most; of processes that have ended meanwhile, nothing."""
        now = 0
        for pid in self.pids():
            text = pathlib.Path(f"/proc/{pid}/status").read_text()
            now += int(next(line for line in text.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024
        self.peak_bytes = max(self.peak_bytes, now)
        return self.peak_bytes

    def api(self, method, path, body=b"", version="2.0"):
        return load.request(method, f"{self.mount}/api/{version}/mlflow/{path}", body)

    def artifact(self, method, path, body=b""):
        return load.request(
            method, f"{self.mount}/api/2.0/mlflow-artifacts/artifacts/{path}", body, "application/octet-stream")


class MLflow(Server):
    name, mount = "mlflow", ""
    program = bench.PEERS / "experiments/bin/mlflow"

    @property
    def database(self):
        return self.folder / "mlflow.db"

    def command(self):
        return [str(self.program), "server", "--backend-store-uri", f"sqlite:///{self.database}",
                "--artifacts-destination", str(self.folder / "artifacts"), "--host", "127.0.0.1", "--port", str(self.port)]

    @classmethod
    def version_of(cls):
        told = subprocess.run([str(cls.program), "--version"], capture_output=True, text=True, check=True)
        return told.stdout.split()[-1]

    def fill(self, experiment, first, count):
        """Writes runs as its store would, while it does not run: asked over HTTP it takes forty a second."""
        with sqlite3.connect(self.database) as rows:
            rows.execute("PRAGMA synchronous=OFF")
            for number in range(first, first + count):
                run, at = run_id(number), BASE + number
                metrics, params, tags = described(number)
                rows.execute(
                    "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time,"
                    " end_time, source_version, lifecycle_stage, artifact_uri, experiment_id)"
                    " VALUES (?,?,'UNKNOWN','','','bench','FINISHED',?,?,'','active',?,?)",
                    (run, tags["mlflow.runName"], at, at + 1000, f"mlflow-artifacts:/{experiment}/{run}/artifacts",
                     int(experiment)))
                for table in ("metrics", "latest_metrics"):
                    rows.executemany(
                        f"INSERT INTO {table} (key, value, timestamp, step, is_nan, run_uuid) VALUES (?,?,?,0,0,?)",
                        [(key, value, at, run) for key, value in metrics.items()])
                for table, pairs in (("params", params), ("tags", tags)):
                    rows.executemany(
                        f"INSERT INTO {table} (key, value, run_uuid) VALUES (?,?,?)",
                        [(key, value, run) for key, value in pairs.items()])

    def history(self, run, key, count):
        """Writes the points of a metric in the same way."""
        with sqlite3.connect(self.database) as rows:
            rows.executemany(
                "INSERT INTO metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?,?,?,?,0,?)",
                [(key, point["value"], point["timestamp"], point["step"], run) for point in points(key, count)])
            last = list(points(key, count))[-1]
            rows.execute("INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?,?,?,?,0,?)",
                         (key, last["value"], last["timestamp"], last["step"], run))


class Vagus(Server):
    name, mount = "vagus", "/mlflow"

    def command(self):
        return [str(bench.VAGUS), "dev", "--data", str(self.folder / "data"), "--listen", f"127.0.0.1:{self.port}",
                "--proxy-listen", f"127.0.0.1:{bench.free_port()}"]


def points(key, count):
    """A curve with noise: values that do not pack well."""
    for step in range(count):
        yield {"key": key, "value": 1 / (1 + step) ** 0.5 + (step * 2654435761 % 2**32) / 2**40,
               "timestamp": BASE + step * 137 + step * 7919 % 61, "step": step}
