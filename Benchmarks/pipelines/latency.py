#!/usr/bin/env python3
"""From the request for a run to the first byte of its step, on an idle runner.

    Benchmarks/pipelines/latency.py [--runs 100]

Three moments of each run, all measured here: the request is sent; the step has begun (it tells the time as its first
act); its first byte has reached somebody who follows the log. Bars: p50 30 ms, p99 150 ms.
"""
import argparse
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import bench  # noqa: E402
import fleet  # noqa: E402

MIDDLE_LIMIT, TAIL_LIMIT = 0.030, 0.150
PIPELINE = """
kind: Pipeline
name: clock
stages:
  - name: one
    jobs: { tell: { steps: [{ run: 'echo "now=$EPOCHREALTIME"' }] } }
"""


def one(house):
    asked = time.time()
    run = house.start("clock")["id"]
    told, seen = house.follow(run, "one/tell", r"^now=(\d+)[.,](\d+)$")
    began = float(f"{told[1]}.{told[2]}")
    house.ended(run, 30, every=0.02)
    return began - asked, seen - asked


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=100)
    given = parser.parse_args()
    result = bench.Result("latency", "From request to first byte")
    began, seen = [], []
    with bench.workplace() as folder, fleet.Fleet(folder / "house") as house:
        house.apply(PIPELINE)
        for number in range(given.runs + 5):
            first, last = one(house)
            # Idle, and not in step with any timer of the server.
            time.sleep(0.1 + number % 7 * 0.013)
            if number >= 5:
                began.append(first)
                seen.append(last)
    result.say(f"{given.runs} runs one after another on an idle `vagus server` with one `vagus runner`, after 5 to warm up.")
    rows = []
    for name, values in (("the step began", began), ("its first byte was seen by a follower", seen)):
        middle, tail = bench.percentile(values, 0.5), bench.percentile(values, 0.99)
        rows.append([name, bench.bar(middle, MIDDLE_LIMIT, f"{middle * 1000:.1f} ms"), f"{bench.percentile(values, 0.9) * 1000:.1f} ms",
                     bench.bar(tail, TAIL_LIMIT, f"{tail * 1000:.1f} ms"), f"{max(values) * 1000:.1f} ms"])
    result.table(["from the request until", "p50 (bar 30)", "p90", "p99 (bar 150)", "max"], rows)
    result.write()


if __name__ == "__main__":
    main()
