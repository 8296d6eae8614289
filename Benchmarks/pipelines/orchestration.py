#!/usr/bin/env python3
"""Jobs that do nothing: what the engine itself costs, beside make, Luigi and Prefect on the same graph, in one run.

    Benchmarks/pipelines/orchestration.py [--jobs 1000] [--capacity 2 16] [--prefect 200]

Two graphs of `true`: ten chains side by side, and one stage of all jobs. Vagus is a server and one runner, processes of
their own; timed from the start of the run to its end as the API tells it. The peers are timed with their own start,
which is told apart. Every program must have run every job.
"""
import argparse
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import bench  # noqa: E402
import fleet  # noqa: E402
import graphs  # noqa: E402

RATE_LIMIT, SHARE_LIMIT, OVERHEAD_LIMIT = 200, 0.4, 0.005
NODES = 10_000


def vagus(house, shape, count):
    name = f"noop-{shape}"
    house.apply(graphs.pipeline(name, shape, count))
    server, runner = house.server.process.pid, house.runner.pid
    before = [bench.cpu([server]), bench.cpu([runner])]
    run = house.ended(house.start(name)["id"], 1800)
    wall = fleet.moment(run["finished_at"]) - fleet.moment(run["created_at"])
    statuses = [job["status"] for job in run["jobs"]]
    if run["status"] != "succeeded" or len(statuses) != count or set(statuses) != {"succeeded"}:
        sys.exit(f"the run {run['status']}: {run.get('reason')}")
    return {"wall": wall, "server": bench.cpu([server]) - before[0], "runner": bench.cpu([runner]) - before[1]}


