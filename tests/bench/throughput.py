"""Throughput of `streamwatch run`, exactly once, beside hand-written loops: on one real broker, in one run.

    python -m tests.bench.throughput [--events 400000] [--rounds 3] [--json FILE]

Needs what the tests on a real broker need (Java, Maven) and the extra `bench`. It loads a topic with 235-byte events
(lz4, 4 partitions, keyed by event id, 8 models that mix), then each contender reads it from its start to its end in a
process of its own, in turns: A B C A B C A B C. Every contender has 8 x 4 ADWIN detectors.

Time is from the first record to the end of the last commit; joining the group is not in it. CPU is that of the
process, all threads. A ratio compares contenders within one round, so that a noisy machine spoils it least; what is
printed are medians over the rounds. The alerts differ: the hand-written loops read one partition after the other, so
their detectors see each model's events in another order than they happened, and they alert at every detection.

Exit code 1 if streamwatch is slower than 1.5 times the kafka-python loop.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.events import PARTITIONS, SIZE, preload
from tests.bench.stopwatch import Measured, heard
from tests.broker import Broker
from tests.topics import create_topic

ROOT = Path(__file__).parents[2]
CONTENDERS = {
    "kafka-python loop": "loop_kafka_python",
    "confluent-kafka loop": "loop_confluent",
    "streamwatch": "loop_streamwatch",
}
FIRST = "kafka-python loop"
WANTED = 1.5
# Of the warm-up: each contender once, so that no first round pays for a cold broker or cold files.
WARM = 20_000

Round = dict[str, Measured]


class Contender:
    """One contender's process. Its log goes to a file, as a service's does; shown if it fails."""

    def __init__(self, module: str, servers: str, topic: str, name: str, count: int) -> None:
        if module != "loop_streamwatch":  # that one makes its topics itself
            create_topic(servers, f"{name}-alerts")
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - `measured` closes it
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.bench.{module}", servers, topic, name, str(count)],
            stdout=subprocess.PIPE, stderr=self._log, text=True, cwd=ROOT,
        )  # fmt: skip

    def measured(self, within_s: float = 300.0) -> Measured:
        with self._log, self._process:
            try:
                out, _ = self._process.communicate(timeout=within_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                raise
            if self._process.returncode:
                self._log.seek(0)
                raise RuntimeError(f"{self._process.args!r} failed:\n{self._log.read()[-4000:]}")
        return heard(out)


def run_round(servers: str, topic: str, count: int, modules: dict[str, str]) -> Round:
    run = uuid.uuid4().hex[:8]
    return {
        name: Contender(module, servers, topic, f"{module.replace('_', '-')}-{run}", count).measured()
        for name, module in modules.items()
    }


def ratios(rounds: Sequence[Round], name: str, base: str) -> list[float]:
    return [each[name].per_second / each[base].per_second for each in rounds]


def table(rounds: Sequence[Round]) -> Table:
    shown = Table(
        "contender",
        title=f"{rounds[0][FIRST].events:,} events of {SIZE} bytes, medians of {len(rounds)} rounds",
    )
    for column in (
        "events/s",
        "slowest",
        "fastest",
        "CPU s/million",
        "alerts",
        *(f"x {name}" for name in rounds[0] if name != "streamwatch"),
    ):
        shown.add_column(column, justify="right")
    for name in rounds[0]:
        speeds = [each[name].per_second for each in rounds]
        cpu = statistics.median(each[name].cpu_s_per_million for each in rounds)
        against = [
            statistics.median(ratios(rounds, name, base)) for base in rounds[0] if base != "streamwatch"
        ]
        shown.add_row(
            name,
            f"{statistics.median(speeds):,.0f}",
            f"{min(speeds):,.0f}",
            f"{max(speeds):,.0f}",
            f"{cpu:.1f}",
            str(rounds[0][name].alerts),
            *(f"{ratio:.2f}" for ratio in against),
        )
    return shown


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write every measurement here, too")
    given = parser.parse_args()
    console = Console(stderr=True)
    rounds: list[Round] = []
    with Broker() as broker:
        servers, began = broker.bootstrap_servers, time.monotonic()
        preload(servers, "warm", WARM)
        preload(servers, "events", given.events)
        console.print(
            f"loaded {given.events:,} events into {PARTITIONS} partitions in {time.monotonic() - began:.0f} s"
        )
        run_round(servers, "warm", WARM, CONTENDERS)
        for number in range(given.rounds):
            rounds.append(run_round(servers, "events", given.events, CONTENDERS))
            speeds = ", ".join(f"{name} {each.per_second:,.0f}/s" for name, each in rounds[-1].items())
            console.print(f"round {number + 1}: {speeds}")
    Console(width=120).print(table(rounds))
    if given.json:
        plain = [{name: asdict(each) for name, each in one.items()} for one in rounds]
        given.json.write_text(json.dumps({"events": given.events, "bytes": SIZE, "rounds": plain}, indent=2))
    ratio = statistics.median(ratios(rounds, "streamwatch", FIRST))
    met = ratio >= WANTED
    print(f"streamwatch is {ratio:.2f} times the {FIRST}; wanted {WANTED:g}: {'met' if met else 'missed'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
