#!/usr/bin/env python3
"""Inference of the demo's XGBoost model: Vagus through its proxy beside MLServer, in turns, in one run.

    Benchmarks/serving/inference.py [--seconds 5] [--rounds 3]

Both serve the registered model.ubj with one OpenMP thread and get the same bytes: one row of features as Open Inference
Protocol v2 JSON. Vagus is also asked with the raw row, which it transforms and logs. Before anything is timed the
answers must agree. wrk shares the two cores with whom it asks. Of the rounds the median is told.
"""
import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import bench  # noqa: E402
import demo_data  # noqa: E402

LUA = pathlib.Path(__file__).with_name("body.lua")
CONNECTIONS = (1, 32)
TOLERANCE = 1e-6


def feature_names(model):
    """As the model has them: read by the same Python package that the peer uses."""
    code = "import json,sys,xgboost; print(json.dumps(xgboost.Booster(model_file=sys.argv[1]).feature_names))"
    done = subprocess.run([bench.PEERS / "serving/bin/python", "-c", code, model / "model.ubj"], capture_output=True,
                          text=True, check=True)
    return json.loads(done.stdout)


def post(url, body):
    request = urllib.request.Request(url, body.read_bytes(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["outputs"][0]["data"]


@contextlib.contextmanager
def mlserver(model, folder, workers):
    """MLServer in a process of its own; `workers` 0: the model runs in the server's own process."""
    home = folder / f"mlserver-{workers}"
    (home / "employment").mkdir(parents=True)
    port = bench.free_port()
    settings = {"http_port": port, "grpc_port": bench.free_port(), "metrics_port": bench.free_port(), "host": "127.0.0.1",
                "parallel_workers": workers, "debug": False, "metrics_dir": str(home)}
    (home / "settings.json").write_text(json.dumps(settings))
    (home / "employment/model-settings.json").write_text(json.dumps({
        "name": "employment", "implementation": "mlserver_xgboost.XGBoostModel",
        "parameters": {"uri": str(model / "model.ubj"), "version": "1"}}))
    # Two settings that cost requests and that a server in use has: no line for each request, one thread for each.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MLSERVER_LOGGING_SETTINGS": str(quiet_logging(home))}
    with open(home / "log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [bench.PEERS / "serving/bin/mlserver", "start", str(home)], stdout=log, stderr=subprocess.STDOUT,
            env=environment, cwd=home)
    try:
        url = f"http://127.0.0.1:{port}/v2/models/employment"

        def ready():
            if process.poll() is not None:
                sys.exit(f"MLServer ended:\n{(home / 'log').read_text()[-3000:]}")
            try:
                return urllib.request.urlopen(f"{url}/ready", timeout=5).status == 200
            except OSError:
                return False

        bench.until(ready, 120, "MLServer to be ready", 0.2)
        yield f"{url}/infer", process.pid
    finally:
        bench.stop(process)


def quiet_logging(home):
    path = home / "logging.ini"
    path.write_text(
        "[loggers]\nkeys=root\n[handlers]\nkeys=console\n[formatters]\nkeys=plain\n[logger_root]\nlevel=WARNING\n"
        "handlers=console\n[handler_console]\nclass=StreamHandler\nformatter=plain\nargs=()\n[formatter_plain]\n"
        "format=%(message)s\n")
    return path


class Subject:
    """Who is asked, with what, and which processes do the work."""

    def __init__(self, name, url, body, pids):
        self.name, self.url, self.body, self.pids = name, url, body, pids
        self.rounds = {count: [] for count in CONNECTIONS}

    def ask(self, connections, seconds):
        before = bench.cpu(self.pids())
        done = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", LUA, self.url, "--", self.body],
            capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.strip().splitlines()[-1])
        found["cpu"] = bench.cpu(self.pids()) - before
        if found["refused"] or found["broken"]:
            sys.exit(f"{self.name}: {found['refused']} answers were no success, {found['broken']} connections broke")
        return found

    def middle(self, connections, name):
        return statistics.median(one[name] for one in self.rounds[connections])

    def rate(self, connections):
        return statistics.median(one["requests"] / one["seconds"] for one in self.rounds[connections])

    def row(self, connections):
        each = statistics.median(one["cpu"] / one["requests"] for one in self.rounds[connections])
        return [self.name, str(connections), f"{self.rate(connections):,.0f}", f"{self.middle(connections, 'p50'):.2f} ms",
                f"{self.middle(connections, 'p99'):.2f} ms", f"{each * 1e6:,.0f} µs"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=5, help="of one round")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    result = bench.Result("inference", "Inference")
    os.environ["OMP_NUM_THREADS"] = "1"
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(bench.workplace())
        served = stack.enter_context(demo_data.Served(folder))
        model = served.fetch_model(folder / "model")
        names = feature_names(model)
        row = demo_data.rows(1)[0]
        values = demo_data.features(row, names)
        same = demo_data.dump(folder, "features", {"inputs": [
            {"name": "features", "datatype": "FP32", "shape": [1, len(names)], "data": values}]})
        raw = demo_data.dump(folder, "raw", demo_data.tensor(row))
        infer = f"{served.url}/v2/models/employment/infer"
        own = lambda: [served.vagus.process.pid, *served.copies()]  # noqa: E731
        subjects = [Subject("Vagus, through its proxy", infer, same, own),
                    Subject("Vagus, through its proxy, raw row transformed and logged", infer, raw, own)]
        for workers, words in ((1, "as it comes"), (0, "parallel_workers 0")):
            bench.say(f"starting MLServer, {words}")
            url, pid = stack.enter_context(mlserver(model, folder, workers))
            subjects.append(Subject(f"MLServer 1.7.1, {words}", url, same, lambda pid=pid: bench.tree(pid)))
        answers = [post(subject.url, subject.body)[0] for subject in subjects]
        if max(answers) - min(answers) > TOLERANCE:
            sys.exit(f"the answers differ: {answers}")
        for subject in subjects:
            subject.ask(4, 2)
        for number in range(given.rounds):
            for connections in CONNECTIONS:
                for subject in subjects:
                    bench.say(f"round {number + 1}: {subject.name}, {connections} connections")
                    subject.rounds[connections].append(subject.ask(connections, given.seconds))
        resident = {subject.name: sum(bench.memory(pid)["Rss"] for pid in subject.pids()) for subject in subjects}
    peers = [subject for subject in subjects if subject.name.startswith("MLServer")]
    result.say(
        f"The demo's XGBoost model (100 trees, {len(names)} features), one row a request, OMP_NUM_THREADS=1; wrk with one thread "
        f"on the same machine, {given.rounds} rounds of {given.seconds} s in turns, the median told. All answers agreed to "
        f"{max(answers) - min(answers):.0e}. CPU is that of all processes of the subject.")
    result.table(["who", "connections", "requests/s", "p50", "p99", "CPU a request"],
                 [subject.row(count) for count in CONNECTIONS for subject in subjects])
    for count in CONNECTIONS:
        best = max(peers, key=lambda peer: peer.rate(count))
        ratio = subjects[0].rate(count) / best.rate(count)
        tail = best.middle(count, "p99") / subjects[0].middle(count, "p99")
        result.say(f"At {count} connection{'s' if count > 1 else ''} Vagus answers {ratio:.1f} times as many requests as "
                   f"{best.name}, the better of the two, and its p99 is {tail:.1f} times shorter.")
    result.say("Resident memory afterwards: " + "; ".join(
        f"{name} {size / 1e6:.0f} MB" for name, size in resident.items() if "raw row" not in name) + ".")
    result.write()


if __name__ == "__main__":
    main()
