"""What the image on trial gets: the shipped config, and records that hold one drift and a few that are no events."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.topics import Written

DOCKER = Path(__file__).parent.parent.parent / "docker"
BAD = 3
PARTITIONS = 4


def config(port: int) -> dict[str, Any]:
    """The central config as shipped, but for the listener of the broker, the port, and where it starts."""
    shipped = yaml.safe_load((DOCKER / "kubernetes" / "central" / "config.yaml").read_text())
    shipped["monitors"].append(
        {"name": "by-country", "signal": "score", "detector": "adwin", "by": ["country"]}
    )
    return {
        **shipped,
        "kafka": {"bootstrap_servers": "${KAFKA}"},
        "http": {"host": "127.0.0.1", "port": port},
        "start": "earliest",
        "idle": "3s",  # nothing is overtaken, so that the replay is the same
    }


def records(events: int) -> list[Written]:
    """Eight models, one of which becomes wrong half way, and `BAD` records that are no events. Times rise to now."""
    draw = random.Random(1)
    start_ms = int(time.time() * 1000) - events
    found = []
    for i in range(events):
        model = i % 8
        label = int(draw.random() < 0.3)
        wrong = draw.random() < (0.4 if model == 5 and i > events / 2 else 0.08)
        body: dict[str, Any] = {
            "event_id": f"e{i}", "model": f"m{model}", "model_version": "3", "timestamp": start_ms + i,
            "prediction": 1 - label if wrong else label, "label": label, "score": round(draw.betavariate(2, 5), 3),
            "features": {"amount": round(draw.gauss(50, 9), 2), "country": draw.choice(("DE", "AT", "FR"))},
        }  # fmt: skip
        value = b"not json" if i % (events // BAD) == 7 else json.dumps(body).encode()
        found.append(Written(value, partition=i % PARTITIONS, timestamp_ms=start_ms + i))
    return found


def record(folder: Path, sent: Sequence[Written]) -> None:
    """The recorded form of what was sent, for `replay`."""
    offsets = [0] * PARTITIONS
    with (folder / "recorded.jsonl").open("w") as out:
        for record in sent:
            assert record.partition is not None
            assert record.value is not None
            line = {
                "topic": "predictions", "partition": record.partition, "offset": offsets[record.partition],
                "timestamp": record.timestamp_ms, "value": record.value.decode(),
            }  # fmt: skip
            if record.value.startswith(b"{"):
                line["value"] = json.loads(record.value)
            offsets[record.partition] += 1
            out.write(json.dumps(line) + "\n")
