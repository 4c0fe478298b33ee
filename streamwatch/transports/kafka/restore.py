"""From what the broker holds to a task that can go on: fence, committed offsets, state, mark, where to begin.

`restore` is a generator: it yields between slices so that the caller polls the group in between, and returns what it
found. The order of its steps is what makes it right:

1. `init_transactions`: the old owner can commit no more, and what it had open is ended.
2. The committed offsets (this waits while a transaction of the group is undecided).
3. The state partition up to the high watermark, not to the last stable offset: a commit returns before its records
   can be read. Only whole transactions count, that is what lies before the last mark.
4. Mark and committed offsets must agree. A commit of the old owner may have raced step 1: both are read again for
   10 s. Then it is for a person to choose.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from kafka import TopicPartition
from kafka.errors import KafkaConnectionError, RetriableError

from streamwatch.config import Config
from streamwatch.errors import BrokerUnreachable, MarkMismatch, StateForeign, TransactionTimeout
from streamwatch.records import Source
from streamwatch.transports.kafka.clients import Clients
from streamwatch.transports.kafka.ends import Ends
from streamwatch.transports.kafka.membership import Membership
from streamwatch.transports.kafka.producer import TaskProducer
from streamwatch.transports.kafka.state_topic import Fold, Mark

T = TypeVar("T")
ResumeFrom = Literal["mark", "committed"]
Steps = Generator[float, None, T]  # yields for how many seconds there is nothing to do but wait

AGAIN_S = 10.0  # how long mark and committed offsets may differ
QUIET_S = 30.0  # how long the broker may give no answer, or the state partition no record
CALL_S = 1.0
READ_S = 0.1
WAIT_S = 0.02


@dataclass(frozen=True, slots=True)
class Restored:
    """What a task goes on from.

    positions  the next offset of every partition of the task, and of those that the mark has beside them
    marked     what the mark is to say until the next commit: as positions, but before what is lost, so that a
               crash finds it lost again
    said_to    the commit's, where it is beyond `positions`
    chosen     the last mark does not say it so: a new one must be committed, or a crash would choose again
    """

    state: Mapping[str, bytes]
    engine: bytes
    parts: dict[str, int]
    positions: dict[Source, int]
    marked: dict[Source, int]
    lost: dict[Source, int]
    said_to: dict[Source, int]
    chosen: bool


def restore(
    config: Config,
    task: int,
    tasks: int,
    sources: frozenset[Source],
    producer: TaskProducer,
    clients: Clients,
    resume_from: ResumeFrom | None,
    clock: Callable[[], float] = time.monotonic,
) -> Steps[Restored]:
    """Of task number `task` of `tasks`. StateError if the state cannot be used or mark and committed offsets disagree;
    PlatformError if the broker does not answer."""
    yield from opened(producer, clock)
    membership, ends = clients.membership, clients.ends
    place = Source(config.state_topic, task)
    fold = Fold(*place)
    position = -1
    deadline = clock() + AGAIN_S
    while True:
        committed = yield from committed_offsets(membership, sources, clock)
        position = yield from _read(clients, place, position, fold, clock)
        mark = fold.mark
        if mark is not None:
            refuse_foreign(
                mark, config, task, tasks, f"{place.topic}-{place.partition} offset {fold.mark_offset}"
            )
        different = disagreement(mark.positions if mark else None, committed)
        if not different or resume_from is not None:
            break
        if clock() > deadline:
            raise MarkMismatch(_mismatch_text(config, place, different))
        yield 0.2
    state, engine, parts = fold.state()
    known = dict(mark.positions) if mark else {}
    if different and resume_from == "committed":
        known.update(committed)
    positions, lost, last = yield from begin(config, sources, known, ends, clock)
    marked = {**known, **positions, **{source: known.get(source, 0) for source in lost}}
    chosen = bool(different) or mark is None or mark.positions != marked
    said = {} if mark is None or (different and resume_from == "committed") else mark.said
    said_to = to_repeat(said, known, positions, last)
    return Restored(state, engine, parts, {**known, **positions}, marked, lost, said_to, chosen)


def opened(producer: TaskProducer, clock: Callable[[], float] = time.monotonic) -> Steps[None]:
    future = producer.open()
    deadline = clock() + QUIET_S
    while not future.done():
        if clock() > deadline:
            raise TransactionTimeout(
                f"init_transactions of {producer.name} did not return within {QUIET_S:g} s"
            )
        yield WAIT_S
    future.result()


def committed_offsets(
    membership: Membership, sources: Iterable[Source], clock: Callable[[], float] = time.monotonic
) -> Steps[dict[Source, int]]:
    """The group's committed offsets of these partitions; those without one are left out."""
    committed: dict[Source, int] = {}
    for source in sorted(sources):
        offset = yield from asked(
            lambda source=source: membership.committed(source, CALL_S),  # type: ignore[misc]
            f"the committed offset of {source.topic}-{source.partition}",
            clock,
        )
        if offset is not None:
            committed[source] = offset
    return committed


