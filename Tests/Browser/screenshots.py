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

from playwright.sync_api import sync_playwright

CSP = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
WIDTHS = {"desktop": (1360, 900), "phone": (390, 844)}
FIXED = ["/", "/runs", "/pipelines", "/services", "/models", "/datasets", "/monitors", "/dora", "/events", "/resources"]
DETAIL = ["/runs/", "/pipelines/", "/services/", "/models/", "/datasets/", "/monitors/", "/resources/"]
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
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        super().do_GET()


def static_server(folder):
    handler = functools.partial(Pages, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
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
    return paths


def name_of(path):
    plain = path.strip("/").replace(".html", "").replace("?view=", "-").replace("/", "-")
    return plain or "overview"


CHECKS = """() => {
  const problems = [];
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide > 0) {
    const guilty = [...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1
      && !e.closest('.table-wrap, .log-body, .tabs, .code, svg'));
    problems.push(`scrolls sideways by ${wide}px: ${guilty.slice(0, 3).map((e) => e.tagName + '.' + e.className).join(', ')}`);
  }
  for (const svg of document.querySelectorAll('svg[role=img]')) {
    if (!svg.getAttribute('aria-label')) problems.push('an svg with role img has no aria-label');
  }
  if (document.querySelectorAll('h1').length !== 1) problems.push('there is not exactly one h1');
  for (const input of document.querySelectorAll('input:not([type=hidden]), select')) {
    if (!input.labels.length && !input.getAttribute('aria-label')) problems.push(`a field has no label: ${input.name}`);
  }
  const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
  for (const id of new Set(ids.filter((id, i) => ids.indexOf(id) !== i))) problems.push(`the id ${id} is there twice`);
  for (const table of document.querySelectorAll('table')) if (!table.caption) problems.push('a table has no caption');
  return problems;
}"""


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
        browser.close()
    shots = len(list(options.out.glob("*.png")))
    for problem in sorted(set(problems)):
        print(f"problem: {problem}")
    print(f"{shots} screenshots in {options.out}, {len(set(problems))} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
