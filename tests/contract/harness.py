"""The seam of the transports under test: what the contract needs of one, whatever it is.

A `Harness` is given all records at once and hands out transports over them; each new one is a new process over the
same world. A new transport is one more entry of `HARNESSES`; its harness lives beside its own tests.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from streamwatch.records import Source
from streamwatch.transports.base import Transport
from streamwatch.transports.files import FilesTransport
from streamwatch.transports.memory import MemoryTransport, Record
from streamwatch.transports.order import CONTROL
from streamwatch.transports.recorded import record_line

# This topic is the service's control topic. By its name alone it would come behind the predictions.
SAID = "said"
KINDS = {SAID: CONTROL}


@dataclass(frozen=True)
class Committed:
    """What a reader of the outputs and the next owner of the task see."""

    alerts: list[bytes | None]
    dead_letters: list[bytes | None]
    state: Mapping[str, bytes]
    mark: bytes
    offsets: Mapping[Source, int]


class Harness(Protocol):
    finishes: bool
    """Whether its transport knows an end of the records."""

    def transport(self) -> Transport:
        """A transport over the records and what is committed. The one before it has been closed or abandoned."""

    def committed(self) -> Committed: ...

    def wait_s(self) -> float:
        """How long a drain may take at most before the test fails."""


@dataclass
class MemoryHarness:
    records: Sequence[Record]
    batch_size: int
    finishes: bool = True

    def __post_init__(self) -> None:
        self._transport = MemoryTransport(self.records, self.batch_size, KINDS)

    def transport(self) -> Transport:
        self._transport.close()
        return self._transport

    def committed(self) -> Committed:
        kept = self._transport
        return Committed(
            [message.value for message in kept.alert_messages],
            [message.value for message in kept.dead_letter_messages],
            dict(kept.state),
            kept.mark,
            dict(kept.offsets),
        )

    def wait_s(self) -> float:
        return 10.0


@dataclass
class FilesHarness:
    """Recorded files: odd and even partitions in a file each, in the order of arrival."""

    records: Sequence[Record]
    folder: Path
    batch_size: int
    finishes: bool = True
    alerts: io.BytesIO = field(default_factory=io.BytesIO)
    dead_letters: io.BytesIO = field(default_factory=io.BytesIO)

    def __post_init__(self) -> None:
        paths = [self.folder / "even.jsonl", self.folder / "odd.jsonl"]
        lines: list[list[bytes]] = [[], []]
        offsets: dict[Source, int] = {}
        for record in self.records:
            offset = offsets.get(record.source, 0)
            offsets[record.source] = offset + 1
            lines[record.partition % 2].append(line(record, offset))
        for path, content in zip(paths, lines, strict=True):
            path.write_bytes(b"".join(content))
        self._transport = FilesTransport(
            paths,
            alerts=self.alerts,
            dead_letters=self.dead_letters,
            kinds=KINDS,
            batch_size=self.batch_size,
        )

    def transport(self) -> Transport:
        self._transport.close()
        return self._transport

    def committed(self) -> Committed:
        kept = self._transport
        return Committed(
            list(self.alerts.getvalue().splitlines()),
            list(self.dead_letters.getvalue().splitlines()),
            dict(kept.state),
            kept.mark,
            dict(kept.offsets),
        )

    def wait_s(self) -> float:
        return 10.0


def line(record: Record, offset: int) -> bytes:
    """A record of the memory transport in the recorded form; key, value and headers are bytes or None."""
    assert record.key is None or isinstance(record.key, bytes)
    assert record.value is None or isinstance(record.value, bytes)
    headers = [(name, value.encode() if isinstance(value, str) else value) for name, value in record.headers]
    return record_line(record.source, offset, record.timestamp_ms, record.key, record.value, headers)


Make = Callable[[Sequence[Record], Path, int], Harness]

HARNESSES: dict[str, Make] = {
    "memory": lambda records, folder, batch_size: MemoryHarness(records, batch_size),
    "files": lambda records, folder, batch_size: FilesHarness(records, folder, batch_size),
}
