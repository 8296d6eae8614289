#!/usr/bin/env python3
"""Experiments: Vagus beside `mlflow server` with SQLite, one after the other in one run, with the same client.

    Benchmarks/experiments/tracking.py [--servers vagus,mlflow] [--runs 10000] [--seconds 10] [--million] [--keep FOLDER]

Each server gets the same requests, of MLflow's own REST interface, over plain HTTP/1.1, made before they are timed. Rows that
are rates last `--seconds` each; CPU seconds are those of the server and all its processes (/proc/PID/stat). MLflow is started as
its documentation says, with its own number of workers. The runs that are searched for, and the long history, are written into its
database beforehand with SQL, as over HTTP that would take minutes; into Vagus over HTTP, like everything else. Answers are checked
before they count: both servers must find the same runs in the same order, histories must have all points, artifacts their bytes.
Memory is proportional (what processes share counts once) at rest, and the sum of what each process had at most at the end.
`--million` searches among a million runs in Vagus too (some ten minutes more; `--million-data FOLDER` fills a folder once and uses it
again). `--keep` leaves the data, for a look.
MLflow is installed by Benchmarks/setup; another one is named with --mlflow.
"""
import argparse
import contextlib
import itertools
import json
import os
import pathlib
import statistics
import sys
import time

HERE = pathlib.Path(__file__).resolve()
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]
import bench  # noqa: E402
import load  # noqa: E402
import servers  # noqa: E402

HISTORY, ARTIFACT, BATCH, LOGGING = 100_000, 100 << 20, 1000, 32
FILTER = "metrics.acc > 0.5 and params.model = 'm3' and tags.team = 'blue'"
# What the issue asks for: at least so many times as good, or at most so much.
BARS = {"log_metric": (50, "×"), "log_batch": (50, "×"), "create": (50, "×"), "search": (10, "ms"), "by_metric": (60, "ms"),
        "history": (150, "ms"), "up": (3, "×"), "down": (3, "×"), "idle": (80, "MiB"), "peak": (250, "MiB"),
        "start": (0.3, "s"), "million": (50, "ms")}
ROWS = [
    ("log_metric", "log-metric, requests / server CPU s, 32 connections"), ("log_metric_wall", "– requests / s"),
    ("log_batch", "log-batch of 1000, metrics / s"), ("log_batch_cpu", "– metrics / server CPU s"),
    ("create", "runs/create / s, 8 connections"), ("create_cpu", "– runs / server CPU s"),
    ("search", "search, 3 clauses and order_by, p50 ms"), ("search_p95", "– p95 ms"),
    ("by_metric", "search ordered by a metric, 1000 results, p50 ms"),
    ("history", "get-history of 100,000 points, p50 ms"), ("up", "artifact of 100 MiB up, MB / s"),
    ("down", "artifact of 100 MiB down, MB / s"), ("idle", "resident at rest, MiB"), ("peak", "resident at most, MiB"),
    ("start", "start on existing data, s"), ("million", "search among 1,000,000 runs, p50 ms"),
    ("million_peak", "– resident at most, MiB"), ("million_start", "– start, s"),
]
LESS_IS_BETTER = {"search", "search_p95", "by_metric", "history", "idle", "peak", "start"}


def post(server, path, body):
    return load.Connection(server.port).ask(server.api("POST", path, body))[0]


def new_experiment(server, name):
    return json.loads(post(server, "experiments/create", {"name": name}))["experiment_id"]


def new_runs(server, experiment, count):
    body = {"experiment_id": experiment, "start_time": servers.BASE}
    return [json.loads(post(server, "runs/create", body))["run"]["info"]["run_id"] for _ in range(count)]


def rate(server, requests, connections, seconds):
    """Answers by second and by CPU second of the server."""
    before = server.cpu()
    count, took, _ = load.drive(server.port, requests, connections, seconds)
    return count / took, count / max(server.cpu() - before, 1 / bench.TICK)


def logging(server, figures, seconds):
    experiment = new_experiment(server, "logging")
    runs = new_runs(server, experiment, LOGGING)

    def single():
        for step in itertools.count():
            for run in runs:
                yield server.api("POST", "runs/log-metric", {
                    "run_id": run, "key": "loss", "value": 1 / (1 + step), "timestamp": servers.BASE + step, "step": step})

    def batches(made):
        """Ten metrics of a hundred steps each, as a training loop that buffers sends them."""
        for number in range(made):
            at = number // LOGGING * 100
            metrics = [{"key": f"metric-{key}", "value": 1 / (1 + step + key), "timestamp": servers.BASE + step * 37, "step": step}
                       for step in range(at, at + 100) for key in range(10)]
            yield server.api("POST", "runs/log-batch", {"run_id": runs[number % LOGGING], "metrics": metrics})

    figures["log_metric_wall"], figures["log_metric"] = rate(server, single(), LOGGING, seconds)
    # Made before, as a client in Python makes them more slowly than they are taken.
    made = list(batches(3000 if server.name == "vagus" else 200))
    figures["log_batch"], figures["log_batch_cpu"] = (BATCH * one for one in rate(server, made, 4, seconds))
    body = server.api("POST", "runs/create", {"experiment_id": experiment, "start_time": servers.BASE, "run_name": "bench",
                                              "tags": [{"key": "mlflow.user", "value": "bench"}]})
    figures["create"], figures["create_cpu"] = rate(server, itertools.repeat(body), 8, seconds)