def asked(call: Callable[[], T], what: str, clock: Callable[[], float] = time.monotonic) -> Steps[T]:
    """The answer, asked again while the broker does not give one; BrokerUnreachable after QUIET_S."""
    deadline = clock() + QUIET_S
    while True:
        try:
            return call()
        except (RetriableError, KafkaConnectionError) as error:
            if clock() > deadline:
                raise BrokerUnreachable(f"no answer for {QUIET_S:g} s to: {what} ({error})") from error
        yield WAIT_S


def _read(
    clients: Clients, place: Source, position: int, fold: Fold, clock: Callable[[], float]
) -> Steps[int]:
    """Read the state partition on from `position` (-1 = its beginning) to its high watermark into `fold`. Other tasks
    of this worker may want the reader, too: one after the other."""
    while not clients.reading.acquire(blocking=False):
        yield WAIT_S
    try:
        return (yield from _read_alone(clients.reader, clients.ends, place, position, fold, clock))
    finally:
        clients.reading.release()


def _read_alone(
    reader: Any, ends: Ends, place: Source, position: int, fold: Fold, clock: Callable[[], float]
) -> Steps[int]:
    name = f"{place.topic}-{place.partition}"
    part = TopicPartition(*place)
    if position < 0:
        begins = yield from asked(lambda: ends.begin([place]), f"the beginning of {name}", clock)
        position = begins[place]
    marks = yield from asked(lambda: ends.high_watermark([place]), f"the end of {name}", clock)
    end = marks[place]
    reader.assign([part])
    try:
        reader.seek(part, position)
        deadline = clock() + QUIET_S
        while position < end:
            for record in reader.poll(timeout_ms=int(READ_S * 1000)).get(part, ()):
                fold.take(record.offset, record.key, record.value)
            reached = reader.position(part, timeout_ms=int(CALL_S * 1000))
            if reached is not None and reached > position:
                position, deadline = reached, clock() + QUIET_S
            elif clock() > deadline:
                raise BrokerUnreachable(
                    f"{name} can be read up to offset {position}, but its end is {end}: is it offline, or does "
                    "another program hold a transaction open on it?"
                )
            yield 0.0
    finally:
        reader.unsubscribe()
    return position


def refuse_foreign(mark: Mark, config: Config, task: int, tasks: int, place: str) -> None:
    """StateForeign for the mark of another service or of another cut of the work."""
    if mark.service != config.service:
        raise StateForeign(
            f"{place}: this is the state of service {mark.service!r}, not of {config.service!r}. "
            "Give each service a state topic of its own (outputs.state)"
        )
    if (mark.mode, mark.tasks, mark.task) != (config.tasks, tasks, task):
        of_task = "" if mark.task == task else f"as task {mark.task} "
        raise StateForeign(
            f"{place}: the state was written {of_task}with tasks: {mark.mode} ({mark.tasks} of them), now it is tasks: "
            f"{config.tasks} ({tasks}). State is not cut anew: set it back, or start under a new service name (its "
            "monitors begin anew; outputs.alerts may stay)"
        )


