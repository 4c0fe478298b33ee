"""Faults on a seeded schedule while three workers run on a real broker, and what must hold afterwards.

    python -m tests.kafka.faults --faults 200 --seed 1          the long version (about 15 minutes)
    python -m tests.kafka.faults --faults 16 --without 7        one rule of exactly-once switched off: must fail

A writer writes at a steady rate. In the end everything drains, and what the broker holds is compared with an
undisturbed run in memory over the records read back from the topic: alerts and dead letters byte by byte and in
order, the restored state as values, offsets. The first faults of a schedule are one of each kind.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType

from tests.broker import Broker
from tests.kafka.stream import SESSION_MS, closing, create_topics, endless, suite_config
from tests.kafka.verdict import differences, live, processed, undisturbed, written
from tests.kafka.violations import RULES
from tests.topics import high_watermarks

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
WORKERS = 3
RATE = 400
SERVICE = "suite"
# A commit takes about 5 ms: the moments at which it is hit while under way.
UNDER_WAY_S = (0.0, 0.001, 0.002, 0.003, 0.005, 0.008)
KINDS: dict[tuple[str, str], int] = {  # with their weights; a short run has one each of the first ESSENTIAL
    ("kill", "owner"): 4,
    ("kill", "standby"): 2,
    ("kill", "offsets"): 2,
    ("kill", "commit"): 6,
    ("kill", "committing"): 4,
    ("stop", "owner"): 2,
    ("stop", "write"): 2,
    ("stop", "commit"): 3,
    ("broker", "now"): 2,
    ("broker", "commit"): 2,
    ("refuse", "alerts"): 1,
    ("kill", "write"): 1,
    ("kill", "committed"): 2,
    ("stop", "standby"): 1,
    ("stop", "offsets"): 2,
    ("broker", "write"): 1,
    ("broker", "committing"): 1,
}
ESSENTIAL = 11


@dataclass(frozen=True)
class Fault:
    """act     kill (-9, started anew), stop (SIGSTOP beyond the session, then SIGCONT), broker (kill -9, restart),
            refuse (the alert topic takes no record for a while)
    place   owner, standby, now: at any moment; else a place in the owner's next transaction, see `worker`
    after_s for a commit under way: how long after its call
    gap_s   the pause before it
    settled whether before it somebody must have committed since the one before
    """

    act: str
    place: str
    after_s: float
    gap_s: float
    settled: bool

    @property
    def kind(self) -> str:
        return f"{self.act} {self.place}"


def schedule(seed: int, count: int, only: Sequence[str] = ()) -> list[Fault]:
    """`only`: these kinds in turn, as "stop write"."""
    draw = random.Random(seed)
    kinds = list(KINDS)
    first = draw.sample(kinds[:ESSENTIAL], ESSENTIAL) + draw.sample(kinds[ESSENTIAL:], len(kinds) - ESSENTIAL)
    more = draw.choices(kinds, list(KINDS.values()), k=count)
    if only:
        first = [kind for kind in kinds if " ".join(kind) in only] * count
    return [
        Fault(act, place, draw.choice(UNDER_WAY_S), draw.uniform(0.0, 0.8), draw.random() < 0.7)
        for act, place in (first + more)[:count]
    ]


class Writer(threading.Thread):
    """Writes the stream at a steady rate until told to stop, and then a closing record to each partition."""

    def __init__(self, servers: str, topic: str, seed: int) -> None:
        super().__init__(name="writer")
        self._servers, self._topic, self._seed = servers, topic, seed
        self._over = threading.Event()

    def run(self) -> None:
        producer = KafkaProducer(
            bootstrap_servers=self._servers, bootstrap_timeout_ms=30_000, acks="all", linger_ms=5,
            reconnect_backoff_max_ms=500,
        )  # fmt: skip
        began, last_ms = time.monotonic(), 0
        for number, record in enumerate(endless(self._seed)):
            if self._over.wait(max(0.0, began + number / RATE - time.monotonic())):
                break
            self._send(producer, record)
            last_ms = record.timestamp_ms or 0
        for record in closing(last_ms):
            self._send(producer, record)
        producer.flush(timeout=60)
        producer.close(timeout=10)

    def _send(self, producer: Any, record: Any) -> None:
        producer.send(
            self._topic, value=record.value, partition=record.partition, timestamp_ms=record.timestamp_ms,
            key=b"k" if record.value is None else None,
        )  # fmt: skip

    def end(self) -> None:
        self._over.set()
        self.join(90.0)
        assert not self.is_alive(), "the writer did not end"


class BrokenError(AssertionError):
    """The suite cannot go on: a worker ended by itself, or something did not happen in time."""


@dataclass
class Outcome:
    """`problems` is empty if all held. `hits`: how often each kind of fault took place."""

    seed: int
    without: Sequence[str]
    faults: int
    problems: list[str] = field(default_factory=list)
    hits: Counter[str] = field(default_factory=Counter)
    records: int = 0
    alerts: int = 0
    aborted_alerts: int = 0
    dead_letters: int = 0
    state_values: int = 0
    seconds: float = 0.0
    report: str = ""

    def __str__(self) -> str:
        rule = f", without rule {' and '.join(self.without)}" if self.without else ""
        head = (
            f"seed {self.seed}{rule}: {self.faults} faults in {self.seconds:.0f} s, {self.records} records, "
            f"{self.alerts} alerts expected ({self.aborted_alerts} more in aborted transactions), "
            f"{self.dead_letters} dead letters, {self.state_values} values of state"
        )
        hits = ", ".join(f"{kind} {count}" for kind, count in sorted(self.hits.items()))
        return "\n".join(
            [head, f"hits: {hits}", *(self.problems or ["0 missing, 0 twice, state equal"]), self.report]
        )


class Trial:
    """The workers, their journal and the broker of one run of the suite. Nothing is left when it is left."""

    def __init__(self, broker: Broker, folder: Path, seed: int, without: Sequence[str] = ()) -> None:
        self.broker = broker
        self.folder = folder
        self.seed = seed
        self.without = without
        self.lines: list[dict[str, Any]] = []
        self.hits: Counter[str] = Counter()
        self._processes: list[subprocess.Popen[str] | None] = [None] * WORKERS
        self._starts = itertools.count()
        self._journal = folder / "journal.jsonl"
        self._journal.touch()
        self._read_to = 0
        self._holder: int | None = None
        self._refusing = False
        self._draw = random.Random(seed)

    def __enter__(self) -> Trial:
        for slot in range(WORKERS):
            self._start(slot)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            if process is not None:
                process.kill()
                process.wait(10)
                assert process.stdin
                process.stdin.close()

    # Workers

    def _start(self, slot: int) -> None:
        command = [
            sys.executable,
            "-m",
            "tests.kafka.worker",
            self.broker.bootstrap_servers,
            SERVICE,
            str(slot),
        ]
        command += [str(self._journal), *(["--without", *self.without] if self.without else [])]
        with (self.folder / f"worker-{slot}-{next(self._starts)}.err").open("w") as errors:
            # A group of its own: a stopped worker is ended by the kernel when this process is gone.
            self._processes[slot] = subprocess.Popen(
                command, stdin=subprocess.PIPE, stderr=errors, text=True, process_group=0, cwd=ROOT
            )

    def _alive(self) -> dict[int, int]:
        """Slots by pid."""
        return {p.pid: slot for slot, p in enumerate(self._processes) if p is not None and p.poll() is None}

    def tick(self) -> None:
        """Read the journal; start anew what has ended, wake what is stopped for no reason, raise what is wrong."""
        with self._journal.open("rb") as file:
            file.seek(self._read_to)
            new = file.read()
        new = new[: new.rfind(b"\n") + 1]
        self._read_to += len(new)
        for line in map(json.loads, new.splitlines()):
            self.lines.append(line)
            pid = line["pid"]
            if line["event"] in ("opened", "committed"):
                self._holder = pid
            elif self._holder == pid and (line["event"] == "closed" or line.get("task") is not None):
                self._holder = None
        for slot, process in enumerate(self._processes):
            if process is None or process.poll() is None:
                continue
            if process.returncode != -signal.SIGKILL and not (self._refusing and process.returncode == 3):
                raise BrokenError(
                    f"worker {slot} (pid {process.pid}) ended by itself with {process.returncode}"
                )
            self._start(slot)
        if not self.broker.running:
            self.broker.start()

    def until(self, holds: Callable[[], T], within_s: float, what: str) -> T:
        deadline = time.monotonic() + within_s
        while True:
            self.tick()
            if answer := holds():
                return answer
            if time.monotonic() > deadline:
                raise BrokenError(f"not within {within_s:g} s: {what}")
            time.sleep(0.01)

    def since(self, start: int, event: str, **equal: Any) -> Iterator[dict[str, Any]]:
        wanted = {"event": event, **equal}
        return (line for line in self.lines[start:] if wanted.items() <= line.items())

    def owner(self) -> int:
        """The pid of the worker that has the task; waits for one."""

        def alive() -> int | None:
            return self._holder if self._holder in self._alive() else None

        return self.until(alive, 90.0, "somebody owns the task") or 0

    # Faults

    def inject(self, fault: Fault) -> None:
        time.sleep(fault.gap_s)
        self.tick()
        start = len(self.lines)
        match fault.act, fault.place:
            case "kill", "owner" | "standby":
                self._kill(self._one(fault.place))
            case "stop", "owner" | "standby":
                pid = self._one(fault.place)
                self._signal(pid, signal.SIGSTOP)
                self._wake(pid, start, replaced=fault.place == "owner")
            case "broker", "now":
                self.broker.kill()
                self.broker.start()
            case "refuse", _:
                if not self._refuse():
                    return
            case _:
                pid = self._order(fault)
                if fault.act == "stop":
                    self._wake(pid, start, replaced=True)
                elif fault.act == "kill":
                    self._kill(pid)
                else:
                    self.until(lambda: self.broker.running, 60.0, "the broker is back")
        self.hits[fault.kind] += 1
        if fault.settled:
            mark = len(self.lines)
            self.until(lambda: any(self.since(mark, "committed")), 90.0, f"a commit after {fault.kind}")

    def _one(self, who: str) -> int:
        owner = self.owner()
        return owner if who == "owner" else self._draw.choice(sorted(self._alive().keys() - {owner}))

    def _signal(self, pid: int, number: signal.Signals) -> None:
        slot = self._alive().get(pid)
        if slot is not None and (process := self._processes[slot]) is not None:
            process.send_signal(number)

    def _kill(self, pid: int) -> None:
        self._signal(pid, signal.SIGKILL)
        self.until(lambda: pid not in self._alive(), 10.0, f"pid {pid} is gone")

    def _order(self, fault: Fault) -> int:
        """Have the owner do it in its next transaction; who is not the owner any more is told to forget it."""
        for _ in range(10):
            pid, start = self.owner(), len(self.lines)
            self._tell(pid, f"{fault.act} {fault.place} {fault.after_s} {self.broker.pid}")

            def over(pid: int = pid, start: int = start) -> bool:
                done = any(self.since(start, "act", pid=pid))
                return done or self._holder != pid or pid not in self._alive()

            self.until(over, 60.0, f"{fault.kind} takes place")
            if any(self.since(start, "act", pid=pid)):
                return pid
            self._tell(pid, "none none 0 0")
        raise BrokenError(f"no owner came to {fault.kind}")

    def _tell(self, pid: int, order: str) -> None:
        process = self._processes[self._alive().get(pid, 0)]
        if process is not None and process.pid == pid and process.stdin:
            try:
                process.stdin.write(order + "\n")
                process.stdin.flush()
            except BrokenPipeError:
                pass  # it is gone already

    def _wake(self, pid: int, start: int, replaced: bool) -> None:
        if replaced:
            self.until(
                lambda: any(line["pid"] != pid for line in self.since(start, "opened")),
                60.0,
                "the stopped is replaced",
            )
        else:
            time.sleep(1.5 * SESSION_MS / 1000)
        time.sleep(self._draw.choice([0.0, 0.0, 0.1, 0.5]))
        self._signal(pid, signal.SIGCONT)

    def _refuse(self) -> bool:
        """Whether somebody noticed."""
        self._refusing = True
        start = len(self.lines)

        def noticed() -> bool:
            return any(line["event"] in ("refused", "failed") for line in self.lines[start:])

        self._limit_alerts("100")
        deadline = time.monotonic() + 5.0
        self.until(lambda: noticed() or time.monotonic() > deadline, 10.0, "the alert topic refuses")
        self._limit_alerts("1000000")
        # Who was refused at the last moment may still be on its way out.
        mark = len(self.lines)
        self.until(lambda: any(self.since(mark, "committed")), 60.0, "a commit after the refusal")
        self._refusing = False
        return noticed()

    def _limit_alerts(self, limit: str) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.broker.bootstrap_servers, bootstrap_timeout_ms=30_000)
        try:
            topic = ConfigResource(
                ConfigResourceType.TOPIC, f"{SERVICE}-alerts", {"max.message.bytes": limit}
            )
            admin.alter_configs([topic])
        finally:
            admin.close()

    # The end

    def drain(self) -> None:
        """Until every record is committed; then the workers end cleanly."""
        marks = high_watermarks(self.broker.bootstrap_servers, f"{SERVICE}-in")
        # The closing records wait for each other.
        wanted = {str(part.partition): end - 1 for part, end in marks.items()}

        def reached() -> bool:
            known = [line["offsets"] for line in self.lines if line["event"] in ("committed", "opened")]
            return bool(known) and all(known[-1].get(p, 0) >= end for p, end in wanted.items())

        self.until(reached, 90.0, f"everything is committed ({wanted})")
        for process in self._processes:
            assert process is not None
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
        for slot, process in enumerate(self._processes):
            assert process is not None
            try:
                code = process.wait(15.0)
            except subprocess.TimeoutExpired:
                raise BrokenError(f"worker {slot} did not end within 15 s of SIGTERM") from None
            if code:
                raise BrokenError(f"worker {slot} ended with {code} after SIGTERM")

    def report(self, faults: list[Fault]) -> str:
        """What a person needs to look into a failure."""
        texts = ["schedule: " + ", ".join(fault.kind for fault in faults), "last lines of the journal:"]
        texts += [f"  {json.dumps(line)}" for line in self.lines[-25:]]
        for path in sorted(self.folder.glob("worker-*.err"), key=lambda path: path.stat().st_mtime)[-6:]:
            if text := path.read_text().strip():
                texts += [f"{path.name}:", *(f"  {line}" for line in text.splitlines()[-12:])]
        return "\n".join(texts)


def trial(
    seed: int,
    count: int,
    without: Sequence[str] = (),
    only: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Run the suite on a broker of its own."""
    faults = schedule(seed, count, only)
    outcome = Outcome(seed, without, count)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="streamwatch-faults-") as folder, Broker(apart=True) as broker:
        servers = broker.bootstrap_servers
        create_topics(servers, SERVICE)
        with Trial(broker, Path(folder), seed, without) as running:
            writer = Writer(servers, f"{SERVICE}-in", seed)
            writer.start()
            try:
                running.until(lambda: any(running.since(0, "committed")), 60.0, "the first commit")
                for number, fault in enumerate(faults, 1):
                    say(f"{time.monotonic() - began:6.1f} s  {number:3} of {count}: {fault.kind}")
                    running.inject(fault)
                writer.end()
                running.drain()
            except BrokenError as broken:
                outcome.problems.append(str(broken))
            finally:
                writer.end()
            outcome.hits = running.hits
            outcome.problems += [f"overtaken: {line}" for line in running.since(0, "overtaken")]
            if not outcome.problems:
                _judge(servers, outcome)
            if outcome.problems:
                outcome.report = running.report(faults)
    outcome.seconds = time.monotonic() - began
    return outcome


def _judge(servers: str, outcome: Outcome) -> None:
    config = suite_config(servers, SERVICE)
    found = live(servers, config)
    records = processed(servers, f"{SERVICE}-in", found.offsets)
    expected = undisturbed(config, records)
    outcome.problems += differences(expected, found)
    outcome.records, outcome.alerts = len(records), len(expected.alerts)
    outcome.dead_letters, outcome.state_values = len(expected.dead_letters), len(expected.state)
    uncommitted = written(servers, config.alerts_topic, "read_uncommitted")
    outcome.aborted_alerts = len(uncommitted) - len(found.alerts)


def main() -> None:
    parser = argparse.ArgumentParser(description="Faults while three workers run on a real broker.")
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--without",
        nargs="+",
        default=(),
        choices=sorted(RULES),
        help="switch these rules of exactly-once off",
    )
    kinds = [" ".join(kind) for kind in KINDS]
    parser.add_argument("--only", nargs="+", default=(), choices=kinds, metavar="KIND", help=", ".join(kinds))
    given = parser.parse_args()
    say = partial(print, flush=True)
    outcome = trial(given.seed, given.faults, given.without, given.only, say)
    print(outcome, flush=True)
    sys.exit(bool(outcome.problems))


if __name__ == "__main__":
    main()
