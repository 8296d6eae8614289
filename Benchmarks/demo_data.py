"""The demo's data folder and its service, for benchmarks: a copy, so that the demo's own stays as it is."""
import json
import os
import pathlib
import shutil
import sys
import time

import bench

# As in examples/employment, without the canary's pauses: there is nothing to compare with.
SERVICE = """
kind: Service
name: employment
environment: production
workload: { model: employment@champion, replicas: 1 }
health: { interval: 500ms, deadline: 1m, stop_grace: 5s }
predictions: { sample: 100% }
"""


class Served:
    """`vagus dev` on a copy of the demo's data, the employment model served behind its proxy."""

    def __init__(self, folder):
        if not (bench.DEMO_DATA / "vagus.db").exists():
            sys.exit("demo-data is missing; run Benchmarks/setup")
        data = folder / "data"
        shutil.copytree(bench.DEMO_DATA, data, ignore=shutil.ignore_patterns("instances", "lock", "demo.*"))
        self.vagus = bench.Vagus(data)

    def __enter__(self):
        self.vagus.start()
        try:
            self.serve()
        except BaseException:
            self.__exit__()
            raise
        return self

    def serve(self):
        self.vagus.apply(SERVICE)

        def healthy():
            status = self.vagus.get("/api/v1/projects/default/services/employment/status")
            return status["phase"] == "healthy" and not status.get("preview_revision") and self.copies()

        bench.until(healthy, 60, "the service to be healthy", 0.2)
        # The first answers of a copy that was just started belong to nobody's benchmark.
        time.sleep(1)

    def __exit__(self, *_):
        self.vagus.run("delete", "service", "employment", check=False)
        bench.until(lambda: not self.copies(), 30, "the copies of the service to end", 0.1)
        bench.stop(self.vagus.process)

    @property
    def url(self):
        return f"{self.vagus.proxy}/serving/employment"

    def copies(self):
        """Process ids of the service's copies, which are children of nobody."""
        marker = os.fsencode(str(self.vagus.data / "instances") + "/")
        found = []
        for place in pathlib.Path("/proc").iterdir():
            try:
                if place.name.isdigit() and os.fsencode(os.readlink(place / "cwd")).startswith(marker):
                    found.append(int(place.name))
            except OSError:
                continue
        return found

    def fetch_model(self, folder):
        """The registered model's files: those that are served."""
        self.vagus.run("artifacts", "employment:1", "train.model", "--to", folder)
        return next(iter(sorted(folder.rglob("model.ubj")))).parent


def rows(count):
    """Rows of the later years, as a client would send them."""
    import csv
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "vagus/employment"
    with open(cache / "later-head.csv", newline="", encoding="utf-8") as file:
        return [row for _, row in zip(range(count), csv.DictReader(file))]


def features(row, names):
    """What the model sees of a row; `column=level` is 1 where the column has that level."""
    return [float(row[column] == level) if encoded else float(row[name])
            for name in names for column, encoded, level in [name.partition("=")]]


def tensor(row):
    """The raw row as the Open Inference Protocol has it: one tensor for each column."""
    names = [name for name in row if name not in ("prediction_id", "event_time", "employed")]
    return {"inputs": [
        {"name": name, "datatype": "INT64" if name == "AGEP" else "BYTES", "shape": [1, 1],
         "data": [int(row[name]) if name == "AGEP" else row[name]]} for name in names]}


def dump(folder, name, body):
    """A body for wrk, in a file of its own."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps(body, separators=(",", ":")), encoding="utf-8")
    return path
