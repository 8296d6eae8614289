"""A real MLflow store moves in, with a kill -9 of the importer on the way, and out again into a real `mlflow server`.

Needs mlflow in the environment of the clients. `--runs N` makes the store larger; `--store FOLDER` keeps it.
"""

import argparse
import json
import math
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time

from mlflow_peer import MLflowServer  # first: sets what keeps mlflow quiet
from vagus_process import BINARY, Vagus, wait_for

import mlflow
from mlflow.data.numpy_dataset import from_numpy
from mlflow.entities import DatasetInput, InputTag, LoggedModelOutput, Metric, Param, RunTag, ViewType
from mlflow.tracking import MlflowClient
import numpy

CHECKS = 0


def check(truth, what):
    global CHECKS
    CHECKS += 1
    if not truth:
        raise AssertionError(what)


# MARK: The store


# Seven tenths are in the first experiment, whose ninth is deleted.
FEWEST = 14


def fill_run(client, experiment, index, parent, dice):
    """One run with params, tags, metrics of many steps, and files."""
    tags = {"team": f"team-{index % 5}", "note": "Zeile eins\nzwei ☃ 'quoted'"}
    if parent:
        tags["mlflow.parentRunId"] = parent
    run = client.create_run(experiment, start_time=1_700_000_000_000 + index, tags=tags, run_name=f"run {index}")
    run_id = run.info.run_id
    metrics = [Metric("loss", 1 / (step + 1) + dice.random() / 100, 1_700_000_000_000 + step, step) for step in range(40)]
    metrics += [Metric("val/auc", dice.random(), 1_700_000_000_000 + step, step) for step in range(20)]
    if index % 7 == 0:
        metrics += [Metric("odd", math.nan, 1_700_000_000_100, 1), Metric("odd", math.inf, 1_700_000_000_200, 2),
                    Metric("odd", -math.inf, 1_700_000_000_300, 3), Metric("odd", -0.5, 1_700_000_000_300, -3)]
    params = [Param("lr", str(10 ** -(index % 5))), Param("deep/er", "x" * (index % 300)), Param("empty", "")]
    client.log_batch(run_id, metrics, params, [RunTag("late", "yes")])
    root = os.path.join(artifacts_of(run), "")
    os.makedirs(root + "plots", exist_ok=True)
    for name, size in (("model.bin", 2000 + index), ("plots/a b+c%.txt", 40)):
        with open(root + name, "wb") as file:
            file.write(dice.randbytes(size))
    if index % 10 == 0:
        dataset = from_numpy(numpy.arange(index % 4 + 3.0), name=f"data-{index % 4}")
        client.log_inputs(run_id, [DatasetInput(dataset._to_mlflow_entity(), [InputTag("mlflow.data.context", "training")])])
    if index % 9 == 5:
        client.set_terminated(run_id, "FAILED", 1_700_000_100_000 + index)
    elif index % 23 != 11:
        client.set_terminated(run_id, "FINISHED", 1_700_000_100_000 + index)
    return run_id


def artifacts_of(run):
    return run.info.artifact_uri.removeprefix("file://")


def make_models(client, experiment, run_ids):
    """Logged models of MLflow 3, and registered ones with gaps, stages, aliases and tags."""
    logged = []
    for index, run_id in enumerate(run_ids[:5]):
        model = client.create_logged_model(
            experiment, name=f"net-{index}", source_run_id=run_id, params={"depth": str(index)}, tags={"kind": "net"})
        place = model.artifact_location.removeprefix("file://")
        os.makedirs(place, exist_ok=True)
        with open(os.path.join(place, "MLmodel"), "w") as file:
            file.write(f"flavors:\n  python_function:\n    loader_module: none\nmodel_id: {model.model_id}\n")
        with open(os.path.join(place, "weights"), "wb") as file:
            file.write(bytes([index]) * 5000)
        client.log_metric(run_id, "acc", 0.5 + index / 10, timestamp=1_700_000_000_500, step=7, model_id=model.model_id)
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 7)])
        client.finalize_logged_model(model.model_id, "READY")
        logged.append(model.model_id)
    client.create_registered_model("Churn Model", tags={"owner": "ana"}, description="who leaves\nand when")
    for index, model_id in enumerate(logged):
        client.create_model_version(
            "Churn Model", f"models:/{model_id}", run_ids[index], tags={"n": str(index)}, description=f"no. {index}",
            model_id=model_id)
    client.delete_model_version("Churn Model", "2")
    client.set_registered_model_alias("Churn Model", "champion", "3")
    client.set_registered_model_alias("Churn Model", "challenger", "5")
    client.transition_model_version_stage("Churn Model", "3", "Production")
    client.create_registered_model("old-style")
    run = client.get_run(run_ids[6])
    client.create_model_version("old-style", f"{run.info.artifact_uri}/plots", run.info.run_id)


