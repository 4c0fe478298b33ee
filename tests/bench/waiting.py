"""What a prediction that waits for its label costs: memory by the system's count, state by that of its records.

    python -m tests.bench.waiting [MOST] [PREDICTIONS]

MOST may wait, so that with more PREDICTIONS some go while others come; nine in ten have a label.
"""

from __future__ import annotations

import gc
import json
import random
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from streamwatch.config import Config
from streamwatch.engine import Engine
from streamwatch.records import Batch, Source
from tests.build import START_S, config, monitor

SIZE = 1_000
SOURCES = (Source("predictions", 0), Source("labels", 0))


def watch(most: int, slices: bool) -> Config:
    more = {"by": [["country"], ["plan"]]} if slices else {}
    return config(
        monitor("error", "error", **more),
        *([monitor("brier", "brier")] if slices else []),
        inputs=[
            {"topics": ["predictions"], "read": {"label": None}},
            {"topics": ["labels"], "kind": "labels"},
        ],
        models={"fraud": {"task": "binary", "positive": 1, "labels": {"wait": "365d", "most": most}}},
    )


def batch(first: int, draw: random.Random) -> Batch:
    values, source = [], []
    for i in range(first, first + SIZE):
        features = {"country": draw.choice(["DE", "AT", "FR"]), "plan": draw.choice("ab")}
        said = {"event_id": f"e{i}", "model": "fraud", "model_version": "3", "timestamp": START_S + i / 1000}
        said |= {"prediction": i % 2, "score": draw.random(), "features": features}
        values.append(json.dumps(said).encode())
        source.append(0)
        if draw.random() < 0.9:
            values.append(json.dumps({"event_id": f"e{max(0, i - 5_000)}", "label": 1}).encode())
            source.append(1)
    n = len(values)
    at = np.arange(2 * first, 2 * first + n)
    return Batch(
        0, SOURCES, np.array(source, dtype=np.int32), at, np.full(n, -1), [None] * n, values, [()] * n
    )


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def measure(most: int, predictions: int, slices: bool) -> str:
    draw, engine, state = random.Random(1), Engine(watch(most, slices)), dict[str, int]()
    engine.process(batch(0, draw))
    before = resident()
    for number, first in enumerate(range(SIZE, predictions, SIZE)):
        engine.process(batch(first, draw))
        if number % 5 == 0:
            for key, value in engine.changes().items():
                state[key] = 0 if value is None else len(value) + len(key)
    (waiting,) = engine.waiting()
    memory = (resident() - before) / waiting.predictions
    kept = sum(count for key, count in state.items() if key.startswith("labels:")) / waiting.predictions
    return f"{waiting.predictions:,} wait of {predictions:,}: {memory:.0f} bytes of memory, {kept:.0f} of state each"


if __name__ == "__main__":
    most, predictions = (
        int(text.replace(",", ""))
        for text in [*sys.argv[1:], *("1,000,000", "2,500,000")[len(sys.argv) - 1 :]]
    )
    # Each in a process of its own: what the first has freed would hide what the second takes.
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        for name, slices in (("6 columns", False), ("9 columns", True)):
            print(f"{name}: {pool.submit(measure, most, predictions, slices).result()}", flush=True)