def disagreement(
    mark: Mapping[Source, int] | None, committed: Mapping[Source, int]
) -> dict[Source, tuple[int | None, int]]:
    """Partitions whose committed offset is not the mark's, as (mark, committed).

    No committed offset is no disagreement: groups expire, and then the mark is the truth.

    >>> disagreement({Source("t", 0): 5}, {}), disagreement(None, {Source("t", 0): 5})
    ({}, {Source(topic='t', partition=0): (None, 5)})
    """
    return {
        source: (mark.get(source) if mark else None, offset)
        for source, offset in committed.items()
        if (mark or {}).get(source) != offset
    }


def to_repeat(
    said_to: Mapping[Source, int],
    known: Mapping[Source, int],
    positions: Mapping[Source, int],
    last: Mapping[Source, int],
) -> dict[Source, int]:
    """`said_to` where there is something to repeat. Offsets from a partition's end on are of records that are not
    there any more, and of others that will come; a partition that ends before where we were is another one.

    >>> a = Source("t", 0)
    >>> to_repeat({a: 9}, {a: 5}, {a: 5}, {a: 20}), to_repeat({a: 9}, {a: 5}, {a: 5}, {a: 7})
    ({Source(topic='t', partition=0): 9}, {Source(topic='t', partition=0): 7})
    >>> to_repeat({a: 9}, {a: 5}, {a: 0}, {a: 3}), to_repeat({a: 9}, {a: 5}, {a: 12}, {a: 20})
    ({}, {})
    """
    return {
        source: min(offset, last[source])
        for source, offset in said_to.items()
        if source in positions
        and known.get(source, 0) <= last[source]
        and min(offset, last[source]) > positions[source]
    }


def begin(
    config: Config,
    sources: frozenset[Source],
    known: Mapping[Source, int],
    ends: Ends,
    clock: Callable[[], float],
) -> Steps[tuple[dict[Source, int], dict[Source, int], Mapping[Source, int]]]:
    """Where each partition begins, how many offsets are lost where the next record is gone, and where each ends.

    1. A topic that the mark does not know begins at `start`, as at the very first start.
    2. A new partition of a topic that the mark knows begins at 0: nothing of it was seen.
    3. A position before the partition's first record goes on at that record: what lies between is lost.
    4. A position after its end (another topic of that name, or records lost by the cluster) begins at `start`.
    5. Wherever the others begin at `start`, the control topic begins at its first record: a silence that was written
       before the service ran holds.
    """
    first = yield from asked(lambda: ends.begin(sources), "where the input partitions begin", clock)
    stable = yield from asked(lambda: ends.stable_end(sources), "where the input partitions end", clock)
    last = yield from asked(lambda: ends.high_watermark(sources), "where the input partitions end", clock)
    topics = {source.topic for source in known}
    positions: dict[Source, int] = {}
    lost: dict[Source, int] = {}
    for source in sorted(sources):
        whole = config.start == "earliest" or source.topic == config.control_topic
        fresh = first[source] if whole else stable[source]
        if source not in known and source.topic not in topics:
            positions[source] = fresh
            continue
        position = known.get(source, 0)
        if position < first[source]:
            lost[source] = first[source] - position
            position = first[source]
        elif position > last[source]:
            lost[source] = position - last[source]
            position = fresh
        positions[source] = position
    return positions, lost, last


def _mismatch_text(config: Config, place: Source, different: Mapping[Source, tuple[int | None, int]]) -> str:
    some = "; ".join(
        f"{source.topic}-{source.partition}: mark {'none' if at is None else at}, committed {offset}"
        for source, (at, offset) in sorted(different.items())[:5]
    )
    return (
        f"the committed offsets of group {config.service!r} are not those of the last mark in {place.topic}-"
        f"{place.partition} ({some}). Somebody reset the group's offsets, or the state topic is not the one that was "
        "written. Choose once: `streamwatch run --resume-from mark` goes on where the state was written (exact), "
        "`streamwatch run --resume-from committed` goes on at the group's offsets with that state"
    )
