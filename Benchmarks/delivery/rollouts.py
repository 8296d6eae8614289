#!/usr/bin/env python3
"""Rollouts: how soon a bad canary has no traffic, what a kill -9 of the server costs, what services at rest cost.

    Benchmarks/delivery/rollouts.py [--parts decision,kill,steady] [--services 10000] [--seconds 60] [--interval 30s]

decision  A canary at 50 % that fails every request, ten times. From the moment of the sample that decided (`at` of
          `vagus analysis`) to the last answer of the canary that a client of the proxy saw.
kill      Twenty canaries on their way, each with a client; server and proxy are processes of their own. The server is killed
          with -9 and started again at once. From its exec to the first new event about each of the twenty; and every answer.
steady    So many services with one copy each, all healthy, each asked for its health every `--interval`. CPU of the server in so many
          seconds in which nothing else happens, and the time of `vagus status SERVICE` (a process of its own each time). The
          copies are a program of thirty lines of C, compiled by cc: ten thousand of any other would not fit.

The services are examples/rollouts/app.py. Copies outlive their server, so they are ended by their folder.
"""
import argparse
import collections
import contextlib
import datetime
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve()
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent.parent.parent / "examples/rollouts")]
import bench  # noqa: E402
from tour import APP, Load  # noqa: E402

# Seconds between the last service's beginning and the measurement of all at rest.
SETTLING = 240
DECISIONS, ROLLOUTS, STEPS = 10, 20, 30
# Answers each connection with 200 and closes it.
PROGRAM = r"""
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void) {
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(atoi(getenv("PORT")))};
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int door = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(door, (struct sockaddr *)&here, sizeof here) || listen(door, 4)) return 1;
    for (;;) {
        char asked[2048];
        int guest = accept(door, 0, 0);
        if (guest < 0) continue;
        if (read(guest, asked, sizeof asked) > 0) (void)!write(guest, answer, sizeof answer - 1);
        close(guest);
    }
}
"""
CANARY = """
kind: Service
name: {name}
workload: {{ command: [python3, -u, {app}], replicas: 1, variables: {{ VERSION: "{version}"{faults} }} }}
health: {{ http: /health, interval: 500ms, deadline: 30s, stop_grace: 2s }}
rollout:
  strategy: canary
  steps:
    - scale: {{ replicas: 1 }}
"""
JUDGED = """    - weight: 50
    - analyze: [errors]
    - pause: {}
  analysis:
    errors: { built_in: error_rate, interval: 1s, count: 30, judge: { method: sequential, max_increase: 20%, min_samples: 20 } }
rollback: { abort_delay: 1s, scale_down_delay: 1s }
"""


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def wait(house, service, what, holds, seconds=60):
    return bench.until(lambda: (found := house.json("status", service)) and holds(found) and found, seconds,
                       f"{what} of {service}", every=0.1)


def stable(revision):
    return lambda status: status["stable_revision"] == revision and status["phase"] == "healthy"


def decision(folder, result):
    took = []
    with bench.Vagus(folder / "decision") as house:
        # The load tells moments of the monotonic clock.
        shift = time.time() - time.monotonic()
        for number in range(DECISIONS):
            name = f"bad-{number}"
            house.apply(CANARY.format(name=name, app=APP, version=1, faults="") + JUDGED)
            wait(house, name, "the first revision", stable(1))
            with Load(house.proxy, f"/services/{name}/", clients=4, rate=160) as load:
                house.apply(CANARY.format(name=name, app=APP, version=2, faults=', FAIL: "1"') + JUDGED)
                wait(house, name, "the abort", lambda status: status["aborted"])
                time.sleep(1.5)
            runs = house.json("analysis", name)["runs"]
            sample = max(moment(one["at"]) for run in runs for metric in run["metrics"]
                         for one in metric["measurements"])
            last = max(at + shift for at, revision, _ in load.seen if revision == "2")
            took.append(last - sample)
    result.say("## From the sample that decides to no traffic for the canary")
    result.table(["canaries", "p50 ms", "slowest ms"],
                 [[DECISIONS, f"{statistics.median(took) * 1000:.0f}", f"{max(took) * 1000:.0f}"]])
    result.say(bench.bar(max(took), 1, f"The slowest of {DECISIONS}: {max(took) * 1000:.0f} ms; asked for: at most 1 s"))


