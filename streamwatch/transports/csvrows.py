"""CSV rows as the JSON objects that an event is read from.

The first row names the columns; a dotted name makes objects (`features.amount`; a dot within a name is `\\.`), any
other stays a field of the event. A cell becomes

    absent    when it is empty
    a number  when it is one as JSON writes it (12, -0.5, 1e3; not 007, +1, NaN)
    a boolean when it is true or false (also True, False)
    a text    otherwise, and in every column of `as_text`: ids and versions, where 1.10 is not 1.1
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from streamwatch.errors import OperatorError
from streamwatch.mapping import split
from streamwatch.transports.lines import Lines, readable

_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_BOOLEANS: Final = {"true": True, "True": True, "false": False, "False": False}


def csv_rows(lines: Lines, as_text: frozenset[str]) -> Iterator[tuple[int, bytes]]:
    """(row below the header from 0, its JSON). OperatorError names file and line."""
    text = io.TextIOWrapper(lines.stream, encoding="utf-8-sig", newline="")
    reader = csv.reader(text, strict=True)
    row = -1
    try:
        with readable(lines.path):
            header = next(reader, [])
            if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
                raise OperatorError(
                    f"{lines.path}:1: expected columns separated by commas, got {header[0]!r}"
                )
            places = columns(header, f"{lines.path}:1")
            texts = [name in as_text for name in header]
            for cells in reader:
                row += 1
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise OperatorError(
                        f"{lines.path}:{reader.line_num}: expected {len(header)} cells as in the header, got "
                        f"{len(cells)}"
                    )
                yield row, _event(cells, places, texts)
    except csv.Error as exc:
        raise OperatorError(f"{lines.path}:{reader.line_num}: not CSV: {exc}") from exc
    except UnicodeDecodeError as exc:
        raise OperatorError(f"{lines.path}: expected UTF-8 after line {reader.line_num}: {exc}") from exc
    finally:
        text.detach()  # else it would close the file


def columns(header: Sequence[str], where: str) -> list[tuple[str, ...]]:
    """Where each column stands in the event. OperatorError, which begins with `where`."""
    places = [_place(name) for name in header]
    for name, place in zip(header, places, strict=True):
        if places.count(place) > 1:
            raise OperatorError(f"{where}: column {name!r} is there twice")
        inside = next((n for n, p in zip(header, places, strict=True) if p[: len(place)] == place != p), None)
        if inside is not None:
            raise OperatorError(
                f"{where}: column {name!r} holds values and column {inside!r} needs it to be an object"
            )
    return places


def _place(name: str) -> tuple[str, ...]:
    try:
        return split(name) or (name,)
    except ValueError:  # no dotted path, such as the unnamed first column that pandas writes
        return (name,)


def _event(cells: list[str], places: list[tuple[str, ...]], texts: list[bool]) -> bytes:
    given = (
        (place, cell if as_text else _value(cell))
        for cell, place, as_text in zip(cells, places, texts, strict=True)
        if cell != ""
    )
    return msgspec.json.encode(nested(given))


def nested(values: Iterable[tuple[tuple[str, ...], Any]]) -> dict[str, Any]:
    """Values at their places as one object."""
    event: dict[str, Any] = {}
    for place, value in values:
        at = event
        for name in place[:-1]:
            at = at.setdefault(name, {})
        at[place[-1]] = value
    return event


def _value(cell: str) -> Any:
    if _NUMBER.fullmatch(cell):
        return msgspec.Raw(cell.encode())
    return _BOOLEANS.get(cell, cell)
