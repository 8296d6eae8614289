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
from mlflow.entities import AssessmentSource, Expectation, Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.genai.datasets import create_dataset, delete_dataset, get_dataset, search_datasets
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


# MARK: What traces are judged by


def judged_traces():
    """Feedback, expectations and overrides by the client's own calls, and filters over them."""
    experiment = mlflow.set_experiment("judged").experiment_id
    ids = []

    @mlflow.trace(name="answer", span_type="LLM", attributes={"model": "small"})
    def answer(question):
        return question.upper()

    for question in ("one", "two", "three"):
        answer(question)
        ids.append(mlflow.get_last_active_trace_id())
    mlflow.flush_trace_async_logging()
    client = MlflowClient()
    wait_for(lambda: len(client.search_traces(locations=[experiment])) == 3, 20, "three traces")
    person = AssessmentSource("HUMAN", "ana@example.com")
    yes = mlflow.log_feedback(trace_id=ids[0], name="correct", value=True, source=person, rationale="it is")
    mlflow.log_feedback(trace_id=ids[1], name="correct", value=False, source=person)
    mlflow.log_feedback(trace_id=ids[2], name="score", value=0.75, metadata={"judge": "v1"})
    wanted = mlflow.log_expectation(trace_id=ids[0], name="expected", value={"answer": ["ONE", 1]})
    kept = mlflow.get_assessment(ids[0], yes.assessment_id)
    check(kept.value is True and kept.source.source_id == "ana@example.com" and kept.rationale == "it is", f"{kept}")
    check(mlflow.get_assessment(ids[0], wanted.assessment_id).value == {"answer": ["ONE", 1]}, "an expectation of any shape")
    changed = mlflow.update_assessment(ids[0], wanted.assessment_id, Expectation(name="expected", value="ONE"))
    check(changed.value == "ONE", f"{changed}")
    over = mlflow.override_feedback(trace_id=ids[1], assessment_id=client.get_trace(ids[1]).info.assessments[0].assessment_id,
                                    value=True, rationale="looked again")
    all_of = {a.assessment_id: a for a in client.get_trace(ids[1]).info.assessments}
    check(len(all_of) == 2 and sum(a.valid for a in all_of.values()) == 1 and all_of[over.assessment_id].valid, f"{all_of}")

    def found(filter):
        traces = client.search_traces(locations=[experiment], filter_string=filter)
        return "".join(str(ids.index(trace.info.trace_id)) for trace in sorted(traces, key=lambda t: ids.index(t.info.trace_id)))
    for filter, expected in [
        ("feedback.correct = 'true'", "01"), ("feedback.correct = 'false'", ""), ("feedback.score > 0.5", "2"),
        ("feedback.score > 0.8", ""), ("feedback.correct IS NULL", "2"), ("expectation.expected = 'ONE'", "0"),
        ("span.name = 'answer' AND span.type = 'LLM'", "012"), ("span.type = 'TOOL'", ""), ("span.status = 'OK'", "012"),
        ("span.attributes.model LIKE '%small%'", "012"), ("span.attributes.model LIKE '%large%'", ""),
        ("trace.text LIKE '%three%'", "2"),
    ]:
        check(found(filter) == expected, f"{filter}: {found(filter)!r}, not {expected!r}")
    mlflow.delete_assessment(ids[1], over.assessment_id)
    check(found("feedback.correct = 'false'") == "1", "what was overridden is valid again")


