"""What the fault suite reads: an endless seeded stream of events, and a config that has much to say about it.

People talk into it all the while: silences, pauses, what ends them, accepts and verdicts on the control topic, and
now and then what is no command.

Every model's error rate jumps up or down every few hundred of its events, scores turn bad for a while, models come
once and go, and some records cannot be read: firing, settled, reminder, blind, seeing and evicted alerts and dead
letters, about 20 a second at 400 events a second. Stream time runs at a second an event, so that what takes minutes
happens.

With `tasks: per_partition` there is a second topic, of labels: early, late, twice and contradicting. Models keep to
their partition then, and each command is written to every partition.
"""

from __future__ import annotations

import heapq
import json
import random
import threading
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from typing import Any, Literal

from kafka import KafkaProducer

from streamwatch.commands import End
from streamwatch.config import Config, Tasks
from tests.build import START_S, config, event, monitor
from tests.talk import spoken
from tests.topics import Written, create_topic

SERVICE = "suite"
PARTITIONS = 4
RATE = 400  # events a second
SESSION_MS = 2_000
MODELS = 6
JUMP_EVERY = 150  # events of one model
SPOKEN = 0.04  # commands per event: the task waits for the control topic, so they must not be rare
ABOUT = [
    *((f"model=m{number}",) for number in range(MODELS)),
    ("model=m*", "model!=m0", "monitor=score"),
    ("monitor=error*", "segment.country=DE"),
    ("monitor=error-per-version", "version=1"),
    ("severity=warning",),
]
ACCEPTED = [("incident=a*",), ("incident=b*", "key=*"), ("monitor=error", "version=", "key=*")]
FOR_S = (1.0, 60.0, 200.0, 1500.0)
Acks = Literal["all", "1"]
# Of labels per event: how many are written once, and how long after their event, in events.
LABELLED = 0.9
LATE = (-40, 500)
LABELS = {"wait": "400s", "early": "30s", "absent_means": 0}


def suite_config(servers: str, service: str, tasks: Tasks = "one") -> Config:
    """`idle` is long: nothing may be overtaken, whatever is stopped or away, or live would not equal replay."""
    said = {"settle_after": "5m", "repeat_every": "20m"}
    labels = {"topics": [f"{service}-labels"], "kind": "labels"}
    more: dict[str, Any] = (
        {}
        if tasks == "one"
        else {"inputs": [{"topics": [f"{service}-in"]}, labels], "models": {"*": {"labels": LABELS}}}
    )
    return config(
        monitor("error", "error", {"adwin": {"delta": 0.01}}, by=[["country"]], **said),
        monitor("error-per-version", "error", "ddm", per="version", direction="up", **said),
        monitor("score", "score", blind={"of_last": 20}, **said),
        service=service,
        kafka={"bootstrap_servers": servers, "session_timeout_ms": SESSION_MS},
        **{"inputs": [{"topics": [f"{service}-in"]}], **more},
        tasks=tasks,
        sight={"lag": "0s"},  # the records are old, as the clock sees it
        idle="60s",
        start="earliest",
        max_stream_keys=60,
    )


def kinds_of(tasks: Tasks) -> tuple[str, ...]:
    return ("in", "control") if tasks == "one" else ("in", "control", "labels")


def create_topics(servers: str, service: str, tasks: Tasks = "one") -> None:
    """One partition of alerts, so that their order is one."""
    for kind in kinds_of(tasks):
        create_topic(servers, f"{service}-{kind}", 1 if kind == "control" and tasks == "one" else PARTITIONS)
    for kind in ("alerts", "dead-letters"):
        create_topic(servers, f"{service}-{kind}")


def partition_of(model: str) -> int:
    """A model's own, by the number that its name ends with. "*", of which all tasks might speak, has the first: nothing
    of the kind is expected."""
    if model == "*":
        return 0
    return int(model.rpartition("-")[2].removeprefix("m")) % PARTITIONS


def endless(seed: int, tasks: Tasks = "one") -> Iterator[tuple[str, Written]]:
    """Records of the topics "in", "control" and "labels" with rising times. With `tasks: one` events are at random over
    the partitions, as of a topic that is keyed by request."""
    draw = random.Random(seed)
    talk = random.Random(seed)
    seen = [0] * MODELS
    labels: list[tuple[int, int, int, bytes]] = []
    number = 0
    while True:
        now_s = START_S + number
        now_ms = int(now_s * 1000)
        while talk.random() < SPOKEN:
            said = _said(talk, number)
            for partition in range(1 if tasks == "one" else PARTITIONS):
                yield "control", Written(said, partition=partition, timestamp_ms=now_ms)
        value = _value(draw, number, now_s, seen)
        partition = draw.randrange(PARTITIONS)
        if tasks != "one" and value and b'"event_id"' in value:
            said_of = json.loads(value)
            partition = partition_of(said_of["model"])
            for due, label in _labels(draw, number, said_of):
                heapq.heappush(labels, (due, len(labels), partition, label))
            del said_of["label"]
            value = json.dumps(said_of).encode()
        while labels and labels[0][0] <= number:
            _, _, place, label = heapq.heappop(labels)
            yield "labels", Written(label, partition=place, timestamp_ms=now_ms)
        yield "in", Written(value, partition=partition, timestamp_ms=now_ms)
        number += 1


