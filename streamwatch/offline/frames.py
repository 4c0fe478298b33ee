"""Rows of a pandas DataFrame as events. pandas itself is not imported: what has its columns and `to_dict` will do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Protocol, runtime_checkable

from streamwatch.config import Config
from streamwatch.errors import OperatorError
from streamwatch.mapping import Place, split
from streamwatch.transports.csvrows import columns, nested

WHERE = "the DataFrame"


@runtime_checkable
class Frame(Protocol):
    """What is used of a pandas DataFrame."""

    @property
    def columns(self) -> Any: ...

    def to_dict(self, orient: Any) -> Any: ...


def events(frame: Frame, config: Config) -> Iterator[Mapping[str, Any]]:
    """Each row as an event. A column with a dotted name stands inside an object (`features.amount`); NaN, None, NaT
    and NA are absent; times become text.

    OperatorError if a column is missing without which no row is an event, or none would have its time.
    """
    names = [str(name) for name in frame.columns]
    places = columns(names, WHERE)
    if len(config.inputs) == 1:
        read = config.inputs[0].read
        _needed(read.model, "the model", "model", names, places)
        _needed(read.time, "the time of an event", "time", names, places)
    for row in frame.to_dict("records"):
        yield nested(
            (place, _plain(value))
            for place, value in zip(places, row.values(), strict=True)
            if not _absent(value)
        )


def _needed(
    place: Place | None, what: str, field: str, names: Sequence[str], places: Sequence[tuple[str, ...]]
) -> None:
    if place is None or place.path is None:
        return
    wanted = split(place.path)
    if any(wanted[: len(there)] == there for there in places):
        return
    near = get_close_matches(place.path, names, n=1)
    meant = f"; is it {near[0]}?" if near else ""
    constant = "{const: NAME}" if field == "model" else "null"
    raise OperatorError(
        f"{WHERE} has no column {place.path!r}, from which the config reads {what} (its columns: "
        f"{', '.join(names[:20])}{', ...' if len(names) > 20 else ''}{meant}). To do: rename the column (or make one "
        f"of the index: reset_index()), or say in the config where it stands: inputs: [{{topics: [...], read: "
        f"{{{field}: COLUMN}}}}], or {constant} for COLUMN if there is none"
    )


def _absent(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value


def _plain(value: Any) -> Any:
    """As JSON has it: numpy's numbers as Python's, times as text."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.tolist() if hasattr(value, "tolist") else value
