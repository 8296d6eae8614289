#!/usr/bin/env python3
"""Start-up time and idle memory of `vagus dev` and `vagus server` on the data folder that the demo leaves.

    Benchmarks/serving/startup.py [--starts 20] [--idle 60]

Start-up: from exec to the 200 of GET /-/ready, asked every millisecond. Memory: /proc/PID/smaps_rollup after some idle
time; the copy of the service is a process of its own and told apart. Bars: 300 ms, 80 MB.
"""
import argparse
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import bench  # noqa: E402
import demo_data  # noqa: E402

START_LIMIT, MEMORY_LIMIT = 0.300, 80e6


def starts(vagus, count):
    taken = []
    for _ in range(count):
        taken.append(vagus.start())
        # As after a power cut: no good-bye.
        vagus.process.kill()
        vagus.process.wait()
    return taken


def idle(vagus, seconds):
    vagus.start()
    pid = vagus.process.pid
    began = bench.cpu([pid])
    time.sleep(seconds)
    found = bench.memory(pid)
    found["cpu"] = (bench.cpu([pid]) - began) / seconds
    bench.stop(vagus.process)
    return found


def megabytes(count):
    return f"{count / 1e6:.1f} MB"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--idle", type=float, default=60, help="seconds")
    given = parser.parse_args()
    result = bench.Result("startup", "Start-up and idle memory")
    with bench.workplace() as folder, demo_data.Served(folder) as served:
        size = sum(file.stat().st_size for file in served.vagus.data.rglob("*") if file.is_file())
        copies = [bench.memory(pid) for pid in served.copies()]
        bench.stop(served.vagus.process)
        rows = []
        for mode in ("dev", "server"):
            vagus = bench.Vagus(served.vagus.data, mode)
            bench.say(f"{given.starts} starts of vagus {mode}")
            taken = starts(vagus, given.starts)
            bench.say(f"vagus {mode} idle for {given.idle:.0f} s")
            found = idle(vagus, given.idle)
            middle = bench.percentile(taken, 0.5)
            rows.append([
                f"`vagus {mode}`", bench.bar(middle, START_LIMIT, f"{middle * 1000:.0f} ms"),
                f"{bench.percentile(taken, 0.9) * 1000:.0f} ms", f"{max(taken) * 1000:.0f} ms",
                bench.bar(found["Rss"], MEMORY_LIMIT, megabytes(found["Rss"])), megabytes(found["Pss"]),
                megabytes(found["Anonymous"]), str(found["Threads"]), f"{found['cpu'] * 100:.2f} %"])
        if copies:
            found = copies[0]
            rows.append(["`vagus serve` (the service's copy)", "", "", "", megabytes(found["Rss"]), megabytes(found["Pss"]),
                         megabytes(found["Anonymous"]), str(found["Threads"]), ""])
        # The last of `served` must end the copies: it needs a server to ask.
        served.vagus.start()
    result.say(
        f"The data folder is what the demo leaves ({size / 1e6:.0f} MB, one service with one copy). {given.starts} starts each, "
        f"the one before ended by `kill -9`; memory after {given.idle:.0f} s without requests. Bars: p50 ≤ 300 ms, resident ≤ 80 MB.")
    result.table(
        ["program", "start p50", "p90", "max", "resident", "proportional", "anonymous", "threads", "CPU when idle"], rows)
    result.write()


if __name__ == "__main__":
    main()
