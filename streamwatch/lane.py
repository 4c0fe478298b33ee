"""A lane: rows that wait in the order of their arrival until they are old, found by a hash meanwhile.

What waits is kept in columns: some 60 bytes a row and what the payload needs. A restart is exact: a lane is written in
chunks of rows, written once and merged with small neighbours now and then, and what happened to rows that were
written before (their slot was set) in notes beside them. Both are deleted when their rows have gone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from streamwatch.errors import StateDamaged
from streamwatch.hashindex import Hashes, HashIndex, Seqs
from streamwatch.packed import Column, chained, loaded, packed
from streamwatch.series import Floats
from streamwatch.state import pack, unpack

CHUNK: Final = 1024  # rows of a chunk at most
NOTES: Final = 4096  # rows of one record of notes at most
ROW_BYTES: Final = 75  # of a row in the state: measured with two signals


@dataclass(slots=True, eq=False)
class Chunk:
    """Rows [first, first + n). `slot` (n,) is NaN until it is set; `slot_s` (n,) says at which stream time."""

    first: int
    hashes: Hashes
    stream_s: Floats
    columns: Mapping[str, Column]
    slot: Floats
    slot_s: Floats

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def end(self) -> int:
        return self.first + len(self.hashes)

    def with_next(self, other: Chunk) -> Chunk:
        return Chunk(
            self.first,
            np.concatenate((self.hashes, other.hashes)),
            np.concatenate((self.stream_s, other.stream_s)),
            {name: chained(column, other.columns[name]) for name, column in self.columns.items()},
            np.concatenate((self.slot, other.slot)),
            np.concatenate((self.slot_s, other.slot_s)),
        )

    def dump(self) -> dict[str, Any]:
        return {
            "first": self.first,
            "hashes": self.hashes.tobytes(),
            "stream_s": self.stream_s.tobytes(),
            "slot": self.slot.tobytes(),
            "slot_s": self.slot_s.tobytes(),
            "columns": {name: column.dump() for name, column in self.columns.items()},
        }

    @classmethod
    def load(cls, dump: Mapping[str, Any]) -> Chunk:
        hashes = np.frombuffer(dump["hashes"], dtype=np.uint64)
        n = len(hashes)
        floats = [np.frombuffer(dump[name], dtype=np.float64) for name in ("stream_s", "slot", "slot_s")]
        columns = {str(name): loaded(column) for name, column in dump["columns"].items()}
        if not n or any(len(one) != n for one in [*floats, *columns.values()]):
            raise ValueError(f"columns of other lengths in a chunk of {n} rows")
        return cls(int(dump["first"]), hashes, floats[0], columns, floats[1].copy(), floats[2].copy())


@dataclass(frozen=True, slots=True, eq=False)
class Gone:
    """k rows that have left the lane, in their order; see `Chunk`."""

    stream_s: Floats
    columns: Mapping[str, list[Any]]
    slot: Floats
    slot_s: Floats

    def __len__(self) -> int:
        return len(self.slot)


@dataclass(slots=True, eq=False)
class _Notes:
    """Slots that were set after their rows had been written."""

    number: int
    seqs: Seqs
    slot: Floats
    slot_s: Floats

    def with_next(self, other: _Notes) -> _Notes:
        return _Notes(
            self.number,
            np.concatenate((self.seqs, other.seqs)),
            np.concatenate((self.slot, other.slot)),
            np.concatenate((self.slot_s, other.slot_s)),
        )

    def dump(self) -> dict[str, Any]:
        arrays = {name: getattr(self, name).tobytes() for name in ("seqs", "slot", "slot_s")}
        return {"number": self.number, **arrays}

    @classmethod
    def load(cls, dump: Mapping[str, Any]) -> _Notes:
        seqs = np.frombuffer(dump["seqs"], dtype=np.int64)
        slot, slot_s = (np.frombuffer(dump[name], dtype=np.float64) for name in ("slot", "slot_s"))
        if not len(seqs) or len(slot) != len(seqs) or len(slot_s) != len(seqs):
            raise ValueError("columns of other lengths in notes")
        return cls(int(dump["number"]), seqs, slot, slot_s)


class Lane:
    """`name` begins the keys of its state. `columns` names the payload. `find` gives the newest row of a hash."""

    def __init__(self, name: str, columns: Sequence[str]) -> None:
        self.name = name
        self._names = tuple(columns)
        self._chunks: deque[Chunk] = deque()
        self._index = HashIndex()
        self._first = 0  # of the rows that live
        self._next = 0
        self._noted: list[_Notes] = []
        self._new_notes: dict[int, tuple[float, float]] = {}
        self._note_number = 0
        self._written_to = 0  # chunks up to here are in the state as they are, but for their slots
        self._noted_from = 0  # rows below have been in the state once: their slots are noted
        self._stored: set[str] = set()
        self._stored_head: tuple[int, int, int] = (0, 0, 0)

    def __len__(self) -> int:
        return self._next - self._first

    # ---- rows come, are found, and go

    def append(self, hashes: Hashes, stream_s: Floats, columns: Mapping[str, Sequence[Any]]) -> Seqs:
        """New rows at the end; their numbers."""
        n = len(hashes)
        seqs = np.arange(self._next, self._next + n, dtype=np.int64)
        self._index.add(hashes, seqs, self._first)
        for start in range(0, n, CHUNK):
            stop = min(start + CHUNK, n)
            self._chunks.append(
                Chunk(
                    self._next,
                    hashes[start:stop].copy(),
                    stream_s[start:stop].copy(),
                    {name: packed(columns[name][start:stop]) for name in self._names},
                    np.full(stop - start, np.nan),
                    np.full(stop - start, np.nan),
                )
            )
            self._next += stop - start
            self._merge()
        return seqs

    def _merge(self) -> None:
        """Small neighbours become one: a row is moved some ten times at most."""
        chunks = self._chunks
        while (
            len(chunks) > 1
            and len(chunks[-2]) < 2 * len(chunks[-1])
            and len(chunks[-2]) + len(chunks[-1]) <= CHUNK
        ):
            last = chunks.pop()
            before = chunks.pop()
            self._written_to = min(self._written_to, before.first)
            chunks.append(before.with_next(last))

    def find(self, hashes: Hashes) -> Seqs:
        """The number of the living row with each hash, -1 where there is none."""
        return self._index.find(hashes, self._first)

    def every(self, one: int) -> list[int]:
        """The numbers of all living rows of a hash, in order."""
        return self._index.every(one, self._first)

    def stream_s(self, seqs: Seqs) -> Floats:
        """When these living rows arrived."""
        return self._gathered("stream_s", seqs)

    def slots(self, seqs: Seqs) -> Floats:
        return self._gathered("slot", seqs)

    def set(self, seqs: Seqs, slot: Floats, slot_s: Floats) -> None:
        """Set the slots of living rows; of several for one row the last counts."""
        for chunk, rows, mine in self._parts(seqs):
            chunk.slot[rows] = slot[mine]
            chunk.slot_s[rows] = slot_s[mine]
        for seq, value, at_s in zip(seqs.tolist(), slot.tolist(), slot_s.tolist(), strict=True):
            if seq < self._noted_from:
                self._new_notes[seq] = (value, at_s)

    def columns(self, seqs: Seqs) -> Gone:
        """Copies of living rows, in the order asked."""
        columns: dict[str, list[Any]] = {name: [None] * len(seqs) for name in self._names}
        for chunk, rows, mine in self._parts(seqs):
            for name, column in chunk.columns.items():
                for at, row in zip(mine.tolist(), rows.tolist(), strict=True):
                    columns[name][at] = column.listed(row, row + 1)[0]
        return Gone(self.stream_s(seqs), columns, self.slots(seqs), self._gathered("slot_s", seqs))

    @property
    def first(self) -> int:
        """The number of the first living row."""
        return self._first

    @property
    def next(self) -> int:
        """The number of the row that comes next."""
        return self._next

    def due(self, now_s: float, wait_s: float) -> int:
        """How many rows are `wait_s` old."""
        count = 0
        for chunk in self._chunks:
            start = max(0, self._first - chunk.first)
            rows = int(np.searchsorted(chunk.stream_s + wait_s, now_s, side="right"))
            count += max(0, rows - start)
            if rows < len(chunk):
                break
        return count

    def arrivals(self, count: int) -> Floats:
        """When the first rows arrived."""
        parts: list[Floats] = [np.zeros(0)]
        for chunk in self._chunks:
            start = max(0, self._first - chunk.first)
            parts.append(chunk.stream_s[start : start + count])
            count -= len(parts[-1])
            if not count:
                break
        return np.concatenate(parts)

    def pop(self, count: int) -> Gone:
        """The first rows leave."""
        floats: dict[str, list[Floats]] = {"stream_s": [], "slot": [], "slot_s": []}
        columns: dict[str, list[Any]] = {name: [] for name in self._names}
        while count:
            chunk = self._chunks[0]
            start = self._first - chunk.first
            stop = min(start + count, len(chunk))
            for name in floats:
                floats[name].append(getattr(chunk, name)[start:stop])
            for name, column in chunk.columns.items():
                columns[name] += column.listed(start, stop)
            self._first += stop - start
            count -= stop - start
            if self._first == chunk.end:
                self._chunks.popleft()
        whole = {name: np.concatenate(parts) if parts else np.zeros(0) for name, parts in floats.items()}
        return Gone(whole["stream_s"], columns, whole["slot"], whole["slot_s"])

    def _parts(self, seqs: Seqs) -> list[tuple[Chunk, Seqs, Seqs]]:
        """By chunk: the rows in it, and which of `seqs` they are."""
        if not len(seqs):
            return []
        chunks = list(self._chunks)
        firsts = np.array([chunk.first for chunk in chunks], dtype=np.int64)
        of = np.searchsorted(firsts, seqs, side="right") - 1
        parts = []
        for number in np.unique(of).tolist():
            mine = np.flatnonzero(of == number)
            parts.append((chunks[number], seqs[mine] - chunks[number].first, mine))
        return parts

    def _gathered(self, name: str, seqs: Seqs) -> Floats:
        found = np.empty(len(seqs))
        for chunk, rows, mine in self._parts(seqs):
            found[mine] = getattr(chunk, name)[rows]
        return found

    # ---- state

    @property
    def pending_bytes(self) -> int:
        """About how many bytes `changes` will give of new rows."""
        return ROW_BYTES * (self._next - max(self._first, self._written_to))

    def changes(self) -> dict[str, bytes | None]:
        """What changed since the last call; None = deleted."""
        changed: dict[str, bytes | None] = {}
        for chunk in reversed(self._chunks):
            if chunk.first < self._written_to:
                break
            changed[self._key("chunk", chunk.first)] = pack("chunk", chunk.dump())
        self._note(changed)
        self._noted = [notes for notes in self._noted if int(notes.seqs.max()) >= self._first]
        living = {self._key("chunk", chunk.first) for chunk in self._chunks}
        living |= {self._key("notes", notes.number) for notes in self._noted}
        changed = {key: value for key, value in changed.items() if key in living}
        changed |= dict.fromkeys(self._stored - living)
        self._stored = living
        self._written_to = self._noted_from = self._next
        head = (self._first, self._next, self._note_number)
        if head != self._stored_head:
            self._stored_head = head
            changed[self.name] = pack(
                "lane", {"columns": list(self._names), **dict(zip(_HEAD, head, strict=True))}
            )
        return changed

    def _note(self, changed: dict[str, bytes | None]) -> None:
        """What was set becomes one more record of notes, merged with small ones before it."""
        living = [(seq, *slot) for seq, slot in sorted(self._new_notes.items()) if seq >= self._first]
        self._new_notes.clear()
        for start in range(0, len(living), NOTES):
            seqs, slot, slot_s = zip(*living[start : start + NOTES], strict=True)
            new = _Notes(self._note_number, np.array(seqs, dtype=np.int64), np.array(slot), np.array(slot_s))
            self._note_number += 1
            while (
                self._noted
                and len(self._noted[-1].seqs) < 2 * len(new.seqs)
                and len(self._noted[-1].seqs) + len(new.seqs) <= NOTES
            ):
                new = self._noted.pop().with_next(new)
            self._noted.append(new)
            changed[self._key("notes", new.number)] = pack("notes", new.dump())

    def load(self, state: Mapping[str, bytes]) -> bool:
        """Into a fresh lane, from all of the state whose keys are this lane's (`is_own`). False if the state has
        another payload; then all of it is deleted with the next `changes`. StateDamaged if it is not whole."""
        self._stored = set(state) - {self.name}
        if self.name not in state:
            return True
        try:
            head = unpack("lane", state[self.name], self.name)
            if tuple(head["columns"]) != self._names:
                self._stored_head = (-1, -1, -1)
                return False
            self._first, self._next, self._note_number = (int(head[name]) for name in _HEAD)
            chunks, notes = [], []
            for key, data in state.items():
                if key == self.name:
                    continue
                kind = key[len(self.name) + 1 :].partition(":")[0]
                content = unpack(kind, data, key)
                if kind == "chunk":
                    chunks.append(Chunk.load(content))
                else:
                    notes.append(_Notes.load(content))
            chunks.sort(key=lambda chunk: chunk.first)
            self._chunks.extend(chunks)
            ends = [self._next, *(chunk.first for chunk in reversed(chunks))]
            if [chunk.end for chunk in reversed(chunks)] != ends[: len(chunks)] or ends[-1] > self._first:
                raise ValueError(f"the chunks do not hold the rows [{self._first}, {self._next})")
            self._noted = sorted(notes, key=lambda one: one.number)
            for one in self._noted:
                alive = one.seqs >= self._first
                for chunk, rows, mine in self._parts(one.seqs[alive]):
                    chunk.slot[rows] = one.slot[alive][mine]
                    chunk.slot_s[rows] = one.slot_s[alive][mine]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise StateDamaged(f"state of {self.name}: {error!r}") from error
        for chunk in self._chunks:
            self._index.add(chunk.hashes, np.arange(chunk.first, chunk.end, dtype=np.int64), self._first)
        self._stored_head = (self._first, self._next, self._note_number)
        self._written_to = self._noted_from = self._next
        return True

    def keys(self) -> frozenset[str]:
        """Of all that is in the state."""
        return frozenset({*self._stored, self.name})

    def is_own(self, key: str) -> bool:
        return key == self.name or key.startswith((f"{self.name}:chunk:", f"{self.name}:notes:"))

    def _key(self, kind: str, number: int) -> str:
        return f"{self.name}:{kind}:{number}"


_HEAD = ("first", "next", "notes")