def kill(folder, result):
    steps = "".join(f"    - weight: {1 + number}\n    - pause: {{ for: 1s }}\n" for number in range(STEPS))
    house = bench.Vagus(folder / "kill", "server")
    house.start()
    proxy = None
    try:
        once = bench.until(lambda: re.search(r"--token (\S+)", house.log.read_text()), 10, "the first token")[1]
        house.token = once
        house.token = house.json("token", "redeem", "admin")["token"]
        agent = house.json("token", "create", "proxy", "--permission", "agent")["token"]
        port = bench.free_port()
        with open(folder / "proxy.log", "a", encoding="utf-8") as log:
            proxy = subprocess.Popen(
                [bench.VAGUS, "proxy", "--server", house.url, "--token", agent, "--listen", f"127.0.0.1:{port}", "--data",
                 folder / "proxy"], stdout=log, stderr=log, start_new_session=True)
        names = [f"on-{number}" for number in range(ROLLOUTS)]
        for version in (1, 2):
            house.apply("---".join(CANARY.format(name=name, app=APP, version=version, faults="") + steps for name in names))
            if version == 1:
                for name in names:
                    wait(house, name, "the first revision", stable(1), 120)
                loads = [Load(f"http://127.0.0.1:{port}", f"/services/{name}/", clients=1, rate=10) for name in names]
                time.sleep(2)
                for load in loads:
                    load.__enter__()
        for name in names:
            wait(house, name, "a step", lambda status: (status["step"] or 0) >= 2, 120)
        server_port = house.url.rsplit(":", 1)[1]
        before = {name: len(house.json("events", "--about", name, "--limit", "1000")["items"]) for name in names}
        house.process.send_signal(signal.SIGKILL)
        house.process.wait()
        began = time.time()
        words = house.command(server_port, 0)
        with open(house.log, "a", encoding="utf-8") as log:
            house.process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
        bench.until(lambda: bench.is_ready(int(server_port)), 30, "the server to be back", every=0.005)
        back = time.time() - began
        time.sleep(4)
        on = []
        for name in names:
            items = house.json("events", "--about", name, "--limit", "1000")["items"]
            newer = [moment(one["at"]) - began for one in items[before[name]:] if moment(one["at"]) > began]
            on.append(min(newer, default=float("inf")))
        time.sleep(1)
        for load in loads:
            load.__exit__()
    finally:
        bench.stop(house.process)
        if proxy:
            bench.stop(proxy)
    asked = sum(sum(load.revisions.values()) for load in loads)
    failed = sum(len(load.failures) for load in loads)
    revisions = sum((load.revisions for load in loads), collections.Counter())
    result.say(f"## kill -9 of the server during {ROLLOUTS} rollouts")
    result.table(["ready s", "first go on s", "all go on s", "requests", "of the canaries", "failed"],
                 [[f"{back:.2f}", f"{min(on):.2f}", f"{max(on):.2f}", f"{asked:,}", f"{revisions['2']:,}", failed]])
    result.say(bench.bar(max(on) + 1000 * failed, 3, f"All {ROLLOUTS} go on after {max(on):.2f} s, {failed} of {asked:,} requests "
                         "failed; asked for: less than 3 s, none"))


def steady(folder, result, count, seconds, interval):
    (folder / "tiny.c").write_text(PROGRAM, encoding="utf-8")
    tiny = folder / "tiny"
    subprocess.run(["cc", "-O1", "-static", "-o", tiny, folder / "tiny.c"], check=True)
    one = "kind: Service\nname: s{}\nworkload: {{ command: [{}] }}\nhealth: {{ http: /, interval: " + interval + ", deadline: 1h }}\n"
    with bench.Vagus(folder / "steady") as house:
        began = time.monotonic()
        for first in range(0, count, 500):
            house.apply("---\n".join(one.format(number, tiny) for number in range(first, min(count, first + 500))))
            bench.say(f"{min(count, first + 500):,} services told, {time.monotonic() - began:.0f} s")
        for number in range(0, count, max(1, count // 50)):
            wait(house, f"s{number}", "health", stable(1), 1800)
        bench.until(lambda: len(copies(folder)) >= count, 900, "all copies", every=2)
        made = time.monotonic() - began
        # What follows from the beginning is done by then: copies without /metrics are asked for it a few times, less and less often.
        time.sleep(SETTLING)
        before, started = bench.cpu([house.process.pid]), time.monotonic()
        time.sleep(seconds)
        share = (bench.cpu([house.process.pid]) - before) / (time.monotonic() - started)
        took = []
        for number in range(20):
            began = time.monotonic()
            house.run("status", f"s{number * count // 20}", "-o", "json")
            took.append((time.monotonic() - began) * 1000)
        resident = bench.memory(house.process.pid)["Rss"] / 2**20
    result.say(f"## {count:,} services at rest, asked every {interval}")
    result.table(["services", "until all are healthy s", "% of a core", "resident MiB", "status p50 ms", "status slowest ms"],
                 [[f"{count:,}", f"{made:.0f}", f"{share * 100:.1f}", f"{resident:.0f}", f"{statistics.median(took):.0f}",
                   f"{max(took):.0f}"]])
    result.say(bench.bar(share, 0.1, f"{share * 100:.1f} % of a core over {seconds} s, {SETTLING} s after the last was healthy; "
                         "asked for: less than 10 %"))
    result.say(bench.bar(max(took), 100, f"`vagus status` in {statistics.median(took):.0f} ms (p50), {max(took):.0f} ms at most; "
                         "asked for: less than 100 ms"))


def copies(folder):
    """Processes that work below the folder, those of vagus itself apart."""
    found = []
    for place in pathlib.Path("/proc").iterdir():
        try:
            if place.name.isdigit() and os.readlink(place / "cwd").startswith(f"{folder}/"):
                found.append(int(place.name))
        except OSError:
            continue
    return found


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--parts", default="decision,kill,steady")
    options.add_argument("--services", type=int, default=10_000)
    options.add_argument("--seconds", type=int, default=60)
    options.add_argument("--interval", default="30s", help="how often a copy at rest is asked for its health")
    chosen = options.parse_args()
    result = bench.Result("rollouts", "Rollouts and services at rest")
    with bench.workplace() as folder:
        for part in chosen.parts.split(","):
            bench.say(part)
            try:
                if part == "decision":
                    decision(folder, result)
                elif part == "kill":
                    kill(folder, result)
                elif part == "steady":
                    steady(folder, result, chosen.services, chosen.seconds, chosen.interval)
            finally:
                for pid in copies(folder):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
    if chosen.parts == "decision,kill,steady":
        result.write()


if __name__ == "__main__":
    main()
