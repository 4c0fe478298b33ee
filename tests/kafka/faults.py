"""Faults on a seeded schedule while three workers run on a real broker, and what must hold afterwards.

    python -m tests.kafka.faults --faults 200 --seed 1          the long version (about 12 minutes)
    python -m tests.kafka.faults --faults 28 --without place    what if this rule did not hold? See `violations`
    python -m tests.kafka.faults --faults 200 --tasks per_partition    four tasks, labels, and rolling restarts, too

A writer writes events at a steady rate, and commands among them. In the end everything drains, and what the broker
holds is compared with an undisturbed run in memory over the records read back from the topics: alerts and dead
letters byte by byte and in order, the restored state as values, offsets. The first faults of a schedule are one of
each kind.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from streamwatch.config import Tasks
from tests.broker import Broker
from tests.kafka.stream import PARTITIONS, SERVICE, SESSION_MS, Writer, create_topics, suite_config
from tests.kafka.verdict import commanded, differences, live, processed, undisturbed, written
from tests.kafka.violations import RULES
from tests.kafka.workers import BrokenError, Workers

# A commit takes about 5 ms: the moments at which it is hit while under way.
UNDER_WAY_S = (0.0, 0.001, 0.002, 0.003, 0.005, 0.008)
# With their weights; each run begins with one each of the first ESSENTIAL.
KINDS: dict[tuple[str, str], int] = {
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
# With `tasks: per_partition` all workers are owners, and a rolling restart is one more fault.
ROLLING: dict[tuple[str, str], int] = {
    ("roll", "all"): 3,
    **{kind: weight for kind, weight in KINDS.items() if "standby" not in kind},
}


@dataclass(frozen=True)
class Fault:
    """act     kill (-9, started anew), stop (SIGSTOP beyond the session, then SIGCONT), broker (kill -9, restart),
            refuse (the alert topic takes no record for a while), roll (SIGTERM to one worker after the other, each
            started anew)
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


def schedule(seed: int, count: int, only: Sequence[str] = (), tasks: Tasks = "one") -> list[Fault]:
    """`only`: these kinds in turn, as "stop write"."""
    draw = random.Random(seed)
    weights = KINDS if tasks == "one" else ROLLING
    kinds = list(weights)
    first = draw.sample(kinds[:ESSENTIAL], ESSENTIAL) + draw.sample(kinds[ESSENTIAL:], len(kinds) - ESSENTIAL)
    more = draw.choices(kinds, list(weights.values()), k=count)
    if only:
        first = [kind for kind in kinds if " ".join(kind) in only] * count
    return [
        Fault(act, place, draw.choice(UNDER_WAY_S), draw.uniform(0.0, 0.8), draw.random() < 0.7)
        for act, place in (first + more)[:count]
    ]


@dataclass
class Outcome:
    """`problems` is empty if all held. `hits`: how often each kind of fault took place.

    commands         that acted, by kind; `about` of them were about some watcher at that moment
    heard_again      commands in a batch that was handed out again because of a fault
    aborted_by       alerts that commands made, in transactions that were aborted, by reason
    """

    seed: int
    without: Sequence[str]
    faults: int
    tasks: Tasks = "one"
    problems: list[str] = field(default_factory=list)
    hits: Counter[str] = field(default_factory=Counter)
    records: int = 0
    alerts: int = 0
    aborted_alerts: int = 0
    dead_letters: int = 0
    state_values: int = 0
    commands: Counter[str] = field(default_factory=Counter)
    about: int = 0
    heard_again: int = 0
    commanded: Counter[str] = field(default_factory=Counter)
    aborted_by: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    report: str = ""

    def __str__(self) -> str:
        rule = f", without rule {' and '.join(self.without)}" if self.without else ""
        head = (
            f"seed {self.seed}, tasks: {self.tasks}{rule}: {self.faults} faults in {self.seconds:.0f} s, "
            f"{self.records} records, {self.alerts} alerts expected ({self.aborted_alerts} more in aborted "
            f"transactions), {self.dead_letters} dead letters, {self.state_values} values of state"
        )
        said = (
            f"commands: {self.commands.total()} acted ({_listed(self.commands)}), {self.about} about something, "
            f"{self.heard_again} in a batch that was processed again; they made alerts {_listed(self.commanded)} "
            f"({_listed(self.aborted_by) or 'none'} more in aborted transactions)"
        )
        held = self.problems or ["0 missing, 0 twice, state equal"]
        return "\n".join([head, f"hits: {_listed(self.hits)}", said, *held, self.report])


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))


