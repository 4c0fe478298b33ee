"""How the work is cut: which task a partition belongs to, live and offline."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from streamwatch.config import Tasks
from streamwatch.records import Batch, Source


def task_of(tasks: Tasks, source: Source) -> int:
    return 0 if tasks == "one" else source.partition


def by_task(tasks: Tasks, sources: Iterable[Source]) -> dict[int, tuple[Source, ...]]:
    """
    >>> by_task("per_partition", [Source("b", 0), Source("a", 1), Source("a", 0)])[0]
    (Source(topic='a', partition=0), Source(topic='b', partition=0))
    """
    cut: dict[int, list[Source]] = {}
    for source in sorted(sources):
        cut.setdefault(task_of(tasks, source), []).append(source)
    return {task: tuple(cut[task]) for task in sorted(cut)}


def split(tasks: Tasks, batch: Batch) -> list[Batch]:
    """A batch of all partitions by task. The order within a task is what a merge of its partitions alone gives: of
    all heads the smallest is taken next, so of its own heads, too."""
    if tasks == "one" or not len(batch):
        return [batch]
    of_source = np.array([source.partition for source in batch.sources], dtype=np.int64)
    task = of_source[batch.source]
    return [_rows(batch, int(number), np.flatnonzero(task == number)) for number in np.unique(task)]


def _rows(batch: Batch, task: int, rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Batch:
    at = rows.tolist()
    return Batch(
        task,
        batch.sources,
        batch.source[rows],
        batch.offset[rows],
        batch.timestamp_ms[rows],
        [batch.key[row] for row in at],
        [batch.value[row] for row in at],
        [batch.headers[row] for row in at],
        batch.late,
    )
