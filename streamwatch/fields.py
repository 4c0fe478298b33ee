"""The wanted fields of JSON records, by column: a struct with only those fields, decoded by msgspec.

What msgspec refuses is tried once more with the standard library, because Python's json writes NaN and
Infinity daily and msgspec refuses the whole record for one, even where nobody reads. Both give the same values:

1. Values are as JSON gives them; absent is null is None; of a repeated name the last one counts.
2. Integers of more than 4,300 digits (Python's own limit) and floats beyond float64 are infinite.
3. What is not valid UTF-8, or a lone surrogate, makes a value that is read `Unusable`. Where nobody reads,
   bytes that are no UTF-8 pass, on both paths.
4. A name below something that is no object is `Unusable`.
5. More than 256 levels of nesting are refused by our own count, because the parsers' limits depend on how deep
   the caller stands. A byte order mark is passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np

from streamwatch.errors import SenderError

Path = tuple[str, ...]

DEEPEST: Final = 256
_DIGITS: Final = 4300
_TOGETHER: Final = 64  # more bytes than these events have leave the processor's cache

_UNNAMED = re.compile(r'[\\"\0-\x1f]')  # what msgspec allows in no name of a struct
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)  # possessive and open-ended: linear on any input
_LEVELS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))
_SURROGATE = re.compile("[\ud800-\udfff]|\\\\u[dD][89a-fA-F]")


@dataclass(frozen=True, slots=True)
class Unusable:
    """Stands in a column for a value that is there and cannot be read; for signals it is no JSON value."""

    code: str
    text: str


@dataclass(slots=True)
class _Node:
    """A name on a wanted path. `struct` is None where the whole value is wanted, and for names below that."""

    wanted: bool = False
    below: dict[str, _Node] = field(default_factory=dict)
    struct: type[msgspec.Struct] | None = None
    empty: Any = None
    getters: dict[str, Callable[[Sequence[Any]], list[Any]]] = field(default_factory=dict)

    def compile(self) -> Any:
        """The type to decode. Attributes are f0, f1, ..., because JSON names need not be Python's."""
        if self.wanted or not self.below or any(map(_UNNAMED.search, self.below)):
            return Any
        attributes = [(f"f{i}", node.compile(), None) for i, node in enumerate(self.below.values())]
        names = {f"f{i}": name for i, name in enumerate(self.below)}
        # gc=False: JSON has no cycles, so the collector need not walk all those short-lived structs
        self.struct = msgspec.defstruct("Wanted", attributes, rename=names, gc=False)
        self.empty = self.struct()
        # a name that stands in the code is read in half the time of an attrgetter
        self.getters = {name: eval(f"lambda rows: [row.{f} for row in rows]") for f, name in names.items()}
        return self.struct | None

    def build(self, value: Any, dirty: bool) -> Any:
        """What the fast path would give. `dirty`: some text in the record cannot be written as UTF-8."""
        if self.struct is None or value is None:
            return _clean(value) if dirty else value
        if isinstance(value, dict):
            return self.struct(*[node.build(value.get(name), dirty) for name, node in self.below.items()])
        return self.spread(no_object(value))

    def spread(self, unusable: Unusable) -> Any:
        if self.struct is None:
            return unusable
        return self.struct(*[node.spread(unusable) for node in self.below.values()])