def make_store(folder, count):
    """A SQLite store as a laptop has one: files of runs in folders beside it."""
    uri = f"sqlite:///{folder}/mlflow.db"
    client = MlflowClient(uri, uri)
    # The registry looks for logged models in the store that is set for all.
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    dice = random.Random(4)
    made = {}
    for name, part in (("churn", 0.7), ("prices / old", 0.3)):
        experiment = client.create_experiment(name, artifact_location=f"{folder}/mlruns/{name[:6]}", tags={"area": name})
        runs, parent = [], None
        for index in range(round(count * part)):
            run_id = fill_run(client, experiment, index, parent if index % 6 else None, dice)
            parent = run_id if index % 6 == 0 else parent
            runs.append(run_id)
        made[name] = (experiment, runs)
    make_models(client, made["churn"][0], made["churn"][1])
    for run_id in made["churn"][1][8::15]:
        client.delete_run(run_id)
    gone = client.create_experiment("gone", artifact_location=f"{folder}/mlruns/gone")
    fill_run(client, gone, 1, None, dice)
    client.delete_experiment(gone)
    return client, uri


# MARK: Both sides


def everything(client):
    """All runs by id, with what a client sees of them."""
    found = {}
    for experiment in client.search_experiments(ViewType.ALL):
        token = None
        while True:
            page = client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL, max_results=500, page_token=token)
            for run in page:
                found[run.info.run_id] = (experiment, run)
            token = page.token
            if not token:
                break
    return found


def same(left, right):
    """Whether two values of a metric are the same; MLflow's store has the greatest number for infinity."""
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) and math.isnan(right)
    if abs(left) > 1.7e308:
        return abs(right) > 1.7e308 and (left > 0) == (right > 0)
    return left == right


def histories_equal(one, other, key):
    def order(points):
        return sorted(points, key=lambda point: (point.timestamp, point.step, str(point.value)))
    one, other = order(one), order(other)
    check(len(one) == len(other), f"{key}: {len(one)} points are {len(other)}")
    for left, right in zip(one, other):
        check((left.timestamp, left.step) == (right.timestamp, right.step) and same(left.value, right.value),
              f"{key}: {left.timestamp, left.step, left.value} is {right.timestamp, right.step, right.value}")


def files_of(client, run_id, path=None):
    """Paths and sizes of the files of a run."""
    found = {}
    for file in client.list_artifacts(run_id, path):
        found.update(files_of(client, run_id, file.path) if file.is_dir else {file.path: file.file_size})
    return found


