#!/usr/bin/env python3
"""A day of metrics in one data folder of Vagus: how large it is and how fast it answers.

    Benchmarks/telemetry/day.py [--series 10000] [--hours 24] [--rounds 5] [--out FILE] [--data FOLDER] [load] [ask]

Loads a sample of each series for each 15 s of the hours that end at the last full two hours, by remote write over one
connection, an hour after the other: the bodies of an hour are made before it is sent, and only sending is timed. Then one
sample of now comes, as from any target, and the upkeep of the server is waited for: until nothing in the folder changes for
longer than its minute. `load` does this and leaves the folder; `ask` starts a server on such a folder and asks the five
queries of bench.py, all as ranges: the last hour at 15 s and all hours at 60 s, as a panel of a dashboard asks for a day.
Neither word: both, in a folder that is removed.
"""
import argparse
import importlib.util
import json
import pathlib
import statistics
import sys
import time

HERE = pathlib.Path(__file__).resolve()
spec = importlib.util.spec_from_file_location("telemetry_bench", HERE.parent / "bench.py")
telemetry = importlib.util.module_from_spec(spec)
spec.loader.exec_module(telemetry)
bench, wire = telemetry.bench, telemetry.wire

HOUR = 3600
# Upkeep looks each minute, and cuts what two looks found still.
SETTLED = 65


def load(folder, series, hours):
    """Fills the folder; what the page tells of it."""
    end = int(time.time() * 1000) // telemetry.BLOCK_RANGE * telemetry.BLOCK_RANGE - telemetry.INTERVAL
    scrapes = hours * HOUR * 1000 // telemetry.INTERVAL
    with telemetry.Vagus(folder) as server:
        store = server.folder / "data/telemetry/metrics"
        cpu, wall, bodies = 0.0, 0.0, []
        for number, scrape in enumerate(telemetry.payloads(series, scrapes, end), 1):
            bodies += scrape
            if number % 240 and number != scrapes:
                continue
            used, took = server.write(bodies)
            cpu, wall, bodies = cpu + used, wall + took, []
        loaded = server.peak()
        newer = wire.series_bytes({"__name__": "newer"}, [(int(time.time() * 1000), 1.0)])
        before = server.cpu()
        server.write([bytes(telemetry.cramjam.snappy.compress_raw(newer))])
        settle(store / "blocks")
        told = {"end": end, "samples": series * scrapes, "series": series, "hours": hours, "cpu": cpu, "wall": wall,
                "settling": server.cpu() - before, "loaded": loaded, "settled": server.peak(), "server": server.version()}
    told["blocks"] = telemetry.size(store / "blocks")
    told["block count"] = len(list((store / "blocks").glob("block-*")))
    told["wal"] = telemetry.size(store / "wal")
    told["index"] = sum(place.stat().st_size for place in (store / "blocks").glob("block-*/index"))
    return told


def settle(blocks):
    """Waits until blocks are there and stay as they are."""
    names, since = None, time.monotonic()
    while names is None or not names or time.monotonic() - since < SETTLED:
        now = sorted(place.name for place in blocks.iterdir()) if blocks.exists() else []
        if now != names:
            names, since = now, time.monotonic()
        time.sleep(1)


def ask(folder, told, rounds):
    """The rows of the queries, and the peak of memory after them."""
    rows = []
    began = time.monotonic()
    with telemetry.Vagus(folder) as server:
        started = time.monotonic() - began
        for name, _, query in telemetry.QUERIES:
            row = [name.removesuffix(" 1h@15s"), f"`{query}`"]
            for seconds, step in ((HOUR, 15), (told["hours"] * HOUR, 60)):
                taken = [server.query("query_range", query, told["end"], seconds, step) for _ in range(rounds)]
                points = sum(len(one["values"]) for one in taken[0][1])
                row += [f"{statistics.median(took for took, _ in taken) * 1000:,.1f}", f"{points:,}"]
            rows.append(row)
        return rows, server.peak(), started


def page(told, rows, peak, started):
    per = lambda amount: f"{amount / told['samples']:.2f}"
    mib = lambda amount: f"{amount / 2**20:,.1f} MiB"
    lines = [f"# {told['hours']} hours of {told['series']:,} series each 15 s in one data folder", "",
             "- Command: `" + ' '.join(["Benchmarks/telemetry/day.py", *sys.argv[1:]]) + "`",
             f"- Date: {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC; tree {told['server']}",
             f"- Machine: {bench.machine()}", ""]
    facts = [("samples", f"{told['samples']:,}"), ("blocks", f"{told['block count']}"),
             ("size of the blocks", mib(told["blocks"])), ("bytes per sample", per(told["blocks"])),
             ("of which index", per(told["index"])), ("log beside them", mib(told["wal"])),
             ("load, s", f"{told['wall']:,.1f}"), ("load, CPU s of the server", f"{told['cpu']:,.1f}"),
             ("samples / CPU s", f"{told['samples'] / told['cpu'] / 1000:,.0f}k"),
             ("upkeep after it, CPU s", f"{told['settling']:,.1f}"), ("RSS peak while loading", mib(told["loaded"])),
             ("RSS peak with upkeep", mib(told["settled"])), ("start on the folder, s", f"{started:,.1f}"),
             ("RSS peak after the queries", mib(peak))]
    lines += telemetry.table(["what", "number"], [list(fact) for fact in facts]) + [""]
    heads = ["query", "PromQL", "1 h at 15 s, p50 ms", "points", f"{told['hours']} h at 60 s, p50 ms", "points"]
    return "\n".join(lines + telemetry.table(heads, rows) + [""])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("steps", nargs="*", choices=["load", "ask", []], help="absent: both")
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=pathlib.Path, help="a folder to leave; absent: one that is removed")
    parser.add_argument("--out", type=pathlib.Path, help="a Markdown file")
    options = parser.parse_args()
    if not bench.VAGUS.exists():
        sys.exit(f"{bench.VAGUS} is missing; run: make bench (or set VAGUS_BINARY)")
    if options.steps and not options.data:
        sys.exit("load and ask apart want a folder in common: --data FOLDER")
    steps = options.steps or ["load", "ask"]
    with bench.workplace() as temporary:
        folder = options.data or temporary
        folder.mkdir(parents=True, exist_ok=True)
        facts = folder / "day.json"
        if "load" in steps:
            facts.write_text(json.dumps(load(folder, options.series, options.hours)), encoding="utf-8")
        if "ask" in steps:
            told = json.loads(facts.read_text(encoding="utf-8"))
            text = page(told, *ask(folder, told, options.rounds))
            print(text)
            if options.out:
                options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