def timed(words, environment=None, folder=None):
    """Wall and CPU seconds of a command with all its children."""
    before = os.times()
    began = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=folder, check=False)
    wall = time.monotonic() - began
    after = os.times()
    if done.returncode != 0:
        sys.exit(f"{words} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return {"wall": wall, "cpu": used}


def make(folder, shape, count, shell=False):
    path = folder / "Makefile"
    path.write_text(graphs.makefile(shape, count, shell))
    return timed(["make", "-j2", "-s", "-C", str(folder), "all"])


def python_peer(folder, name, shape, count, workers):
    home = folder / f"{name}-{shape}-{count}"
    (home / "done").mkdir(parents=True)
    environment = {
        **os.environ, "PREFECT_HOME": str(home / "prefect"), "PREFECT_LOGGING_LEVEL": "ERROR", "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120"}
    python = bench.PEERS / "pipelines/bin/python"
    return timed([python, graphs.peer(name), shape, str(count), str(workers), str(home / "done")], environment, home)


def validation(house, folder):
    """`apply --dry-run` of a pipeline of many stages, the client's own time included; None when it was not answered."""
    path = folder / "large.yaml"
    path.write_text(graphs.pipeline("large", "chains", NODES))
    server = bench.cpu([house.server.process.pid])
    began = time.monotonic()
    told = house.server.run("apply", "-f", path, "--dry-run", check=False)
    whole = time.monotonic() - began
    if "large" not in told:
        return None
    return {"wall": whole, "server": bench.cpu([house.server.process.pid]) - server, "bytes": path.stat().st_size}


def row(name, count, wall, cpu, note=""):
    return [name, str(count), f"{wall:.2f} s", f"{count / wall:,.0f}", f"{cpu / count * 1000:.2f} ms", note]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--capacity", type=int, nargs="+", default=[2, 16], help="jobs that the runner takes at once; each is measured")
    parser.add_argument("--prefect", type=int, default=200, help="jobs for Prefect, which takes minutes for 1,000")
    parser.add_argument("--no-peers", action="store_true")
    given = parser.parse_args()
    result = bench.Result("orchestration", "Jobs that do nothing")
    with bench.workplace() as folder:
        rows, rates, overheads = [], {}, {}
        for shape in graphs.SHAPES:
            bench.say(f"{shape}: make, before")
            first = make(folder, shape, given.jobs)
            own = {}
            for capacity in given.capacity:
                with fleet.Fleet(folder / f"vagus-{shape}-{capacity}", capacity) as house:
                    vagus(house, "wide", 20)
                    bench.say(f"{shape}: Vagus, {capacity} jobs at once")
                    own[capacity] = vagus(house, shape, given.jobs)
            bench.say(f"{shape}: make, after")
            second = make(folder, shape, given.jobs)
            bashed = make(folder, shape, given.jobs, shell=True)
            made = min(first, second, key=lambda one: one["wall"])
            words = "10 chains" if shape == "chains" else "one stage"
            for capacity, one in own.items():
                rows.append(row(f"Vagus, {words}, {capacity} at once", given.jobs, one["wall"], one["server"] + one["runner"],
                                f"server {one['server'] / given.jobs * 1000:.2f}, runner {one['runner'] / given.jobs * 1000:.2f} ms"))
            rows.append(row(f"make -j2, {words}", given.jobs, made["wall"], made["cpu"], "the better of two, its `true`s included"))
            rows.append(row(f"make -j2 through bash, {words}", given.jobs, bashed["wall"], bashed["cpu"],
                            "a shell for each job, as Vagus has it"))
            for capacity, one in own.items():
                key = f"{words}, {capacity} at once"
                rates[key] = (given.jobs / one["wall"], made["wall"] / one["wall"], bashed["wall"] / one["wall"])
                overheads[key] = (one["server"] + one["runner"]) / given.jobs
            if given.no_peers:
                continue
            bench.say(f"{shape}: Luigi")
            done = python_peer(folder, "luigi", shape, given.jobs, 2)
            rows.append(row(f"Luigi 3.8.1, {words}", given.jobs, done["wall"], done["cpu"], "local scheduler, 2 workers"))
            bench.say(f"{shape}: Prefect")
            empty = python_peer(folder, "prefect", shape, 1, 2)
            done = python_peer(folder, "prefect", shape, given.prefect, 2)
            rows.append(row(f"Prefect 3.8.8, {words}", given.prefect, done["wall"], done["cpu"],
                            f"{given.prefect} jobs only; {empty['wall']:.0f} s of it are its start"))
        with fleet.Fleet(folder / "vagus-large", given.capacity[0]) as house:
            bench.say(f"a graph of {NODES:,} nodes")
            large = validation(house, folder)
    result.say(
        f"{given.jobs:,} jobs of `true`; Vagus: `vagus server` and one `vagus runner --capacity N`, each job a step "
        f"`run: true` with its own shell, log, events and durable state. CPU a job is that of server and runner, the steps' own "
        f"processes apart; for the peers it is everything.")
    result.table(["who", "jobs", "wall", "jobs/s", "CPU a job", "remark"], rows)
    for words, (rate, share, bashed) in rates.items():
        result.say(f"{words}: " + "; ".join([
            bench.bar(rate, RATE_LIMIT, f"{rate:.0f} jobs/s (bar {RATE_LIMIT})", at_most=False),
            bench.bar(share, SHARE_LIMIT, f"{share:.2f} of make -j2 (bar {SHARE_LIMIT})", at_most=False),
            f"{bashed:.2f} of make -j2 through bash",
            bench.bar(overheads[words], OVERHEAD_LIMIT, f"{overheads[words] * 1000:.2f} ms CPU of the engine a job (bar 5)")]) + ".")
    if large is None:
        result.say(f"A graph of {NODES:,} nodes was not answered by `vagus apply --dry-run` within its time limit ✗ (bar 1 s).")
        return result.write()
    result.say("A graph of {:,} nodes ({:.1f} MB of YAML): `vagus apply --dry-run` {}, server CPU {:.2f} s.".format(
        NODES, large["bytes"] / 1e6, bench.bar(large["wall"], 1, f"{large['wall']:.2f} s (bar 1 s)"), large["server"]))
    result.write()


if __name__ == "__main__":
    main()
