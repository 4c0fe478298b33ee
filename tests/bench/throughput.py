"""Throughput of `streamwatch run`, exactly once, beside hand-written loops: on one real broker, in one run.

    python -m tests.bench.throughput [--events 400000] [--rounds 3] [--json FILE]

Needs what the tests on a real broker need (Java, Maven) and the extra `bench`. It loads a topic with 235-byte events
(lz4, 4 partitions, keyed by event id, 8 models that mix), then each contender reads it from its start to its end in a
process of its own, in turns: A B C A B C A B C. Every contender has 8 x 4 ADWIN detectors, and all have the same
libraries (without `crc32c`, checksums cost kafka-python 8 to 10 us an event, which is half of all).

Time is from the first record to the end of the last commit; joining the group is not in it. CPU is that of the
process, all threads. A ratio compares contenders within one round, so that a busy machine spoils it least; what is
printed are medians over the rounds. On a busy machine only the ratio of CPU means something: the load is printed.

The alerts differ: the hand-written loops read one partition after the other, so their detectors see each model's
events in another order than they happened, and they alert at every detection. On one partition all find the same
(`test_bench.py`).

Exit code 1 if streamwatch is slower than 1.5 times the kafka-python loop.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

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
OURS, FIRST = "streamwatch", "kafka-python loop"
WANTED = 1.5
# Of the warm-up: each contender once, so that no first round pays for a cold broker or cold files.
WARM = 20_000

Round = dict[str, Measured]
Rate = Callable[[Measured], float]


def per_second(measured: Measured) -> float:
    return measured.events / measured.seconds


def per_cpu_second(measured: Measured) -> float:
    return measured.events / measured.cpu_s


class Contender:
    """One contender's process. Its log goes to a file, as a service's does; shown if it fails."""

    def __init__(self, module: str, servers: str, topic: str, name: str, count: int) -> None:
        if module != CONTENDERS[OURS]:  # that one makes its topics itself
            create_topic(servers, f"{name}-alerts")
        self._module = module
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - `measured` closes it
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.bench.{module}", servers, topic, name, str(count)],
            stdout=subprocess.PIPE, stderr=self._log, text=True, cwd=ROOT,
        )  # fmt: skip

    def measured(self, within_s: float = 300.0) -> Measured:
        with self._log, self._process:
            try:
                out, _ = self._process.communicate(timeout=within_s)
                how = f"ended with {self._process.returncode}"
            except subprocess.TimeoutExpired:
                self._process.kill()
                how = f"was not done within {within_s:g} s"
            if self._process.returncode != 0:
                self._log.seek(0)
                raise RuntimeError(f"{self._module} {how}:\n{self._log.read()[-4000:]}")
        return heard(out)


def run_round(servers: str, topic: str, count: int) -> Round:
    run = uuid.uuid4().hex[:8]
    return {
        name: Contender(module, servers, topic, f"{module.replace('_', '-')}-{run}", count).measured()
        for name, module in CONTENDERS.items()
    }


def ratio(rounds: Sequence[Round], name: str, base: str, rate: Rate) -> float:
    """How many times the rate of `base`: the median over the rounds of what each round says."""
    return statistics.median(rate(each[name]) / rate(each[base]) for each in rounds)


def table(rounds: Sequence[Round]) -> Iterator[str]:
    bases = [name for name in CONTENDERS if name != OURS]
    heads = ["events/s", "slowest", "fastest", "CPU s/million", "alerts", *(f"x {base}" for base in bases)]
    widths = [max(10, len(head)) + 2 for head in heads]
    yield "".ljust(22) + "".join(head.rjust(width) for head, width in zip(heads, widths, strict=True))
    for name in CONTENDERS:
        speeds = [per_second(each[name]) for each in rounds]
        cpu = [1e6 / per_cpu_second(each[name]) for each in rounds]
        cells = [f"{speed:,.0f}" for speed in (statistics.median(speeds), min(speeds), max(speeds))]
        cells += [f"{statistics.median(cpu):.1f}", str(rounds[0][name].alerts)]
        for base in bases:
            by_time, by_cpu = (ratio(rounds, name, base, rate) for rate in (per_second, per_cpu_second))
            cells.append(f"{by_time:.2f} (CPU {by_cpu:.2f})")
        yield name.ljust(22) + "".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write every measurement here, too")
    given = parser.parse_args()
    rounds: list[Round] = []
    with Broker() as broker:
        servers, began = broker.bootstrap_servers, time.monotonic()
        preload(servers, "warm", WARM)
        preload(servers, "events", given.events)
        took = time.monotonic() - began
        said(f"loaded {given.events:,} events of {SIZE} bytes into {PARTITIONS} partitions in {took:.0f} s")
        run_round(servers, "warm", WARM)
        for number in range(given.rounds):
            rounds.append(run_round(servers, "events", given.events))
            speeds = ", ".join(f"{name} {per_second(each):,.0f}/s" for name, each in rounds[-1].items())
            said(f"round {number + 1}: {speeds}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    crc32c = find_spec("crc32c") is not None
    print(
        f"{given.events:,} events, medians of {given.rounds} rounds, crc32c {'' if crc32c else 'not '}installed"
    )
    print("\n".join(table(rounds)))
    if given.json:
        plain = [{name: asdict(each) for name, each in one.items()} for one in rounds]
        about = {"events": given.events, "bytes": SIZE, "crc32c": crc32c, "rounds": plain}
        given.json.write_text(json.dumps(about, indent=2))
    reached = ratio(rounds, OURS, FIRST, per_second)
    met = reached >= WANTED
    print(f"{OURS} is {reached:.2f} times the {FIRST}; wanted {WANTED:g}: {'met' if met else 'missed'}")
    return 0 if met else 1


def said(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
