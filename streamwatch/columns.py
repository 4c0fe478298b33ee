"""The columns of one input: each field from where its mapping says, for the records that could be read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from streamwatch.categories import text
from streamwatch.events import Needs
from streamwatch.fields import Fields, Unusable, no_object, show
from streamwatch.mapping import VALUES, Only, Place, Read, split
from streamwatch.records import Batch

_NUMBER = re.compile(r"-?(0|[1-9]\d{0,4000})(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_IDENTITY: Final = ("id", "model", "version", "time")


@dataclass(frozen=True)
class BrokenFeatures(Mapping[str, Any]):
    """Stands for features that are no object: it lists none, and each one that is asked for is unusable."""

    unusable: Unusable

    def __getitem__(self, name: str) -> Any:
        return self.unusable

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Records of a batch that are JSON objects: their positions in it, and what `fields` made of them."""

    batch: Batch
    at: npt.NDArray[np.int64]
    parsed: Sequence[Any]

    def __len__(self) -> int:
        return len(self.at)

    def keep(self, rows: Sequence[int]) -> Rows:
        return Rows(self.batch, self.at[rows], [self.parsed[row] for row in rows])


class Columns:
    """Reads the fields of one input that are needed; what identifies an event is always needed."""

    def __init__(self, read: Read, needs: Needs, only: Only | None = None) -> None:
        self._needs = needs
        self._only = only
        self._meant = frozenset() if only is None else only.texts
        self._places: dict[str, Place | None] = {
            name: getattr(read, name)
            for name in (*_IDENTITY, *VALUES)
            if name in _IDENTITY or name in needs.fields
        }
        mapped = [
            split(p.path)
            for name in (*_IDENTITY, *VALUES)
            if (p := getattr(read, name)) is not None and p.path
        ]
        self._own = {path[0] for path in mapped if len(path) == 1}
        self._features = None if read.features is None else split(str(read.features.path))
        paths = [split(place.path) for place in self._places.values() if place is not None and place.path]
        if only is not None and only.field.path:
            paths.append(split(only.field.path))
        if self._features is not None:
            paths += [(*self._features, name) for name in sorted(needs.features)]
            if needs.all_features:
                paths.append(self._features)
        self.json = Fields(paths)

    def meant(self, rows: Rows) -> list[int] | None:
        """Which rows are meant by the input; None: all."""
        if self._only is None:
            return None
        column = self._raw(self._only.field, rows)
        return [row for row, value in enumerate(column) if text(value) in self._meant]

    def where(self, name: str) -> str:
        """How reasons and dead letters name the place of a field."""
        place = self._places[name]
        return name if place is None else place.where

    def field(self, name: str, rows: Rows) -> Sequence[Any]:
        """One value per row, None for nothing."""
        place = self._places[name]
        if place is None:
            return [None] * len(rows)
        column = self._raw(place, rows)
        if place.pick is not None:
            column = [pick(value, place.pick) for value in column]
        if place.map is not None:
            return [look_up(value, place.map) for value in column]
        if name in VALUES and (place.header or place.key or place.topic):
            return [number(value) for value in column]
        return column

    def features(self, rows: Rows) -> dict[str, Sequence[Any]]:
        names = sorted(self._needs.features)
        if self._features is None:
            return {name: [None] * len(rows) for name in names}
        return {name: self.json.column(rows.parsed, (*self._features, name)) for name in names}

    def all_features(self, rows: Rows) -> Sequence[Mapping[str, Any] | None] | None:
        """Per row the whole object; of flat records all that no field of the mapping is read from."""
        if not self._needs.all_features:
            return None
        if self._features is None:
            return [None] * len(rows)
        column = self.json.column(rows.parsed, self._features)
        if not self._features:
            return [{name: value for name, value in row.items() if name not in self._own} for row in column]
        if set(map(type, column)) <= {dict, type(None)}:
            return column
        return [_mapping(value) for value in column]

    def _raw(self, place: Place, rows: Rows) -> Sequence[Any]:
        batch = rows.batch
        if place.path is not None:
            return self.json.column(rows.parsed, split(place.path))
        if place.header is not None:
            return [header(batch.headers[at], place.header) for at in rows.at.tolist()]
        if place.key:
            return [decoded(batch.key[at]) for at in rows.at.tolist()]
        if place.topic:
            return [batch.sources[index].topic for index in batch.source[rows.at].tolist()]
        return [place.const] * len(
            rows
        )  # None for record_time: the time of the record counts where there is none


def decoded(value: bytes | None) -> str | Unusable | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return Unusable(
            "not utf-8", f"expected text in UTF-8, got {show(value.decode('utf-8', 'backslashreplace'))}"
        )


def header(headers: Sequence[tuple[str, bytes | None]], name: str) -> str | Unusable | None:
    """The last header of that name, as Kafka's own clients take it."""
    for given, value in reversed(headers):
        if given == name:
            return decoded(value)
    return None


def number(value: Any) -> Any:
    """Headers and keys have no types: what is written like a JSON number is one.

    >>> number("0.5"), number("7"), number("007"), number("fraud")
    (0.5, 7, '007', 'fraud')
    """
    match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    return float(value) if match[2] or match[3] else int(value)


def pick(value: Any, which: int | Literal["max", "argmax"]) -> Any:
    """One entry of a list of numbers, the largest one, or the index of the (first) largest one."""
    if value is None or isinstance(value, Unusable):
        return value
    if not isinstance(value, list):
        return Unusable("field wrong", f"expected a list to pick from, got {show(value)}")
    if isinstance(which, int):
        if which < len(value):
            return value[which]
        return Unusable("field wrong", f"expected a list with an index {which}, got {show(value)}")
    if not value or not all(type(entry) in (int, float) and abs(entry) < float("inf") for entry in value):
        return Unusable(
            "field wrong", f"expected a list of finite numbers, got {show(value)} with others or none"
        )
    largest = max(value)
    return largest if which == "max" else value.index(largest)


def look_up(value: Any, table: Mapping[str, Any]) -> Any:
    if value is None or isinstance(value, Unusable):
        return value
    key = text(value)
    if key is None or key not in table:
        return Unusable("field wrong", f"expected a value of the map, got {show(value)}")
    return table[key]


def _mapping(value: Any) -> Mapping[str, Any] | None:
    if value is None or isinstance(value, dict):
        return value
    return BrokenFeatures(value if isinstance(value, Unusable) else no_object(value))
