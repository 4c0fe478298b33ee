"""Speed of `streamwatch run`, exactly once, beside hand-written loops: on one real broker, in one run.

    python -m tests.bench.throughput [--events 400000] [--rounds 3] [--cases plain wide keys] [--json FILE]

Needs what the tests on a real broker need (Java, Maven) and the extra `bench`. It loads topics (lz4, 4 partitions,
keyed by event id, models that mix), then each contender reads one from its start to its end in a process of its own,
in turns: A B C A B C A B C. All have the same libraries (without `crc32c`, checksums cost kafka-python 8 to 10 us an
event, which is half of all). The cases:

plain  235-byte events, 8 models x 4 ADWIN
wide   43 features (770 bytes), of which 2 are watched, 8 models x 2 ADWIN; half of the events
keys   235-byte events, 10,000 models x 4 ADWIN, `commit_every` 10 s, beside 8 models (streamwatch alone), measured
       from a third of the events on, when all models are known; then it is started from the state that it has written

Time is from the first record to the end of the last commit; joining the group is not in it. CPU is that of the
process, all threads. A ratio compares contenders within one round, so that a busy machine spoils it least; what is
printed are medians over the rounds. On a busy machine only the ratio of CPU means something: the load is printed.

The alerts differ: the hand-written loops read one partition after the other, so their detectors see each model's
events in another order than they happened, and they alert at every detection. On one partition all find the same
(`test_bench.py`).

Exit code 1 if one of the ratios in WANTED is missed.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from tests.bench.events import CASES, PARTITIONS, preload
from tests.bench.stopwatch import Measured, heard
from tests.broker import Broker
from tests.topics import create_topic

ROOT = Path(__file__).parents[2]
CONTENDERS = {
    "kafka-python loop": "loop_kafka_python",
    "confluent-kafka loop": "loop_confluent",
    "streamwatch": "loop_streamwatch",
}
OURS, FIRST, SECOND = "streamwatch", "kafka-python loop", "confluent-kafka loop"
# By case, of whom, and whose: times the rate (keys: times the cost, at most).
WANTED = {("plain", FIRST): 3.0, ("plain", SECOND): 2.0, ("wide", FIRST): 5.0, ("wide", SECOND): 5.0}
MOST_COST, MOST_START_S = 3.0, 5.0
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

    def __init__(
        self, module: str, servers: str, topic: str, name: str, count: int, case: str = "plain"
    ) -> None:
        if module != CONTENDERS[OURS]:  # that one makes its topics itself
            create_topic(servers, f"{name}-alerts")
        self._module = module
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - `measured` closes it
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.bench.{module}", servers, topic, name, str(count), case],
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


def run_round(servers: str, topic: str, count: int, case: str = "plain") -> Round:
    run = uuid.uuid4().hex[:8]
    return {
        name: Contender(module, servers, topic, f"{module.replace('_', '-')}-{run}", count, case).measured()
        for name, module in CONTENDERS.items()
    }


def run_keys(servers: str, count: int) -> Round:
    """Of streamwatch: with few stream keys, with many, and its start from the state of the many."""
    module, name = CONTENDERS[OURS], f"keys-{uuid.uuid4().hex[:8]}"
    return {
        "few": Contender(module, servers, "plain", f"{name}-few", count, "few").measured(),
        "keys": Contender(module, servers, "keys", name, count, "keys").measured(),
        "start": Contender(module, servers, "keys", name, count, "start").measured(),
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


def of_keys(rounds: Sequence[Round]) -> Iterator[str]:
    def median(read: Callable[[Round], float]) -> float:
        return statistics.median(map(read, rounds))

    few, many = (median(lambda one, name=name: 1e6 / per_cpu_second(one[name])) for name in ("few", "keys"))  # type: ignore[misc]
    state = median(lambda one: one["keys"].state_bytes / 1e6)
    alert_s = median(lambda one: one["keys"].slowest_alert_s)
    yield f"10,000 stream keys: {many:.1f} CPU s a million events; 8: {few:.1f}"
    yield f"state written: {state:.0f} MB, {state / 10:.1f} MB/s if that is every 10 s"
    yield f"longest commit with an alert: {alert_s:.2f} s"


def verdicts(rounds: Mapping[str, Sequence[Round]]) -> Iterator[tuple[bool, str]]:
    """Whether each thing that is wanted is met, and how it is told."""
    for (case, base), wanted in WANTED.items():
        if rounds.get(case):
            reached = ratio(rounds[case], OURS, base, per_second)
            yield reached >= wanted, f"{case}: {reached:.2f} times the {base}; wanted {wanted:g}"
    if keys := rounds.get("keys"):
        cost = ratio(keys, "few", "keys", per_cpu_second)
        yield cost <= MOST_COST, f"keys: {cost:.2f} times the cost of 8; wanted {MOST_COST:g} at most"
        start_s = statistics.median(one["start"].seconds for one in keys)
        yield start_s <= MOST_START_S, f"keys: started in {start_s:.1f} s; wanted {MOST_START_S:g} s at most"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--cases", nargs="+", choices=("plain", "wide", "keys"), default=["plain", "wide", "keys"]
    )
    parser.add_argument("--json", type=Path, help="write every measurement here, too")
    given = parser.parse_args()
    counts = {"plain": given.events, "wide": given.events // 2, "keys": given.events}
    rounds: dict[str, list[Round]] = {case: [] for case in given.cases}
    with Broker() as broker:
        servers, began = broker.bootstrap_servers, time.monotonic()
        preload(servers, "warm", WARM)
        for case in dict.fromkeys((*given.cases, *(["plain"] if "keys" in given.cases else []))):
            preload(servers, case, counts.get(case, given.events), case=CASES[case])
        said(f"loaded {PARTITIONS} partitions each of {given.cases} in {time.monotonic() - began:.0f} s")
        run_round(servers, "warm", WARM)
        for number in range(given.rounds):
            for case, done in rounds.items():
                if case == "keys":
                    done.append(run_keys(servers, given.events))
                else:
                    done.append(run_round(servers, case, counts[case], case))
                speeds = ", ".join(f"{name} {per_second(each):,.0f}/s" for name, each in done[-1].items())
                said(
                    f"round {number + 1}, {case}: {speeds}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
                )
    crc32c = find_spec("crc32c") is not None
    print(f"medians of {given.rounds} rounds, crc32c {'' if crc32c else 'not '}installed")
    for case, done in rounds.items():
        print(f"\n{case}: {counts[case]:,} events")
        print("\n".join(of_keys(done) if case == "keys" else table(done)))
    if given.json:
        plain = {
            case: [{name: asdict(each) for name, each in one.items()} for one in done]
            for case, done in rounds.items()
        }
        given.json.write_text(json.dumps({"events": counts, "crc32c": crc32c, "rounds": plain}, indent=2))
    found = list(verdicts(rounds))
    print("\n" + "\n".join(f"{text}: {'met' if met else 'missed'}" for met, text in found))
    return 0 if all(met for met, _ in found) else 1


def said(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