def compare_runs(source, target, ids, sample):
    """All runs by what searches show, a sample by history and files."""
    here, there = everything(source), everything(target)
    check(len(here) == len(there), f"{len(here)} runs are {len(there)}")
    back = {new: old for old, new in ids.items()}
    for old, (experiment, run) in here.items():
        place, other = there[ids.get(old, old)]
        check(place.name == experiment.name, f"{place.name} is not {experiment.name}")
        for field in ("status", "start_time", "end_time", "lifecycle_stage", "run_name", "user_id"):
            left, right = getattr(run.info, field), getattr(other.info, field)
            check(left == right, f"run {old}: {field} {left!r} is {right!r}")
        check(run.data.params == other.data.params, f"params of {old}")
        tags = {key: value for key, value in other.data.tags.items() if not key.startswith("vagus.")}
        if "mlflow.parentRunId" in tags:
            tags["mlflow.parentRunId"] = back.get(tags["mlflow.parentRunId"], tags["mlflow.parentRunId"])
        check(run.data.tags == tags, f"tags of {old}: {run.data.tags} are {tags}")
        check(run.data.metrics.keys() == other.data.metrics.keys(), f"metrics of {old}")
        for key, value in run.data.metrics.items():
            check(same(value, other.data.metrics[key]), f"{key} of {old}: {value} is {other.data.metrics[key]}")
        left = {(one.dataset.name, one.dataset.digest, one.dataset.schema) for one in run.inputs.dataset_inputs}
        right = {(one.dataset.name, one.dataset.digest, one.dataset.schema) for one in other.inputs.dataset_inputs}
        check(left == right, f"datasets of {old}")
        check(len(run.outputs.model_outputs) == len(other.outputs.model_outputs), f"models made by {old}")
    for old in sample:
        new = ids.get(old, old)
        for key in here[old][1].data.metrics:
            histories_equal(source.get_metric_history(old, key), target.get_metric_history(new, key), key)
        check(files_of(source, old) == files_of(target, new), f"files of {old}")
        with tempfile.TemporaryDirectory() as left, tempfile.TemporaryDirectory() as right:
            for name in ("model.bin", "plots/a b+c%.txt"):
                one, other = source.download_artifacts(old, name, left), target.download_artifacts(new, name, right)
                check(open(one, "rb").read() == open(other, "rb").read(), f"{name} of {old}")
    return len(here)


def compare_imported_models(source, target):
    """Numbers, aliases, stages and content are as they were."""
    for name in ("Churn Model", "old-style"):
        one, other = source.get_registered_model(name), target.get_registered_model(name)
        check((one.description or "") == (other.description or ""), f"description of {name}")
        check(one.tags == other.tags and one.creation_timestamp == other.creation_timestamp, f"tags of {name}")
        check({k: int(v) for k, v in one.aliases.items()} == {k: int(v) for k, v in other.aliases.items()},
              f"aliases {one.aliases} are {other.aliases}")
        left = {int(v.version): v for v in source.search_model_versions(f"name = '{name}'")}
        right = {int(v.version): v for v in target.search_model_versions(f"name = '{name}'")}
        check(left.keys() == right.keys(), f"versions {sorted(left)} are {sorted(right)}")
        for number, version in left.items():
            there = right[number]
            for field in ("run_id", "creation_timestamp", "current_stage", "tags"):
                check(getattr(version, field) == getattr(there, field),
                      f"{name} {number}: {field} {getattr(version, field)!r} is {getattr(there, field)!r}")
            check((version.description or "") == (there.description or ""), f"description of {name} {number}")
    with tempfile.TemporaryDirectory() as folder:
        place = mlflow.artifacts.download_artifacts("models:/Churn Model@champion", dst_path=folder)
        check(open(os.path.join(place, "weights"), "rb").read() == bytes([2]) * 5000, "the champion's files")
    models = target.search_logged_models([target.get_experiment_by_name("churn").experiment_id])
    check(len(models) == 5, f"{len(models)} logged models")
    for model in models:
        was = source.get_logged_model(model.model_id)
        check((was.name, was.params, was.source_run_id, was.status, was.creation_timestamp)
              == (model.name, model.params, model.source_run_id, model.status, model.creation_timestamp), f"{was} is {model}")
        check([m.value for m in was.metrics or []] == [m.value for m in model.metrics or []], f"metrics of {was.model_id}")


def compare_exported_models(source, target):
    for name, count in (("Churn Model", 4), ("old-style", 1)):
        versions = target.search_model_versions(f"name = '{name}'")
        check(len(versions) == count, f"{name} has {len(versions)} versions")
        old = {v.tags["vagus.version"]: v for v in versions}
        aliases = target.get_registered_model(name).aliases
        for alias, number in source.get_registered_model(name).aliases.items():
            check(str(aliases[alias]) == str(old[str(number)].version), f"alias {alias} of {name}")
    check(target.get_model_version_by_alias("Churn Model", "champion").current_stage == "Production", "a stage")
    mlflow.set_tracking_uri(target.tracking_uri)
    mlflow.set_registry_uri(target.tracking_uri)
    with tempfile.TemporaryDirectory() as folder:
        place = mlflow.artifacts.download_artifacts("models:/Churn Model@champion", dst_path=folder)
        check(open(os.path.join(place, "weights"), "rb").read() == bytes([2]) * 5000, "the champion's files")


