"""What a sample of a topic shows, before anybody has said what its fields mean: times, keys, headers, fields.

Pure: from records to values. What the fields probably mean is guessed in `proposal`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from streamwatch.categories import writable
from streamwatch.errors import SenderError
from streamwatch.fields import parse
from streamwatch.offline.fieldprofile import Field, field_of
from streamwatch.transports.sample import Sample

MOST_PATHS: Final = 500
DEEPEST: Final = 6


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of the records. `field` describes those that are UTF-8; `binary` counts the others.

    one_partition   each key was seen in one partition only; None with a single partition or without keys
    """

    field: Field
    null: int
    binary: int
    one_partition: bool | None


@dataclass(frozen=True, slots=True)
class Look:
    """`objects` are the records that are JSON objects, of which `fields` tell; `unreadable` counts the others by the
    code that their dead letter would have. Times are the records' own, in seconds; None where they have none.

    rate       records a second while the sample was written, over all partitions
    registry   how many unreadable records begin as those of a schema registry do (Avro, Protobuf)
    cut        there are more than MOST_PATHS fields, and the later ones are left out
    """

    sample: Sample
    records: int
    objects: int
    tombstones: int
    unreadable: Mapping[str, int]
    registry: int
    first_s: float | None
    last_s: float | None
    rate: float | None
    rates: Mapping[int, float | None]
    keys: Keys
    headers: Mapping[str, Field]
    fields: Mapping[str, Field]
    cut: bool


def look(sample: Sample) -> Look:
    batch = sample.records
    unreadable: Counter[str] = Counter()
    registry, tombstones = 0, 0
    rows: list[int] = []
    parsed: list[dict[str, Any]] = []
    for row, value in enumerate(batch.value):
        if value is None:
            tombstones += 1
            continue
        try:
            parsed.append(parse(value)[0])
            rows.append(row)
        except SenderError as error:
            unreadable[error.code] += 1
            registry += len(value) > 5 and value[:1] == b"\0"
    times_s = batch.timestamp_ms[batch.timestamp_ms >= 0] / 1000.0
    rates = {part.number: _rate(sample, part.number) for part in sample.partitions}
    known = [rate for rate in rates.values() if rate is not None]
    fields, cut = _fields(parsed)
    return Look(
        sample,
        len(batch),
        len(parsed),
        tombstones,
        dict(unreadable.most_common()),
        registry,
        float(times_s.min()) if len(times_s) else None,
        float(times_s.max()) if len(times_s) else None,
        sum(known) if known else None,
        rates,
        _keys(sample),
        _headers([batch.headers[row] for row in rows]),
        fields,
        cut,
    )


def _rate(sample: Sample, number: int) -> float | None:
    """Records a second of one partition; None if that cannot be told."""
    batch = sample.records
    indexes = [i for i, source in enumerate(batch.sources) if source.partition == number]
    times_ms = batch.timestamp_ms[np.isin(batch.source, indexes)]
    if len(times_ms) < 2 or times_ms.min() < 0 or times_ms.min() == times_ms.max():
        return None
    return (len(times_ms) - 1) / (float(times_ms.max() - times_ms.min()) / 1000.0)


def _keys(sample: Sample) -> Keys:
    batch = sample.records
    texts: list[str] = []
    null, binary = 0, 0
    places: dict[bytes, set[int]] = {}
    for key, source in zip(batch.key, batch.source.tolist(), strict=True):
        if key is None:
            null += 1
            continue
        places.setdefault(key, set()).add(source)
        try:
            texts.append(key.decode())
        except UnicodeDecodeError:
            binary += 1
    repeated = len(places) < len(batch) - null
    one = (
        all(len(where) == 1 for where in places.values()) if len(sample.partitions) > 1 and repeated else None
    )
    return Keys(field_of("key", texts, len(batch)), null, binary, one)


def _headers(given: Sequence[Any]) -> dict[str, Field]:
    values: dict[str, list[str]] = {}
    for headers in given:
        last = {name: value for name, value in headers if value is not None}
        for name, value in last.items():
            if name in values or len(values) < MOST_PATHS:
                values.setdefault(name, []).append(value.decode("utf-8", "backslashreplace"))
    return {name: field_of(name, found, len(given)) for name, found in sorted(values.items())}


def _fields(records: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Field], bool]:
    """Every field by its dotted path, in the order in which they came."""
    values: dict[str, list[Any]] = {}
    cut = False
    for record in records:
        for path, value in flat(record):
            found = values.get(path)
            if found is not None:
                found.append(value)
            elif len(values) < MOST_PATHS:
                values[path] = [value]
            else:
                cut = True
    return {path: field_of(path, found, len(records)) for path, found in values.items()}, cut


def flat(record: Mapping[str, Any], prefix: str = "", depth: int = 1) -> Iterator[tuple[str, Any]]:
    """Every field with its dotted path, objects as well as what is in them.

    >>> list(flat({"a": {"b": 1, "c.d": None}, "e": [2]}))
    [('a', {'b': 1, 'c.d': None}), ('a.b', 1), ('a.c\\\\.d', None), ('e', [2])]
    """
    for name, value in record.items():
        if not name or not writable(name):
            continue  # a path cannot say it, or nobody would watch it
        path = prefix + escaped(name)
        yield path, value
        if isinstance(value, dict) and depth < DEEPEST:
            yield from flat(value, f"{path}.", depth + 1)


def escaped(name: str) -> str:
    """A name as a part of a dotted path."""
    return name.replace("\\", "\\\\").replace(".", "\\.")