def fill_over_http(server, experiment, first, count):
    """Runs with what `servers.described` says of each; the ids that the server gave them are not told."""
    create = (server.api("POST", "runs/create", {
        "experiment_id": experiment, "start_time": servers.BASE + number, "run_name": f"run-{number}",
        "tags": [{"key": "team", "value": servers.described(number)[2]["team"]}]}) for number in range(first, first + count))
    made, ids = [], {}
    load.drive(server.port, create, 8, 3600, answers=made)
    for answer in made:
        info = json.loads(answer)["run"]["info"]
        ids[info["start_time"] - servers.BASE] = info["run_id"]

    def rest():
        for number in range(first, first + count):
            metrics, params, _ = servers.described(number)
            yield server.api("POST", "runs/log-batch", {
                "run_id": ids[number],
                "metrics": [{"key": key, "value": value, "timestamp": servers.BASE + number, "step": 0}
                            for key, value in metrics.items()],
                "params": [{"key": key, "value": value} for key, value in params.items()]})

    load.drive(server.port, rest(), 8, 3600)


def names(answer):
    return [run["info"]["run_name"] for run in json.loads(answer)["runs"]]


def search(server, body, rounds):
    """The names of the runs that are found, and the milliseconds of each round."""
    line, asked = load.Connection(server.port), server.api("POST", "runs/search", body)
    found = names(line.ask(asked)[0])
    if not found:
        sys.exit(f"{server.name} found nothing: {body}")
    return found, [line.ask(asked)[1] * 1000 for _ in range(rounds)]


