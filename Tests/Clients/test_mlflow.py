"""MLflow's unmodified client works against /mlflow, and a real `mlflow server` beside it answers the same to the same calls.

Needs mlflow, scikit-learn and pandas in the environment of the clients (scripts/setup).
"""

import json
import math
import os
import tempfile
import threading
import time

from mlflow_peer import MLflowServer, ask, shape  # first: sets what keeps mlflow quiet
from vagus_process import Vagus, wait_for

import mlflow
import mlflow.sklearn
import numpy
import pandas
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sklearn.linear_model import LogisticRegression

API = "/api/2.0/mlflow"
COUNTS = {"checks": 0, "calls compared": 0}


def check(truth, what):
    COUNTS["checks"] += 1
    if not truth:
        raise AssertionError(what)


def refused(body, code, *words):
    """Runs what must be refused with a code."""
    try:
        body()
    except MlflowException as error:
        check(error.error_code == code, f"{error.error_code} is not {code}: {error}")
        for word in words:
            check(word in str(error), f"{word!r} is not in {error}")
        return
    raise AssertionError(f"was not refused with {code}")


# MARK: The client's own sessions


def tutorial(uri):
    """Autolog with scikit-learn, a logged model, artifacts up and down, and predictions of what was loaded back."""
    mlflow.set_tracking_uri(uri)
    experiment = mlflow.set_experiment("tutorial")
    x = numpy.random.default_rng(0).normal(size=(200, 3))
    y = (x[:, 0] + x[:, 1] > 0).astype(int)
    mlflow.sklearn.autolog(log_datasets=True, silent=True)
    with mlflow.start_run(run_name="autologged") as run:
        model = LogisticRegression(C=0.5).fit(x, y)
    mlflow.sklearn.autolog(disable=True)
    logged = mlflow.get_run(run.info.run_id)
    check(logged.info.status == "FINISHED", "the run is finished")
    check(logged.data.params["C"] == "0.5", f"params {logged.data.params}")
    check(logged.data.metrics["training_accuracy_score"] > 0.9, f"metrics {logged.data.metrics}")
    check(logged.data.tags["estimator_name"] == "LogisticRegression", "tags of autolog")
    check(len(logged.inputs.dataset_inputs) == 1, "autolog tells the dataset")
    check(len(logged.outputs.model_outputs) == 1, "autolog tells the model it made")

    with mlflow.start_run(run_name="by hand") as run:
        info = mlflow.sklearn.log_model(model, name="model", input_example=x[:2])
        mlflow.log_dict({"a": [1, 2]}, "notes/a.json")
        mlflow.log_text("hello\n", "notes/hello.txt")
        mlflow.log_metric("loss", 0.25, step=1)
    loaded = mlflow.sklearn.load_model(info.model_uri)
    check((loaded.predict(x) == model.predict(x)).all(), "the loaded model predicts the same")
    as_function = mlflow.pyfunc.load_model(f"models:/{info.model_id}")
    check(list(as_function.predict(x)) == list(model.predict(x)), "as a function, too")
    kept = mlflow.get_logged_model(info.model_id)
    check(kept.status.value == "READY", f"status {kept.status}")
    check(kept.source_run_id == run.info.run_id, "a logged model knows its run")
    check(mlflow.artifacts.load_dict(f"runs:/{run.info.run_id}/notes/a.json") == {"a": [1, 2]}, "a dict comes back")
    names = {file.path for file in MlflowClient().list_artifacts(run.info.run_id, "notes")}
    check(names == {"notes/a.json", "notes/hello.txt"}, f"artifacts {names}")
    found = mlflow.search_logged_models([experiment.experiment_id], filter_string="name = 'model'", output_format="list")
    check(info.model_id in {model.model_id for model in found}, "logged models are found")
    by_metric = mlflow.search_logged_models(
        [experiment.experiment_id], order_by=[{"field_name": "creation_time", "ascending": True}], output_format="list")
    check(len(by_metric) >= len(found), "logged models are sorted")
    return experiment.experiment_id


def traces(experiment):
    """Spans by the client's decorators, found and read back."""
    mlflow.set_experiment(experiment_id=experiment)

    @mlflow.trace(name="inner", span_type="TOOL")
    def inner(x):
        return x + 1

    @mlflow.trace(name="outer", attributes={"colour": "blue"})
    def outer(x):
        return inner(x) * 2

    check(outer(3) == 8, "the traced function does its work")
    mlflow.flush_trace_async_logging()
    client = MlflowClient()
    found = wait_for(lambda: client.search_traces(locations=[experiment]), 20, "a trace")
    check(len(found) == 1, f"{len(found)} traces")
    trace = mlflow.get_trace(found[0].info.trace_id)
    check([span.name for span in trace.data.spans] == ["outer", "inner"], f"{[s.name for s in trace.data.spans]}")
    check(trace.data.spans[0].attributes["colour"] == "blue", "attributes of spans")
    check(trace.data.spans[1].parent_id == trace.data.spans[0].span_id, "spans know their parents")
    check(trace.data.spans[0].inputs == {"x": 3} and trace.data.spans[0].outputs == 8, "inputs and outputs")
    check(trace.info.state.value == "OK" and trace.info.execution_duration is not None, f"{trace.info}")
    client.set_trace_tag(trace.info.trace_id, "mark", "yes")
    for filter, count in (("tags.mark = 'yes'", 1), ("tags.mark = 'no'", 0), ("trace.status = 'OK'", 1),
                          ("attributes.timestamp_ms > 0 AND name = 'outer'", 1)):
        got = client.search_traces(locations=[experiment], filter_string=filter, order_by=["timestamp_ms DESC"])
        check(len(got) == count, f"{filter}: {len(got)}")
    client.delete_trace_tag(trace.info.trace_id, "mark")
    check(client.delete_traces(experiment, trace_ids=[trace.info.trace_id]) == 1, "deleted")
    check(not client.search_traces(locations=[experiment]), "and gone")


