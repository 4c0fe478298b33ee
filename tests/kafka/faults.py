"""Faults on a seeded schedule while three workers run on real brokers, and what must hold afterwards.

    python -m tests.kafka.faults --faults 200 --seed 1          the long version (about 12 minutes)
    python -m tests.kafka.faults --faults 28 --without place    what if this rule did not hold? See `violations`
    python -m tests.kafka.faults --faults 200 --tasks per_partition    four tasks, labels, and rolling restarts, too
    python -m tests.kafka.faults --faults 60 --brokers 3        three brokers that replicate each other (7 minutes)
    python -m tests.kafka.faults --faults 24 --brokers 3 --only "broker alone" --acks 1  the writer waits for one only

A writer writes events at a steady rate, and commands among them. In the end everything drains, and what the brokers
hold is compared with an undisturbed run in memory over the records read back from the topics: alerts and dead
letters byte by byte and in order, the restored state as values, offsets. What the brokers acknowledged to the writer
must be among these records. With three brokers one at a time is killed, and now and then all are restarted in turn;
`cluster` says how they replicate, which is looked at in the end, too. The first faults of a schedule are one of each
kind.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import get_args

from streamwatch.config import Tasks
from tests.cluster import Cluster
from tests.kafka.differences import differences
from tests.kafka.inject import Injector
from tests.kafka.schedule import kinds_of_faults, schedule
from tests.kafka.stream import PARTITIONS, SERVICE, Acks, Writer, create_topics, suite_config
from tests.kafka.verdict import commanded, live, processed, stored, undisturbed, unkept, written
from tests.kafka.violations import RULES
from tests.kafka.workers import BrokenError, Workers


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
    brokers: int = 1
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
            f"seed {self.seed}, tasks: {self.tasks}, brokers: {self.brokers}{rule}: {self.faults} faults in "
            f"{self.seconds:.0f} s, {self.records} records, {self.alerts} alerts expected ({self.aborted_alerts} more "
            f"in aborted transactions), {self.dead_letters} dead letters, {self.state_values} values of state"
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


def trial(
    seed: int,
    count: int,
    without: Sequence[str] = (),
    only: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
    tasks: Tasks = "one",
    brokers: int = 1,
    acks: Acks = "all",
    keep: Path | None = None,
) -> Outcome:
    """Run the suite on brokers of its own. `acks`: how many of them have a record before the writer goes on. `keep`:
    where the journal and the logs are left if something did not hold."""
    faults = schedule(seed, count, only, tasks, brokers)
    outcome = Outcome(seed, without, count, tasks, brokers)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="streamwatch-faults-") as folder, Cluster(brokers) as cluster:
        servers = cluster.bootstrap_servers
        create_topics(servers, SERVICE, tasks)
        with Workers(cluster, Path(folder), without, tasks) as workers:
            injector = Injector(workers, cluster, seed)
            writer = Writer(servers, SERVICE, seed, tasks, acks)
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
                _judge(cluster, writer, outcome)
            except AssertionError as broken:
                outcome.problems.append(str(broken))
            finally:
                writer.end()
            outcome.hits = injector.hits
            outcome.heard_again = workers.heard_again()
            outcome.problems += [f"overtaken: {line}" for line in workers.since(0, "overtaken")]
            if outcome.problems:
                outcome.report = workers.report(", ".join(fault.kind for fault in faults))
                if keep is not None:
                    shutil.copytree(folder, keep, dirs_exist_ok=True)
                    for broker in cluster.brokers:
                        shutil.copy(broker.log_file, keep / f"broker-{broker.number}.log")
    outcome.seconds = time.monotonic() - began
    return outcome


def _judge(cluster: Cluster, writer: Writer, outcome: Outcome) -> None:
    servers = cluster.bootstrap_servers
    outcome.problems += cluster.not_replicated()
    config = suite_config(servers, SERVICE, outcome.tasks)
    found = live(servers, config, 1 if outcome.tasks == "one" else PARTITIONS)
    held = stored(servers, {source.topic for end in found.values() for source in end.offsets})
    outcome.problems += unkept(writer.acknowledged, held)
    records = processed(held, {source: at for end in found.values() for source, at in end.offsets.items()})
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
    parser = argparse.ArgumentParser(description="Faults while three workers run on real brokers.")
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
    parser.add_argument("--brokers", type=int, default=1, choices=[1, 3])
    parser.add_argument("--acks", default="all", choices=get_args(Acks), help="of the writer")
    kinds = sorted({" ".join(kind) for tasks in get_args(Tasks) for kind in kinds_of_faults(tasks, 3)})
    parser.add_argument("--only", nargs="+", default=(), choices=kinds, metavar="KIND", help=", ".join(kinds))
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="for journal and logs if something is wrong"
    )
    given = parser.parse_args()
    possible = {" ".join(kind) for kind in kinds_of_faults(given.tasks, given.brokers)}
    if other := sorted(set(given.only) - possible):
        parser.error(f"--only {', '.join(other)}: not with --tasks {given.tasks} --brokers {given.brokers}")
    say = partial(print, flush=True)
    outcome = trial(
        given.seed,
        given.faults,
        given.without,
        given.only,
        say,
        given.tasks,
        given.brokers,
        given.acks,
        given.keep,
    )
    print(outcome, flush=True)
    sys.exit(bool(outcome.problems))


if __name__ == "__main__":
    main()