def evaluation_datasets():
    """mlflow.genai.datasets: made, filled twice, read back, found, tagged and deleted."""
    experiment = mlflow.set_experiment("evaluated").experiment_id
    dataset = create_dataset(name="questions", experiment_id=experiment, tags={"team": "qa"})
    dataset.merge_records([{"inputs": {"q": f"question {n}"}, "expectations": {"answer": n}} for n in range(25)])
    dataset.merge_records([{"inputs": {"q": "question 3"}, "expectations": {"source": "book"}, "tags": {"hard": "yes"}}])
    again = get_dataset(dataset_id=dataset.dataset_id)
    table = again.to_df()
    check(len(table) == 25, f"{len(table)} records: the same inputs are one record")
    third = table[[row["q"] == "question 3" for row in table["inputs"]]].iloc[0]
    check(third["expectations"] == {"answer": 3, "source": "book"} and third["tags"]["hard"] == "yes", f"{third}")
    check(json.loads(again.schema)["expectations"] == {"answer": "integer", "source": "string"}, f"{again.schema}")
    check(json.loads(again.profile) == {"num_records": 25} and again.experiment_ids == [experiment], f"{again.profile}")
    check([d.name for d in search_datasets(experiment_ids=[experiment], filter_string="tags.team = 'qa'")] == ["questions"],
          "found by its tag")
    check(not search_datasets(experiment_ids=[experiment], filter_string="name LIKE 'x%'"), "and not by another name")
    client = MlflowClient()
    client.set_dataset_tags(dataset.dataset_id, {"team": "research", "new": "1"})
    check(get_dataset(dataset_id=dataset.dataset_id).tags["team"] == "research", "tags change")
    delete_dataset(dataset_id=dataset.dataset_id)
    refused(lambda: get_dataset(dataset_id=dataset.dataset_id), "RESOURCE_DOES_NOT_EXIST")


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

    def same(self, truth, what):
        COUNTS["checks"] += 1
        if not truth:
            self.wrong.append(what)

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