def nested_runs():
    mlflow.set_experiment("nested")
    with mlflow.start_run(run_name="parent") as parent:
        for depth in range(3):
            with mlflow.start_run(run_name=f"child-{depth}", nested=True):
                mlflow.log_param("depth", depth)
                for step in range(5):
                    mlflow.log_metric("auc", 0.5 + depth / 10 + step / 100, step=step)
    children = mlflow.search_runs(
        filter_string=f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'", order_by=["metrics.auc DESC"])
    check(isinstance(children, pandas.DataFrame), "a table of pandas")
    check(list(children["params.depth"]) == ["2", "1", "0"], f"sorted by a metric: {children['params.depth']}")
    check(abs(children["metrics.auc"][0] - 0.74) < 1e-9, "the latest value is that of the greatest step")
    history = MlflowClient().get_metric_history(children["run_id"][0], "auc")
    check([point.step for point in history] == [0, 1, 2, 3, 4], "the history is whole and in order")


def system_metrics():
    mlflow.set_experiment("system")
    mlflow.set_system_metrics_sampling_interval(0.2)
    mlflow.set_system_metrics_samples_before_logging(1)
    with mlflow.start_run(log_system_metrics=True) as run:
        wait_for(
            lambda: "system/cpu_utilization_percentage" in mlflow.get_run(run.info.run_id).data.metrics, 20,
            "system metrics")
    check(True, "system metrics came")


def batches_and_limits():
    client = MlflowClient()
    experiment = client.create_experiment("batches", tags={"team": "ml"})
    run = client.create_run(experiment)
    now = int(time.time() * 1000)
    client.log_batch(
        run.info.run_id, [Metric(f"m{index % 10}", index / 7, now + index, index) for index in range(1000)],
        [Param(f"p{index}", str(index)) for index in range(0)], [])
    client.log_batch(run.info.run_id, [], [Param(f"p{index}", str(index)) for index in range(100)],
                     [RunTag(f"t{index}", "x") for index in range(100)])
    whole = client.get_run(run.info.run_id)
    check(len(whole.data.metrics) == 10 and len(whole.data.params) == 100, "a batch is whole")
    check(len(client.get_metric_history(run.info.run_id, "m3")) == 100, "and so is each history")
    for value in (math.nan, math.inf, -math.inf, 5e-324, 1.7976931348623157e308):
        client.log_metric(run.info.run_id, "odd", value, step=1)
        got = [p.value for p in client.get_metric_history(run.info.run_id, "odd")]
        check(any(math.isnan(v) if math.isnan(value) else v == value for v in got), f"{value} is kept")
    client.log_param(run.info.run_id, "once", "a")
    client.log_param(run.info.run_id, "once", "a")
    refused(lambda: client.log_param(run.info.run_id, "once", "b"), "INVALID_PARAMETER_VALUE", "not allowed")
    client.set_terminated(run.info.run_id, "FAILED", end_time=now + 5)
    check(client.get_run(run.info.run_id).info.end_time == now + 5, "ended")
    client.delete_run(run.info.run_id)
    refused(lambda: client.log_metric(run.info.run_id, "m", 1.0), "INVALID_PARAMETER_VALUE", "active")
    check(not client.search_runs([experiment]), "a deleted run is not found")
    check(len(client.search_runs([experiment], run_view_type=ViewType.DELETED_ONLY)) == 1, "unless it is looked for")
    client.restore_run(run.info.run_id)
    client.rename_experiment(experiment, "batches-2")
    client.delete_experiment(experiment)
    refused(lambda: client.create_run(experiment), "INVALID_PARAMETER_VALUE", "active")
    client.restore_experiment(experiment)
    found = client.search_experiments(filter_string="tags.team = 'ml' AND name LIKE 'batches%'")
    check([e.experiment_id for e in found] == [experiment], "experiments are found by their tags")


def pages():
    """Pages neither repeat nor hide a run while others are made."""
    client = MlflowClient()
    experiment = client.create_experiment("pages")
    made = set()
    for index in range(60):
        run = client.create_run(experiment, start_time=1000 + index)
        client.log_metric(run.info.run_id, "score", [math.nan, index / 10, 1.0][index % 3])
        if index % 4 == 0:
            client.log_param(run.info.run_id, "even", str(index))
        made.add(run.info.run_id)
    for order in ([], ["metrics.score DESC"], ["metrics.score ASC", "params.even DESC"], ["params.even ASC"],
                  ["attributes.end_time DESC"], ["tags.nope ASC"]):
        seen, token = [], None
        while True:
            page = client.search_runs([experiment], max_results=7, order_by=order, page_token=token)
            seen += [run.info.run_id for run in page]
            token = page.token
            client.create_run(experiment, start_time=10**9)  # comes first, and changes no later page
            if not token:
                break
        old = [run for run in seen if run in made]
        check(len(old) == len(set(old)) == 60, f"{order}: {len(old)} of 60, {len(set(old))} different")
    page = client.search_runs([experiment], max_results=7, order_by=["metrics.score DESC"])
    refused(lambda: client.search_runs([experiment], max_results=7, order_by=["metrics.score ASC"], page_token=page.token),
            "INVALID_PARAMETER_VALUE", "token")


def superset():
    """What MLflow's grammar cannot say."""
    client = MlflowClient()
    experiment = client.create_experiment("superset")
    for name, auc, depth, stage in [("a", 0.9, "4", "test"), ("b", 0.8, "6", None), ("c", None, "8", "live")]:
        run = client.create_run(experiment, run_name=name)
        if auc:
            client.log_metric(run.info.run_id, "auc", auc)
        client.log_param(run.info.run_id, "depth", depth)
        if stage:
            client.set_tag(run.info.run_id, "stage", stage)

    def names(filter):
        return sorted(run.info.run_name for run in client.search_runs([experiment], filter))
    for filter, expected in [
        ("metrics.auc > 0.85 OR params.depth = '8'", "ac"),
        ("(metrics.auc > 0.85 OR params.depth = '8') AND tags.stage = 'live'", "c"),
        ("metrics.auc BETWEEN 0.75 AND 0.85", "b"), ("metrics.auc NOT BETWEEN 0.75 AND 0.85", "a"),
        ("params.depth IN ('4', '8')", "ac"), ("params.depth NOT IN ('4')", "bc"), ("metrics.auc IN (0.8, 0.9)", "ab"),
        ("metrics.auc IS NULL", "c"), ("metrics.auc IS NOT NULL AND tags.stage IS NULL", "b"),
        ("NOT tags.stage = 'test'", "bc"), ("NOT (metrics.auc > 0.85 OR params.depth = '8')", "b"),
        ("tags.stage != 'test'", "c"), ("run_name NOT LIKE 'a%'", "bc"), ("params.depth LIKE '_'", "abc"),
        ("tags.stage ILIKE 'TE%'", "a"), ("tags.stage LIKE 'TE%'", ""), ("attributes.end_time IS NULL", "abc"),
    ]:
        check("".join(names(filter)) == expected, f"{filter}: {names(filter)}, not {expected}")


def large_artifacts(url):
    """40 MB up and down, a part of it, and half an upload, which leaves nothing."""
    client = MlflowClient()
    run = client.create_run("0")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "big.bin")
        content = os.urandom(1 << 20) * 40
        open(path, "wb").write(content)
        client.log_artifact(run.info.run_id, path, "deep/er")
        back = client.download_artifacts(run.info.run_id, "deep/er/big.bin", folder)
        check(open(back, "rb").read() == content, "a large artifact comes back")
    place = f"/api/2.0/mlflow-artifacts/artifacts/0/{run.info.run_id}/artifacts"
    part = ask(url, "GET", f"{place}/deep/er/big.bin", headers={"Range": "bytes=5-9"})
    check(part.status == 206 and part.body == content[5:10], f"a range: {part}")
    import socket
    from urllib.parse import urlparse
    with socket.create_connection((urlparse(url).hostname, urlparse(url).port)) as half:
        half.sendall(f"PUT /mlflow{place}/half.bin HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n".encode() + b"x" * 500)
    time.sleep(0.3)
    check(ask(url, "GET", f"{place}/half.bin").status == 404, "half an upload leaves nothing")
    check(ask(url, "DELETE", f"{place}/deep").status == 200, "a folder is deleted")
    check(not client.list_artifacts(run.info.run_id), "and gone")


