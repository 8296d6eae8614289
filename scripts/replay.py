#!/usr/bin/env python3
"""Replays rows of a CSV file as traffic of a served model, then brings their labels, late. Standard library only.

    replay.py --csv later.csv --proxy http://127.0.0.1:8480 --server http://127.0.0.1:8420 --service employment

A batch that is answered with 5xx, or not at all, is counted and sent again, as a careful client does.
"""
import argparse
import csv
import http.client
import itertools
import json
import queue
import sys
import threading
import time
import urllib.parse

NUMBERS = {"AGEP"}
LABEL = "employed"
NAMES = ("prediction_id", "event_time")
LABELS_PER_REQUEST = 10_000


class Client:
    """One kept-alive connection; opened again after a failure."""

    def __init__(self, url, timeout=30):
        parts = urllib.parse.urlsplit(url)
        self.host, self.port, self.timeout = parts.hostname, parts.port, timeout
        self.connection = None

    def post(self, path, value):
        """Status and body; status 0 when there was no answer."""
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
            self.connection.request("POST", path, json.dumps(value), {"Content-Type": "application/json"})
            answer = self.connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return 0, str(error).encode()

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def read(path, years=None):
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if years is None or row["event_time"][:4] in years:
                yield row


def body(rows):
    columns = [column for column in rows[0] if column not in (LABEL, *NAMES)]
    data = [[int(row[c]) if c in NUMBERS else row[c] for c in columns] for row in rows]
    params = {
        "prediction_ids": [row["prediction_id"] for row in rows],
        "event_time": [row["event_time"] for row in rows],
    }
    return {"dataframe_split": {"columns": columns, "data": data}, "params": params}


class Replay:
    """Sends batches from several threads, at most `rate` requests a second."""

    def __init__(self, proxy, service, batch=50, threads=4, rate=None, attempts=60):
        self.proxy, self.path = proxy, f"/serving/{service}/invocations"
        self.batch, self.threads, self.rate, self.attempts = batch, threads, rate, attempts
        self.lock = threading.Lock()
        self.rows = self.requests = self.failures = 0
        self.error = None
        self.stopped = threading.Event()

    def run(self, rows, deadline):
        """Returns when all rows are answered. `deadline` is a time of time.monotonic()."""
        work = queue.Queue(maxsize=4 * self.threads)
        workers = [threading.Thread(target=self._work, args=(work, deadline)) for _ in range(self.threads)]
        for worker in workers:
            worker.start()
        rows, began, count = iter(rows), time.monotonic(), 0
        while (part := list(itertools.islice(rows, self.batch))) and not self.stopped.is_set():
            if self.rate:
                time.sleep(max(0.0, began + count / self.rate - time.monotonic()))
            self._put(work, part)
            count += 1
        for _ in workers:
            self._put(work, None)
        for worker in workers:
            worker.join()
        if self.error:
            raise RuntimeError(self.error)

    def _put(self, work, part):
        while not self.stopped.is_set():
            try:
                return work.put(part, timeout=1)
            except queue.Full:
                continue

    def _fail(self, message):
        with self.lock:
            self.error = self.error or message
        self.stopped.set()

    def _work(self, work, deadline):
        client = Client(self.proxy)
        while not self.stopped.is_set():
            try:
                part = work.get(timeout=1)
            except queue.Empty:
                continue
            if part is None:
                break
            self._send(client, part, deadline)
        client.close()

    def _send(self, client, part, deadline):
        for _ in range(self.attempts):
            status, answer = client.post(self.path, body(part))
            with self.lock:
                self.requests += 1
                self.failures += status == 0 or status >= 500
                self.rows += len(part) if status == 200 else 0
            if status == 200 or self.stopped.is_set():
                return
            if 400 <= status < 500:
                return self._fail(f"refused with {status}: {answer[:300]!r}")
            if time.monotonic() > deadline:
                return self._fail(f"the deadline is over; the last answer was {status}: {answer[:300]!r}")
            time.sleep(0.5)
        self._fail(f"{self.attempts} attempts failed; the last answer was {status}: {answer[:300]!r}")


def send_labels(server, project, service, rows):
    """Brings the truth for every row; returns how many were accepted."""
    client, accepted, rows = Client(server, timeout=120), 0, iter(rows)
    while part := list(itertools.islice(rows, LABELS_PER_REQUEST)):
        labels = [{"id": row["prediction_id"], "label": float(row[LABEL])} for row in part]
        status, answer = client.post(f"/api/v1/projects/{project}/services/{service}/labels", {"labels": labels})
        if status != 200:
            raise RuntimeError(f"labels were refused with {status}: {answer[:300]!r}")
        accepted += json.loads(answer)["accepted"]
    client.close()
    return accepted


def main():
    parser = argparse.ArgumentParser(description="Replays a CSV file as traffic, then brings its labels.")
    parser.add_argument("--csv", required=True)
    parser.add_argument("--proxy", required=True)
    parser.add_argument("--server", required=True)
    parser.add_argument("--service", default="employment")
    parser.add_argument("--project", default="default")
    parser.add_argument("--years", nargs="*")
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--rate", type=float, help="requests a second at most")
    parser.add_argument("--deadline", type=float, default=600, help="seconds")
    parser.add_argument("--no-labels", action="store_true")
    given = parser.parse_args()
    replay = Replay(given.proxy, given.service, given.batch, given.threads, given.rate)
    replay.run(read(given.csv, given.years), time.monotonic() + given.deadline)
    print(f"{replay.rows} rows in {replay.requests} requests, {replay.failures} of them failed and were sent again")
    if not given.no_labels:
        print(f"{send_labels(given.server, given.project, given.service, read(given.csv, given.years))} labels accepted")
    return 0


if __name__ == "__main__":
    sys.exit(main())