def judging_calls(both):
    """The same of both servers: traces of MLflow 2 and 3, assessments, issues, datasets, scorers, metrics."""
    traces, old = "/api/3.0/mlflow/traces", f"{API}/traces"
    both("POST", f"{API}/experiments/create", {"name": "judging"}, keep={"je": lambda json: json["experiment_id"]})
    both("POST", old, {"experiment_id": "$je", "timestamp_ms": 1000, "request_metadata": [{"key": "a", "value": "b"}],
                       "tags": [{"key": "mlflow.traceName", "value": "old"}, {"key": "t", "value": "1"}]},
         keep={"old": lambda json: json["trace_info"]["request_id"]})
    both("PATCH", f"{old}/$old", {"request_id": "$old", "timestamp_ms": 1250, "status": "OK",
                                  "request_metadata": [{"key": "c", "value": "d"}], "tags": [{"key": "u", "value": "2"}]})
    both("GET", f"{old}/$old/info")
    both("GET", old, query={"experiment_ids": "$je"})
    both("GET", old, query={"experiment_ids": "$je", "filter": "tags.t = '1'", "order_by": "timestamp_ms DESC"})
    for name, state in (("tr-" + "1" * 32, "OK"), ("tr-" + "2" * 32, "ERROR"), ("tr-" + "3" * 32, "OK")):
        both("POST", traces, {"trace": {"trace_info": {
            "trace_id": name, "state": state, "request_time": "2026-01-02T03:04:05.678Z", "execution_duration": "1.500s",
            "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "$je"}},
            "tags": {"mlflow.traceName": "n" + name[-1]},
            "trace_metadata": {"mlflow.trace.session": "s" + name[-1],
                               "mlflow.trace.tokenUsage": json.dumps({"input_tokens": 10, "output_tokens": int(name[-1]),
                                                                      "total_tokens": 10 + int(name[-1])})},
            "assessments": [{"assessment_name": "early", "source": {"source_type": "CODE", "source_id": "x"},
                             "feedback": {"value": 1.5}}] if state == "ERROR" else []}}})
    one, two = f"{traces}/tr-{'1' * 32}/assessments", f"{traces}/tr-{'2' * 32}/assessments"
    human = {"source_type": "HUMAN", "source_id": "ana"}

    def judge(path, more, keep=None):
        both("POST", path, {"assessment": {"assessment_name": "q", "source": human, **more}},
             keep=keep and {keep: lambda json: json["assessment"]["assessment_id"]})
    judge(one, {"feedback": {"value": True}, "rationale": "r", "metadata": {"k": "v"}, "span_id": "abcd",
                "create_time": "2026-01-02T03:04:05.678Z", "last_update_time": "2026-01-02T03:04:05.678Z"}, "f1")
    judge(one, {"feedback": {"value": "no"}, "overrides": "$f1"}, "f2")
    judge(one, {"feedback": {"value": 3}})
    judge(one, {"feedback": {"value": {"a": [1]}}})
    judge(one, {"feedback": {"value": None, "error": {"error_code": "E", "error_message": "m", "stack_trace": "s"}}})
    judge(one, {"expectation": {"value": "x"}}, "e1")
    judge(one, {"expectation": {"serialized_value": {"serialization_format": "JSON_FORMAT", "value": "[1, 2]"}}})
    judge(one, {"issue": {"issue_name": "slow"}})
    both("GET", f"{one}/$f1")
    both("GET", f"{one}/$f2")
    both("PATCH", f"{one}/$f1", {"assessment": {"feedback": {"value": False}, "rationale": "other", "metadata": {"n": "m"}},
                                 "update_mask": "feedback,rationale,metadata"})
    both("PATCH", f"{one}/$e1", {"assessment": {"assessment_name": "z", "expectation": {"value": 5}},
                                 "update_mask": "assessmentName,expectation"})
    both("GET", f"{traces}/tr-{'1' * 32}")
    both("GET", f"{traces}/tr-{'2' * 32}")
    both("DELETE", f"{one}/$f2")
    both("GET", f"{one}/$f1")
    for method, path, body in (
        ("POST", f"{traces}/tr-none/assessments", {"assessment": {"assessment_name": "q", "source": human, "feedback": {"value": 1}}}),
        ("POST", one, {}), ("POST", one, {"assessment": {"assessment_name": "q", "source": human}}),
        ("POST", one, {"assessment": {"assessment_name": "q", "source": human, "expectation": {"value": None}}}),
        ("POST", one, {"assessment": {"assessment_name": "q", "source": human, "feedback": {"value": 1}, "overrides": "a-no"}}),
        ("POST", one, {"assessment": {"assessment_name": "q", "source": human, "expectation": {
            "serialized_value": {"serialization_format": "XML", "value": "1"}}}}),
        ("GET", f"{one}/a-none", None), ("GET", f"{traces}/tr-none/assessments/a-none", None), ("DELETE", f"{one}/a-none", None),
        ("PATCH", f"{one}/$f1", {"assessment": {"feedback": {"value": 1}}}), ("PATCH", f"{one}/$f1", {"update_mask": "feedback"}),
        ("PATCH", f"{one}/$f1", {"assessment": {"expectation": {"value": 1}}, "update_mask": "expectation"}),
        ("PATCH", f"{one}/$e1", {"assessment": {"feedback": {"value": 1}}, "update_mask": "feedback"}),
        ("PATCH", f"{old}/tr-none", {"request_id": "x", "timestamp_ms": 1, "status": "OK"}), ("GET", old, {}),
        ("POST", old, {"experiment_id": "99999", "timestamp_ms": 1}),
    ):
        if method == "GET":
            both(method, path, query=body, shapes=False)
        else:
            both(method, path, body, shapes=False)
    # Linked to prompts and runs.
    both("POST", f"{old}/link-prompts", {"trace_id": "tr-" + "1" * 32, "prompt_versions": [{"name": "p", "version": "2"}]})
    both("POST", f"{old}/link-prompts", {"trace_id": "tr-none", "prompt_versions": [{"name": "p", "version": "2"}]})
    both("POST", f"{old}/link-prompts", {"trace_id": "tr-" + "1" * 32})
    both("POST", f"{old}/link-to-run", {"trace_ids": ["tr-" + "1" * 32] * 101, "run_id": "$run"}, shapes=False)
    where = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "$je"}}]
    for filter in ("prompt = 'p/2'", "prompt = 'p'", "prompt LIKE 'p/2'", "feedback.q = 'false'", "feedback.q > 2", "feedback.q > 'x'",
                   "feedback.q = 3", "expectation.z IS NOT NULL", "expectation.z < 9", "issue.id = 'q'",
                   "issue.id != 'q'", "span.nope = 'x'", "span.name = 'x'", "span.content = 'x'", "metadata.`mlflow.trace.session` = 's1'",
                   "name = 'n1'", "status = 'OK'", "end_time_ms > 5"):
        ours, theirs = both("POST", f"{traces}/search", {"locations": where, "filter": filter}, shapes=False)
        if ours.status == 200:
            found = [sorted(t["trace_id"] for t in a.json.get("traces", []) if t["trace_id"].startswith("tr-")) for a in (ours, theirs)]
            both.same(found[0] == found[1], f"{filter}: {found}")

    def measure(view, metric, kinds, **more):
        body = {"experiment_ids": ["$je"], "view_type": view, "metric_name": metric,
                "aggregations": [{"aggregation_type": k} if isinstance(k, str) else
                                 {"aggregation_type": "PERCENTILE", "percentile_value": k} for k in kinds], **more}
        ours, theirs = both("POST", f"{traces}/metrics", body, shapes=False)
        if ours.status == 200:
            both.same(ours.json == theirs.json, f"{body}\n  {ours.json}\n  {theirs.json}")
    measure("TRACES", "trace_count", ["COUNT"], start_time_ms=10**9)
    measure("TRACES", "trace_count", ["COUNT"], dimensions=["trace_status"])
    measure("TRACES", "trace_count", ["COUNT"], dimensions=["trace_name", "trace_status"], filters=["trace.status = 'OK'"])
    measure("TRACES", "session_count", ["COUNT"])
    measure("TRACES", "latency", ["AVG", "MIN", "MAX", 50, 99.5])
    measure("TRACES", "total_tokens", ["SUM", "AVG", "MIN", "MAX", 25])
    measure("TRACES", "output_tokens", ["SUM"], dimensions=["trace_name"], max_results=2)
    measure("TRACES", "trace_count", ["COUNT"], time_interval_seconds=3600, start_time_ms=0, end_time_ms=2 * 10**12)
    measure("TRACES", "trace_count", ["COUNT"], filters=["trace.metadata.`mlflow.trace.session` = 's1'"])
    measure("TRACES", "trace_count", ["COUNT"], filters=["trace.tag.t = '1'"])
    measure("ASSESSMENTS", "assessment_count", ["COUNT"], dimensions=["assessment_name"])
    measure("ASSESSMENTS", "assessment_value", ["AVG", "MAX", 50], filters=["assessment.type = 'feedback'"])
    measure("SPANS", "span_count", ["COUNT"])
    # Left out is what MLflow gets wrong: 500 to a view it does not know, its database's own words to no aggregations.
    for wrong in (dict(view="TRACES", metric="nope"),
                  dict(view="TRACES", metric="latency", kinds=["SUM"]), dict(view="TRACES", metric="trace_count", dimensions=["x"]),
                  dict(view="TRACES", metric="trace_count", filters=["nope.a = 'x'"]),
                  dict(view="TRACES", metric="trace_count", filters=["trace.status != 'OK'"]),
                  dict(view="TRACES", metric="trace_count", filters=["span.name = 'x'"]),
                  dict(view="TRACES", metric="trace_count", filters=["trace.tag = 'x'"]),
                  dict(view="TRACES", metric="trace_count", time_interval_seconds=60)):
        measure(wrong.pop("view"), wrong.pop("metric"), wrong.pop("kinds", ["COUNT"]), **wrong)
    for first, second, base in (("status = 'OK'", "tags.t = '1'", None), ("status = 'OK'", "status = 'OK'", None),
                                ("status = 'OK'", "status = 'ERROR'", None), ("status = 'OK'", "tags.none = 'x'", None),
                                ("status = 'OK'", "name = 'n1'", "timestamp_ms > 5000")):
        body = {"experiment_ids": ["$je"], "filter_string1": first, "filter_string2": second, **({"base_filter": base} if base else {})}
        ours, theirs = both("POST", f"{traces}/calculate-filter-correlation", body)
        for key, value in theirs.json.items():
            mine = ours.json.get(key, math.nan)
            both.same(mine == value or abs(mine - value) < 1e-9, f"{body}: {ours.json} {theirs.json}")
    both("POST", f"{traces}/calculate-filter-correlation", {"experiment_ids": ["$je"], "filter_string1": "status = 'OK'"}, shapes=False)
    issues_datasets_scorers(both)


