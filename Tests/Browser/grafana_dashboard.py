#!/usr/bin/env python3
"""Imports a dashboard of Grafana into a running Vagus with a shop's metrics, lines and spans, and takes a picture of it.

    VAGUS_BINARY=.build/debug/vagus python3 Tests/Browser/grafana_dashboard.py --out /tmp/shots [--chromium /usr/bin/chromium]

Starts a `vagus dev`, loads half an hour of a made-up shop by remote write, Loki push and OTLP, runs `vagus dashboard import
data/grafana-shop.json --apply`, opens the page in a headless Chromium and writes grafana-dashboard.png and, beside it,
grafana-dashboard.md: each panel of Grafana with its query, and what became of it. Fails when a panel is missing, says that it has
nothing to show, or when what was not taken is not exactly the two panels that Vagus has no form for.

Needs what screenshots.py needs.
"""
import argparse
import json
import math
import pathlib
import random
import sys
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "Clients"))
from playwright.sync_api import sync_playwright  # noqa: E402
from promql_scripts import series_bytes, snappy  # noqa: E402
from vagus_process import Vagus  # noqa: E402

FILE = HERE / "data/grafana-shop.json"
STEP, MINUTES = 15, 40
BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, math.inf]
ROUTES = {"GET /": 9, "GET /item": 14, "GET /search": 5, "POST /cart": 3, "POST /order": 1}
NOT_TAKEN = {'panel "Share of each route": its type "piechart" is not known',
             'panel "Who calls whom": its type "nodeGraph" is not known'}


def post(url, body, kind):
    with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": kind}), timeout=30) as answer:
        return answer.read()


def metrics(now):
    """Counters and a histogram: a swell of visitors, and ten minutes in which the database is slow."""
    dice, body = random.Random(4), b""
    times = [(now - MINUTES * 60 + n * STEP) for n in range(MINUTES * 60 // STEP)]
    slow = lambda at: 1 if now - 900 < at < now - 300 else 0
    buckets = [0.0] * len(BOUNDS)
    lines = {bound: [] for bound in BOUNDS}
    for at in times:
        for _ in range(300):
            took = dice.lognormvariate(math.log(0.04 + 0.3 * slow(at) * dice.random()), 0.7)
            for index, bound in enumerate(BOUNDS):
                buckets[index] += took <= bound
        for index, bound in enumerate(BOUNDS):
            lines[bound].append((at * 1000, buckets[index]))
    for bound, points in lines.items():
        le = "+Inf" if bound == math.inf else repr(bound)
        body += series_bytes({"__name__": "shop_request_seconds_bucket", "job": "shop", "le": le}, points)
    for route, weight in ROUTES.items():
        for code, share in (("200", 1), ("500", 0.012)):
            total, points = 0.0, []
            for at in times:
                swell = 1 + 0.4 * math.sin((at - now) / 500)
                total += max(0, round(dice.gauss(1, 0.1) * weight * STEP * swell * share * (1 + 4 * slow(at) * (code == "500"))))
                points.append((at * 1000, total))
            body += series_bytes({"__name__": "shop_requests_total", "job": "shop", "route": route, "code": code}, points)
    return snappy(body)


def lines(now):
    """Lines in logfmt; some tell of an error and name the trace."""
    values = []
    for number in range(120):
        at = now - 20 * 60 + number * 10
        bad = number % 9 == 4
        text = (f'level={"error" if bad else "info"} route="POST /order" order={4000 + number} '
                + (f'msg="payment was not answered in time" trace_id={number + 1:032x}' if bad else 'msg="order taken"'))
        values.append([str(at * 10**9), text])
    return json.dumps({"streams": [{"stream": {"service_name": "shop"}, "values": values}]}).encode()


def spans(now):
    found = []
    for number in range(120):
        at, took = (now - 20 * 60 + number * 10) * 10**9, (2100 if number % 9 == 4 else 60 + number % 40) * 10**6
        trace = f"{number + 1:032x}"
        span = lambda place, name, start, end, parent="", bad=False: {
            "traceId": trace, "spanId": f"{number * 4 + place:016x}", "parentSpanId": parent, "name": name, "kind": 2 if not parent else 3,
            "startTimeUnixNano": str(start), "endTimeUnixNano": str(end), "status": {"code": 2 if bad else 1}}
        root = span(1, "POST /order", at, at + took, bad=number % 9 == 4)
        found += [root, span(2, "charge card", at + took // 10, at + took * 9 // 10, root["spanId"], number % 9 == 4)]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": found}]}]}).encode()


def grafana_panels():
    return [panel for panel in json.loads(FILE.read_text())["panels"] if panel["type"] != "row"]


def shoot(url, out, chromium):
    """The picture, and what is wrong with the page."""
    problems = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1360, "height": 900}, color_scheme="light")
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(url, wait_until="load")
        page.wait_for_load_state("networkidle")
        page.wait_for_function("document.querySelectorAll('[data-waiting]').length === 0", timeout=20_000)
        page.wait_for_timeout(300)
        text = page.locator("main").inner_text()
        for panel in grafana_panels():
            known = panel["type"] not in ("piechart", "nodeGraph")
            if known != (panel["title"] in text):
                problems.append(f"panel {panel['title']}: {'missing' if known else 'there, though it was not taken'}")
        page.screenshot(path=out / "grafana-dashboard.png", full_page=True)
        browser.close()
    return problems, text


def queries(left_out):
    """A page of the panels as Grafana has them, beside the picture."""
    rows = ["# A dashboard of Grafana in Vagus", "", "![The imported dashboard](grafana-dashboard.png)", "",
            "| panel | type in Grafana | query | in Vagus |", "|---|---|---|---|"]
    for panel in grafana_panels():
        told = [target.get("expr") or f"{target['service']}: {target['operation']}" for target in panel["targets"]]
        taken = not any(f'"{panel["title"]}"' in line for line in left_out)
        query = "<br>".join("`" + one.replace("|", "\\|") + "`" for one in told)
        rows.append(f"| {panel['title']} | {panel['type']} | {query} | {'shown' if taken else 'not taken'} |")
    return "\n".join(rows) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for the picture and the page")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    now = int(time.time())
    with Vagus() as vagus:
        post(vagus.url + "/prometheus/api/v1/write", metrics(now), "application/x-protobuf")
        post(vagus.url + "/loki/api/v1/push", lines(now), "application/json")
        post(vagus.url + "/otlp/v1/traces", spans(now), "application/json")
        done = vagus.run("dashboard", "import", str(FILE), "--apply")
        left_out = {line.removeprefix("not taken: ") for line in done.stderr.splitlines() if line.startswith("not taken: ")}
        print(done.stdout.strip(), *sorted(left_out), sep="\n")
        problems, text = shoot(vagus.url + "/dashboards/shop", options.out, options.chromium)
    if left_out != NOT_TAKEN:
        problems.append(f"not taken: {sorted(left_out)}")
    if "Nothing in this time" in text:
        problems.append("a panel has nothing to show")
    (options.out / "grafana-dashboard.md").write_text(queries(left_out), encoding="utf-8")
    for problem in problems:
        print(f"problem: {problem}")
    print(f"grafana_dashboard: {'failed' if problems else 'passed'}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
