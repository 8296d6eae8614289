"""A real `mlflow server` beside ours, and what both answer to the same request."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request

from vagus_process import free_port, wait_for

# Nothing of the tests goes to anybody outside.
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet",
         "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_ENABLE_ASYNC_LOGGING": "false"}
os.environ.update(QUIET)


class MLflowServer:
    """`mlflow server` with SQLite and its own proxy of artifacts, in a folder of its own."""

    def __init__(self, workers=1):
        self.folder = tempfile.mkdtemp(prefix="mlflow-peer-")
        self.workers = workers

    def __enter__(self):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log_path = os.path.join(self.folder, "log")
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers",
                 str(self.workers), "--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db",
                 "--artifacts-destination", f"{self.folder}/artifacts", "--serve-artifacts"],
                stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **QUIET}, start_new_session=True)

        def healthy():
            if self.process.poll() is not None:
                raise AssertionError(open(self.log_path).read()[-3000:])
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                    return answer.status == 200
            except OSError:
                return False
        wait_for(healthy, 240, "mlflow server to listen")
        return self

    def __exit__(self, *_):
        # The server has workers of its own: they are one session.
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


class Answer:
    def __init__(self, status, body, headers):
        self.status, self.body, self.headers = status, body, headers
        try:
            self.json = json.loads(body)
        except ValueError:
            self.json = None

    @property
    def code(self):
        return self.json.get("error_code") if isinstance(self.json, dict) else None

    def __repr__(self):
        return f"{self.status} {self.body[:300]!r}"


def ask(base, method, path, body=None, query=None, raw=None, headers=None):
    """One request, whatever is answered."""
    url = base + path + ("?" + urllib.parse.urlencode(query, doseq=True) if query else "")
    data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return Answer(answer.status, answer.read(), answer.headers)
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.read(), error.headers)


def shape(value, path=""):
    """The names and types of an answer: what a client relies on, whatever the values."""
    if isinstance(value, dict):
        found = set()
        for key, inner in value.items():
            found |= shape(inner, f"{path}.{key}")
        return found or {f"{path}{{}}"}
    if isinstance(value, list):
        found = set()
        for inner in value:
            found |= shape(inner, f"{path}[]")
        return found or {f"{path}[]"}
    kind = "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__
    return {f"{path}:{kind}"}
