"""Recorded data from files in, alerts as JSON lines out: the transport of a replay.

Files are of the recorded form (see `recorded`), or bare (see `bare`): which, is read from the first line that is
a JSON object; .csv is bare. State stays in memory, so that a run on the same transport goes on from the last
commit; a new transport starts anew. What `commit` writes is flushed before it returns.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from streamwatch.config import Tasks
from streamwatch.errors import OperatorError, TaskLost
from streamwatch.records import Commit, Source
from streamwatch.transports.bare import Bare, TimeMs, is_csv
from streamwatch.transports.base import Happening, Progress
from streamwatch.transports.jsonl import write
from streamwatch.transports.kept import Kept
from streamwatch.transports.lines import Lines, plain_name
from streamwatch.transports.order import CONTROL, Merge
from streamwatch.transports.recorded import BOM, is_recorded
from streamwatch.transports.recording import Recording
from streamwatch.transports.tasks import split


@dataclass(frozen=True, slots=True)
class File:
    """`topic`: as which a bare file is read; default: see `FilesTransport`."""

    path: Path
    topic: str | None = None


class Feed(Protocol):
    """Files that give records: `Recording` or `Bare`."""

    def scan(self, until: float) -> bool: ...
    @property
    def first_offsets(self) -> dict[Source, int]: ...
    def open(self, offsets: Mapping[Source, int]) -> None: ...
    def fill(self, merge: Merge) -> None: ...
    def ended(self) -> dict[Source, float]: ...
    def left(self) -> Mapping[Source, int]: ...
    def progress(self) -> tuple[int, int]: ...
    def close(self) -> None: ...


class FilesTransport(Kept):
    """Reads all files, each record once, in the order of its task.

    alerts, dead_letters   where they are written, one JSON object per line; a stream is flushed and not closed
    topics                 the config's input topics. A bare file is read as the sole one, else as the one that it
                           is named after (`labels.csv.gz`: labels); without topics as whatever it is named after.
                           Files of one topic are its partitions, in the order given
    kinds                  those of the config (`order.kinds`), where its records are not all predictions
    tasks                  as in the config
    time_ms, as_text       see `bare` and `csvrows`
    """

    def __init__(
        self,
        files: Sequence[File | Path],
        *,
        alerts: BinaryIO | None = None,
        dead_letters: BinaryIO | None = None,
        topics: Sequence[str] = (),
        kinds: Mapping[str, int] | None = None,
        tasks: Tasks = "one",
        time_ms: TimeMs | None = None,
        as_text: Iterable[str] = (),
        batch_size: int = 4_000,
    ) -> None:
        super().__init__()
        self._files = [file if isinstance(file, File) else File(file) for file in files]
        self._outputs = (alerts, dead_letters)
        self._topics = tuple(topics)
        self._kinds = kinds
        self._cut = tasks
        self._tasks: tuple[int, ...] = ()
        self._time_ms = time_ms
        self._as_text = frozenset(as_text)
        self._batch_size = batch_size
        self._feed: Feed | None = None
        self._merge: Merge | None = None

    def poll(self, timeout_s: float = 0.25) -> Sequence[Happening]:
        if self._feed is None:
            self._feed = self._choose()
        if self._merge is None:
            if not self._feed.scan(time.monotonic() + timeout_s):
                return ()
            offsets = {**self._feed.first_offsets, **self.offsets}
            self._merge = Merge(0, offsets, self._kinds)
            self._feed.open(offsets)
            self._feed.fill(self._merge)
            opened = self.opened(self._cut, offsets)
            self._tasks = tuple(one.task for one in opened)
            return opened
        batch = self._merge.take(self._batch_size, self._feed.ended())
        self._feed.fill(self._merge)
        return [] if batch is None else split(self._cut, batch)

    def commit(self, commit: Commit) -> None:
        if self._merge is None or commit.task not in self._tasks:
            raise TaskLost(f"task {commit.task} is not open")
        for stream, messages in zip(self._outputs, (commit.alerts, commit.dead_letters), strict=True):
            if stream is not None and messages:
                write(stream, messages)
        self.keep(commit)

    def progress(self) -> Progress:
        if self._feed is None or self._merge is None:
            return Progress(ready=False, detail="reading the files for the first time")
        left = self._feed.left()
        return Progress(
            {source: self._merge.buffered(source) + left.get(source, 0) for source in self._merge.sources},
            self._merge.overtaken,
        )

    def bytes_read(self) -> tuple[int, int]:
        """(done, total), for a progress bar: of the files as they lie on the disk, recorded ones counted twice,
        because they are read twice. (0, 0) before the first poll."""
        return (0, 0) if self._feed is None else self._feed.progress()

    @property
    def finished(self) -> bool:
        if self._feed is None or self._merge is None:
            return False
        ended = self._feed.ended()
        return all(source in ended and not self._merge.buffered(source) for source in self._merge.sources)

    def close(self) -> None:
        self._merge = None
        if self._feed is not None:
            self._feed.close()

    def _choose(self) -> Feed:
        forms = [False if is_csv(file.path) else _form(file.path) for file in self._files]
        if True in forms and False in forms:
            recorded, bare = (self._files[forms.index(form)].path for form in (True, False))
            raise OperatorError(
                f"{recorded} is recorded (its lines have topic, offset and timestamp) and {bare} holds bare events: "
                "they have no common order, so replay one of the two kinds"
            )
        if True in forms:
            return Recording([file.path for file in self._files])
        sources: dict[Source, Path] = {}
        counts: dict[str, int] = {}
        for file in self._files:
            topic = self._topic(file)
            sources[Source(topic, counts.get(topic, 0))] = file.path
            counts[topic] = counts.get(topic, 0) + 1
        return Bare(sources, self._time_ms, self._as_text)

    def _topic(self, file: File) -> str:
        if file.topic is not None:
            return file.topic
        name = plain_name(file.path)
        if (self._kinds or {}).get(name) == CONTROL:
            raise OperatorError(
                f"{file.path}: the commands of {name} have their place among the events by the times of their records; "
                "expected the recorded form, of the events too"
            )
        if len(self._topics) == 1:
            return self._topics[0]
        if self._topics and name not in self._topics:
            raise OperatorError(
                f"{file.path}: of which topic are its events? Expected a file named after one of "
                f"{', '.join(self._topics)}, such as {self._topics[0]}{''.join(file.path.suffixes)}"
            )
        return name


def _form(path: Path) -> bool | None:
    """True: recorded, False: bare, None: no line says which."""
    lines = Lines(path)
    try:
        while block := lines.block(1 << 16):
            for line in block.removeprefix(BOM).split(b"\n"):
                if (form := is_recorded(line)) is not None:
                    return form
    finally:
        lines.close()
    return None
