"""Prediction logs as they are found in the field: what each tool and habit writes, made with a seed.

`good` records are all events; what is expected of a first config stands beside each shape.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from streamwatch.transports.memory import Record

N = 200
START_S = 1_790_000_000
Event = Mapping[str, Any]


@dataclass(frozen=True)
class Shape:
    """read       what `read` must say, of some fields
    signals    that monitors must watch, at least
    never      signals that no monitor may watch
    doubts     words that must stand in a `# ?` line
    models     what the config says of models
    """

    name: str
    make: Callable[[int, Random], Event]
    read: Mapping[str, Any]
    signals: Sequence[str] = ()
    never: Sequence[str] = ()
    doubts: Sequence[str] = ()
    models: Mapping[str, Any] = field(default_factory=dict)
    key: Callable[[Event], str | None] = lambda event: None
    headers: Callable[[int, Random], list[tuple[str, str]]] = lambda i, draw: []
    partitions: int = 2

    def records(self, n: int = N) -> list[Record]:
        draw = Random(7)
        made = []
        for i in range(n):
            event = self.make(i, draw)
            headers = self.headers(i, draw)
            made.append(
                Record("scored", event, self.key(event), (START_S + i) * 1000, i % self.partitions, headers)
            )
        return made


def iso(i: int, zone: str = "Z", shift_h: int = 0) -> str:
    moment = dt.datetime.fromtimestamp(START_S + i + shift_h * 3600, dt.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + zone


def number(draw: Random) -> float:
    return round(draw.gauss(50, 9), 2)


def country(draw: Random) -> str:
    return draw.choice(["DE", "DE", "AT", "FR"])


def contract(i: int, draw: Random) -> Event:
    return {
        "event_id": f"e{i}", "model": "fraud", "model_version": "3", "timestamp": iso(i), "prediction": i % 3 == 0,
        "score": draw.random(), "features": {"amount": number(draw), "country": country(draw)}, "label": i % 2,
        "latency_ms": 8 + draw.random(),
    }  # fmt: skip


def bentoml(i: int, draw: Random) -> Event:
    return {
        "timestamp": iso(i, ".250000"), "request_id": str(10**15 + i), "sepal length": number(draw),
        "petal width": number(draw), "pred": i % 3,
    }  # fmt: skip


def kserve_v1(i: int, draw: Random) -> Event:
    return {"predictions": [draw.random()]}


def kserve_headers(i: int, draw: Random) -> list[tuple[str, str]]:
    return [
        ("ce_id", f"r{i}"), ("ce_type", "org.kubeflow.serving.inference.response"), ("ce_time", iso(i)),
        ("ce_inferenceservicename", "income"), ("ce_specversion", "1.0"),
    ]  # fmt: skip


def kserve_v2(i: int, draw: Random) -> Event:
    return {
        "model_name": "income", "model_version": "1", "id": f"r{i}",
        "outputs": [{"name": "predict", "datatype": "FP32", "shape": [1], "data": [draw.random()]}],
    }  # fmt: skip


def seldon(i: int, draw: Random) -> Event:
    return {
        "data": {"names": ["t:0", "t:1"], "ndarray": [[0.25, 0.75]]},
        "meta": {"puid": f"p{i}", "requestPath": {"classifier": "image:1"}},
    }


def azure(i: int, draw: Random) -> Event:
    return {
        "specversion": "1.0", "id": f"c{i}", "source": "/subscriptions/s/endpoints/income", "type":
        "azureml.inference.outputs", "datacontenttype": "application/json", "time": iso(i), "data":
        [{"probability": draw.random()}], "correlationid": f"x{i}", "modelversion": "4",
        "collectdatatype": "pandas.core.frame.DataFrame", "contentrange": "bytes 0-11/12",
    }  # fmt: skip


def databricks(i: int, draw: Random) -> Event:
    return {
        "databricks_request_id": f"d{i}", "client_request_id": None, "timestamp_ms": (START_S + i) * 1000,
        "status_code": 200, "sampling_fraction": 1.0, "execution_time_ms": 20 + i % 7,
        "request": json.dumps({"dataframe_split": {"columns": ["a"], "data": [[i]]}}),
        "response": json.dumps({"predictions": [i % 2]}),
        "request_metadata": {"model_name": "income", "model_version": "9", "endpoint_name": "income-live"},
    }  # fmt: skip


def vector(i: int, draw: Random) -> Event:
    p = draw.random()
    return {"requestId": f"e{i}", "modelName": "churn", "modelVersion": i % 2 + 1, "eventTime": (START_S + i) * 1000,
            "output": {"probabilities": [1 - p, p]}, "inputs": {"age": i % 60, "plan": draw.choice("ABC")}}  # fmt: skip


def regression(i: int, draw: Random) -> Event:
    price = number(draw) * 1000
    return {"id": f"e{i}", "ts": (START_S + i) * 1_000_000, "forecast": price,
            "actual": None if i % 4 else price * 1.1,
            "payload": {"rooms": i % 5, "area": number(draw),
                        "depth": math.nan if i % 3 else number(draw)}}  # fmt: skip


def texts(i: int, draw: Random) -> Event:
    said, came = (("fraud" if draw.random() < share else "legit") for share in (0.2, 0.3))
    return {"id": f"e{i}", "model": "m", "time": START_S + i, "decision": said, "outcome": came,
            "data": {"amount": number(draw), "customer_id": 10**7 + i}}  # fmt: skip


def written_numbers(i: int, draw: Random) -> Event:
    return {"id": f"e{i}", "model": "m", "time": START_S + i, "prediction": i % 2, "label": str(i % 3 % 2),
            "features": {"amount": number(draw)}}  # fmt: skip


def never_equal(i: int, draw: Random) -> Event:
    return {"id": f"e{i}", "model": "m", "time": START_S + i, "prediction": i % 2,
            "label": "CHARGEBACK" if i % 3 else "REVERSED", "features": {"amount": number(draw)}}  # fmt: skip


def sentiment(i: int, draw: Random) -> Event:
    return {
        "text": f"text number {i}",
        "label": draw.choice(["POSITIVE", "NEGATIVE"]),
        "score": draw.random(),
    }


def local_time(i: int, draw: Random) -> Event:
    return {
        "id": f"e{i}",
        "model": "m",
        "created_at": iso(i, "", 2),
        "score": draw.random(),
        "amount": number(draw),
    }


def hostile(i: int, draw: Random) -> Event:
    names = [
        "a.b",
        "x=y",
        "NO",
        "${HOME}",
        "ä ö",
        'quo"te',
        "back\\slash",
        "😀",
        "new\nline",
        "#",
        "-",
        "null",
        " ",
    ]
    return {"id": i, "model": "m: [1] # ${HOME}", "timestamp": START_S + i, "p": 0.5,
            "features": {name: draw.choice(["${A}", "a: b", "DE\n", "yes", "😀"]) for name in names}
            | {"number": number(draw)}}  # fmt: skip


def two_models(i: int, draw: Random) -> Event:
    price = i % 2 == 0
    return {"event_id": f"e{i}", "model": "price" if price else "fraud", "timestamp": START_S + i,
            "prediction": number(draw) * 7 if price else i % 3 % 2, "label": number(draw) * 7 if price else i % 5 % 2,
            "features": {"amount": number(draw)}}  # fmt: skip


def bare(i: int, draw: Random) -> Event:
    return {"x1": number(draw), "x2": None if i % 3 else number(draw), "colour": draw.choice(["red", "blue"])}


def nothing(i: int, draw: Random) -> Event:
    return {}


SHAPES = [
    Shape(
        "contract", contract,
        {"id": "event_id", "model": "model", "version": "model_version", "time": "timestamp", "label": "label",
         "prediction": "prediction", "score": "score", "features": "features", "latency_ms": "latency_ms"},
        ("score", "positive_rate", "error", "missing", "feature", "category:country=DE", "latency_ms"),
        models={"*": {"task": "binary", "positive": 1}}, key=lambda event: str(event["event_id"]),
    ),
    Shape("bentoml", bentoml,
          {"id": "request_id", "time": "timestamp", "prediction": "pred", "features": ".", "model": {"const": "scored"},
           "score": None, "label": None},
          ("feature", "missing"), ("error", "score"), ("UTC", "regression"), {"*": {"task": "multiclass"}}),
    Shape("kserve v1 response", kserve_v1,
          {"id": {"header": "ce_id"}, "model": {"header": "ce_inferenceservicename"}, "time": {"header": "ce_time"},
           "prediction": {"path": "predictions", "pick": 0}},
          ("prediction",), headers=kserve_headers),
    Shape("kserve v2", kserve_v2, {"id": "id", "model": "model_name", "version": "model_version"},
          ("missing",), doubts=("`outputs` is a list of objects",)),
    Shape("seldon", seldon, {"model": {"header": "Ce-Inferenceservicename"}, "id": {"header": "Ce-Id"}}, ("missing",),
          doubts=("`data.ndarray` is a list of",),
          headers=lambda i, draw: [("Ce-Inferenceservicename", "income"), ("Ce-Id", f"r{i}")]),
    Shape("azure ml", azure, {"id": "correlationid", "time": "time", "version": "modelversion"}, ("missing",),
          doubts=("`data` is a list of objects, lists or texts (probability)", "`id` is unique too")),
    Shape("databricks", databricks,
          {"id": "databricks_request_id", "model": "request_metadata.model_name", "time": "timestamp_ms",
           "version": "request_metadata.model_version", "latency_ms": "execution_time_ms", "prediction": None},
          ("latency_ms",), doubts=("`response` is a text that holds JSON (predictions)",)),
    Shape("probabilities", vector,
          {"id": "requestId", "model": "modelName", "version": "modelVersion", "time": "eventTime",
           "features": "inputs", "score": {"path": "output.probabilities", "pick": 1},
           "prediction": {"path": "output.probabilities", "pick": "argmax"}},
          ("score", "positive_rate", "feature"), doubts=("second class",)),
    Shape("regression", regression,
          {"id": "id", "time": {"record_time": True}, "prediction": "forecast", "label": "actual",
           "features": "payload"},
          ("prediction", "absolute_error", "feature"), ("error", "positive_rate"), ("microseconds", "depth"),
          {"*": {"task": "regression"}}),
    Shape("classes as texts", texts,
          {"time": "time", "prediction": "decision", "label": "outcome", "features": "data"},
          ("error", "positive_rate", "feature"), doubts=("is fraud the positive class?", "customer_id"),
          models={"*": {"task": "binary", "positive": "fraud"}}),
    Shape("labels written as texts", written_numbers,
          {"label": {"path": "label", "map": {"0": 0, "1": 1}}}, ("error",)),
    Shape("labels never equal", never_equal, {"label": "label"}, ("positive_rate",), ("error",), ("never equal",)),
    Shape("sentiment", sentiment,
          {"prediction": "label", "label": None, "score": "score", "time": {"record_time": True}, "id": None},
          ("score", "positive_rate"), ("error", "label_rate"), ("taken for the predicted class",),
          {"*": {"task": "binary", "positive": "POSITIVE"}}),
    Shape("local time without zone", local_time, {"time": {"record_time": True}, "features": "."}, ("score", "feature"),
          doubts=("`created_at` is after the record's own time in 100%",)),
    Shape("names that need care", hostile, {"id": "id", "model": "model", "score": "p"},
          ("score", "feature", "missing")),
    Shape("two models", two_models, {"model": "model"}, ("error", "absolute_error", "prediction", "positive_rate"),
          models={"fraud": {"task": "binary", "positive": 1}, "price": {"task": "regression"}}),
    Shape("bare features", bare, {"model": {"const": "scored"}, "features": ".", "id": {"key": True}},
          ("feature", "missing"), key=lambda event: str(id(event))),
    Shape("nothing", nothing, {"model": {"const": "scored"}, "features": None}, doubts=("nothing was found",)),
]  # fmt: skip
