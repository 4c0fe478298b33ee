"""How a task's state lies on the compacted state topic: bytes of records, and what a row of records amounts to.

No I/O here. Every record is a header and a body:

    magic "SW" | format version | kind | count | crc32 of these and of the whole value | body

- kind S, key `name#0`: a value of the engine, or the first of `count` parts of it. The checksum covers all parts.
- kind P, key `name#n`: part n of it; `count` is n, the checksum that of this part.
- kind M, key `mark`: the mark, last in each transaction (msgpack of `Mark`).

The engine's values are opaque. Surplus parts of a value that shrank get tombstones in the same transaction.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping

import msgspec

from streamwatch.errors import StateDamaged, StateForeign
from streamwatch.records import Source

FORMAT = 1
PART_BYTES = 512 * 1024
MARK_KEY = b"mark"
# The engine's task-wide part of a mark, where it is too large for one record. No name of the engine is empty.
ENGINE_MARK = ""
_MAGIC = b"SW"
_FIELDS = struct.Struct(">2sBcI")
_HEADER = struct.Struct(">2sBcII")

KeyValue = tuple[bytes, bytes | None]
Rows = tuple[tuple[str, int, int], ...]  # topic, partition, offset


def rows(offsets: Mapping[Source, int]) -> Rows:
    return tuple((*source, offset) for source, offset in sorted(offsets.items()))


def _by_source(given: Rows) -> dict[Source, int]:
    return {Source(topic, partition): offset for topic, partition, offset in given}


class Mark(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a transaction was: the offsets after the records that the state has read, and how the task was cut.

    `engine` is the engine's own part; None = it stands in its own records (ENGINE_MARK). `said_to` is the commit's,
    where it is beyond `offsets`.
    """

    service: str
    mode: str
    tasks: int
    task: int
    offsets: Rows
    engine: bytes | None
    said_to: Rows = ()

    @property
    def positions(self) -> dict[Source, int]:
        return _by_source(self.offsets)

    @property
    def said(self) -> dict[Source, int]:
        return _by_source(self.said_to)


