"""Holds served predictions against the Python package xgboost, row by row, from the registered model's own files.

    check_predictions.py --model FOLDER --csv later.csv --url http://127.0.0.1:8480/serving/employment --name employment

Both protocols are asked. The features are made here anew from their names (`column=level` is 1 where the column has that
level, anything else is a number), so that a mistake in the server's transforms shows as well as one in its arithmetic.
Ends with 1 when a difference is greater than 1e-6.
"""
import argparse
import csv
import json
import pathlib
import sys

import numpy
import requests
import xgboost

TOLERANCE = 1e-6


def feature_names(folder, booster):
    if booster.feature_names:
        return booster.feature_names
    signature = json.loads((folder / "signature.json").read_text())
    names = signature.get("features") or signature.get("feature_names")
    if not names:
        sys.exit("neither the model nor signature.json names its features")
    return names


def matrix(rows, names):
    values = numpy.zeros((len(rows), len(names)), dtype=numpy.float32)
    for place, name in enumerate(names):
        column, encoded, level = name.partition("=")
        for index, row in enumerate(rows):
            values[index, place] = float(row[column] == level) if encoded else float(row[name])
    return values


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--csv", required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--rows", type=int, default=500)
    given = parser.parse_args()

    with open(given.csv, newline="", encoding="utf-8") as file:
        rows = [row for _, row in zip(range(given.rows), csv.DictReader(file))]
    booster = xgboost.Booster(model_file=str(given.model / "model.ubj"))
    names = feature_names(given.model, booster)
    data = xgboost.DMatrix(matrix(rows, names), feature_names=list(names) if booster.feature_names else None)
    wanted = booster.predict(data)

    columns = [name for name in rows[0] if name not in ("prediction_id", "event_time", "employed")]
    split = {"columns": columns, "data": [[int(row[c]) if c == "AGEP" else row[c] for c in columns] for row in rows]}
    # Who is asked about, and of when: without it a monitor takes these rows for traffic of today.
    params = {}
    if "prediction_id" in rows[0] and "event_time" in rows[0]:
        params = {"prediction_ids": [row["prediction_id"] for row in rows], "event_time": [row["event_time"] for row in rows]}
    mlflow = requests.post(f"{given.url}/invocations", json={"dataframe_split": split, "params": params}, timeout=60)
    mlflow.raise_for_status()
    described = requests.get(f"{given.url}/v2/models/{given.name}", timeout=60)
    described.raise_for_status()
    inputs = [
        {
            "name": tensor["name"], "datatype": tensor["datatype"], "shape": [len(rows), 1],
            "data": [int(row[tensor["name"]]) if tensor["name"] == "AGEP" else row[tensor["name"]] for row in rows],
        }
        for tensor in described.json()["inputs"]
    ]
    infer = requests.post(f"{given.url}/v2/models/{given.name}/infer", json={"inputs": inputs, "parameters": params}, timeout=60)
    infer.raise_for_status()

    worst = 0.0
    for answers in (mlflow.json()["predictions"], infer.json()["outputs"][0]["data"]):
        if len(answers) != len(rows):
            sys.exit(f"{len(answers)} answers for {len(rows)} rows")
        # NaN must not pass for agreement.
        worst = max(worst, float(numpy.abs(numpy.asarray(answers, dtype=numpy.float64) - wanted).max()))
        if not numpy.isfinite(answers).all():
            sys.exit("an answer is no number")
    print(f"{len(rows)} rows over both protocols: greatest difference to xgboost {xgboost.__version__} is {worst:.2e}")
    return 0 if worst <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