class Injector:
    """Does one fault after the other to the workers and the broker. `hits`: how often each kind took place."""

    def __init__(self, workers: Workers, broker: Broker, seed: int) -> None:
        self.hits: Counter[str] = Counter()
        self._workers = workers
        self._broker = broker
        self._draw = random.Random(seed)

    def inject(self, fault: Fault) -> None:
        time.sleep(fault.gap_s)
        self._workers.tick()
        start = len(self._workers.lines)
        match fault.act, fault.place:
            case "kill", "owner" | "standby":
                self._kill(self._one(fault.place))
            case "stop", "owner" | "standby":
                pid = self._one(fault.place)
                self._workers.signal(pid, signal.SIGSTOP)
                self._wake(pid, start, replaced=fault.place == "owner")
            case "roll", _:
                self._workers.roll()
            case "broker", "now":
                self._broker.kill()
                self._broker.start()
            case "refuse", _:
                if not self._refuse():
                    return
            case _:
                broker = self._broker.pid
                pid = self._order(fault)
                if fault.act == "stop":
                    self._wake(pid, start, replaced=True)
                elif fault.act == "kill":
                    self._kill(pid)
                else:
                    self._workers.until(
                        lambda: self._broker.pid != broker, 60.0, "the broker is killed and back"
                    )
        self.hits[fault.kind] += 1
        if fault.settled:
            self._workers.commit_again(fault.kind)

    def _task(self) -> int:
        return 0 if self._workers.tasks == "one" else self._draw.randrange(PARTITIONS)

    def _one(self, who: str) -> int:
        owner = self._workers.owner(self._task())
        return owner if who == "owner" else self._draw.choice(sorted(self._workers.alive().keys() - {owner}))

    def _kill(self, pid: int) -> None:
        self._workers.signal(pid, signal.SIGKILL)
        self._workers.until(lambda: pid not in self._workers.alive(), 10.0, f"pid {pid} is gone")

    def _order(self, fault: Fault) -> int:
        """Have the owner do it in its next transaction; who is not the owner any more is told to forget it."""
        task = self._task()
        for _ in range(10):
            pid, start = self._workers.owner(task), len(self._workers.lines)
            self._workers.tell(pid, f"{fault.act} {fault.place} {fault.after_s} {self._broker.pid}")

            def over(pid: int = pid, start: int = start) -> bool:
                done = any(self._workers.since(start, "act", pid=pid))
                return done or self._workers.holders.get(task) != pid or pid not in self._workers.alive()

            self._workers.until(over, 60.0, f"{fault.kind} takes place")
            if any(self._workers.since(start, "act", pid=pid)):
                return pid
            self._workers.tell(pid, "none none 0 0")
        raise BrokenError(f"no owner came to {fault.kind}")

    def _wake(self, pid: int, start: int, replaced: bool) -> None:
        if replaced:
            self._workers.until(
                lambda: any(line["pid"] != pid for line in self._workers.since(start, "opened")),
                60.0,
                "the stopped is replaced",
            )
        else:
            time.sleep(1.5 * SESSION_MS / 1000)
        time.sleep(self._draw.choice([0.0, 0.0, 0.1, 0.5]))
        self._workers.signal(pid, signal.SIGCONT)

    def _refuse(self) -> bool:
        """Whether somebody noticed."""
        start = len(self._workers.lines)

        def noticed() -> bool:
            return any(self._workers.too_large(start))

        self._limit_alerts("100")
        deadline = time.monotonic() + 5.0
        self._workers.until(lambda: noticed() or time.monotonic() > deadline, 10.0, "the alert topic refuses")
        self._limit_alerts("1000000")
        self._workers.commit_again("the refusal")
        return noticed()

    def _limit_alerts(self, limit: str) -> None:
        admin = KafkaAdminClient(
            bootstrap_servers=self._broker.bootstrap_servers, bootstrap_timeout_ms=30_000
        )
        try:
            topic = ConfigResource(
                ConfigResourceType.TOPIC, f"{SERVICE}-alerts", {"max.message.bytes": limit}
            )
            admin.alter_configs([topic])
        finally:
            admin.close()


