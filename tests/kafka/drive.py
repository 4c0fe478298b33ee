"""Drives a Kafka transport as the loop would, and keeps what it said."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from streamwatch.config import Config
from streamwatch.errors import PlatformError
from streamwatch.records import Batch, Commit, Message, Source
from streamwatch.transports.base import Closed, Happening, Opened
from streamwatch.transports.kafka.transport import KafkaTransport
from tests.topics import create_topic

MONITOR = {"name": "m", "signal": {"kind": "score"}, "detector": {"adwin": {}}, "per": "model"}


def service(servers: str, name: str, partitions: int = 1, **more: Any) -> Config:
    """A config that reads topic `{name}-in`, with all its topics made."""
    create_topic(servers, f"{name}-in", partitions)
    create_topic(servers, f"{name}-state", cleanup_policy="compact")
    for kind in ("alerts", "dead-letters", "control"):
        create_topic(servers, f"{name}-{kind}")
    return config(servers, name, **more)


def config(servers: str, name: str, **more: Any) -> Config:
    given = {
        "service": name,
        "kafka": {"bootstrap_servers": servers, "session_timeout_ms": 3_000},
        "inputs": [{"topics": [f"{name}-in"], "kind": "predictions"}],
        "monitors": [MONITOR],
        "start": "earliest",
    }
    return Config.model_validate({**given, **more})


class Driven:
    """One transport and what came of it since its task was last opened: `values` in order, `offsets` behind them."""

    def __init__(self, transport: KafkaTransport) -> None:
        self.transport = transport
        self.happenings: list[Happening] = []
        self.values: list[bytes | None] = []
        self.offsets: dict[Source, int] = {}
        self.state: dict[str, bytes] = {}
        self.mark = b""
        self.is_open = False

    def poll(self, timeout_s: float = 0.25) -> list[Happening]:
        new = list(self.transport.poll(timeout_s))
        for happening in new:
            match happening:
                case Opened():
                    self.values, self.offsets = [], dict(happening.offsets)
                    self.state, self.mark = dict(happening.state), happening.mark
                    self.is_open = True
                    self.said_to = dict(happening.said_to)
                case Closed():
                    self.is_open = False
                case Batch():
                    assert self.is_open, "records of a task that is not open"
                    self.values.extend(happening.value)
                    self.offsets.update(happening.next_offsets())
        self.happenings += new
        return new

    def until(self, holds: Callable[[], bool], within_s: float = 30.0, forgive: bool = False) -> Driven:
        """Poll until it holds. `forgive`: PlatformErrors are kept in `happenings`' stead and waited out."""
        deadline = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < deadline, (
                f"not within {within_s:g} s; so far {self.happenings[-5:]}, {len(self.values)} records, "
                f"{self.transport.progress()}"
            )
            try:
                self.poll()
            except PlatformError:
                if not forgive:
                    raise
        return self

    def opened(self, within_s: float = 30.0) -> Driven:
        return self.until(lambda: self.is_open, within_s)

    def read(self, count: int, within_s: float = 30.0) -> Driven:
        """Poll until so many records came since the task was opened."""
        return self.until(lambda: self.is_open and len(self.values) >= count, within_s)

    def commit(
        self, alerts: Iterable[bytes] = (), state: dict[str, bytes | None] | None = None, mark: bytes = b"m"
    ) -> Driven:
        messages = [Message(b"k", alert) for alert in alerts]
        try:
            self.transport.commit(Commit(0, dict(self.offsets), messages, (), state or {}, mark))
        except Exception:
            self.is_open = (
                False  # as the loop does: what it knows of the task is void until it is opened again
            )
            raise
        return self

    def __enter__(self) -> Driven:
        return self

    def __exit__(self, *_: object) -> None:
        self.transport.close()


@contextmanager
def meanwhile(worker: Driven) -> Iterator[None]:
    """Another thread polls this worker, as its process would: a join that completes between two polls is begun anew,
    so two members that one thread polls in turn may never come to an end."""
    over = threading.Event()
    failed: list[BaseException] = []

    def poll() -> None:
        try:
            while not over.is_set():
                worker.poll()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(30)
    if failed:
        raise failed[0]


def driven(config: Config, **more: Any) -> Driven:
    return Driven(KafkaTransport(config, **more))