class Fields:
    """Reads the values at `paths` out of JSON objects; the empty path is the whole object."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._root = _Node()
        for path in paths:
            node = self._root
            for name in path:
                node = node.below.setdefault(name, _Node())
            node.wanted = True
        if not self._root.below:
            self._root.below[""] = _Node(wanted=True)  # nothing is wanted: records are checked all the same
        self._root.compile()
        kind: Any = self._root.struct or dict[str, Any]
        self._fast: Callable[[bytes], Any] = msgspec.json.Decoder(kind).decode

    def rows(self, values: Sequence[bytes]) -> tuple[list[Any], dict[int, SenderError]]:
        """Each record as a row for `column`, and by position what is no JSON object (its row is None)."""
        wrong: dict[int, SenderError] = {}
        rows: list[Any] = []
        pending = map(self._fast, _shallow(values))
        while True:
            try:
                rows.extend(pending)  # keeps what came before an error, and goes on behind it
                break
            except (msgspec.MsgspecError, ValueError, RecursionError):
                row = len(rows)
                try:
                    rows.append(self.slow(values[row]))
                except SenderError as exc:
                    wrong[row] = exc
                    rows.append(None)
        return rows, wrong

    def slow(self, value: bytes) -> Any:
        """One record by the standard library; SenderError if it is no JSON object."""
        return self._root.build(*parse(value))

    def column(self, rows: Sequence[Any], path: Path) -> Sequence[Any]:
        """The values at one of the paths."""
        node = self._root
        column: Sequence[Any] = rows
        for name in path:
            if node.struct is None:
                column = [_get(value, name) for value in column]
            else:
                below = node.getters[name]
                try:
                    column = below(column)
                except AttributeError:  # of None
                    column = below([node.empty if value is None else value for value in column])
            node = node.below.get(name) or _Node()
        return column


def _shallow(values: Sequence[bytes]) -> Sequence[bytes]:
    """The same, without those that are too deep. Most events are shown not to be by few looks at many of them."""
    if max(map(len, values), default=0) <= 2 * DEEPEST:  # so few bytes cannot open and close so many
        return values
    found: list[bytes] = []
    for start in range(0, len(values), _TOGETHER):
        part = values[start : start + _TOGETHER]
        data = np.frombuffer(b"".join(part), dtype=np.uint8)
        if np.count_nonzero(data == 91) + np.count_nonzero(data == 123) <= DEEPEST:
            found += part
        else:
            found += [b"" if too_deep(value) else value for value in part]
    return found


def too_deep(value: bytes) -> bool:
    """Whether there are more than DEEPEST levels of lists and objects, in JSON or what should be."""
    lists = value.count(b"[") if 91 in value else 0  # most events have none, and `in` is five times as fast
    if lists + value.count(b"{") <= DEEPEST:
        return False
    brackets = _STRING.sub(b"", value).translate(_LEVELS, _NO_BRACKETS)
    levels = np.frombuffer(brackets, dtype=np.int8).cumsum(dtype=np.int64)
    return bool(levels.size) and int(levels.max()) > DEEPEST


def parse(value: bytes) -> tuple[dict[str, Any], bool]:
    """A JSON object by the standard library, and whether some text in it may not be writable as UTF-8.

    SenderError if it is no JSON object.
    """
    if not value:
        raise SenderError("empty", "expected a JSON object, got no bytes")
    if too_deep(value):
        raise SenderError("too deep", f"expected at most {DEEPEST} levels of nesting, got more")
    text = value.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    try:
        parsed = json.loads(text, parse_int=_integer)
    except RecursionError:
        raise SenderError("too deep", "nested deeper than can be read here") from None
    except ValueError as exc:
        try:
            value.decode()
        except UnicodeDecodeError as bad:
            byte = f"byte {value[bad.start]:#04x} at position {bad.start}"
            raise SenderError("not utf-8", f"expected JSON in UTF-8, got {byte}") from None
        raise SenderError("not json", f"expected a JSON object, got what is no JSON: {exc}") from None
    if not isinstance(parsed, dict):
        raise SenderError("not an object", f"expected a JSON object, got {show(parsed)}")
    return parsed, _SURROGATE.search(text) is not None


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) - digits.startswith("-") <= _DIGITS else float(digits)


def _clean(value: Any) -> Any:
    """Without what cannot be written as UTF-8: such texts are unusable, in names it is replaced."""
    if isinstance(value, str):
        if _writable(value):
            return value
        return Unusable("not utf-8", f"expected text in UTF-8, got {show(value)}")
    if isinstance(value, list):
        for index, entry in enumerate(value):
            value[index] = _clean(entry)
        return value
    if isinstance(value, dict):
        cleaned = {}
        for name, entry in value.items():
            written = name if _writable(name) else re.sub("[\ud800-\udfff]", "\ufffd", name)
            cleaned[written] = _clean(entry)
        return cleaned
    return value


def _writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _get(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return value.get(name)
    if value is None or isinstance(value, Unusable):
        return value
    return no_object(value)


def no_object(value: Any) -> Unusable:
    """For a name that is asked of something that has no names."""
    return Unusable("field wrong", f"expected an object that holds it, got {show(value)}")


def show(value: Any) -> str:
    """A value in a reason: short, writable as UTF-8, and of lists and objects only the size.

    >>> show("fraud"), show([1, 2]), show(float("nan"))
    ('"fraud"', 'a list of 2', 'NaN')
    """
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    if isinstance(value, str) and len(value) > 80:
        return f"{show(value[:73] + '...')} ({len(value)} characters)"
    if isinstance(value, Unusable):
        return "an unusable value"
    if isinstance(value, str) and not value.isascii():
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}... ({len(text)} characters)"
