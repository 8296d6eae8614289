"""A small web service with faults to order, by its environment:

FAIL  share of the requests that are answered 500          SLOW   seconds that each answer takes
CRASH requests after which it ends                         NEVER  anything: it is never ready
STAFF share of the requests with the header X-Staff that are answered 500
"""

import http.server
import os
import random
import signal
import sys
import threading
import time

FAIL, SLOW = float(os.environ.get("FAIL", "0")), float(os.environ.get("SLOW", "0"))
CRASH, STAFF = int(os.environ.get("CRASH", "0")), float(os.environ.get("STAFF", "0"))
VERSION = os.environ.get("VERSION", "1")
served = 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        global served
        if self.path == "/health":
            return self.answer(503 if os.environ.get("NEVER") else 200)
        served += 1
        if CRASH and served > CRASH:
            os._exit(3)
        if SLOW:
            time.sleep(SLOW)
        rate = STAFF if self.headers.get("X-Staff") and STAFF else FAIL
        self.answer(500 if random.random() < rate else 200)

    def answer(self, status):
        body = f"version {VERSION}\n".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128


server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
# No new requests; those under way are answered.
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
time.sleep(0.2)
sys.stdout.flush()
os._exit(0)