def uploads_in_parts(url):
    place = "/api/2.0/mlflow-artifacts/mpu"
    made = ask(url, "POST", f"{place}/create/0/parts", {"path": "/tmp/three.bin", "num_parts": 3})
    check(made.status == 200 and len(made.json["credentials"]) == 3, f"{made}")
    parts = []
    for credential in made.json["credentials"]:
        body = str(credential["part_number"]).encode() * 1000
        sent = ask(credential["url"], "PUT", "", raw=body)
        check(sent.status == 200, f"{sent}")
        parts.append({"part_number": credential["part_number"], "etag": sent.headers["ETag"], "url": credential["url"]})
    bad = ask(made.json["credentials"][0]["url"][:-3] + "xyz", "PUT", "", raw=b"x")
    check(bad.status == 403, f"an address nobody signed: {bad}")
    done = ask(url, "POST", f"{place}/complete/0/parts",
               {"path": "/tmp/three.bin", "upload_id": made.json["upload_id"], "parts": parts})
    check(done.status == 200, f"{done}")
    whole = ask(url, "GET", "/api/2.0/mlflow-artifacts/artifacts/0/parts/three.bin")
    check(whole.body == b"1" * 1000 + b"2" * 1000 + b"3" * 1000, "the parts are one file")


# MARK: The same of both servers