def trial(
    seed: int,
    count: int,
    without: Sequence[str] = (),
    only: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
    tasks: Tasks = "one",
) -> Outcome:
    """Run the suite on a broker of its own."""
    faults = schedule(seed, count, only, tasks)
    outcome = Outcome(seed, without, count, tasks)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="streamwatch-faults-") as folder, Broker(apart=True) as broker:
        servers = broker.bootstrap_servers
        create_topics(servers, SERVICE, tasks)
        with Workers(broker, Path(folder), without, tasks) as workers:
            injector = Injector(workers, broker, seed)
            writer = Writer(servers, SERVICE, seed, tasks)
            writer.start()
            try:
                workers.until(lambda: any(workers.since(0, "committed")), 60.0, "the first commit")
                for number, fault in enumerate(faults, 1):
                    say(f"{time.monotonic() - began:6.1f} s  {number:3} of {count}: {fault.kind}")
                    injector.inject(fault)
                writer.end()
                if not writer.closed:
                    raise BrokenError("the writer could not write all of its records")
                workers.drain()
                _judge(servers, outcome)
            except AssertionError as broken:
                outcome.problems.append(str(broken))
            finally:
                writer.end()
            outcome.hits = injector.hits
            outcome.heard_again = workers.heard_again()
            outcome.problems += [f"overtaken: {line}" for line in workers.since(0, "overtaken")]
            if outcome.problems:
                outcome.report = workers.report(", ".join(fault.kind for fault in faults))
    outcome.seconds = time.monotonic() - began
    return outcome


def _judge(servers: str, outcome: Outcome) -> None:
    config = suite_config(servers, SERVICE, outcome.tasks)
    found = live(servers, config, 1 if outcome.tasks == "one" else PARTITIONS)
    records = processed(servers, {source: at for end in found.values() for source, at in end.offsets.items()})
    expected = undisturbed(config, records)
    outcome.problems += differences(expected, found)
    outcome.records = len(records)
    outcome.alerts = sum(len(end.alerts) for end in expected.values())
    outcome.dead_letters = sum(len(end.dead_letters) for end in expected.values())
    outcome.state_values = sum(len(end.state) for end in expected.values())
    uncommitted = written(servers, config.alerts_topic, "read_uncommitted")
    alerts = [alert for end in found.values() for alert in end.alerts]
    obeyed = [one for end in expected.values() for one in end.obeyed]
    outcome.aborted_alerts = len(uncommitted) - len(alerts)
    outcome.commands = Counter(one.command.kind for one in obeyed)
    outcome.about = sum(one.watchers > 0 for one in obeyed)
    outcome.commanded = commanded(alerts)
    outcome.aborted_by = commanded(uncommitted) - outcome.commanded


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
    parser.add_argument("--tasks", default="one", choices=["one", "per_partition"])
    kinds = [" ".join(kind) for kind in {**KINDS, **ROLLING}]
    parser.add_argument("--only", nargs="+", default=(), choices=kinds, metavar="KIND", help=", ".join(kinds))
    given = parser.parse_args()
    say = partial(print, flush=True)
    outcome = trial(given.seed, given.faults, given.without, given.only, say, given.tasks)
    print(outcome, flush=True)
    sys.exit(bool(outcome.problems))


if __name__ == "__main__":
    main()