def _labels(draw: random.Random, number: int, said: dict[str, Any]) -> Iterator[tuple[int, bytes]]:
    """When, and what. With a negative delay it is there before its event: it names one that is to come."""
    if draw.random() > LABELLED:
        return
    for label in (0, 1)[: 2 if draw.random() < 0.1 else 1]:
        delay = draw.randint(*LATE)
        name = said["event_id"] if delay >= 0 else f"e{number - delay}"
        body = {"event_id": name, "model": said["model"], "label": label}
        yield number + max(0, delay), json.dumps(body).encode()
    if draw.random() < 0.01:
        yield number, draw.choice([b"{", b'{"label": 1}', b""])


def _said(draw: random.Random, number: int) -> bytes | None:
    if draw.random() < 0.06:
        return draw.choice([None, b"", b"{", b'{"command": "dance", "id": "d"}', b'{"command": "accept"}'])
    return spoken(draw, number, float(number), ABOUT, ACCEPTED, FOR_S).message().value


def _value(draw: random.Random, number: int, now_s: float, seen: list[int]) -> bytes | None:
    dice = draw.random()
    if dice < 0.01:
        return draw.choice(
            [b"", b"{", b"[1]", b'{"model": null}', b"\xff\xfe", b'{"model": "m", "timestamp": "x"}']
        )
    if dice < 0.015:
        return None
    model = draw.randrange(MODELS)
    seen[model] += 1
    bad = (seen[model] // JUMP_EVERY + model) % 2
    fields: dict[str, Any] = {
        "event_id": f"e{number}",
        "model": f"once-{number}" if dice < 0.03 else f"m{model}",
        "model_version": str(seen[model] // 400),
        "prediction": int(draw.random() < (0.5 if bad else 0.05)),
        "label": 0,
        "score": "high"
        if seen[model] % 500 > 460 and draw.random() < 0.5
        else draw.gauss(0.7 if bad else 0.3, 0.1),
        "features": {"country": draw.choice(["DE", "AT"])},
    }
    return json.dumps(event(now_s, **fields)).encode()


def closing(last_ms: int, tasks: Tasks = "one") -> list[tuple[str, Written]]:
    """A later record for each partition: all before them can go on without waiting."""
    later_ms = last_ms + 1000
    last = End(id="last", author="ana", of="none").message().value
    models = ["closing" if tasks == "one" else f"closing-{partition}" for partition in range(PARTITIONS)]
    of_kind = {
        "control": [last] * (1 if tasks == "one" else PARTITIONS),
        "in": [json.dumps(event(later_ms / 1000, model=m, prediction=0, label=0)).encode() for m in models],
        "labels": [b'{"event_id": "none", "label": 1}'] * PARTITIONS,
    }
    return [
        (kind, Written(value, partition=partition, timestamp_ms=later_ms))
        for kind in kinds_of(tasks)
        for partition, value in enumerate(of_kind[kind])
    ]


def checksum(value: bytes | None) -> int:
    return zlib.crc32(value or b"")


class Writer(threading.Thread):
    """Writes the stream at a steady rate until told to stop, and then a closing record to each partition.

    `acks`: how many replicas have a record before it is acknowledged.
    `closed`: all of it arrived.
    `acknowledged`: offset and `checksum` of each record that a broker said it has, by topic and partition. An offset
    may be told twice: a record that was lost leaves its place to another one.
    """

    def __init__(
        self, servers: str, service: str, seed: int, tasks: Tasks = "one", acks: Acks = "all"
    ) -> None:
        super().__init__(name="writer", daemon=True)
        self._servers, self._service, self._seed, self._tasks = servers, service, seed, tasks
        self._acks = acks
        self.acknowledged: defaultdict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
        self._over = threading.Event()
        self.closed = False

    def run(self) -> None:
        producer = KafkaProducer(
            bootstrap_servers=self._servers, bootstrap_timeout_ms=30_000, linger_ms=5,
            acks="all" if self._acks == "all" else int(self._acks), reconnect_backoff_max_ms=500,
        )  # fmt: skip
        began, last_ms, events = time.monotonic(), 0, 0
        for kind, record in endless(self._seed, self._tasks):
            events += kind == "in"
            if self._over.wait(max(0.0, began + events / RATE - time.monotonic())):
                break
            self._send(producer, kind, record)
            last_ms = record.timestamp_ms or 0
        for kind, record in closing(last_ms, self._tasks):
            self._send(producer, kind, record)
        producer.flush(timeout=60)
        producer.close(timeout=10)
        self.closed = True

    def _send(self, producer: Any, kind: str, record: Written) -> None:
        sent = producer.send(
            f"{self._service}-{kind}", value=record.value, partition=record.partition, timestamp_ms=record.timestamp_ms,
            key=b"k" if record.value is None else None,
        )  # fmt: skip
        sent.add_callback(partial(self._acknowledge, checksum(record.value)))

    def _acknowledge(self, checksum: int, sent: Any) -> None:
        if sent.offset >= 0:  # not told of what was sent twice and written once
            self.acknowledged[sent.topic, sent.partition].append((sent.offset, checksum))

    def end(self) -> None:
        self._over.set()
        self.join(90.0)