def searching(server, figures, experiment, rounds):
    """The three searches; what was found, to be compared."""
    first, took = search(server, {"experiment_ids": [experiment], "filter": FILTER, "order_by": ["metrics.loss ASC"],
                                  "max_results": 100}, rounds)
    figures["search"], figures["search_p95"] = statistics.median(took), bench.percentile(took, 0.95)
    second, took = search(server, {"experiment_ids": [experiment], "order_by": ["metrics.acc DESC"], "max_results": 1000},
                          max(2, rounds // 10))
    figures["by_metric"] = statistics.median(took)
    return first, second


def history(server, figures, run, rounds):
    line = load.Connection(server.port)
    asked = server.api("GET", f"metrics/get-history?run_id={run}&metric_key=curve")
    took = []
    for _ in range(rounds):
        answer, seconds = line.ask(asked)
        took.append(seconds * 1000)
    found = [(one["timestamp"], one["step"], one["value"]) for one in json.loads(answer)["metrics"]]
    if found != [(one["timestamp"], one["step"], one["value"]) for one in servers.points("curve", HISTORY)]:
        sys.exit(f"{server.name} gave another history of {len(found)} points")
    figures["history"] = statistics.median(took)


def artifact(server, figures, rounds):
    data, place = os.urandom(ARTIFACT), "0/bench/artifacts/large.bin"
    line = load.Connection(server.port)
    up = [line.ask(server.artifact("PUT", place, data))[1] for _ in range(rounds)]
    down = []
    for _ in range(rounds):
        answer, seconds = line.ask(server.artifact("GET", place))
        down.append(seconds)
    if answer != data:
        sys.exit(f"{server.name} gave other bytes than it took")
    figures["up"], figures["down"] = (ARTIFACT / 1e6 / statistics.median(took) for took in (up, down))


def prepare(server, options):
    """Experiments with the runs and the history that are asked for; (experiment, run of the history)."""
    experiment = new_experiment(server, "search")
    run = new_runs(server, new_experiment(server, "history"), 1)[0]
    if isinstance(server, servers.MLflow):
        server.stop()
        server.fill(experiment, 0, options.runs)
        server.history(run, "curve", HISTORY)
        server.start()
    else:
        fill_over_http(server, experiment, 0, options.runs)
        curve, pieces = servers.points("curve", HISTORY), []
        while piece := list(itertools.islice(curve, BATCH)):
            pieces.append(server.api("POST", "runs/log-batch", {"run_id": run, "metrics": piece}))
        load.drive(server.port, pieces, 4, 600)
    return experiment, run


def measure(kind, folder, options):
    """All figures of a server, and what its searches found."""
    figures, server = {}, kind(folder)
    bench.say(f"{server.name}: start")
    server.start()
    time.sleep(3)
    figures["idle"] = server.resident() / 2**20
    try:
        experiment, run = prepare(server, options)
        bench.say(f"{server.name}: logging")
        logging(server, figures, options.seconds)
        bench.say(f"{server.name}: searching, reading")
        found = searching(server, figures, experiment, 50 if server.name == "vagus" else 20)
        history(server, figures, run, 9 if server.name == "vagus" else 3)
        artifact(server, figures, 3)
        figures["peak"] = server.peak() / 2**20
        server.stop()
        figures["start"] = statistics.median(restarts(server, 5 if server.name == "vagus" else 1))
    finally:
        bench.stop(server.process)
    return figures, found


def restarts(server, times):
    for _ in range(times):
        yield server.start()
        server.stop()


def million(folder, figures, options):
    """A search among a million runs, of Vagus alone."""
    server, filled = servers.Vagus(folder), folder / f"filled-{options.million}"
    try:
        if filled.exists():
            experiment = filled.read_text()
        else:
            server.start()
            experiment = new_experiment(server, "million")
            for first in range(0, options.million, 20_000):
                bench.say(f"vagus: {first:,} of {options.million:,} runs")
                fill_over_http(server, experiment, first, min(20_000, options.million - first))
            server.stop()
            filled.write_text(experiment)
        figures["million_start"] = server.start()
        _, took = search(server, {
            "experiment_ids": [experiment], "filter": FILTER, "order_by": ["metrics.loss ASC"], "max_results": 100}, 30)
        figures["million"] = statistics.median(took)
        figures["million_peak"] = server.peak() / 2**20
    finally:
        if server.process:
            bench.stop(server.process)


def text(value):
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def rows_of(all_figures):
    ours, peer = all_figures.get("vagus", {}), all_figures.get("mlflow", {})
    for key, name in ROWS:
        left, right = ours.get(key), peer.get(key)
        if left is None and right is None:
            continue
        ratio = None
        if left and right:
            ratio = right / left if key in LESS_IS_BETTER else left / right
        wanted = ""
        if key in BARS and left is not None:
            limit, unit = BARS[key]
            if unit == "×":
                wanted = bench.bar(ratio, limit, f"≥ {limit} ×", at_most=False) if ratio else f"≥ {limit} ×"
            else:
                wanted = bench.bar(left, limit, f"≤ {limit} {unit}")
        yield [name, text(left), text(right), f"{text(ratio)} ×" if ratio else "–", wanted]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--servers", default="vagus,mlflow")
    parser.add_argument("--runs", type=int, default=10_000, help="runs that are searched")
    parser.add_argument("--seconds", type=float, default=10, help="how long each rate is measured")
    parser.add_argument("--million", type=int, nargs="?", const=1_000_000, default=0, help="search among so many in Vagus")
    parser.add_argument("--million-data", type=pathlib.Path, help="a folder for those, filled once and used again")
    parser.add_argument("--mlflow", type=pathlib.Path, help="the program mlflow")
    parser.add_argument("--keep", type=pathlib.Path, help="a folder for the data, instead of one that is removed")
    options = parser.parse_args()
    if options.mlflow:
        servers.MLflow.program = options.mlflow.resolve()
    kinds = [{"vagus": servers.Vagus, "mlflow": servers.MLflow}[name] for name in options.servers.split(",") if name]
    page = bench.Result("experiments", "Experiments beside MLflow")
    all_figures, found = {}, {}
    with contextlib.nullcontext(options.keep) if options.keep else bench.workplace() as folder:
        folder.mkdir(parents=True, exist_ok=True)
        for kind in kinds:
            all_figures[kind.name], found[kind.name] = measure(kind, folder, options)
        if len({json.dumps(one) for one in found.values()}) > 1:
            sys.exit("the servers did not find the same runs in the same order")
        if options.million:
            place = options.million_data or folder / "million"
            place.mkdir(parents=True, exist_ok=True)
            million(place, all_figures.setdefault("vagus", {}), options)
    versions = f"vagus {bench.commit()}"
    if servers.MLflow in kinds:
        versions += f", mlflow {servers.MLflow.version_of()}"
    page.say(f"{options.runs:,} runs with three metrics and params each are searched: `{FILTER}`, ordered by `metrics.loss`, "
             f"100 results; and all of them by `metrics.acc`, 1,000 results. {versions}.")
    page.table(["what", "vagus", "mlflow", "ratio", "wanted"], list(rows_of(all_figures)))
    page.write()


if __name__ == "__main__":
    main()