def issues_datasets_scorers(both):
    issues, datasets, scorers = "/api/3.0/mlflow/issues", "/api/3.0/mlflow/datasets", "/api/3.0/mlflow/scorers"
    for name, more in (("a", {}), ("b", {"severity": "high", "root_causes": ["x"], "categories": ["y"], "created_by": "ana"}),
                       ("c", {"severity": "low", "status": "resolved", "source_run_id": "$run"})):
        both("POST", issues, {"experiment_id": "$je", "name": name, "description": "d", **more},
             keep={"issue": lambda json: json["issue"]["issue_id"]})
    both("GET", f"{issues}/$issue")
    both("PATCH", f"{issues}/$issue", {"issue_id": "$issue", "status": "rejected", "name": "c2"})
    for body in ({}, {"experiment_id": "$je"}, {"experiment_id": "$je", "filter_string": "status = 'pending'"},
                 {"experiment_id": "$je", "max_results": 2}, {"experiment_id": "$je", "include_trace_count": True}):
        ours, theirs = both("POST", f"{issues}/search", body, shapes="max_results" not in body)
        names = [[issue["name"] for issue in answer.json["issues"]] for answer in (ours, theirs)]
        both.same(names[0] == names[1], f"{body}: {names}")
    for method, path, body in (
        ("POST", issues, {"name": "a"}), ("POST", issues, {"experiment_id": "99999", "name": "a", "description": "d"}),
        ("GET", f"{issues}/iss-none", None), ("PATCH", f"{issues}/iss-none", {"issue_id": "iss-none"}),
        ("PATCH", f"{issues}/$issue", {"name": "x"}), ("POST", f"{issues}/search", {"filter_string": "nope = 'x'"}),
        ("POST", f"{issues}/search", {"max_results": 0}), ("POST", f"{issues}/search", {"max_results": 50001}),
    ):
        both(method, path, body, shapes=False)
    both("POST", f"{datasets}/create", {"name": "d", "experiment_ids": ["$je"], "tags": '{"a": "b", "mlflow.user": "ana"}'},
         keep={"ds": lambda json: json["dataset"]["dataset_id"]})
    both("GET", f"{datasets}/$ds")
    records = [{"inputs": {"q": 1}, "expectations": {"a": "x"}, "tags": {"t": "1"}}, {"inputs": {"q": 2}, "outputs": "text"},
               {"inputs": {"q": 3}, "source": {"source_type": "trace", "source_data": {"trace_id": "tr-1"}}}]
    both("POST", f"{datasets}/$ds/records", {"records": json.dumps(records)})
    both("POST", f"{datasets}/$ds/records", {"records": json.dumps([{"inputs": {"q": 1}, "expectations": {"b": 2}, "outputs": None}])})
    ours, theirs = both("GET", f"{datasets}/$ds/records")
    kept = [sorted([{k: v for k, v in r.items() if k not in ("dataset_id", "dataset_record_id", "created_time", "last_update_time")}
                    for r in json.loads(answer.json["records"])], key=lambda r: r["inputs"]["q"]) for answer in (ours, theirs)]
    both.same(kept[0] == kept[1], f"{kept}")
    ours, theirs = both("GET", f"{datasets}/$ds")
    for part in ("schema", "profile", "tags"):
        both.same(json.loads(ours.json["dataset"][part]) == json.loads(theirs.json["dataset"][part]), f"{part}: {ours} {theirs}")
    both("GET", f"{datasets}/$ds/records", query={"max_results": 2},
         keep={"record": lambda json_: json.loads(json_["records"])[0]["dataset_record_id"], "dt": lambda json: json["next_page_token"]})
    ours, theirs = both("GET", f"{datasets}/$ds/records", query={"max_results": 2, "page_token": "$dt"})
    both.same(len(json.loads(ours.json["records"])) == len(json.loads(theirs.json["records"])) == 1, "the last record")
    both("DELETE", f"{datasets}/$ds/records", {"dataset_record_ids": ["$record", "dr-none"]})
    both("PATCH", f"{datasets}/$ds/tags", {"tags": '{"c": "d", "e": null, "f": 5}'})
    both("DELETE", f"{datasets}/$ds/tags/a")
    both("GET", f"{datasets}/$ds")
    both("GET", f"{datasets}/$ds/experiment-ids")
    both("POST", f"{datasets}/$ds/add-experiments", {"experiment_ids": ["$exp", "$je"]})
    both("POST", f"{datasets}/$ds/remove-experiments", {"experiment_ids": ["$je"]})
    both("GET", f"{datasets}/$ds/experiment-ids")
    for body in ({}, {"experiment_ids": ["$exp"]}, {"filter_string": "name = 'd'"}, {"filter_string": "tags.c = 'd'"},
                 {"filter_string": "created_time > 5", "order_by": ["name ASC"]}, {"experiment_ids": ["99999"]}):
        both("POST", f"{datasets}/search", body)
    both("GET", f"{datasets}/search", query={"experiment_ids": "$exp"})
    for method, path, body in (
        ("POST", f"{datasets}/create", {}), ("GET", f"{datasets}/d-none", None), ("DELETE", f"{datasets}/d-none", None),
        ("PATCH", f"{datasets}/d-none/tags", {"tags": "{}"}), ("PATCH", f"{datasets}/$ds/tags", {}),
        ("DELETE", f"{datasets}/d-none/tags/x", None), ("POST", f"{datasets}/$ds/records", {}),
        ("POST", f"{datasets}/$ds/records", {"records": '[{"inputs": {"z": 1}, "source": {"source_type": "nope"}}]'}),
        ("POST", f"{datasets}/d-none/add-experiments", {"experiment_ids": ["$je"]}),
        ("POST", f"{datasets}/$ds/add-experiments", {"experiment_ids": ["99999"]}),
        ("POST", f"{datasets}/d-none/remove-experiments", {"experiment_ids": ["$je"]}),
        ("POST", f"{datasets}/search", {"filter_string": "nope = 'x'"}), ("POST", f"{datasets}/search", {"order_by": ["nope ASC"]}),
        ("POST", f"{datasets}/search", {"max_results": 50001}), ("GET", f"{datasets}/d-none/experiment-ids", None),
    ):
        both(method, path, body, shapes=False)
    both("DELETE", f"{datasets}/$ds")
    judge = json.dumps({"name": "s", "instructions_judge_pydantic_data": {"instructions": "{{ inputs }}", "model": "openai:/x"}})
    for _ in range(2):
        both("POST", f"{scorers}/register", {"experiment_id": "$je", "name": "s", "serialized_scorer": judge})
    both("GET", f"{scorers}/list", query={"experiment_id": "$je"})
    both("GET", f"{scorers}/list", query={"experiment_ids": ["$je", "$exp"]})
    both("GET", f"{scorers}/versions", query={"experiment_id": "$je", "name": "s"})
    both("GET", f"{scorers}/get", query={"experiment_id": "$je", "name": "s"})
    both("GET", f"{scorers}/get", query={"experiment_id": "$je", "name": "s", "version": 1})
    for method, path, body in (
        ("POST", f"{scorers}/register", {"experiment_id": "$je", "name": "s"}),
        ("POST", f"{scorers}/register", {"experiment_id": "$je", "name": "s", "serialized_scorer": "{"}),
        ("POST", f"{scorers}/register", {"experiment_id": "$je", "name": "s", "serialized_scorer": '{"call_source": "x"}'}),
        ("POST", f"{scorers}/register", {"experiment_id": "99999", "name": "s", "serialized_scorer": judge}),
        ("GET", f"{scorers}/get", {"experiment_id": "$je", "name": "none"}),
        ("GET", f"{scorers}/get", {"experiment_id": "$je", "name": "s", "version": 9}),
        ("GET", f"{scorers}/versions", {"experiment_id": "$je", "name": "none"}),
        ("GET", f"{scorers}/list", {"experiment_id": "99999"}),
        ("DELETE", f"{scorers}/delete", {"experiment_id": "$je", "name": "s", "version": 9}),
        ("DELETE", f"{scorers}/delete", {"experiment_id": "$je", "name": "s", "version": 1}),
        ("DELETE", f"{scorers}/delete", {"experiment_id": "$je", "name": "s"}),
        ("DELETE", f"{scorers}/delete", {"experiment_id": "$je", "name": "s"}),
    ):
        if method == "GET":
            both(method, path, query=body, shapes=False)
        else:
            both(method, path, body, shapes=False)


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
        judged_traces()
        evaluation_datasets()
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
            judging_calls(both)
            bad_calls(both)
        if both.wrong:
            raise AssertionError(f"{len(both.wrong)} calls differ:\n" + "\n".join(both.wrong))
    print(f"mlflow: passed ({COUNTS['checks']} checks, {COUNTS['calls compared']} calls as mlflow {mlflow.__version__} answers them)")


if __name__ == "__main__":
    main()