def counts(report):
    return {one["kind"]: (one["source"], one["target"]) for one in report["counts"]}


def check_counts(report, title):
    for kind, (left, right) in counts(report).items():
        check(left == right, f"{title}: {kind}: {left} are {right}; {report.get('differences')}")
    check(report["is_equal"], f"{title}: {report.get('differences')}")


# MARK: The moves


def begin_and_kill(vagus, arguments):
    """Kills the importer when a part of the runs is there; tells how many, and whether it was still at work."""
    client = MlflowClient(f"{vagus.url}/mlflow")
    process = subprocess.Popen(
        [BINARY, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "VAGUS_SERVER": vagus.url})
    # As soon as anything is there: a page of runs is on its way then.
    def some():
        names = [e.experiment_id for e in client.search_experiments(ViewType.ALL) if e.name == "churn"]
        return names and len(client.search_runs(names, run_view_type=ViewType.ALL, max_results=1000)) > 0
    wait_for(some, 60, "the first runs")
    ended = process.poll()
    process.send_signal(signal.SIGKILL)
    process.wait()
    return len(everything(client)), ended is None


def run_json(vagus, *arguments, code=0):
    done = subprocess.run(
        [BINARY, *arguments, "-o", "json"], capture_output=True, text=True, timeout=1800,
        env={**os.environ, "VAGUS_SERVER": vagus.url})
    check(done.returncode == code, f"{arguments} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return json.loads(done.stdout) if done.stdout else done.stderr


def bad_input(vagus, folder):
    """What is no store, is refused with what to do about it."""
    junk = os.path.join(folder, "junk.db")
    with open(junk, "w") as file:
        file.write("this is no database, however long it may be" * 100)
    for source, words in ((f"sqlite:///{junk}", "not a SQLite database"), ("sqlite:////nowhere/x.db", "there is no file"),
                          (os.path.join(folder, "nowhere"), "there is no folder"), (folder, "no experiments"),
                          ("postgresql://x/y", "not read from outside"), ("http://127.0.0.1:9", "no answer")):
        done = vagus.run("import", "mlflow", "--from", source, check=False)
        check(done.returncode in (1, 69) and words in done.stderr, f"{source}: {done.returncode} {done.stderr}")
    import sqlite3
    old = os.path.join(folder, "old.db")
    with sqlite3.connect(old) as sql:
        sql.execute("CREATE TABLE alembic_version (version_num TEXT)")
        sql.execute("INSERT INTO alembic_version VALUES ('451aebb31d03')")
        sql.execute("CREATE TABLE experiments (experiment_id INTEGER, name TEXT, artifact_location TEXT, lifecycle_stage TEXT)")
    done = vagus.run("import", "mlflow", "--from", f"sqlite:///{old}", check=False)
    check(done.returncode == 1 and "451aebb31d03" in done.stderr and "mlflow db upgrade" in done.stderr, done.stderr)


def missing_files(vagus, folder):
    """A store whose files are gone: told, and a failure when that is wanted."""
    copy = os.path.join(folder, "moved")
    os.makedirs(copy)
    shutil.copy(os.path.join(folder, "mlflow.db"), copy)
    os.rename(os.path.join(folder, "mlruns"), os.path.join(folder, "elsewhere"))
    try:
        arguments = ["import", "mlflow", "--from", f"sqlite:///{copy}/mlflow.db", "--project", "second"]
        report = run_json(vagus, *arguments, "--strict", "--dry-run")
        check(any("mlruns" in words for words in report["missing"]), f"{report['missing']}")
    finally:
        os.rename(os.path.join(folder, "elsewhere"), os.path.join(folder, "mlruns"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=FEWEST)
    parser.add_argument("--store", help="a folder for the store, which is kept and used again; absent: a temporary one")
    parser.add_argument("--make-only", action="store_true")
    options = parser.parse_args()
    if options.runs < FEWEST:
        parser.error(f"the models, deletions and parents need at least {FEWEST} runs")
    folder = options.store or tempfile.mkdtemp(prefix="mlflow-store-")
    try:
        begin = time.monotonic()
        uri = f"sqlite:///{folder}/mlflow.db"
        if os.path.exists(f"{folder}/mlflow.db"):
            source = MlflowClient(uri, uri)
        else:
            os.makedirs(folder, exist_ok=True)
            source, uri = make_store(folder, options.runs)
        print(f"a SQLite store of {options.runs} runs by mlflow {mlflow.__version__}, made in {time.monotonic() - begin:.1f} s")
        if not options.make_only:
            move(folder, source, uri, options)
    finally:
        if not options.store:
            shutil.rmtree(folder, ignore_errors=True)


def move(folder, source, uri, options):
    dice = random.Random(7)
    before = open(f"{folder}/mlflow.db", "rb").read()
    with Vagus() as vagus:
        bad_input(vagus, folder)
        arguments = ["import", "mlflow", "--from", uri]
        dry = run_json(vagus, *arguments, "--dry-run")
        check(dry["counts"][1]["source"] == options.runs + 1 and dry["counts"][1]["target"] == 0, f"{dry['counts']}")
        part, was_at_work = begin_and_kill(vagus, arguments)
        print(f"killed the importer with -9 when {part} runs were there" + ("" if was_at_work else ", all it had to do"))
        report = run_json(vagus, *arguments)
        check_counts(report, "import")
        print(f"imported in {report['seconds']:.1f} s, {report['passed_over']} runs were there already: {counts(report)}")
        # A few runs can be there before anybody sees the first of them.
        check(not was_at_work or report["passed_over"] <= options.runs, "some were left for the second try")
        check(was_at_work or options.runs < 100, "a large import is at work when it is killed")
        again = run_json(vagus, *arguments)
        check_counts(again, "second import")
        check(again["passed_over"] == options.runs + 1, f"a third time all are passed over: {again['passed_over']}")
        check(counts(again) == counts(report), "and nothing is there twice")
        print(f"imported again in {again['seconds']:.1f} s: all {again['passed_over']} runs passed over")
        check(open(f"{folder}/mlflow.db", "rb").read() == before, "the source is as it was")
        target = MlflowClient(f"{vagus.url}/mlflow", f"{vagus.url}/mlflow")
        mlflow.set_tracking_uri(f"{vagus.url}/mlflow")
        mlflow.set_registry_uri(f"{vagus.url}/mlflow")
        ids = sorted(everything(source))
        sample = dice.sample([i for i in ids], min(40, len(ids)))
        count = compare_runs(source, target, {}, sample)
        compare_imported_models(source, target)
        print(f"{count} runs are the same to mlflow's client on both sides, {len(sample)} of them point by point and byte by byte")
        missing_files(vagus, folder)
        with MLflowServer() as server:
            out = run_json(vagus, "export", "mlflow", "--to", server.url)
            check_counts(out, "export")
            print(f"exported to mlflow server in {out['seconds']:.1f} s: {counts(out)}")
            real = MlflowClient(server.url, server.url)
            listed = everything(real)
            new = {run.data.tags["vagus.run_id"]: run_id for run_id, (_, run) in listed.items()}
            compare_runs(target, real, new, sample[:10])
            compare_exported_models(target, real)
            print(f"mlflow server lists {len(listed)} runs in {len(real.search_experiments(ViewType.ALL))} experiments and "
                  f"{len(real.search_registered_models())} registered models")
            if options.runs <= 200:
                twice = run_json(vagus, "export", "mlflow", "--to", server.url)
                check_counts(twice, "second export")
                check(twice["passed_over"] == options.runs + 1 and len(everything(real)) == len(listed), "no run is there twice")
                # And from the server into another project of ours, by its calls.
                back = run_json(vagus, "import", "mlflow", "--from", server.url, "--project", "from-server")
                check_counts(back, "import from a server")
                print(f"imported from mlflow server in {back['seconds']:.1f} s")
    print(f"test_mlflow_move: passed, {CHECKS} checks")


if __name__ == "__main__":
    main()
