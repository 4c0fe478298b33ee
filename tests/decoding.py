"""Batches from plain values, and decoded batches as plain values: what the tests of decoding share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from streamwatch.decode import Decoder, Input
from streamwatch.events import DeadLetter, Decoded, Needs
from streamwatch.records import Batch, Header, Source

RECORD_S = 1_790_000_000.0
EVERYTHING = Needs(
    frozenset({"prediction", "score", "label", "latency_ms"}), frozenset({"amount", "country"})
)


def batch(
    values: Sequence[Any],
    *,
    topics: Sequence[str] = ("predictions",),
    source: Sequence[int] | None = None,
    keys: Sequence[bytes | None] | None = None,
    headers: Sequence[Sequence[Header]] | None = None,
    record_s: float = RECORD_S,
) -> Batch:
    """What is no bytes and not None is written as JSON."""
    count = len(values)
    written = [v if v is None or isinstance(v, bytes) else json.dumps(v).encode() for v in values]
    return Batch(
        task=0,
        sources=tuple(Source(topic, 3) for topic in topics),
        source=np.array(source or [0] * count, dtype=np.int32),
        offset=np.arange(100, 100 + count, dtype=np.int64),
        timestamp_ms=np.full(count, record_s * 1000, dtype=np.int64),
        key=keys or [None] * count,
        value=written,
        headers=headers or [()] * count,
    )


def event(**fields: Any) -> dict[str, Any]:
    """A good event by the names of the contract, with some fields other than usual."""
    usual = {
        "event_id": "a1",
        "model": "fraud",
        "model_version": "3",
        "timestamp": RECORD_S,
        "prediction": 1,
        "score": 0.93,
        "features": {"amount": 12.5, "country": "DE"},
        "label": 0,
        "latency_ms": 8.1,
    }
    return usual | fields


def decode(
    *values: Any, read: dict[str, Any] | None = None, needs: Needs = EVERYTHING, **more: Any
) -> Decoded:
    payload = more.pop("payload", "none")
    decoder = Decoder([Input(topics=("predictions",), read=read or {})], needs, payload=payload)
    return decoder.decode(batch(values, **more))


def only(decoded: Decoded) -> DeadLetter:
    """The dead letter of a batch that gives nothing else."""
    assert not len(decoded.events)
    (letter,) = decoded.dead_letters
    letter.message("service")  # must be writable
    return letter


def rows(decoded: Decoded) -> list[dict[str, Any]]:
    """The events row by row."""
    events = decoded.events
    return [
        {
            "record": int(events.record[row]),
            "time_s": float(events.time_s[row]),
            "id": events.id[row],
            "model": events.model[row],
            "version": events.version[row],
            **{name: column[row] for name, column in events.fields.items()},
            **{f"features.{name}": column[row] for name, column in events.features.items()},
            **({} if events.all_features is None else {"all": events.all_features[row]}),
        }
        for row in range(len(events))
    ]


def one(decoded: Decoded) -> dict[str, Any]:
    """The only event of a batch that gives nothing else."""
    assert not decoded.dead_letters
    (row,) = rows(decoded)
    return row