class Both:
    """One request to our server and to MLflow's."""

    def __init__(self, ours, theirs):
        self.bases = {"ours": ours, "theirs": theirs}
        self.words = {"ours": {}, "theirs": {}}
        self.wrong = []

    def fill(self, who, value):
        """`$name` stands for what the server called it."""
        if isinstance(value, str):
            for name, word in self.words[who].items():
                value = value.replace(f"${name}", word)
            return value
        if isinstance(value, dict):
            return {key: self.fill(who, inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.fill(who, inner) for inner in value]
        return value

    def __call__(self, method, path, body=None, query=None, raw=None, keep=None, shapes=True):
        COUNTS["calls compared"] += 1
        answers = {}
        for who, base in self.bases.items():
            answer = answers[who] = ask(
                base, method, self.fill(who, path), self.fill(who, body), self.fill(who, query), raw)
            if keep:
                for name, look in keep.items():
                    self.words[who][name] = str(look(answer.json))
        ours, theirs = answers["ours"], answers["theirs"]
        what = f"{method} {path} {json.dumps(body or query)[:160]}"
        if (ours.status, ours.code) != (theirs.status, theirs.code):
            self.wrong.append(f"{what}\n    ours   {ours}\n    theirs {theirs}")
        elif shapes and ours.status == 200 and shape(ours.json) != shape(theirs.json):
            self.wrong.append(
                f"{what}\n    only ours   {sorted(shape(ours.json) - shape(theirs.json))}\n"
                f"    only theirs {sorted(shape(theirs.json) - shape(ours.json))}")
        return ours, theirs


def good_calls(both):
    both("POST", f"{API}/experiments/create", {"name": "side", "tags": [{"key": "a", "value": "b"}]},
         keep={"exp": lambda json: json["experiment_id"]})
    both("GET", f"{API}/experiments/get", query={"experiment_id": "$exp"})
    both("GET", f"{API}/experiments/get-by-name", query={"experiment_name": "side"})
    both("POST", f"{API}/experiments/set-experiment-tag", {"experiment_id": "$exp", "key": "k", "value": "v"})
    both("POST", f"{API}/experiments/search", {"max_results": 5, "filter": "tags.k = 'v'"})
    both("GET", f"{API}/experiments/search", query={"max_results": 500, "order_by": "name ASC"})
    both("POST", f"{API}/experiments/delete-experiment-tag", {"experiment_id": "$exp", "key": "k"})
    both("POST", f"{API}/runs/create", {"experiment_id": "$exp", "start_time": 1000, "run_name": "one",
                                       "user_id": "ana", "tags": [{"key": "t", "value": "1"}]},
         keep={"run": lambda json: json["run"]["info"]["run_id"]})
    for value in (0.5, 3, "NaN", -0.0, 1e300):
        both("POST", f"{API}/runs/log-metric", {"run_id": "$run", "key": "m", "value": value, "timestamp": 5, "step": 2})
    both("POST", f"{API}/runs/log-parameter", {"run_id": "$run", "key": "p", "value": "x"})
    both("POST", f"{API}/runs/set-tag", {"run_id": "$run", "key": "u/v w", "value": ""})
    both("POST", f"{API}/runs/log-batch", {
        "run_id": "$run", "metrics": [{"key": "b", "value": 1, "timestamp": 7, "step": "3"}],
        "params": [{"key": "q", "value": "é"}], "tags": [{"key": "r", "value": "s"}]})
    both("POST", f"{API}/runs/log-inputs", {"run_id": "$run", "datasets": [{
        "tags": [{"key": "mlflow.data.context", "value": "training"}],
        "dataset": {"name": "d", "digest": "abc", "source_type": "local", "source": "{}", "schema": "{}"}}]})
    both("GET", f"{API}/runs/get", query={"run_id": "$run"})
    both("GET", "/ajax-api/2.0/mlflow/runs/get", query={"run_uuid": "$run", "run_id": "$run"})
    for filter in (None, "metrics.m > 0", "params.p = 'x' and tags.r like 's%'", "attributes.status = 'RUNNING'",
                   "dataset.name = 'd' AND datasets.context = 'training'", "run_id IN ('$run')", "start_time >= 1000",
                   "tags.nope != 'a'", "params.`q` ILIKE '%'", "tags.\"u/v w\" = ''", "tags.r IS NOT NULL"):
        both("POST", f"{API}/runs/search", {"experiment_ids": ["$exp"], **({"filter": filter} if filter else {})})
    for order in ("metrics.m DESC", "params.p", "start_time ASC", "tag.t desc", "attributes.end_time"):
        both("POST", f"{API}/runs/search", {"experiment_ids": ["$exp"], "order_by": [order], "max_results": 10})
    both("GET", f"{API}/metrics/get-history", query={"run_id": "$run", "metric_key": "m"})
    both("GET", f"{API}/metrics/get-history", query={"run_id": "$run", "metric_key": "none"})
    both("GET", "/ajax-api/2.0/mlflow/metrics/get-history-bulk", query={"run_id": "$run", "metric_key": "b"})
    both("GET", "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval", query={"run_ids": "$run", "metric_key": "b"})
    both("POST", f"{API}/runs/update", {"run_id": "$run", "status": "FINISHED", "end_time": 2000, "run_name": "two"})
    both("POST", f"{API}/runs/delete-tag", {"run_id": "$run", "key": "r"})
    both("POST", f"{API}/logged-models", {"experiment_id": "$exp", "name": "lm", "model_type": "x", "source_run_id": "$run",
                                          "params": [{"key": "a", "value": "1"}], "tags": [{"key": "b", "value": "2"}]},
         keep={"model": lambda json: json["model"]["info"]["model_id"]})
    both("GET", f"{API}/logged-models/$model")
    both("PATCH", f"{API}/logged-models/$model", {"model_id": "$model", "status": 2})
    both("PATCH", f"{API}/logged-models/$model/tags", {"tags": [{"key": "c", "value": "d"}]})
    both("DELETE", f"{API}/logged-models/$model/tags/c")
    both("POST", f"{API}/logged-models/$model/params", {"model_id": "$model", "params": [{"key": "z", "value": "9"}]})
    both("POST", f"{API}/runs/log-metric", {"run_id": "$run", "key": "lm", "value": 0.75, "timestamp": 9, "step": 0,
                                           "model_id": "$model", "dataset_name": "d", "dataset_digest": "abc"})
    both("POST", f"{API}/logged-models/search", {
        "experiment_ids": ["$exp"], "filter": "metrics.lm > 0.5", "order_by": [{"field_name": "metrics.lm", "ascending": False}]})
    both("POST", f"{API}/runs/outputs", {"run_id": "$run", "models": [{"model_id": "$model", "step": 0}]})
    both("GET", f"{API}/runs/get", query={"run_id": "$run"})
    files = "/api/2.0/mlflow-artifacts/artifacts"
    both("PUT", f"{files}/$exp/$run/artifacts/f/x.txt", raw=b"text")
    both("PUT", f"{files}/$exp/$run/artifacts/y.json", raw=b"{}")
    both("GET", files, query={"path": "$exp/$run/artifacts"})
    both("GET", f"{API}/artifacts/list", query={"run_id": "$run"})
    both("GET", f"{API}/artifacts/list", query={"run_id": "$run", "path": "f"})
    both("GET", f"{API}/artifacts/list", query={"run_id": "$run", "path": "none"})
    for path in (f"{files}/$exp/$run/artifacts/f/x.txt", "/get-artifact?run_uuid=$run&path=y.json"):
        ours, theirs = both("GET", path, shapes=False)
        check(ours.body == theirs.body, f"{path}: {ours} {theirs}")
    both("GET", "/health", shapes=False)
    both("GET", "/version", shapes=False)
    both("DELETE", f"{API}/logged-models/$model")
    both("POST", f"{API}/runs/delete", {"run_id": "$run"})
    both("POST", f"{API}/runs/search", {"experiment_ids": ["$exp"], "run_view_type": "DELETED_ONLY"})
    both("POST", f"{API}/runs/restore", {"run_id": "$run"})
    both("POST", f"{API}/experiments/update", {"experiment_id": "$exp", "new_name": "side-2"})


def bad_calls(both):
    """A table of what must be refused: the same status and code as MLflow's.

    Left out is what MLflow itself gets wrong: a body that is a list (500 there), a step of 1.5 (logged as 0 there), a batch whose
    metric has a text for a value (half of it is logged there).
    """
    runs, experiments = f"{API}/runs", f"{API}/experiments"
    metric = {"run_id": "$run", "key": "k", "value": 1.0, "timestamp": 1, "step": 0}
    table = [
        ("POST", f"{experiments}/create", {}), ("POST", f"{experiments}/create", {"name": ""}),
        ("POST", f"{experiments}/create", {"name": 5}), ("POST", f"{experiments}/create", {"name": "side-2"}),
        ("POST", f"{experiments}/create", {"name": "x" * 501}),
        ("POST", f"{experiments}/create", {"name": "t", "tags": "no"}),
        ("POST", f"{experiments}/create", {"name": "loc", "artifact_location": "runs:/x/y"}),
        ("GET", f"{experiments}/get", {}), ("GET", f"{experiments}/get", {"experiment_id": "99999"}),
        ("GET", f"{experiments}/get", {"experiment_id": "abc"}),
        ("GET", f"{experiments}/get-by-name", {"experiment_name": "none"}),
        ("POST", f"{experiments}/search", {"max_results": 50001}), ("POST", f"{experiments}/search", {"max_results": 0}),
        ("POST", f"{experiments}/search", {"max_results": 1, "filter": "nope = 'x'"}),
        ("POST", f"{experiments}/search", {"max_results": 1, "filter": "name = 5"}),
        ("POST", f"{experiments}/search", {"max_results": 1, "order_by": ["nope ASC"]}),
        ("POST", f"{experiments}/delete", {"experiment_id": "99999"}),
        ("POST", f"{experiments}/restore", {"experiment_id": "$exp"}),
        ("POST", f"{experiments}/update", {"experiment_id": "$exp"}),
        ("POST", f"{experiments}/set-experiment-tag", {"experiment_id": "$exp", "key": "../x", "value": "v"}),
        ("POST", f"{experiments}/set-experiment-tag", {"experiment_id": "$exp", "key": "", "value": "v"}),
        ("POST", f"{experiments}/delete-experiment-tag", {"experiment_id": "$exp", "key": "none"}),
        ("POST", f"{runs}/create", {"experiment_id": "99999"}), ("POST", f"{runs}/create", {"experiment_id": "abc"}),
        ("POST", f"{runs}/create", {"experiment_id": "$exp", "run_name": "a",
                                    "tags": [{"key": "mlflow.runName", "value": "b"}]}),
        ("GET", f"{runs}/get", {}), ("GET", f"{runs}/get", {"run_id": "0" * 32}),
        ("POST", f"{runs}/update", {"run_id": "0" * 32, "status": "FINISHED"}),
        ("POST", f"{runs}/update", {"run_id": "$run", "status": []}),
        ("POST", f"{runs}/delete", {}), ("POST", f"{runs}/restore", {"run_id": "0" * 32}),
        ("POST", f"{runs}/log-metric", {}), ("POST", f"{runs}/log-metric", {**metric, "key": ""}),
        ("POST", f"{runs}/log-metric", {**metric, "value": "abc"}), ("POST", f"{runs}/log-metric", {**metric, "value": None}),
        ("POST", f"{runs}/log-metric", {**metric, "timestamp": "soon"}),
        ("POST", f"{runs}/log-metric", {**metric, "timestamp": -5}),
        ("POST", f"{runs}/log-metric", {**metric, "key": "../x"}), ("POST", f"{runs}/log-metric", {**metric, "key": "a//b"}),
        ("POST", f"{runs}/log-metric", {**metric, "key": "/abs"}), ("POST", f"{runs}/log-metric", {**metric, "key": "a?b"}),
        ("POST", f"{runs}/log-metric", {**metric, "key": "."}), ("POST", f"{runs}/log-metric", {**metric, "key": "k" * 251}),
        ("POST", f"{runs}/log-metric", {**metric, "run_id": "0" * 32}), ("POST", f"{runs}/log-metric", {**metric, "run_id": 5}),
        ("POST", f"{runs}/log-parameter", {"run_id": "$run", "key": "p", "value": "other"}),
        ("POST", f"{runs}/log-parameter", {"run_id": "$run", "value": "x"}),
        ("POST", f"{runs}/log-parameter", {"run_id": "$run", "key": "a\\b", "value": "x"}),
        ("POST", f"{runs}/set-tag", {"run_id": "$run", "value": "x"}),
        ("POST", f"{runs}/set-tag", {"run_id": "$run", "key": "a/../b", "value": "x"}),
        ("POST", f"{runs}/delete-tag", {"run_id": "$run", "key": "none"}),
        ("POST", f"{runs}/log-batch", {}), ("POST", f"{runs}/log-batch", {"run_id": "$run", "metrics": "x"}),
        ("POST", f"{runs}/log-batch", {"run_id": "$run", "metrics": [metric] * 1001}),
        ("POST", f"{runs}/log-batch", {"run_id": "$run", "params": [{"key": f"x{i}", "value": ""} for i in range(101)]}),
        ("POST", f"{runs}/log-batch", {"run_id": "$run", "params": [{"key": "twice", "value": "1"}] * 2}),
        ("POST", f"{runs}/log-batch", {"run_id": "$run", "metrics": [{"key": "k", "timestamp": 1}]}),
        ("POST", f"{runs}/log-batch", {"run_id": "$run", "metrics": [{"value": 1, "timestamp": 1}]}),
        ("POST", f"{runs}/log-batch", {"run_id": "$run", "tags": [{"value": "x"}]}),
        ("POST", f"{runs}/log-batch", {"run_id": "$run", "metrics": [metric, {**metric, "key": "../x"}]}),
        ("POST", f"{runs}/log-batch", {"run_id": "../x", "metrics": [metric]}),
        ("POST", f"{runs}/log-batch", {"run_id": "$run", "params": [{"key": "p", "value": "changed"}]}),
        ("POST", f"{runs}/search", {"experiment_ids": ["$exp"], "max_results": 50001}),
        ("POST", f"{runs}/search", {"experiment_ids": ["$exp"], "max_results": 0}),
        ("POST", f"{runs}/search", {"experiment_ids": ["$exp"], "max_results": -1}),
        ("POST", f"{runs}/search", {"experiment_ids": ["$exp"], "max_results": "many"}),
        ("POST", f"{runs}/search", {"experiment_ids": ["abc"]}), ("POST", f"{runs}/search", {"experiment_ids": "$exp"}),
        *[("POST", f"{runs}/search", {"experiment_ids": ["$exp"], "filter": filter}) for filter in (
            "metrics.a > 'x'", "params.a = 5", "tags.a = 5", "params.a > '5'", "nope.a = '1'", "attributes.nope = 'x'",
            "metrics.a", "metrics.a >", "AND", "metrics.a LIKE 'x'", "status > 'a'", "start_time = 'x'", "dataset.nope = 'x'",
            "metrics.a = 1 metrics.b = 2", "run_id = 5", "tags.a = 'open", "= 5", "metrics.a > 1 AND")],
        *[("POST", f"{runs}/search", {"experiment_ids": ["$exp"], "order_by": [order]}) for order in (
            "nope.a", "metrics.a UP", "metrics.a DESC x", "attribute.nope", "")],
        ("GET", f"{API}/metrics/get-history", {"run_id": "$run"}), ("GET", f"{API}/metrics/get-history", {"metric_key": "m"}),
        ("GET", f"{API}/metrics/get-history", {"run_id": "$run", "metric_key": "m", "max_results": 0}),
        ("GET", "/ajax-api/2.0/mlflow/metrics/get-history-bulk", {"metric_key": "m"}),
        ("POST", f"{API}/logged-models", {"experiment_id": "99999"}), ("POST", f"{API}/logged-models", {}),
        ("POST", f"{API}/logged-models", {"experiment_id": "$exp", "name": "a/b"}),
        ("GET", f"{API}/logged-models/m-none", {}), ("DELETE", f"{API}/logged-models/m-none", None),
        ("PATCH", f"{API}/logged-models/$model", {"model_id": "$model"}),
        ("POST", f"{API}/logged-models/search", {}),
        ("POST", f"{API}/logged-models/search", {"experiment_ids": ["$exp"], "order_by": [{"field_name": "nope"}]}),
        ("POST", f"{runs}/log-model", {"run_id": "$run", "model_json": "{"}),
        ("POST", f"{runs}/log-model", {"run_id": "$run", "model_json": "{}"}),
        ("POST", f"{runs}/log-inputs", {"run_id": "0" * 32, "datasets": []}), ("POST", f"{runs}/log-inputs", {}),
        ("POST", f"{runs}/outputs", {"run_id": "$run"}),
        ("GET", f"{API}/artifacts/list", {"run_id": "0" * 32}), ("GET", f"{API}/artifacts/list", {}),
        ("GET", f"{API}/artifacts/list", {"run_id": "$run", "path": "../x"}),
        ("GET", f"{API}/artifacts/list", {"run_id": "$run", "path": "/etc"}),
        ("GET", f"{API}/artifacts/list", {"run_id": "$run", "path": "a/%2e%2e/b"}),
    ]
    for method, path, body in table:
        if method == "GET":
            both(method, path, query=body, shapes=False)
        else:
            both(method, path, body, shapes=False)
    files = "/api/2.0/mlflow-artifacts/artifacts"
    for path in (f"{files}/a/%2e%2e/%2e%2e/b", f"{files}/%252e%252e/b"):
        both("GET", path, shapes=False)
        both("PUT", path, raw=b"x", shapes=False)
    for raw in (b"{", b"null", b"\xff\xfe"):
        both("POST", f"{runs}/log-metric", raw=raw, shapes=False)
    both("POST", f"{runs}/delete", {"run_id": "$run"})
    for path, body in (("log-metric", metric), ("set-tag", {"run_id": "$run", "key": "a", "value": "b"}),
                       ("log-parameter", {"run_id": "$run", "key": "n", "value": "b"}), ("log-batch", {"run_id": "$run"}),
                       ("update", {"run_id": "$run", "status": "FAILED"}), ("log-inputs", {"run_id": "$run"})):
        both("POST", f"{runs}/{path}", body, shapes=False)


def no_internals(url):
    """No text of an error tells of SQL, files or code."""
    for method, path, body in (
        ("POST", f"{API}/experiments/create", {"name": "tutorial"}), ("POST", f"{API}/runs/search", {"filter": "x" * 9000}),
        ("GET", "/api/2.0/mlflow/nope", None), ("POST", f"{API}/runs/log-batch", {"run_id": {"a": 1}}),
    ):
        answer = ask(url, method, path, body)
        text = answer.body.decode()
        check(400 <= answer.status < 500 and answer.code, f"{answer}")
        for word in ("SELECT", "sqlite", "INSERT", ".swift", "/tmp", "Traceback"):
            check(word not in text, f"{word} in {text}")


def a_bad_row_writes_nothing(url):
    run = ask(url, "POST", f"{API}/runs/create", {"experiment_id": "0"}).json["run"]["info"]["run_id"]
    good = {"key": "good", "value": 1, "timestamp": 1, "step": 0}
    for bad in ({**good, "key": "../x"}, {**good, "value": "abc"}, {**good, "timestamp": -1}):
        answer = ask(url, "POST", f"{API}/runs/log-batch", {"run_id": run, "metrics": [good, bad],
                                                           "params": [{"key": "p", "value": "1"}]})
        check(answer.status == 400, f"{answer}")
    ask(url, "POST", f"{API}/runs/log-parameter", {"run_id": run, "key": "p", "value": "1"})
    answer = ask(url, "POST", f"{API}/runs/log-batch", {
        "run_id": run, "metrics": [good], "params": [{"key": "n", "value": "1"}, {"key": "p", "value": "2"}]})
    check(answer.status == 400, f"{answer}")
    data = ask(url, "GET", f"{API}/runs/get", query={"run_id": run}).json["run"]["data"]
    check("metrics" not in data and [p["key"] for p in data["params"]] == ["p"], f"{data}")
    check("metrics" not in ask(url, "GET", f"{API}/metrics/get-history", query={"run_id": run, "metric_key": "good"}).json,
          "not a point of it")


def own_port(vagus, url):
    """The same at the root of a port of its own."""
    import re
    own = re.search(r"MLflow's API is at (\S+)", open(vagus.log_path).read()).group(1)
    check(ask(own, "GET", "/health").body == b"OK", "it is there")
    one = ask(own, "GET", f"{API}/experiments/get", query={"experiment_id": "0"})
    check(one.json == ask(url, "GET", f"{API}/experiments/get", query={"experiment_id": "0"}).json, f"{one}")
    made = ask(own, "POST", "/api/2.0/mlflow-artifacts/mpu/create/0/x", {"path": "f", "num_parts": 1})
    check(made.json["credentials"][0]["url"].startswith(own + "/api/"), f"{made}")


def extremes(url):
    """What no client means to send neither ends the server nor is told as its fault."""
    run = ask(url, "POST", f"{API}/runs/create", {"experiment_id": "0", "start_time": 2**63 - 1}).json["run"]["info"]["run_id"]
    for path, body in (
        ("log-metric", {"run_id": run, "key": "m", "value": 1, "timestamp": 2**63 - 1, "step": -(2**63)}),
        ("log-metric", {"run_id": run, "key": "m", "value": 1e999, "timestamp": 1}),
        ("log-metric", {"run_id": run, "key": "m", "value": 1, "timestamp": 2**70}),
        ("set-tag", {"run_id": run, "key": "k", "value": "a\0b"}),
        ("search", {"experiment_ids": ["0"], "filter": "(" * 5000}),
        ("search", {"experiment_ids": [str(2**63 - 1)] * 1000}),
        ("update", {"run_id": run, "end_time": -(2**63)}),
    ):
        answer = ask(url, "POST", f"{API}/runs/{path}", body)
        check(answer.status < 500, f"{path} {str(body)[:80]}: {answer}")
    for number in (2**63 - 1, -1, 0):
        answer = ask(url, "GET", f"{API}/metrics/get-history", query={"run_id": run, "metric_key": "m", "max_results": number})
        check(answer.status < 500, f"{answer}")
    deep = b'{"run_id": ' + b"[" * 100_000
    check(ask(url, "POST", f"{API}/runs/log-batch", raw=deep).status == 400, "depth")
    check(ask(url, "GET", f"{API}/runs/get", query={"run_id": run}).status == 200, "the server lives")


def native(vagus):
    """The same runs by our own commands."""
    listed = vagus.json("experiments", "list")["items"]
    check("superset" in {item["name"] for item in listed}, f"{listed}")
    runs = vagus.json("experiments", "runs", "superset", "--order-by", "metrics.auc DESC")["items"]
    check([run["name"] for run in runs] == ["a", "b", "c"], f"{runs}")
    one = vagus.json("experiments", "run", runs[0]["id"][:10])
    check(one["params"] == {"depth": "4"} and one["metrics"] == {"auc": 0.9}, f"{one}")
    compared = vagus.json("experiments", "compare", runs[0]["id"], runs[2]["id"])
    auc = [value for value in compared["values"] if value["key"] == "auc"][0]
    check(auc["differs"] and auc["values"] == [0.9, None], f"{auc}")
    check(vagus.json("experiments", "show", "superset")["name"] == "superset", "an experiment by its name")


def main():
    started = time.monotonic()
    with Vagus(["--mlflow-listen", "127.0.0.1:0"]) as vagus:
        url = f"{vagus.url}/mlflow"
        traces(tutorial(url))
        nested_runs()
        system_metrics()
        batches_and_limits()
        pages()
        superset()
        large_artifacts(url)
        uploads_in_parts(url)
        no_internals(url)
        a_bad_row_writes_nothing(url)
        extremes(url)
        own_port(vagus, url)
        native(vagus)
        print(f"the client's sessions: {time.monotonic() - started:.0f} s")
        with MLflowServer() as peer:
            both = Both(url, peer.url)
            good_calls(both)
            bad_calls(both)
        if both.wrong:
            raise AssertionError(f"{len(both.wrong)} calls differ:\n" + "\n".join(both.wrong))
    print(f"mlflow: passed ({COUNTS['checks']} checks, {COUNTS['calls compared']} calls as mlflow {mlflow.__version__} answers them)")


if __name__ == "__main__":
    main()
