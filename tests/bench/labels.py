"""Late labels at length: is memory flat, is every outcome joined, is a restart in the middle exact?

    python -m tests.bench.labels --events 10_000_000

Each event's label comes after `--after` others (1 million). In the engine alone, committed every 50 batches to a dict
as a transport would keep it; resident memory is printed every million. Two runs, each in a process of its own: one
undisturbed, one whose engine is restored from its state in the middle. They must give the same alerts, byte for byte,
and end with the same levels.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np

from streamwatch.config import Config
from streamwatch.engine import Engine
from streamwatch.records import Batch, Source
from tests.build import START_S, config, monitor

SOURCES = (Source("predictions", 0), Source("labels", 0))
A_BATCH = 4_000
A_SECOND = 1_000  # events


def watch(after: int) -> Config:
    wait_s = 1.2 * after / A_SECOND
    labels = {"wait": f"{wait_s}s", "most": 3 * after}
    return config(
        monitor("error", "error", by=[["country"]], settle_after="100d", repeat_every="0s"),
        inputs=[
            {"topics": ["predictions"], "read": {"label": None}},
            {"topics": ["labels"], "kind": "labels"},
        ],
        models={"fraud": {"labels": labels}},
    )


def records(events: int, after: int, seed: int = 1) -> Iterator[tuple[int, int, bytes]]:
    """(source, offset, value): the predictions, each followed by the label of the one that was `after` before. The
    error rate of every third `after` is higher."""
    draw = random.Random(seed)
    countries = ["DE", "AT", "FR"]
    for i in range(events):
        time_s = START_S + i / A_SECOND
        country = countries[i % 3]
        value = (
            b'{"event_id":"e%d","model":"fraud","timestamp":%.3f,"prediction":1,"features":{"country":"%s"}}'
            % (i, time_s, country.encode())
        )
        yield 0, i, value
        of = i - after
        if of >= 0:
            wrong = draw.random() < (0.2 if of // after % 3 == 2 else 0.05)
            yield 1, of, b'{"event_id":"e%d","label":%d}' % (of, not wrong)


def batches(rows: Iterator[tuple[int, int, bytes]]) -> Iterator[Batch]:
    part: list[tuple[int, int, bytes]] = []
    for row in rows:
        part.append(row)
        if len(part) == A_BATCH:
            yield _batch(part)
            part = []
    if part:
        yield _batch(part)


def _batch(part: Sequence[tuple[int, int, bytes]]) -> Batch:
    n = len(part)
    return Batch(
        0,
        SOURCES,
        np.array([row[0] for row in part], dtype=np.int32),
        np.array([row[1] for row in part], dtype=np.int64),
        np.full(n, -1, dtype=np.int64),
        [None] * n,
        [row[2] for row in part],
        [()] * n,
    )


def resident_mib() -> float:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() / 2**20


def one(events_in_all: int, after: int, restart_at: int | None) -> dict[str, object]:
    """What a run gave."""
    of = watch(after)
    engine, state = Engine(of), dict[str, bytes]()
    alerts, events, labels, printed = hashlib.sha256(), 0, 0, 0
    said = 0
    coverage = None
    began = time.process_time()
    for number, batch in enumerate(batches(records(events_in_all, after))):
        output = engine.process(batch)
        events, labels, said = events + output.events, labels + output.labels, said + len(output.alerts)
        for alert in output.alerts:
            alerts.update(alert.message().value or b"")
            coverage = alert.data.labels.coverage if alert.data.labels else coverage
        if number % 50 == 49:
            for key, value in engine.changes().items():
                if value is None:
                    state.pop(key, None)
                else:
                    state[key] = value
            if restart_at is not None and events >= restart_at:
                engine, restart_at = Engine.restore(of, 0, state, engine.mark()), None
                print(f"{events:>11,} events: restored from the state", flush=True)
        if events - printed >= 1_000_000:
            printed += 1_000_000
            cost_us = (time.process_time() - began) / (events + labels) * 1e6
            size = sum(map(len, state.values())) / 2**20
            print(
                f"{printed:>11,} events, {labels:>11,} labels: resident {resident_mib():6.1f} MiB; "
                f"state {size:5.1f} MiB in {len(state):,} records; {said} alerts; {cost_us:.1f} us CPU a record",
                flush=True,
            )
    return {
        "events": events,
        "labels": labels,
        "alerts": said,
        "alerts_sha256": alerts.hexdigest(),
        "coverage_in_the_last_alert": coverage,
        "levels": sorted(repr(gauge) for gauge in engine.gauges()),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--after", type=int, default=1_000_000)
    parser.add_argument("--restart-at", type=int, help="one run, restored there; 0 = one undisturbed run")
    given = parser.parse_args()
    if given.restart_at is not None:
        print(json.dumps(one(given.events, given.after, given.restart_at or None)))
        return 0
    ends = []
    for restart_at in (0, given.events // 2):
        print("one run" + (f", restarted at {restart_at:,}" if restart_at else ", undisturbed"), flush=True)
        words = ["--events", given.events, "--after", given.after, "--restart-at", restart_at]
        run = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.labels", *map(str, words)], stdout=subprocess.PIPE, text=True
        )
        assert run.stdout is not None
        lines = []
        for line in run.stdout:
            lines.append(line)
            if not line.startswith("{"):
                print(line, end="", flush=True)
        assert run.wait() == 0
        ends.append(json.loads(lines[-1]))
    equal = ends[0] == ends[1]
    print(json.dumps({**ends[0], "levels": len(ends[0]["levels"]), "restart_equal": equal}))
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
