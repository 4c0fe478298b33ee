"""What an engine keeps between batches: its streams, what changed since the last commit, and what is due when."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Final

from streamwatch.events import StreamKey
from streamwatch.state import pack
from streamwatch.stream import Order, Stream, state_key
from streamwatch.watcher import WARM_UP, Watcher

NOTES: Final = 1_000  # so many of what is due are never looked through before their time
BYTES: Final = 5_000  # of the state of a stream with four monitors, until it is known better
# When, of which stream key and watcher about what, the number that tells notes apart, and the key itself.
Note = tuple[float, tuple[Order, int, str, str], int, StreamKey]


class Ledger:
    """`streams`, `versions` (the streams of each model and version) and `models` (the number of streams of each) are
    read freely; they change through `open` and `close`."""

    def __init__(self) -> None:
        self.streams: dict[StreamKey, Stream] = {}
        self.versions: dict[tuple[str, str], dict[StreamKey, Stream]] = {}
        self.models: Counter[str] = Counter()
        self._changed: set[StreamKey] = set()
        self._gone: set[StreamKey] = set()
        self._bytes = BYTES  # of the state of a stream, as it was last
        self._due: list[Note] = []
        self._number = count()
        self._room = NOTES

    def open(self, stream: Stream) -> None:
        key = stream.key
        self.streams[key] = stream
        self.models[key.model] += 1
        if key.version is not None:
            self.versions.setdefault((key.model, key.version), {})[key] = stream
        self._gone.discard(key)

    def close(self, key: StreamKey) -> Stream:
        """The stream goes: nothing of it is due any more, and its state is deleted with the next commit."""
        stream = self.streams.pop(key)
        self.models[key.model] -= 1
        if not self.models[key.model]:
            del self.models[key.model]
        if key.version is not None:
            of_version = self.versions[key.model, key.version]
            del of_version[key]
            if not of_version:
                del self.versions[key.model, key.version]
        self._changed.discard(key)
        self._gone.add(key)
        return stream

    def forget(self, key: StreamKey) -> None:
        """State of a key that the config does not watch any more is deleted with the next commit."""
        self._gone.add(key)

    def changed(self, key: StreamKey) -> None:
        self._changed.add(key)

    @property
    def pending_bytes(self) -> int:
        """About how many bytes `changes` will give."""
        return len(self._changed) * self._bytes

    def changes(self) -> dict[str, bytes | None]:
        """State that changed since the last call; None = deleted."""
        changes: dict[str, bytes | None] = {state_key(key): None for key in self._gone}
        for key in self._changed:
            changes[state_key(key)] = pack("key", self.streams[key].dump())
        if self._changed:
            self._bytes = sum(map(len, filter(None, changes.values()))) // len(self._changed)
        self._changed.clear()
        self._gone.clear()
        return dict(sorted(changes.items()))

    def _noted(self, note: Note) -> tuple[Stream, Watcher] | None:
        """What it is about, if it is still true."""
        due_s, (_, position, label, about), _, key = note
        stream = self.streams.get(key)
        watcher = None if stream is None else stream.watchers.get((position, label))
        if stream is None or watcher is None or watcher.due_of(about) != due_s:
            return None
        return stream, watcher

    def remind(self, stream: Stream, watcher: Watcher) -> None:
        """Note when what stands on the watcher is due. A note that is not true any more is dropped when its time comes,
        or when there are too many: of models without end each leaves some."""
        if len(self._due) > self._room:
            notes, self._due = self._due, []
            for note in notes:
                if self._noted(note) is None:
                    self._dropped(note)
                else:
                    self._due.append(note)
            heapq.heapify(self._due)
            self._room = max(NOTES, 2 * len(self._due))
        for due_s, about in watcher.due():
            if due_s != float("inf"):
                order = (stream.order, watcher.position, watcher.label, about)
                heapq.heappush(self._due, (due_s, order, next(self._number), stream.key))
                if about == WARM_UP:
                    stream.warm_by_s = min(stream.warm_by_s, due_s)

    def due(self, until_s: float) -> Iterator[tuple[float, Stream, Watcher, str]]:
        """What is due up to a stream time, by time, stream key and monitor: (when, stream, watcher, about what)."""
        while self._due and self._due[0][0] <= until_s:
            note = heapq.heappop(self._due)
            due_s, (*_, about), *_ = note
            found = self._noted(note)
            if found is not None:
                yield due_s, *found, about
            self._dropped(note)

    def _dropped(self, note: Note) -> None:
        _, (*_, about), _, key = note
        if about == WARM_UP and (stream := self.streams.get(key)) is not None:
            stream.warm_by_s = min(other.warm_by_s for other in stream.watchers.values())
