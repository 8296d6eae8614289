#!/usr/bin/env python3
"""Logs: how fast they come in, how fast one line is found, how far behind a follower is.

    Benchmarks/pipelines/logs.py [--bytes 1000000000] [--lines 1000000]

In: a step writes lines of 100 bytes as fast as they are taken; bytes by CPU seconds of the server's process, which is not
the runner's. Lines: of a step that still runs, at random. Follower: a step tells the time 20 times a second; how old that
is when it reaches whoever follows. Bars: 50 MB a CPU second, 50 ms, 250 ms.
"""
import argparse
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import bench  # noqa: E402
import fleet  # noqa: E402

RATE_LIMIT, LINE_LIMIT, LAG_LIMIT = 50e6, 0.050, 0.250
LINE = "0123456789 " * 9


def pipeline(name, script):
    body = "\n".join("              " + line for line in script.splitlines())
    return f"kind: Pipeline\nname: {name}\nstages:\n  - name: one\n    jobs:\n      j:\n        steps:\n          - run: |\n{body}\n"


def ingest(house, count):
    house.apply(pipeline("write", f"head -c {count} <(yes '{LINE[:99]}')"))
    server, runner = house.server.process.pid, house.runner.pid
    before = bench.cpu([server]), bench.cpu([runner])
    run = house.ended(house.start("write")["id"], 1800)
    if run["status"] != "succeeded":
        sys.exit(f"the run {run['status']}: {run.get('reason')} {run['jobs'][0].get('reason')}")
    wall = fleet.moment(run["finished_at"]) - fleet.moment(run["started_at"])
    kept = sum(file.stat().st_size for file in (house.server.data / "logs").rglob("*") if file.is_file())
    return {"wall": wall, "server": bench.cpu([server]) - before[0], "runner": bench.cpu([runner]) - before[1], "kept": kept,
            "resident": bench.memory(server)["Rss"]}


def lines(house, folder, count, looks=200):
    """Seconds that each of some random lines took; None when this build has no lines."""
    go = folder / "go"
    script = f"seq -f 'line %.0f of a long log {LINE[:60]}' {count}\nuntil [ -e {go} ]; do sleep 0.1; done"
    house.apply(pipeline("lines", script))
    run = house.start("lines")["id"]
    try:
        status, first = house.try_call("GET", f"{fleet.PROJECT}/runs/{run}/log?job=one/j&line=1&lines=1")
        if status >= 300 or "total_lines" not in first:
            return None

        def all_there():
            chunk = house.try_call("GET", f"{fleet.PROJECT}/runs/{run}/log?job=one/j&line=1&lines=1")[1]
            return chunk.get("total_lines", 0) > count

        bench.until(all_there, 300, "all lines to be there", 0.2)
        # The runner's own line about the step comes first: which one is asked, not assumed.
        start = int(house.line(run, "one/j", 10)["text"].split("line ")[1].split()[0]) - 10
        taken, chance = [], random.Random(7)
        for _ in range(looks):
            wanted = chance.randint(20, count)
            began = time.monotonic()
            text = house.line(run, "one/j", wanted)["text"]
            taken.append(time.monotonic() - began)
            if f"line {wanted + start} of a long log" not in text:
                sys.exit(f"line {wanted} is not what it should be: {text[:200]!r}")
        return taken
    finally:
        go.touch()
        house.ended(run, 120)


def lag(house, count=200):
    house.apply(pipeline("tick", f"for i in $(seq {count}); do echo \"t=$EPOCHREALTIME\"; sleep 0.05; done"))
    run = house.start("tick")["id"]
    lags, offset, rest = [], 0, ""
    while True:
        chunk = house.log(run, "one/j", offset, wait=True)
        now = time.time()
        offset = chunk["next_offset"]
        *whole, rest = (rest + chunk["text"]).split("\n")
        lags += [now - float(line[2:].replace(",", ".")) for line in whole if line.startswith("t=")]
        if chunk["ended"]:
            break
    if len(lags) != count:
        sys.exit(f"the follower saw {len(lags)} of {count} lines")
    return lags


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bytes", type=float, default=1e9)
    parser.add_argument("--lines", type=int, default=1_000_000)
    given = parser.parse_args()
    result = bench.Result("logs", "Logs")
    with bench.workplace() as folder, fleet.Fleet(folder / "house") as house:
        bench.say("a follower")
        lags = lag(house)
        bench.say(f"{given.lines:,} lines")
        taken = lines(house, folder, given.lines)
        bench.say(f"{given.bytes / 1e6:,.0f} MB")
        found = ingest(house, int(given.bytes))
    rate = given.bytes / found["server"]
    rows = [["in, by the server's CPU", bench.bar(rate, RATE_LIMIT, f"{rate / 1e6:.0f} MB/s a core", at_most=False), "50 MB/s"],
            ["in, by the runner's CPU", f"{given.bytes / found['runner'] / 1e6:.0f} MB/s a core", ""],
            ["in, by the clock", f"{given.bytes / found['wall'] / 1e6:.0f} MB/s", ""]]
    if taken is None:
        rows.append(["any line", "not measured: this build has no lines", "50 ms"])
    else:
        worst = max(taken)
        rows += [[f"one of {given.lines:,} lines, p50", f"{bench.percentile(taken, 0.5) * 1000:.1f} ms", ""],
                 [f"one of {given.lines:,} lines, p99", f"{bench.percentile(taken, 0.99) * 1000:.1f} ms", ""],
                 [f"one of {given.lines:,} lines, worst of {len(taken)}", bench.bar(worst, LINE_LIMIT, f"{worst * 1000:.1f} ms"), "50 ms"]]
    rows += [["follower behind, p50", f"{bench.percentile(lags, 0.5) * 1000:.0f} ms", ""],
             ["follower behind, worst", bench.bar(max(lags), LAG_LIMIT, f"{max(lags) * 1000:.0f} ms"), "250 ms"]]
    result.say(f"A step that writes {given.bytes / 1e6:,.0f} MB ({found['kept'] / 1e6:,.0f} MB on the server's disk afterwards, server "
               f"resident {found['resident'] / 1e6:.0f} MB); lines looked up while their step runs.")
    result.table(["what", "figure", "bar"], rows)
    result.write()


if __name__ == "__main__":
    main()
