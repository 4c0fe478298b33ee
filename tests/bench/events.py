"""The events of the benchmarks: JSON from models that mix, each model drifting once.

All contenders read the same bytes and watch the same numbers. The events are the same in every run.
"""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from kafka import KafkaProducer

from tests.topics import Written, create_topic

MODELS = ("fraud", "churn", "price-band", "spam", "returns", "credit", "upsell", "delay")
MONITORS = ("score", "error", "latency", "amount")
SIZE = 235


class Case(NamedTuple):
    """`more`: so many features beside the three of every event, and over its 235 bytes. `per`: what makes a stream key;
    None: as it comes."""

    models: int = len(MODELS)
    more: int = 0
    monitors: tuple[str, ...] = MONITORS
    commit_every: str = "1s"
    per: str | None = None


CASES = {
    "plain": Case(),
    "wide": Case(more=40, monitors=("amount", "f00")),
    "few": Case(commit_every="10s", per="model"),
    "keys": Case(models=10_000, commit_every="10s", per="model"),
}
PARTITIONS = 4
PER_SECOND = 1_000
BEGIN_S = 1_764_000_000  # in the past, because the broker refuses records of the future


def drift_at(count: int, model: int) -> int:
    """Position of the first event of the drifted regime: the models drift one after the other, in eight groups."""
    return count * (30 + 3 * (model % len(MODELS))) // 100


def events(count: int, case: Case = CASES["plain"]) -> Iterator[Written]:
    """Records keyed by the event's id, one millisecond apart."""
    dice = random.Random(20261124)
    for position in range(count):
        model = dice.randrange(case.models)
        drifted = position >= drift_at(count, model)
        time_ms = BEGIN_S * 1000 + position * 1000 // PER_SECOND
        moment = dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC)
        prediction = int(dice.random() < 0.2)
        wrong = dice.random() < (0.6 if drifted else 0.1)
        event_id = f"{dice.getrandbits(64):016x}"
        event: dict[str, Any] = {
            "event_id": event_id,
            "model": MODELS[model] if model < len(MODELS) else f"m{model}",
            "model_version": "3",
            "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "prediction": prediction,
            "score": round(min(1.0, dice.random() * 0.6 + 0.4 * drifted), 4),
            "features": {
                "amount": round(dice.lognormvariate(3.0 + 1.5 * drifted, 0.8), 2),
                "country": dice.choice(("DE", "FR", "IT", "ES")),
                "session": "",
            },
            "label": prediction ^ wrong,
            "latency_ms": round(dice.gammavariate(4.0, 4.0 if drifted else 2.0), 1),
        }
        missing = SIZE - len(_json(event))
        event["features"]["session"] = f"{dice.getrandbits(4 * missing):0{missing}x}"
        for number in range(case.more):
            event["features"][f"f{number:02}"] = round(dice.gauss(50.0, 9.0), 3)
        yield Written(_json(event).encode(), event_id.encode(), timestamp_ms=time_ms)


def _json(event: dict[str, Any]) -> str:
    return json.dumps(event, separators=(",", ":"))


def preload(
    servers: str, topic: str, count: int, partitions: int = PARTITIONS, case: Case = CASES["plain"]
) -> None:
    """A topic with `count` events as a busy producer writes them: lz4, some hundred to a record batch.

    Kept for ever: the broker deletes records with old timestamps within minutes otherwise.
    """
    create_topic(servers, topic, partitions)
    producer = KafkaProducer(
        bootstrap_servers=servers, bootstrap_timeout_ms=10_000, compression_type="lz4", acks="all",
        linger_ms=20, batch_size=65_536,
    )  # fmt: skip
    try:
        for chunk in _chunks(events(count, case), 10_000):
            sent = [
                producer.send(topic, value=each.value, key=each.key, timestamp_ms=each.timestamp_ms)
                for each in chunk
            ]
            producer.flush(timeout=60)
            for future in sent:
                future.get(timeout=1)
    finally:
        producer.close(timeout=5)


def _chunks(records: Iterable[Written], size: int) -> Iterator[list[Written]]:
    left = iter(records)
    while chunk := list(islice(left, size)):
        yield chunk
