#!/usr/bin/env python3
"""Takes screenshots of the web UI in a real Chromium and checks what only a browser can.

    python3 Tests/Browser/screenshots.py --server http://127.0.0.1:8420 --out /tmp/shots
    python3 Tests/Browser/screenshots.py --pages /tmp/pages --out /tmp/shots

With --server it walks a running vagus: the fixed pages, and the first run, service, model, monitor, pipeline and
dataset that those link to. With --pages it serves a folder of pages that WebTests wrote (VAGUS_PAGES=/tmp/pages), with
the headers of the server. Each page is taken at desktop and phone width, light and dark. It fails when a page scrolls
sideways, when the browser reports an error (a blocked inline style, a missing file), or when an image of the page is
not named for screen readers.

Needs Chromium (apt-get install chromium) and playwright (pip install playwright).
"""

import argparse
import functools
import http.server
import pathlib
import sys
import threading
import time

from playwright.sync_api import sync_playwright

CSP = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
WIDTHS = {"desktop": (1360, 900), "phone": (390, 844)}
FIXED = ["/", "/runs", "/approvals", "/queue", "/pipelines", "/services", "/models", "/datasets", "/monitors", "/dora"]
FIXED += ["/runners", "/events", "/resources", "/explore", "/explore/logs", "/explore/traces", "/explore/services"]
FIXED += ["/calendar", "/dashboards", "/dashboards/vagus", "/telemetry", "/experiments", "/experiments/0"]
DETAIL = ["/runs/", "/pipelines/", "/services/", "/models/", "/datasets/", "/monitors/", "/resources/", "/explore/traces/"]
DETAIL += ["/dashboards/"]
# Questions that a server which measures itself can answer.
ASKED = ["/explore?q=rate(vagus_http_requests_total[5m])&range=15m", "/explore?q=sum(up", "/dashboards?show=import"]
ASKED += ["/explore?q=vagus_http_requests_total&view=table", "/explore/logs?q={service_name=%22vagus%22}"]
RUN_VIEWS = ["timeline", "artifacts", "tests", "quality", "metrics"]
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Pages(http.server.SimpleHTTPRequestHandler):
    """Serves a folder with the headers that the server sends."""

    extensions_map = TYPES

    def end_headers(self):
        self.send_header("Content-Security-Policy", CSP)
        super().end_headers()

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path.startswith("/api/v1/events"):
            self.feed()
            return
        super().do_GET()


    def feed(self):
        """One event, as the server writes it, and then silence until the page is left."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        super().end_headers()
        try:
            self.wfile.write(b"id: 1\nevent: event\ndata: {}\n\n")
            while True:
                time.sleep(1)
                self.wfile.write(b": still here\n\n")
        except OSError:
            pass


class Server(http.server.ThreadingHTTPServer):
    """A page that is left in the middle of an answer is no error worth a trace."""

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def static_server(folder):
    handler = functools.partial(Pages, directory=str(folder))
    server = Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def walk(page, base):
    """The paths of a running server: fixed pages and one of each kind of thing."""
    paths = list(FIXED)
    for path in FIXED:
        page.goto(base + path, wait_until="domcontentloaded")
        links = page.eval_on_selector_all("main a[href]", "all => all.map(a => a.getAttribute('href'))")
        for prefix in DETAIL:
            known = [p for p in paths if p.startswith(prefix)]
            found = [link.split("?")[0] for link in links if link.startswith(prefix)]
            if found and not known:
                paths.append(found[0])
                if prefix == "/runs/":
                    paths += [f"{found[0]}?view={view}" for view in RUN_VIEWS]
    return paths + ASKED


def name_of(path):
    plain = path.strip("/").replace(".html", "").replace("?view=", "-").replace("/", "-")
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in plain)[:80]
    return plain or "overview"


CHECKS = """() => {
  const problems = [];
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide > 0) {
    const guilty = [...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1
      && !e.closest('.table-wrap, .log-body, .tabs, .code, .entries, svg'));
    problems.push(`scrolls sideways by ${wide}px: ${guilty.slice(0, 3).map((e) => e.tagName + '.' + e.className).join(', ')}`);
  }
  for (const svg of document.querySelectorAll('svg[role=img]')) {
    if (!svg.getAttribute('aria-label')) problems.push('an svg with role img has no aria-label');
  }
  if (document.querySelectorAll('h1').length !== 1) problems.push('there is not exactly one h1');
  for (const input of document.querySelectorAll('input:not([type=hidden]), select, textarea')) {
    if (!input.labels.length && !input.getAttribute('aria-label')) problems.push(`a field has no label: ${input.name}`);
  }
  const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
  for (const id of new Set(ids.filter((id, i) => ids.indexOf(id) !== i))) problems.push(`the id ${id} is there twice`);
  for (const table of document.querySelectorAll('table')) if (!table.caption) problems.push('a table has no caption');
  return problems;
}"""


def stream(page, base):
    """A log that goes on: the page asks from where it stands, adds the lines, stops at the end."""
    asked = []

    def more(route):
        asked.append(route.request.url)
        last = len(asked) == 2
        line = f'<div class="log-line"><span class="no">{66 + len(asked)}</span><span class="tx">more {len(asked)}</span></div>'
        route.fulfill(
            content_type="text/html",
            body=f'<div data-next="{9000 + len(asked)}" data-line="{67 + len(asked)}" data-done="{str(last).lower()}">{line}</div>',
        )

    def open_end(route):
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace('data-done="true"', 'data-done="false"'))

    page.route("**/runs/*/log?*", more)
    page.route("**/run-live.html", open_end)
    page.goto(f"{base}/run-live.html", wait_until="load")
    page.wait_for_timeout(2500)
    problems = []
    lines = page.locator(".log-line").all_inner_texts()
    if len(asked) != 2 or "after=9001" not in asked[-1]:
        problems.append(f"behaviour: the log is asked for twice, on from where it stands: {asked}")
    if not lines[-1].endswith("more 2"):
        problems.append(f"behaviour: new lines of the log come last: {lines[-1]}")
    body = page.locator(".log-body")
    if body.evaluate("e => e.scrollHeight - e.scrollTop - e.clientHeight") > 4:
        problems.append("behaviour: a log that runs is followed")
    page.unroute("**/runs/*/log?*")
    page.unroute("**/run-live.html")
    return problems


WORDS = {
    "functions": [{"name": "rate", "signature": "rate(range vector) instant vector", "summary": "Growth a second."}],
    "names": [{"name": "rate_limit_hits", "type": "counter", "help": "Hits."}],
    "labels": [{"value": "job"}, {"value": "code"}],
    "values": [{"value": 'sh"op'}],
}


def ask(page, base):
    """The field for PromQL completes, explains and marks; the legend hides; the tail goes on; panels are asked anew."""
    problems = []

    def expect(what, holds):
        if not holds:
            problems.append(f"behaviour: {what}")

    def api(route):
        path = route.request.url.split("?")[0]
        if path.endswith("/parse"):
            wrong = "%7D%7D" in route.request.url
            route.fulfill(json={"ok": not wrong, "message": "unexpected }", "start": 2, "end": 3} if wrong else {"ok": True})
        else:
            route.fulfill(json={"items": WORDS[path.rsplit("/", 1)[1]]})

    page.route("**/api/v1/metrics/**", api)
    page.goto(f"{base}/explore.html", wait_until="load")
    field = page.locator("#x-q")
    field.click()
    field.press_sequentially("rat")
    page.locator(".completions li").first.wait_for()
    expect("functions come before metrics", page.locator(".completions code").all_inner_texts() == ["rate", "rate_limit_hits"])
    expect("the field says that a list is open", field.get_attribute("aria-expanded") == "true")
    field.press("Enter")
    expect("a function is put in with its bracket", field.input_value() == "rate(")
    page.locator(".signature:visible").wait_for()
    expect("a function is explained", "Growth a second." in page.locator(".signature").inner_text())
    field.press_sequentially("up{j")
    page.locator(".completions li", has_text="job").wait_for()
    field.press("Tab")
    page.locator(".completions li", has_text="sh").wait_for()
    field.press("Tab")
    expect("labels and values are put in, quotes kept", field.input_value() == 'rate(up{job="sh\\"op')
    field.fill("é}}")
    page.locator(".editor mark").wait_for()
    expect("what is wrong is marked by bytes", page.locator(".editor mark").inner_text() == "}")
    expect("what is wrong is told", page.locator("#x-q-fault").inner_text() == "unexpected }")
    page.unroute("**/api/v1/metrics/**")
    page.goto(f"{base}/explore-graph.html", wait_until="load")
    key = page.locator(".keys button").first
    key.click()
    expect("a legend's entry hides its series", page.locator('svg:visible g[data-series="0"].off').count() == 1)
    key.click(modifiers=["Shift"])
    expect("with Shift it is alone", page.locator("svg:visible g[data-series].off").count() == 2)
    hits = page.locator("svg.chart:visible .hit")
    hits.nth(20).hover()
    expect("hovering tells the shown series alone", page.locator(".tip:visible span").count() == 1)
    page.goto(f"{base}/explore-logs.html", wait_until="load")
    row = '<details class="entry run"><summary><time>1</time><span class="tx">fresh</span></summary></details>'
    page.route("**/explore/logs/tail?*", lambda route: route.fulfill(content_type="text/html", body=f'<div data-next="7">{row}</div>') if "after" not in route.request.url else None)
    page.locator("[data-live-tail]").click()
    page.locator(".entries .tx", has_text="fresh").wait_for()
    expect("new lines come first", page.locator(".entries .tx").first.inner_text() == "fresh")
    page.goto(f"{base}/dashboard.html", wait_until="load")
    page.route("**/dashboards/shop/panel?*", lambda route: route.fulfill(content_type="text/html", body="<div><p>later</p></div>"))
    page.locator("#row2 > summary").click()
    page.locator("#row2 p", has_text="later").wait_for()
    expect("a closed row is asked when it opens", page.locator("#row2 [data-waiting]").count() == 0)
    return problems


def behave(browser, base):
    """What the pages do under hands: only on the sample pages, whose content is known."""
    problems = []

    def expect(what, holds):
        if not holds:
            problems.append(f"behaviour: {what}")

    page = browser.new_page(viewport={"width": 1360, "height": 900})
    page.on("pageerror", lambda error: problems.append(f"behaviour: {error}"))
    page.goto(f"{base}/monitor.html", wait_until="load")
    page.wait_for_timeout(900)
    expect("the feed is on", page.locator(".side .live").inner_text() == "Live")
    chart = page.locator("svg.chart:visible").nth(1)
    chart.focus()
    page.keyboard.press("ArrowRight")
    expect("arrow keys tell a chart's values", "AUC" in (page.locator(".tip:visible").text_content() or ""))
    cell = page.locator("svg.chart:visible").first.locator(".hit.h4").first
    cell.hover()
    expect("hovering tells a cell's value", "limit" in (page.locator(".tip:visible").text_content() or ""))
    page.goto(f"{base}/run-failed.html", wait_until="load")
    page.keyboard.press("/")
    page.keyboard.type("round 4")
    expect("the log is searched", page.locator(".log-bar .hits").inner_text() == "1 of 11")
    page.keyboard.press("Enter")
    expect("Enter goes to the next match", page.locator(".log-bar .hits").inner_text() == "2 of 11")
    problems += stream(page, base)
    problems += ask(page, base)
    page.goto(f"{base}/service.html", wait_until="load")
    page.locator("#act-abort > summary").click()
    expect("an action tells its consequences", "All traffic goes to revision 3" in page.locator("#act-abort .panel").inner_text())
    page.keyboard.press("Escape")
    expect("Escape closes the panel", not page.locator("#act-abort .panel").is_visible())
    page.goto(f"{base}/approvals.html", wait_until="load")
    page.locator("details.act > summary", has_text="Approve").first.click()
    page.locator("details.act[open] textarea").fill("seen on staging")
    expect("an approval asks why", page.locator("details.act[open] label").inner_text() == "Why")
    expect("the panel of an approval opens in its card", page.locator("details.act[open] .panel").evaluate("e => getComputedStyle(e).position") == "static")
    page.goto(f"{base}/overview.html", wait_until="load")
    page.keyboard.press("Tab")
    expect("the first stop is the skip link", page.evaluate("document.activeElement.className") == "skip")
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator(".menu > summary").click()
    expect("the menu opens on a phone", page.locator(".menu .nav a", has_text="Monitors").is_visible())
    page.close()
    return problems


def shoot(browser, base, paths, out, only):
    problems = []
    for scheme in ("light", "dark"):
        for width_name, (width, height) in WIDTHS.items():
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=1
            )
            page = context.new_page()
            errors = []
            page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: errors.append(str(error)))
            for path in paths:
                name = name_of(path)
                if only and only not in name:
                    continue
                errors.clear()
                page.goto(base + path, wait_until="load")
                page.wait_for_timeout(150)
                page.screenshot(path=out / f"{name}-{width_name}-{scheme}.png", full_page=True)
                found = page.evaluate(CHECKS) + errors
                problems += [f"{name} ({width_name}, {scheme}): {problem}" for problem in found]
            context.close()
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--server", help="address of a running vagus")
    parser.add_argument("--pages", type=pathlib.Path, help="folder of pages written by WebTests")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for the screenshots")
    parser.add_argument("--only", help="only pages with this in their name")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser")
    options = parser.parse_args()
    if bool(options.server) == bool(options.pages):
        parser.error("give either --server or --pages")
    options.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        if options.pages:
            base = static_server(options.pages)
            paths = ["/" + file.name for file in sorted(options.pages.glob("*.html"))]
        else:
            base = options.server.rstrip("/")
            paths = walk(browser.new_page(), base)
        problems = shoot(browser, base, paths, options.out, options.only)
        if options.pages:
            problems += behave(browser, base)
        browser.close()
    shots = len(list(options.out.glob("*.png")))
    for problem in sorted(set(problems)):
        print(f"problem: {problem}")
    print(f"{shots} screenshots in {options.out}, {len(set(problems))} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
