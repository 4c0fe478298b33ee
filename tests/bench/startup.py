"""How long `streamwatch --help` takes, and `streamwatch run` to its first commit on a warm broker.

    python -m tests.bench.startup [--times 5]

Needs what the tests on a real broker need. A run's time is from the start of its process until the consumer group's
committed offsets can be read behind every event that waited: in it are Python's imports, the checks of the start, the
service's own topics (made at a first start), the join, the restore, and `commit_every` (1 s), because without an alert
the first commit waits for it. Each first start is a new service; each restart goes on with that service's state. The
first of all warms the broker and is not counted.

Exit code 1 if a median misses its limit: 0.3 s for --help, 3 s for a run.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import yaml
from kafka import KafkaConsumer, TopicPartition

from tests.bench.events import PARTITIONS, events, preload
from tests.bench.loop_streamwatch import config
from tests.broker import Broker, wait_until
from tests.topics import produce

COUNT = 2_000
HELP_S = 0.3
RUN_S = 3.0
COMMAND = (sys.executable, "-m", "streamwatch")


def help_s() -> float:
    began = time.monotonic()
    subprocess.run([*COMMAND, "--help"], check=True, capture_output=True)
    return time.monotonic() - began


class Committed:
    """What the group of a service has committed, summed over the partitions."""

    def __init__(self, servers: str, topic: str, group: str) -> None:
        self._parts = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        self._consumer = KafkaConsumer(
            bootstrap_servers=servers, bootstrap_timeout_ms=10_000, group_id=group, enable_auto_commit=False
        )

    def total(self) -> int:
        return sum(self._consumer.committed(part) or 0 for part in self._parts)

    def close(self) -> None:
        self._consumer.close()


def run_s(servers: str, topic: str, name: str, count: int, folder: Path) -> float:
    """From the start of the process until `count` events are committed; then it is ended."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config(servers, topic, name)))
    committed = Committed(servers, topic, name)
    committed.total()  # connected, and the group's coordinator found, before the clock starts
    with (folder / f"{name}.log").open("w") as log:
        began = time.monotonic()
        process = subprocess.Popen([*COMMAND, "run", str(path)], stdout=log, stderr=log)
        try:
            wait_until(
                lambda: committed.total() >= count or process.poll() is not None, 30, "the first commit"
            )
            took = time.monotonic() - began
        finally:
            process.terminate()
            process.wait(15)
            committed.close()
    if process.returncode:
        raise RuntimeError(
            f"it ended with {process.returncode}:\n{(folder / f'{name}.log').read_text()[-4000:]}"
        )
    return took


def shown(what: str, took: list[float], limit_s: float) -> bool:
    median = statistics.median(took)
    each = ", ".join(f"{seconds:.2f}" for seconds in took)
    print(
        f"{what:28} {median:5.2f} s (of {each}); limit {limit_s:g} s: {'met' if median < limit_s else 'missed'}"
    )
    return median < limit_s


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--times", type=int, default=5)
    times = parser.parse_args().times
    helps = [help_s() for _ in range(times + 1)][1:]
    first: list[float] = []
    again: list[float] = []
    with Broker() as broker, tempfile.TemporaryDirectory() as folder:
        servers = broker.bootstrap_servers
        for number in range(times + 1):
            name = topic = f"startup-{uuid.uuid4().hex[:8]}"
            preload(servers, topic, COUNT)
            took_first = run_s(servers, topic, name, COUNT, Path(folder))
            produce(servers, topic, events(100))
            took_again = run_s(servers, topic, name, COUNT + 100, Path(folder))
            if number:
                first.append(took_first)
                again.append(took_again)
    met = [
        shown("--help", helps, HELP_S),
        shown("run to first commit, new", first, RUN_S),
        shown("run to first commit, restart", again, RUN_S),
    ]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