def encode(
    state: Mapping[str, bytes | None], mark: Mark, parts: Mapping[str, int]
) -> tuple[list[KeyValue], dict[str, int]]:
    """The records of one transaction, the mark last, and how many parts each written name now has.

    `parts` says how many each name had before.
    """
    engine = mark.engine or b""
    if len(engine) > PART_BYTES:
        state = {**state, ENGINE_MARK: engine}
        mark = msgspec.structs.replace(mark, engine=None)
    elif ENGINE_MARK in parts:
        state = {**state, ENGINE_MARK: None}
    records: list[KeyValue] = []
    counts: dict[str, int] = {}
    for name, value in state.items():
        count = 0
        if value is not None:
            count = max(1, -(-len(value) // PART_BYTES))
            records.extend(_parts(name, value, count))
        records.extend((_key(name, n), None) for n in range(count, parts.get(name, 0)))
        counts[name] = count
    body = msgspec.msgpack.encode(mark)
    records.append((MARK_KEY, _HEADER.pack(_MAGIC, FORMAT, b"M", 1, _checksum(b"M", 1, body)) + body))
    return records, counts


def _parts(name: str, value: bytes, count: int) -> Iterator[KeyValue]:
    for n in range(count):
        body = value[n * PART_BYTES : (n + 1) * PART_BYTES]
        kind, number, covered = (b"P", n, body) if n else (b"S", count, value)
        yield (
            _key(name, n),
            _HEADER.pack(_MAGIC, FORMAT, kind, number, _checksum(kind, number, covered)) + body,
        )


def _checksum(kind: bytes, number: int, covered: bytes) -> int:
    return zlib.crc32(covered, zlib.crc32(_FIELDS.pack(_MAGIC, FORMAT, kind, number)))


def _key(name: str, part: int) -> bytes:
    return f"{name}#{part}".encode()


class Fold:
    """The state that a row of records of one state partition amounts to, in whole transactions.

    A record counts from the mark after it on: what follows the last mark is not a whole transaction.
    """

    def __init__(self, topic: str, partition: int) -> None:
        self.place = f"{topic}-{partition}"
        self.mark: Mark | None = None
        self.mark_offset = -1
        self._held: dict[bytes, tuple[int, bytes]] = {}
        self._open: dict[bytes, tuple[int, bytes] | None] = {}

    def take(self, offset: int, key: bytes | None, value: bytes | None) -> None:
        """StateForeign for a record that streamwatch did not write or a newer one did."""
        if key is None:
            raise self._foreign(offset, "it has no key")
        if key != MARK_KEY:
            if not key.rpartition(b"#")[2].isdigit():
                raise self._foreign(offset, f"its key is {key[:60]!r}")
            self._open[key] = None if value is None else (offset, value)
            return
        if value is None:
            raise StateDamaged(f"{self.place} offset {offset}: the mark was deleted. {_REMEDY}")
        kind, count, crc, body = self._split(offset, value)
        if kind != b"M" or _checksum(kind, count, body) != crc:
            raise StateDamaged(f"{self.place} offset {offset}: the checksum of the mark is wrong. {_REMEDY}")
        try:
            self.mark = msgspec.msgpack.decode(body, type=Mark)
        except msgspec.DecodeError as error:
            raise self._foreign(offset, f"its mark cannot be read: {error}") from None
        self.mark_offset = offset
        for changed, entry in self._open.items():
            if entry is None:
                self._held.pop(changed, None)
            else:
                self._held[changed] = entry
        self._open.clear()

    def state(self) -> tuple[dict[str, bytes], bytes, dict[str, int]]:
        """The engine's values by name, its part of the mark, and the number of parts by name.

        StateDamaged if a part is missing or its bytes are not what was written.
        """
        values: dict[str, bytes] = {}
        counts: dict[str, int] = {}
        for key, (offset, value) in self._held.items():
            name, _, part = self._name(offset, key).rpartition("#")
            kind, count, crc, body = self._split(offset, value)
            if part != "0":
                continue
            bodies = [body, *(self._part(name, n, offset) for n in range(1, count))]
            values[name] = b"".join(bodies)
            counts[name] = count
            if kind != b"S" or _checksum(kind, count, values[name]) != crc:
                raise StateDamaged(
                    f"{self.place} offset {offset}: the checksum of {name!r} is wrong. {_REMEDY}"
                )
        engine = self.mark.engine if self.mark else b""
        apart = values.pop(ENGINE_MARK, None)
        if engine is None:
            if apart is None:
                raise StateDamaged(
                    f"{self.place} offset {self.mark_offset}: a part of the mark is gone. {_REMEDY}"
                )
            engine = apart
        return values, engine, counts

    def _part(self, name: str, n: int, first: int) -> bytes:
        offset, value = self._held.get(_key(name, n), (-1, b""))
        if offset < 0:
            raise StateDamaged(f"{self.place} offset {first}: part {n} of {name!r} is missing. {_REMEDY}")
        kind, number, crc, body = self._split(offset, value)
        if kind != b"P" or number != n or _checksum(kind, number, body) != crc:
            raise StateDamaged(f"{self.place} offset {offset}: the checksum of {name!r} is wrong. {_REMEDY}")
        return body

    def _name(self, offset: int, key: bytes) -> str:
        try:
            return key.decode()
        except UnicodeDecodeError:
            raise self._foreign(offset, f"its key is {key[:60]!r}") from None

    def _split(self, offset: int, value: bytes) -> tuple[bytes, int, int, bytes]:
        if len(value) < _HEADER.size or not value.startswith(_MAGIC):
            raise self._foreign(offset, f"its value begins with {value[:8]!r}")
        _, version, kind, count, crc = _HEADER.unpack_from(value)
        if version != FORMAT:
            raise StateForeign(
                f"{self.place} offset {offset}: state of format {version}, this streamwatch reads {FORMAT}: "
                "run the version that wrote it or a newer one, or start under a new service name"
            )
        return kind, count, crc, value[_HEADER.size :]

    def _foreign(self, offset: int, why: str) -> StateForeign:
        return StateForeign(
            f"{self.place} offset {offset} was not written by streamwatch: {why}. "
            "Give the service a state topic of its own (outputs.state)"
        )


_REMEDY = "Restore the topic from a backup, or start under a new service name (it begins from zero)"
