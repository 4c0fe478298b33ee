"""A sample of a topic or a file: some of its records, what there is in all, and how the sample was taken.

Only reads. What the records mean is for `offline.look`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamwatch.errors import OperatorError
from streamwatch.records import Batch, Source
from streamwatch.transports.bare import is_csv
from streamwatch.transports.base import Opened
from streamwatch.transports.files import FilesTransport

__all__ = ["Limits", "Partition", "Sample", "is_csv", "sample_file"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a sample ends; whichever comes first. `size` in bytes of keys and values; `within_s` is not for files."""

    per_partition: int = 2_000
    records: int = 20_000
    size: int = 64 * 1024 * 1024
    within_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Partition:
    """What one partition holds. `end` is the offset after the last record, None where a file was not read to its
    end; `held` counts records in files and offsets in a topic (markers of transactions, compacted records too)."""

    number: int
    first: int
    end: int | None
    held: int | None
    sampled: int


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """`records` are of one topic, by the times of their records. `where` names the topic or file for a person,
    `taken` says which records these are. `file` is None for a topic."""

    topic: str
    where: str
    taken: str
    partitions: Sequence[Partition]
    records: Batch
    file: Path | None = None


def sample_file(
    path: Path,
    topic: str | None = None,
    as_text: Iterable[str] = (),
    limits: Limits = Limits(),
) -> Sample:
    """The first records of a file, JSONL or CSV (also .gz), bare or recorded.

    `topic`: which one, of a recording of several. `as_text`: columns of a CSV whose cells stay text. OperatorError if
    the file cannot be read, holds nothing, or several topics.
    """
    transport = FilesTransport([path], as_text=as_text)
    parts: list[Batch] = []
    first: dict[Source, int] = {}
    try:
        while not transport.finished and sum(map(len, parts)) < limits.records and _size(parts) < limits.size:
            for happening in transport.poll(1.0):
                if isinstance(happening, Opened):
                    first.update(happening.offsets)
                elif isinstance(happening, Batch):
                    parts.append(of_topic([happening], topic) if topic else happening)
        finished = transport.finished
    finally:
        transport.close()
    named = _named(path, sorted({source.topic for source in first}), topic)
    every = of_topic(parts, named)
    records = every.rows(0, limits.records)
    if not len(records):
        raise OperatorError(f"{path}: holds no records. To do: give a file with at least some hundred events")
    taken = np.bincount(records.source, minlength=len(records.sources))
    partitions = []
    whole = finished and len(records) == len(every)
    for source, count in zip(records.sources, taken.tolist(), strict=True):
        last = int(records.offset[records.source == records.sources.index(source)].max(initial=-1))
        end, held = (last + 1, count) if whole else (None, None)
        partitions.append(Partition(source.partition, first[source], end, held, count))
    what = "all of it" if whole else f"the first {len(records):,} records"
    return Sample(named, f"file {path}", what, tuple(partitions), records, path)


def of_topic(parts: Sequence[Batch], topic: str) -> Batch:
    """The records of one topic as one batch, its partitions in order."""
    found = sorted({source for part in parts for source in part.sources if source.topic == topic})
    at = {source: index for index, source in enumerate(found)}
    rows = [
        (part, row, at[part.sources[index]])
        for part in parts
        for row, index in enumerate(part.source.tolist())
        if part.sources[index] in at
    ]
    return Batch(
        0,
        tuple(found),
        np.array([index for _, _, index in rows], dtype=np.int32),
        np.array([int(part.offset[row]) for part, row, _ in rows], dtype=np.int64),
        np.array([int(part.timestamp_ms[row]) for part, row, _ in rows], dtype=np.int64),
        [part.key[row] for part, row, _ in rows],
        [part.value[row] for part, row, _ in rows],
        [part.headers[row] for part, row, _ in rows],
    )


def _named(path: Path, topics: Sequence[str], wanted: str | None) -> str:
    if wanted is None and len(topics) <= 1:
        return topics[0] if topics else path.stem
    if wanted is None or wanted not in topics:
        there = ", ".join(topics) or "none"
        got = "" if wanted is None else f", got {wanted!r}"
        raise OperatorError(f"{path}: of which topic? Expected --topic with one of {there}{got}")
    return wanted


def _size(parts: Sequence[Batch]) -> int:
    return sum(len(value or b"") for part in parts for value in part.value)
