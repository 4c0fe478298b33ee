"""Small builders for tests: configs, batches and streams of events."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from streamwatch.commands import Command
from streamwatch.config import Config, Monitor
from streamwatch.records import Batch, Source
from streamwatch.signals import Signal

T = TypeVar("T")

START_S = 1_760_000_000.0


def monitor(name: str, signal: str, detector: Any = "adwin", **more: Any) -> Monitor:
    """Policy fields stand beside the others, as in a config file."""
    own = {"of", "except", "models", "where", "by", "per", "every"}
    read = Signal.model_validate(signal)
    return Monitor.model_validate(
        {
            "name": name,
            "signal": read,
            "detector": detector,
            "per": more.get("per", read.per),
            **{key: value for key, value in more.items() if key in own},
            "policy": {key: value for key, value in more.items() if key not in own},
        }
    )


def config(*monitors: Monitor, **more: Any) -> Config:
    return Config.model_validate(
        {
            "service": "watch",
            "inputs": [{"topics": ["predictions"]}],
            "monitors": monitors,
            "http": None,
            **more,
        }
    )


def event(time_s: float, **fields: Any) -> dict[str, Any]:
    """A prediction event as its sender writes it; the record's time is the event's."""
    return {"model": "fraud", "timestamp": time_s, **fields}


def batch(events: Sequence[dict[str, Any]], offset: int = 0, partitions: int = 1) -> Batch:
    """Events as records of one topic, dealt out to its partitions in turn; offsets go on from `offset`."""
    n = len(events)
    at = np.arange(offset, offset + n, dtype=np.int64)
    return Batch(
        task=0,
        sources=tuple(Source("predictions", number) for number in range(partitions)),
        source=(at % partitions).astype(np.int32),
        offset=at // partitions,
        timestamp_ms=np.array([int(entry["timestamp"] * 1000) for entry in events], dtype=np.int64),
        key=[None] * n,
        value=[json.dumps(entry).encode() for entry in events],
        headers=[()] * n,
    )


def mixed(items: Sequence[dict[str, Any] | Command], offset: int = 0) -> Batch:
    """Events, labels and commands as records in this order: of one topic each, with one partition. A label is a
    mapping without a timestamp."""
    n = len(items)
    kind = [0 if not isinstance(item, dict) else 2 if "timestamp" not in item else 1 for item in items]
    return Batch(
        task=0,
        sources=(Source("watch-control", 0), Source("predictions", 0), Source("labels", 0)),
        source=np.array(kind, dtype=np.int32),
        offset=np.arange(offset, offset + n, dtype=np.int64),
        timestamp_ms=np.full(n, -1, dtype=np.int64),
        key=[None] * n,
        value=[
            json.dumps(item).encode() if isinstance(item, dict) else item.message().value for item in items
        ],
        headers=[()] * n,
    )


def batches(events: Sequence[dict[str, Any]], sizes: Iterable[int], partitions: int = 1) -> Iterator[Batch]:
    """The same events in batches of the given sizes; what is left over is one more batch."""
    for start, part in _parts(events, sizes):
        yield batch(part, start, partitions)


def mixed_batches(items: Sequence[dict[str, Any] | Command], sizes: Iterable[int]) -> Iterator[Batch]:
    """The same of events, labels and commands."""
    for start, part in _parts(items, sizes):
        yield mixed(part, start)


def _parts(items: Sequence[T], sizes: Iterable[int]) -> Iterator[tuple[int, Sequence[T]]]:
    start = 0
    for size in sizes:
        if start >= len(items):
            return
        yield start, items[start : start + size]
        start += size
    if start < len(items):
        yield start, items[start:]


def life(n: int, seed: int = 1) -> list[dict[str, Any]]:
    """A stream in which everything happens: two models, versions that retire, slices, shifts up and back, values
    that cannot be used, features that vanish, pauses, events out of order."""
    draw = random.Random(seed)
    events = []
    now_s = START_S
    for i in range(n):
        part = i / n
        now_s += draw.expovariate(1.0) + (7200.0 if i in (n // 3, n // 2) else 0.0)
        shifted = 0.35 <= part < 0.6
        country = draw.choice(["DE", "DE", "AT", "FR", None])
        label = int(draw.random() < 0.3)
        wrong = draw.random() < (0.4 if shifted and country != "AT" else 0.05)
        features: dict[str, Any] = {"amount": draw.gauss(80 if shifted else 50, 5), "country": country}
        if part < 0.55 or part > 0.8:
            features["age"] = draw.randint(18, 90) + (30 if shifted else 0)
        if draw.random() < 0.01:
            features["amount"] = draw.choice(["many", None, float("nan"), [1]])
        version = draw.choice(["1", "2"]) if 0.2 < part < 0.3 else ("1" if part <= 0.2 else "2")
        odd = shifted or (version == "1" and part > 0.2)
        score: Any = min(1.0, max(0.0, draw.gauss(0.7 if odd else 0.3, 0.1)))
        if 0.7 < part < 0.75:
            score = draw.choice([float("nan"), "high", 7.5, score])
        events.append(
            event(
                now_s - draw.choice([0, 0, 0, 5]),
                event_id=None if draw.random() < 0.02 else f"e{i}",
                model=draw.choice(["fraud", "fraud", "churn"]),
                model_version=version,
                prediction=1 - label if wrong else label,
                label=label if draw.random() < 0.8 else None,
                score=score,
                features=features,
                latency_ms=draw.expovariate(0.1),
            )
        )
    return events
