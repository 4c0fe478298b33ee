"""Which names people give to what an event has: the field's last name, or its last two, as words.

The order of a list is the order of preference. Nothing here looks at values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from streamwatch.mapping import split
from streamwatch.offline.fieldprofile import Field

NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "id": (
        "event_id", "request_id", "prediction_id", "inference_id", "databricks_request_id", "transaction_id",
        "correlation_id", "correlationid", "message_id", "record_id", "uuid", "guid", "id", "trace_id", "row_id",
    ),
    "model": (
        "model", "model_name", "modelname", "model_id", "served_model_name", "served_entity_name", "served_entity_id",
        "inferenceservicename", "inference_service", "deployment_name", "deployment", "endpoint_name", "endpoint",
        "predictor",
    ),
    "version": (
        "model_version", "modelversion", "served_model_version", "model_revision", "version", "revision", "model_hash",
        "deployment_version",
    ),
    "time": (
        "timestamp", "event_time", "event_timestamp", "timestamp_ms", "prediction_time", "predicted_at", "scored_at",
        "request_timestamp", "time", "ts", "datetime", "occurred_at", "logged_at", "created_at", "request_time",
        "date",
    ),
    "prediction": (
        "prediction", "predicted", "pred", "predicted_class", "predicted_label", "predicted_value", "y_pred", "y_hat",
        "yhat", "predictions", "decision", "forecast", "estimate", "output", "outputs", "result", "response", "class",
    ),
    "score": (
        "score", "probability", "prob", "proba", "probabilities", "scores", "prediction_score",
        "prediction_probability", "predict_proba", "confidence", "likelihood", "y_score", "p",
    ),
    "label": (
        "label", "ground_truth", "groundtruth", "true_label", "y_true", "actual", "actual_value", "actual_label",
        "target", "truth", "observed", "outcome", "y",
    ),
    "latency_ms": (
        "latency_ms", "model_ms", "inference_ms", "inference_time_ms", "execution_time_ms", "response_time_ms",
        "processing_time_ms", "duration_ms", "elapsed_ms", "took_ms",
    ),
    "features": (
        "features", "inputs", "input", "feature_values", "instance", "feature", "x", "in", "attributes", "request",
        "payload", "data",
    ),
}  # fmt: skip
# Where these hold the features, nothing else of the event stands in them.
STRICT: Final = frozenset({"features", "inputs", "input", "feature_values", "instance", "feature", "x", "in"})
SUFFIXES: Final[Mapping[str, tuple[str, ...]]] = {
    "id": ("request_id", "event_id", "prediction_id", "uuid"),
    "time": ("timestamp", "time", "_at"),
    "prediction": ("prediction", "pred", "predicted"),
    "score": ("score", "probability", "prob", "proba"),
    "label": ("label", "ground_truth", "actual"),
    "latency_ms": ("latency_ms", "duration_ms", "time_ms", "elapsed_ms"),
}
# Durations in other units than milliseconds: recognised, so that they can be told from features.
DURATIONS: Final = re.compile(
    r"(^|_)(latency|duration|elapsed|took|(execution|inference|response|processing)_time)(_|$)"
)
# Words that end the name of no feature worth watching.
IDENTIFIERS: Final = re.compile(r"(^|_)(id|ids|uuid|guid|key|hash|no|nr|number|pan|iban|account|session)$")
POSITIVE: Final = (
    "1", "true", "yes", "y", "positive", "pos", "fraud", "fraudulent", "bad", "churn", "churned", "default", "spam",
    "decline", "declined", "reject", "rejected", "approve", "approved", "accept", "accepted", "click", "clicked",
    "anomaly", "malignant", "high", "t",
)  # fmt: skip


def words(name: str) -> str:
    """A name as people's tables have it.

    >>> words("modelVersion"), words("Sepal length"), words("ce-inferenceServiceName")
    ('model_version', 'sepal_length', 'ce_inference_service_name')
    """
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", parted.lower()).strip("_")


def rank(role: str, path: str) -> float | None:
    """How well a path's name fits a role, 0 = best; None: not at all. Deeper paths come later.

    >>> rank("model", "model"), rank("model", "meta.model.name"), rank("model", "amount")
    (0.0, 1.2, None)
    """
    parts = [words(part) for part in split(path)]
    depth = 0.1 * (len(parts) - 1)
    names = NAMES[role]
    for said in (parts[-1], "_".join(parts[-2:])):
        for alike in (said, said.replace("_", "")):
            if alike in names:
                return names.index(alike) + depth
    for place, suffix in enumerate(SUFFIXES.get(role, ())):
        if parts[-1].endswith(suffix if suffix.startswith("_") else f"_{suffix}"):
            return len(names) + place + depth
    return None


def ranked(role: str, fields: Iterable[Field]) -> list[Field]:
    """The fields whose names fit a role, the best first."""
    found = [(place, field) for field in fields if (place := rank(role, field.path)) is not None]
    return [field for _, field in sorted(found, key=lambda pair: pair[0])]


def by_header(role: str, headers: Mapping[str, Field]) -> list[tuple[str, Field]]:
    """As `ranked`, of Kafka headers by their names; CloudEvents' `ce_` does not count."""
    plain = {name: re.sub(r"^ce_", "", words(name)) for name in headers}
    found = [
        (place, name) for name, said in plain.items() if said and (place := rank(role, said)) is not None
    ]
    return [(name, headers[name]) for _, name in sorted(found)]
