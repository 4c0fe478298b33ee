"""The recorded form: one record of a topic per line, as JSON, with the coordinates that alerts name.

    {"topic": "predictions", "partition": 2, "offset": 101233, "timestamp": 1764000000123,
     "key": "a1", "headers": [["ce_model", "fraud"]], "value": {"event_id": "a1", "score": 0.93}}

topic, partition, offset, timestamp (milliseconds since the epoch, -1 = none) and value are required; key defaults
to null, headers to none; other fields are ignored. Bytes are written so:

value     null = no value (a tombstone); a string = its UTF-8; any other JSON stands for itself, byte by byte
key       null or a string
headers   pairs of a name and null or a string
anywhere  {"base64": "..."} = bytes that are no UTF-8
"""

from __future__ import annotations

import base64
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec
import numpy as np

from streamwatch.errors import OperatorError
from streamwatch.records import Header, Source
from streamwatch.transports.queue import Ints

_REQUIRED: Final = frozenset(("topic", "partition", "offset", "timestamp", "value"))
_EXPECTED: Final = (
    'expected {"topic": text, "partition": number, "offset": number, "timestamp": milliseconds, '
    '"key": text or null, "headers": [[name, text or null], ...], "value": text, null or JSON}'
)
BOM: Final = b"\xef\xbb\xbf"


class _Bytes(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    base64: str


_Text = str | _Bytes | None


class _Line(msgspec.Struct, gc=False):
    topic: Annotated[str, msgspec.Meta(min_length=1)]
    partition: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    offset: Annotated[int, msgspec.Meta(ge=0, le=2**62)]
    timestamp: Annotated[int, msgspec.Meta(ge=-1, le=2**62)]
    value: msgspec.Raw
    key: _Text = None
    headers: list[tuple[str, _Text]] = []


_line = msgspec.json.Decoder(_Line)
_string = msgspec.json.Decoder(str)
_names = msgspec.json.Decoder(dict[str, msgspec.Raw])
_wrapped = msgspec.json.Decoder(_Bytes)


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Records of one partition, by column, in the order of their lines."""

    offsets: list[int]
    timestamps_ms: list[int]
    key: list[bytes | None]
    value: list[bytes | None]
    headers: list[Sequence[Header]]

    def arrays(self) -> tuple[Ints, Ints]:
        return np.array(self.offsets, dtype=np.int64), np.array(self.timestamps_ms, dtype=np.int64)


def parse(
    data: bytes, path: Path, first_line: int, last: dict[Source, int] | None = None
) -> dict[Source, Columns]:
    """Whole lines of a recorded file by partition, `first_line` counting from 1; blank lines are skipped.

    OperatorError names the file and line that is wrong. With `last`, which is kept up to date, offsets must rise
    over its calls.
    """
    if first_line == 1:
        data = data.removeprefix(BOM)
    found = _at_once(data)
    if found is None:
        found = _columns(_one_by_one(data, path, first_line))
    if last is not None:
        for source, columns in found.items():
            before = [last.get(source, -1), *columns.offsets[:-1]]
            if any(map(operator.le, columns.offsets, before)):
                raise _falling(data, path, first_line, last)
            last[source] = columns.offsets[-1]
    return found


def _at_once(data: bytes) -> dict[Source, Columns] | None:
    """None if something is wrong, or may be: msgspec also takes two records on a line, or one on two."""
    try:
        entries = _line.decode_lines(data)
        if len(entries) == data.count(b"\n") + (data[-1:] not in (b"\n", b"")):
            return _columns(entries)
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass
    return None


def _columns(entries: list[_Line]) -> dict[Source, Columns]:
    groups: dict[tuple[str, int], list[_Line]] = {}
    for entry in entries:
        at = (entry.topic, entry.partition)
        if at in groups:
            groups[at].append(entry)
        else:
            groups[at] = [entry]
    return {
        Source(*at): Columns(
            [entry.offset for entry in group],
            [entry.timestamp for entry in group],
            [None if entry.key is None else _bytes(entry.key) for entry in group],
            [_value(bytes(entry.value)) for entry in group],
            [[(name, _bytes(text)) for name, text in entry.headers] for entry in group],
        )
        for at, group in groups.items()
    }


def _one_by_one(data: bytes, path: Path, first_line: int) -> list[_Line]:
    """The same as all at once; what is wrong is raised with its line."""
    entries = []
    for number, line in enumerate(data.split(b"\n"), first_line):
        if line.strip():
            try:
                entry = _line.decode(line)
                _columns([entry])
            except (msgspec.DecodeError, ValueError, RecursionError) as exc:
                raise OperatorError(f"{path}:{number}: not a recorded record: {exc}; {_EXPECTED}") from exc
            entries.append(entry)
    return entries


def _falling(data: bytes, path: Path, first_line: int, last: Mapping[Source, int]) -> OperatorError:
    before = dict(last)
    for number, line in enumerate(data.split(b"\n"), first_line):
        if line.strip():
            entry = _line.decode(line)
            source = Source(entry.topic, entry.partition)
            if entry.offset <= before.get(source, -1):
                return OperatorError(
                    f"{path}:{number}: offset {entry.offset} of {entry.topic}/{entry.partition} comes after offset "
                    f"{before[source]}; expected each partition's records in the order of their offsets"
                )
            before[source] = entry.offset
    raise AssertionError("offsets fall, and no line is where")


def is_recorded(line: bytes) -> bool | None:
    """Whether this is a line of the recorded form; None if it is no JSON object, and so says nothing."""
    try:
        names = _names.decode(line)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return names.keys() >= _REQUIRED


def record_line(
    source: Source,
    offset: int,
    timestamp_ms: int,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[Header] = (),
) -> bytes:
    """A record in the recorded form, with its newline. Reading it gives the same bytes again.

    >>> record_line(Source("p", 0), 7, 1500, b"k", b'{"score": 0.9}', [("h", b"x")])
    b'{"topic":"p","partition":0,"offset":7,"timestamp":1500,"key":"k","headers":[["h","x"]],"value":{"score": 0.9}}\\n'
    """
    entry = {
        "topic": source.topic,
        "partition": source.partition,
        "offset": offset,
        "timestamp": timestamp_ms,
        "key": _text(key),
        "headers": [(name, _text(text)) for name, text in headers],
    }
    if value is not None and value[:1] == b"{" and b"\n" not in value:
        line = msgspec.json.encode({**entry, "value": msgspec.Raw(value)})
        try:
            if _value(bytes(_line.decode(line).value)) == value:
                return line + b"\n"
        except (msgspec.DecodeError, ValueError, RecursionError):
            pass  # no JSON that a line can hold: written as text
    return msgspec.json.encode({**entry, "value": _text(value)}) + b"\n"


def _value(value: bytes) -> bytes | None:
    """What the JSON in `value` stands for."""
    if value == b"null":
        return None
    if value[:1] == b'"':
        return _string.decode(value).encode()
    if value[:1] == b"{" and b'"base64"' in value[:20]:
        try:
            return _bytes(_wrapped.decode(value))
        except msgspec.DecodeError:
            return value  # an event that has such a field
    return value


def _bytes(text: _Text) -> bytes | None:
    if isinstance(text, _Bytes):
        return base64.b64decode(text.base64, validate=True)
    return None if text is None else text.encode()


def _text(value: bytes | None) -> str | dict[str, str] | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}
