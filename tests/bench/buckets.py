"""What `every` costs, or saves: CPU time of the engine per event, with and without it, in one run.

    python -m tests.bench.buckets [--events 96000] [--rounds 3]

Four ADWIN a model, on a score, an error, a latency and a feature; buckets of a minute. Each model has one event a
second, in batches of 8,000 events. No broker: reading records and commits cost the same either way.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from typing import Any

from streamwatch.config import Config
from streamwatch.engine import Engine
from streamwatch.records import Batch
from tests.build import START_S, batches, config, event, monitor

SIZE = 8_000
SIGNALS = ("score", "error", "latency_ms", "feature:amount")


def watched(every: str | None) -> Config:
    return config(*(monitor(f"m{at}", of, every=every, per="model") for at, of in enumerate(SIGNALS)))


def told(n: int, models: int) -> list[Batch]:
    draw = random.Random(1)
    events: list[dict[str, Any]] = [
        event(
            START_S + at / models,
            event_id=f"e{at}",
            model=f"m{at % models}",
            prediction=draw.randint(0, 1),
            label=draw.randint(0, 1),
            score=draw.random(),
            latency_ms=draw.expovariate(0.1),
            features={"amount": draw.gauss(50.0, 9.0)},
        )
        for at in range(n)
    ]
    return list(batches(events, [SIZE] * (n // SIZE)))


def cost_us(of: Config, parts: list[Batch]) -> float:
    """CPU time per event."""
    engine = Engine(of)
    began = time.process_time()
    events = sum(engine.process(part).events for part in parts)
    return (time.process_time() - began) / events * 1e6


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--events", type=int, default=96_000)
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    for models in (8, 1_000):
        parts = told(given.events, models)
        costs: dict[str | None, list[float]] = {None: [], "1m": []}
        for _ in range(given.rounds):
            for every, found in costs.items():
                found.append(cost_us(watched(every), parts))
        plain, buckets = (statistics.median(found) for found in costs.values())
        print(
            f"{models:,} models: {plain:.2f} us an event without, {buckets:.2f} with every: 1m "
            f"({buckets / plain:.2f} times)"
        )


if __name__ == "__main__":
    main()
