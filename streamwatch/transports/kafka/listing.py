"""Whether a stream key lies in two partitions, so that two tasks watch a part of it each: a mistake in how the topics
are keyed, which nothing else shows.

The owner of task 0 lists the keys of all state partitions: when the group has settled, and then after a minute, two,
four, up to an hour. On a thread and a connection of its own: Kafka gives no keys without their values, so a list reads
what was written to the state topic since the last one (at the first: all of it).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Future

from streamwatch.config import Config
from streamwatch.errors import StreamwatchError
from streamwatch.events import StreamKey
from streamwatch.logs import log
from streamwatch.records import Source
from streamwatch.transports.kafka.bystander import bystander
from streamwatch.transports.kafka.producer import Worker

FIRST_S, LAST_S = 60.0, 3600.0
PREFIX = "stream:"
NAMED = 3


class Listing:
    """`count`: of the service's tasks."""

    def __init__(self, config: Config, count: int) -> None:
        self._config = config
        self._keys: dict[int, set[str]] = {number: set() for number in range(count)}
        self._read_to: dict[Source, int] = {}
        self._worker = Worker("the list of stream keys")
        self._under_way: Future[dict[str, str]] | None = None
        self._round = -1
        self._next_at = float("-inf")
        self._pause_s = FIRST_S
        self._said: set[str] = set()

    def look(self, round_: int, now: float) -> Mapping[str, str] | None:
        """Every model of the state, with what is wrong about it, if a new list is there; never waits. `round_` counts
        the assignments of the group."""
        if self._under_way is not None:
            return self._result(now) if self._under_way.done() else None
        if round_ != self._round:
            self._round, self._pause_s, self._next_at = round_, FIRST_S, now
        if now >= self._next_at:
            self._under_way = self._worker.start(self._list)
        return None

    def stop(self) -> None:
        self._worker.stop()

    def _result(self, now: float) -> Mapping[str, str] | None:
        assert self._under_way is not None
        done, self._under_way = self._under_way, None
        self._next_at, self._pause_s = now + self._pause_s, min(LAST_S, 2 * self._pause_s)
        try:
            found = done.result()
        except StreamwatchError as error:
            log().warning("stream keys not listed", error=type(error).__name__, detail=str(error))
            return None
        for model, detail in found.items():
            if detail and detail not in self._said:
                log().error("key in two partitions", model=model, detail=detail)
        self._said = set(found.values())
        return found

    def _list(self) -> dict[str, str]:
        sources = [Source(self._config.state_topic, number) for number in self._keys]
        with bystander(self._config.kafka) as reader:
            bounds = reader.bounds(sources)
            for source, (first, end) in bounds.items():
                if self._read_to.get(source, 0) > end:  # another topic of that name
                    self._keys[source.partition].clear()
                    self._read_to[source] = first
            new = {s: (max(first, self._read_to.get(s, first)), end) for s, (first, end) in bounds.items()}
            for record in reader.between(new):
                self._take(record.partition, record.key, record.value is None)
            self._read_to |= {source: end for source, (_, end) in bounds.items()}
        return doubled(self._keys, self._config.state_topic)

    def _take(self, partition: int, key: bytes | None, gone: bool) -> None:
        name, _, part = (key or b"").decode(errors="replace").rpartition("#")
        if part == "0" and name.startswith(PREFIX):
            (self._keys[partition].discard if gone else self._keys[partition].add)(name)


def doubled(keys: Mapping[int, set[str]], topic: str) -> dict[str, str]:
    """By model what is wrong; nothing if each of its stream keys lies in one partition.

    >>> doubled({0: {'stream:["a",null,[]]', 'stream:["b",null,[]]'}, 2: {'stream:["a",null,[]]'}}, "s")["b"]
    ''
    """
    places: dict[str, list[int]] = {}
    for number, names in sorted(keys.items()):
        for name in names:
            places.setdefault(name, []).append(number)
    wrong: dict[str, list[StreamKey]] = {}
    where: dict[str, set[int]] = {}
    for name, numbers in places.items():
        model, version, segment = json.loads(name.removeprefix(PREFIX))
        wrong.setdefault(model, [])
        if len(numbers) > 1:
            wrong[model].append(StreamKey(model, version, tuple((field, value) for field, value in segment)))
            where.setdefault(model, set()).update(numbers)
    return {
        model: _told(sorted(found, key=str), sorted(where[model]), topic) if found else ""
        for model, found in sorted(wrong.items())
    }


def _told(keys: list[StreamKey], numbers: list[int], topic: str) -> str:
    more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return (
        f"{', '.join(map(str, keys[:NAMED]))}{more} in partitions {', '.join(map(str, numbers))} of {topic}: the "
        "topics are not keyed by model, so several tasks watch a part of it each. Key them by model, or take "
        "tasks: one, under a new service name"
    )
