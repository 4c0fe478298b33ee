"""The join of predictions and labels by event id: bounded in time and memory, exact over batches and restarts.

Each model whose labels come late has a lane of waiting predictions; labels that came before their predictions wait in
a lane of their own. In the order of records:

1. A prediction without an id, outside the sample, or with the id of one that waits already is not joined.
2. A label belongs to the waiting prediction of its id (of its model, if it names one; else of every model). If there
   is none, it waits for it, `early` long.
3. Of several labels of one prediction `conflict` says which counts.
4. A prediction leaves when it is `wait` old, or when more than `most` wait. Then its outcome is read: with its label,
   or with what `absent_means` if it waited to the end. With `read: arrival` it is read when its first label comes.

Times are stream time, so a restart or a replay joins the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

import numpy as np

from streamwatch.alerts import Labels
from streamwatch.config import Config
from streamwatch.errors import StateDamaged
from streamwatch.events import Events, LabelEvents, Needs
from streamwatch.labels import Hashes, LabelsSpec, Words, hashed, hashed_again, sampled
from streamwatch.lane import Gone, Lane
from streamwatch.records import Batch, Source
from streamwatch.series import Bools, Floats
from streamwatch.state import pack, unpack
from streamwatch.traffic import Outcomes, Rows

COVERAGE_OF: Final = 1_000  # predictions that left last
DELAYS_OF: Final = 256  # of those with a label, the last
LOOK_OF: Final = 100
MOST_EARLY: Final = 100_000
PREFIX: Final = "labels:"
_MODEL: Final = "labels:model:"
_EARLY: Final = "labels:early"
_WORDS: Final = "labels:words"
_PRIOR: Final = -(2**62)  # before all records of a batch


class LabelLook(NamedTuple):
    """At a row: of the last `of` predictions that left so many had no label (`unlabelled`), and so many of the last 100
    were pushed out before their time."""

    row: int
    model: str
    of: int
    unlabelled: int
    pushed: int


@dataclass(slots=True, eq=False)
class _Model:
    """A model whose labels come late. `labelled` (k,): of the last predictions that left, which had a label;
    `delays_s`: of the last that had one. `gone_at`: in this batch, the row before which each of the last left.
    `left`: how many have left since the beginning; `pushed`: of the last, which were pushed out."""

    name: str
    spec: LabelsSpec
    lane: Lane
    labelled: Bools = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    delays_s: Floats = field(default_factory=lambda: np.zeros(0))
    gone_at: Rows = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    left: int = 0
    pushed: Bools = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    changed: bool = False

    def forget(self) -> None:
        """What is not among the last any more; a new batch begins."""
        self.labelled = self.labelled[-COVERAGE_OF:]
        self.delays_s = self.delays_s[-DELAYS_OF:]
        self.pushed = self.pushed[-LOOK_OF:]
        self.gone_at = np.zeros(0, dtype=np.int64)

    def looks(self) -> Iterator[LabelLook]:
        """At every so many predictions that have left in this batch: how labels stand."""
        new = len(self.gone_at)
        for count in range(-(-(self.left - new + 1) // LOOK_OF) * LOOK_OF, self.left + 1, LOOK_OF):
            ago = self.left - count
            until = len(self.labelled) - ago
            last = self.labelled[max(0, until - COVERAGE_OF) : until]
            pushed = self.pushed[: len(self.pushed) - ago][-LOOK_OF:]
            row = int(self.gone_at[new - ago - 1])
            yield LabelLook(row, self.name, len(last), int((~last).sum()), int(pushed.sum()))

    def standing(self, row: int) -> Labels:
        """How labels stood at a row of this batch."""
        left = int(np.searchsorted(self.gone_at, row, side="right"))
        until = len(self.labelled) - len(self.gone_at) + left
        last = self.labelled[max(0, until - COVERAGE_OF) : until]
        missing = int(self.labelled[until:].sum())
        delays_s = self.delays_s[: len(self.delays_s) - missing][-DELAYS_OF:]
        return Labels(
            read=self.spec.read,
            coverage=round(float(last.mean()), 4) if len(last) else None,
            median_delay_s=round(float(np.median(delays_s)), 3) if len(delays_s) else None,
        )


class Join:
    """`needs`: what performance signals, their `where` and their `by` read of a prediction."""

    def __init__(self, config: Config, needs: Needs) -> None:
        self._config = config
        self._fields = sorted(needs.fields & {"prediction", "score"})
        self._features = sorted(needs.features)
        features = [f"feature:{name}" for name in self._features]
        self._columns = (*self._fields, *features, "version", "time_s", "topic", "partition", "offset")
        self._models: dict[str, _Model | None] = {}
        specs = [spec.labels for spec in config.models.values() if spec.labels is not None]
        named = [name for name, spec in config.models.items() if spec.labels is not None]
        self._one_model = len(named) == 1 and named != ["*"]
        self._early = Lane(_EARLY, ())
        self._early_s = max((spec.early for spec in specs), default=0.0)
        self._first_counts = any(spec.conflict == "first" or spec.read == "arrival" for spec in specs)
        self._since_s: float | None = None
        self._words = Words()
        self._words_stored: tuple[int, float | None] = (0, None)
        self._dropped: set[str] = set()
        self.counts: Counter[str] = Counter()

    @property
    def waiting(self) -> dict[str, int]:
        """Predictions that wait, by model."""
        return {name: len(model.lane) for name, model in self._models.items() if model is not None}

    def standing(self, model: str, row: int) -> Labels | None:
        """How the labels of a model stood at a row of the traffic that `place` has told of."""
        found = self._models.get(model)
        return None if found is None else found.standing(row)

    def looks(self) -> list[LabelLook]:
        """Of this batch, after `place`."""
        return [look for model in self._models.values() if model is not None for look in model.looks()]

    def place(self, new_rows: Rows, count: int) -> None:
        """Where events are in the traffic: (n,) row of each; `count` rows in all."""
        ends = np.append(new_rows, count)
        for model in self._models.values():
            if model is not None:
                model.gone_at = ends[model.gone_at]

    # ---- one batch

    def take(
        self, batch: Batch, events: Events, labels: LabelEvents, stream_s: Floats, before_s: float | None
    ) -> Outcomes | None:
        """What is read in this batch. `stream_s` (n,): at each event; `before_s`: before the batch."""
        if self._since_s is None and len(events):
            self._since_s = float(stream_s[0])
        before = np.searchsorted(events.record, labels.record).astype(np.int64)
        times = np.concatenate(([before_s or 0.0], stream_s))
        come = _Come(
            labels.record,
            before,
            times[before],
            self._words.encoded(labels.label),
            hashed(labels.id),
            labels.model,
        )
        found = np.zeros(len(labels), dtype=np.bool_)
        rows_of: dict[str, list[int]] = {}
        for row, name in enumerate(events.model):
            rows_of.setdefault(name, []).append(row)
        for name in rows_of:
            self._model(name)
        here = [
            self._arrive(
                model, batch, events, np.array(rows_of.get(name, ()), dtype=np.int64), come, stream_s
            )
            for name, model in sorted(self._models.items())
            if model is not None
        ]
        for one in here:
            found[one.told.at[one.in_time]] = True
        kept, keys = self._wait_early(come, found)
        parts = [part for one in here for part in self._settle(one, come, kept, stream_s)]
        self._keep_early(come, kept, keys, stream_s)
        return self._outcomes(parts)

    def _model(self, name: str) -> _Model | None:
        if name not in self._models:
            spec = self._config.spec(name).labels
            lane = Lane(_MODEL + quote(name, safe=""), self._columns)
            self._models[name] = None if spec is None else _Model(name, spec, lane)
        return self._models[name]

    def _arrive(
        self, model: _Model, batch: Batch, events: Events, rows: Rows, come: _Come, stream_s: Floats
    ) -> _Here:
        """Predictions come; who leaves, and which labels come to whom in time."""
        lane, spec, n = model.lane, model.spec, len(stream_s)
        model.forget()
        first = lane.first
        rows, hashes = self._joined(model, events, rows)
        rows, hashes, replaced = self._new(model, rows, hashes, stream_s)
        first_new = lane.next
        lane.append(hashes, stream_s[rows], self._payload(batch, events, rows))
        row_of = partial(_row_of, rows, first_new)
        count = max(lane.due(float(stream_s[-1]), spec.wait) if n else 0, lane.next - spec.most - first)
        matured = np.searchsorted(stream_s, lane.arrivals(count) + spec.wait, side="left")
        pushed = row_of(np.arange(first, first + count) + spec.most, n)
        leaves = np.minimum(matured, pushed).astype(np.int64)

        told = come.of(model.name, spec.sample)
        at, seqs = _pairs(lane.find(told.hashes), told.before, replaced, lambda seq: row_of(seq, n, -1))
        told = told.rows(at)
        of_row = row_of(seqs, n, -1)
        leaving = np.full(len(seqs), n, dtype=np.int64)
        soon = seqs - first < count
        leaving[soon] = leaves[seqs[soon] - first]
        in_time = (of_row < told.before) & (told.before <= leaving)
        return _Here(model, rows, hashes, first_new, leaves, pushed < matured, told, seqs, of_row, in_time)

    def _settle(self, here: _Here, come: _Come, kept: Rows, stream_s: Floats) -> list[_Read]:
        """Labels are told, and who is old leaves."""
        told, seqs, of_row = here.told, here.seqs, here.of_row
        since_s = np.maximum(told.stream_s, self._since_s or 0.0)
        ahead = (of_row >= told.before) & np.isin(told.at, kept)
        ahead[ahead] = stream_s[of_row[ahead]] < since_s[ahead] + here.model.spec.early
        early = _Told(
            seqs[ahead], told.order[ahead], told.slot[ahead], stream_s[of_row[ahead]], of_row[ahead] + 1
        )
        late = here.in_time
        in_time = _Told(seqs[late], told.order[late], told.slot[late], told.stream_s[late], told.before[late])
        prior = self._from_early(here, come.before[kept], stream_s)
        read = self._label(here.model, prior.with_next(early).with_next(in_time))
        gone = here.model.lane.pop(len(here.leaves))
        return read + self._leave(here.model, gone, here.leaves, here.pushed, stream_s)

    def _joined(self, model: _Model, events: Events, rows: Rows) -> tuple[Rows, Hashes]:
        """Rule 1 without the waiting: the predictions that can be joined."""
        kept = [row for row in rows.tolist() if events.id[row] is not None]
        self.counts["without id"] += len(rows) - len(kept)
        hashes = hashed([str(events.id[row]) for row in kept])
        inside = sampled(hashes, model.spec.sample)
        return np.array(kept, dtype=np.int64)[inside], hashes[inside]

    def _new(
        self, model: _Model, rows: Rows, hashes: Hashes, stream_s: Floats
    ) -> tuple[Rows, Hashes, dict[int, int]]:
        """Those whose id does not wait already; and for one whose id waited until just now, the row that had it."""
        lane, spec = model.lane, model.spec
        waiting = lane.find(hashes)
        if not (waiting >= 0).any() and len(np.unique(hashes)) == len(hashes):
            return rows, hashes, {}
        newest: dict[int, tuple[int, float]] = {}
        there = waiting >= 0
        arrived = np.zeros(len(hashes))
        arrived[there] = lane.stream_s(waiting[there])
        replaced: dict[int, int] = {}
        kept: list[int] = []
        for at, (one, row) in enumerate(zip(hashes.tolist(), rows.tolist(), strict=True)):
            number = lane.next + len(kept)
            seq, since_s = newest.get(one, (int(waiting[at]), float(arrived[at])))
            if seq >= 0:
                if since_s + spec.wait > stream_s[row] and seq + spec.most > number:
                    continue
                replaced[number] = seq
            newest[one] = (number, float(stream_s[row]))
            kept.append(at)
        self.counts["repeated"] += len(rows) - len(kept)
        return rows[kept], hashes[kept], replaced

    def _payload(self, batch: Batch, events: Events, rows: Rows) -> dict[str, Sequence[Any]]:
        at = rows.tolist()
        records = events.record[rows]
        sources = [batch.sources[index] for index in batch.source[records].tolist()]
        return {
            **{name: [events.fields[name][row] for row in at] for name in self._fields},
            **{f"feature:{name}": _picked(events.feature(name), at) for name in self._features},
            "version": [events.version[row] for row in at],
            "time_s": events.time_s[rows].tolist(),
            "topic": [source.topic for source in sources],
            "partition": [source.partition for source in sources],
            "offset": batch.offset[records].tolist(),
        }

    # ---- labels find predictions

    def _from_early(self, here: _Here, kept_before: Rows, stream_s: Floats) -> _Told:
        """Labels of batches before that waited for these new predictions. `kept_before`: where those of this batch
        stand that wait."""
        told = _Told.none()
        early, rows = self._early, here.rows
        if not len(early) or not len(rows):
            return told
        for keys in (here.hashes, hashed_again(here.hashes, here.model.name)):
            seqs = early.find(keys)
            there = np.flatnonzero(seqs >= 0)
            since_s = np.maximum(early.stream_s(seqs[there]), self._since_s or 0.0)
            fresh = since_s + here.model.spec.early > stream_s[rows[there]]
            count = early.next + np.searchsorted(kept_before, rows[there], side="right")
            valid = there[fresh & (seqs[there] + MOST_EARLY >= count)]
            told = told.with_next(
                _Told(
                    here.first_new + valid,
                    _PRIOR + seqs[valid],
                    early.slots(seqs[valid]),
                    stream_s[rows[valid]],
                    rows[valid] + 1,
                )
            )
        return told

    def _label(self, model: _Model, told: _Told) -> list[_Read]:
        """Rule 3; with `read: arrival` what is read at once."""
        lane, spec = model.lane, model.spec
        if not len(told.seqs):
            return []
        told = told.rows(np.lexsort((told.order, told.seqs)))
        arrival = spec.read == "arrival"
        before = lane.slots(told.seqs)
        self.counts["labels"] += len(told.seqs)
        if arrival or spec.conflict == "first":
            fresh = np.isnan(before) & np.append(True, told.seqs[1:] != told.seqs[:-1])
            told = told.rows(np.flatnonzero(fresh))
        lane.set(told.seqs, told.slot, told.stream_s)
        model.changed = True
        if not arrival or not len(told.seqs):
            return []
        gone = lane.columns(told.seqs)
        return [
            _Read(
                model.name,
                gone,
                told.before,
                np.zeros(len(told.seqs), dtype=np.bool_),
                told.stream_s,
                told.order,
            )
        ]

    def _leave(self, model: _Model, gone: Gone, leaves: Rows, pushed: Bools, stream_s: Floats) -> list[_Read]:
        """Rule 4."""
        if not len(gone):
            return []
        spec = model.spec
        labelled = ~np.isnan(gone.slot)
        model.labelled = np.concatenate((model.labelled, labelled))
        model.delays_s = np.concatenate((model.delays_s, (gone.slot_s - gone.stream_s)[labelled]))
        model.gone_at = leaves
        model.left += len(gone)
        model.pushed = np.concatenate((model.pushed, pushed))
        model.changed = True
        self.counts["pushed out"] += int(pushed.sum())
        absent = ~labelled & ~pushed if spec.absent_means != "drop" else np.zeros(len(gone), dtype=np.bool_)
        slot = gone.slot.copy()
        if absent.any():
            slot[absent] = self._words.encoded([spec.absent_means])[0]
        read = absent if spec.read == "arrival" else labelled | absent
        at = np.flatnonzero(read)
        if not len(at):
            return []
        kept = Gone(
            gone.stream_s[at],
            {name: _picked(column, at.tolist()) for name, column in gone.columns.items()},
            slot[at],
            gone.slot_s[at],
        )
        return [
            _Read(model.name, kept, leaves[at], np.ones(len(at), dtype=np.bool_), stream_s[leaves[at]], at)
        ]

    def _wait_early(self, come: _Come, found: Bools) -> tuple[Rows, Hashes]:
        """Rule 2: labels that found nobody, or may find more; and their keys."""
        waits = ~found
        if not self._one_model:
            waits |= np.array([model is None for model in come.model], dtype=np.bool_)
        at = np.flatnonzero(waits)
        keys = come.hashes[at].copy()
        for position, row in enumerate(at.tolist()):
            model = come.model[row]
            if model is not None:
                keys[position] = hashed_again(come.hashes[row : row + 1], model)[0]
        return self._not_told(at, keys, come) if self._first_counts else (at, keys)

    def _keep_early(self, come: _Come, kept: Rows, keys: Hashes, stream_s: Floats) -> None:
        if len(kept):
            seqs = self._early.append(keys, come.stream_s[kept], {})
            self._early.set(seqs, come.slot[kept], come.stream_s[kept])
        if len(stream_s) and self._since_s is not None:
            now_s = float(stream_s[-1])
            old = self._early.due(now_s, self._early_s) if now_s >= self._since_s + self._early_s else 0
            surplus = max(old, len(self._early) - MOST_EARLY)
            self.counts["labels without a prediction"] += surplus
            self._early.pop(surplus)

    def _not_told(self, at: Rows, keys: Hashes, come: _Come) -> tuple[Rows, Hashes]:
        """`conflict: first`: without those whose key waits already."""
        waiting = self._early.find(keys)
        there = np.flatnonzero(waiting >= 0)
        alive = np.zeros(len(keys), dtype=np.bool_)
        since_s = np.maximum(self._early.stream_s(waiting[there]), self._since_s or 0.0)
        alive[there] = since_s + self._early_s > come.stream_s[at[there]]
        kept: list[int] = []
        seen: dict[int, float] = {}
        for position, key in enumerate(keys.tolist()):
            now_s = float(come.stream_s[at[position]])
            if alive[position] or seen.get(key, -np.inf) + self._early_s > now_s:
                continue
            seen[key] = max(now_s, self._since_s or 0.0)
            kept.append(position)
        return at[kept], keys[kept]

    # ---- outcomes

    def _outcomes(self, parts: Sequence[_Read]) -> Outcomes | None:
        if not parts:
            return None
        before = np.concatenate([part.before for part in parts])
        passed = np.concatenate([part.passed for part in parts])
        order = np.concatenate([part.order for part in parts])
        of_model = np.repeat(np.arange(len(parts)), [len(part.before) for part in parts])
        rows = np.lexsort((order, np.where(passed, of_model, 0), passed, before))
        at = rows.tolist()

        def column(name: str) -> list[Any]:
            whole = [value for part in parts for value in part.gone.columns[name]]
            return [whole[row] for row in at]

        topics, partitions = column("topic"), column("partition")
        own = [
            Source(str(topic), int(partition)) for topic, partition in zip(topics, partitions, strict=True)
        ]
        sources = tuple(dict.fromkeys(own))
        index = {source: number for number, source in enumerate(sources)}
        models = [part.model for part in parts for _ in range(len(part.before))]
        slots = np.concatenate([part.gone.slot for part in parts])[rows]
        return Outcomes(
            before[rows],
            passed[rows],
            np.concatenate([part.stream_s for part in parts])[rows],
            np.array(column("time_s"), dtype=np.float64),
            sources,
            np.array([index[source] for source in own], dtype=np.int32),
            np.array(column("offset"), dtype=np.int64),
            [models[row] for row in at],
            column("version"),
            {**{name: column(name) for name in self._fields}, "label": self._words.decoded(slots)},
            {name: column(f"feature:{name}") for name in self._features},
        )

    # ---- state

    def changes(self) -> dict[str, bytes | None]:
        """As `Ledger.changes`."""
        changed: dict[str, bytes | None] = dict.fromkeys(self._dropped)
        self._dropped = set()
        for model in self._models.values():
            if model is None:
                continue
            changed |= model.lane.changes()
            if model.changed:
                model.changed = False
                stats = {
                    "model": model.name,
                    "labelled": np.packbits(model.labelled[-COVERAGE_OF:]).tobytes(),
                    "n": min(len(model.labelled), COVERAGE_OF),
                    "left": model.left,
                    "pushed": model.pushed[-LOOK_OF:].tobytes(),
                    "delays_s": model.delays_s[-DELAYS_OF:].tobytes(),
                }
                changed[f"{model.lane.name}:stats"] = pack("stats", stats)
        changed |= self._early.changes()
        words = (len(self._words.words), self._since_s)
        if words != self._words_stored:
            self._words_stored = words
            changed[_WORDS] = pack("words", {"words": self._words.words, "since_s": self._since_s})
        return changed

    def load(self, state: Mapping[str, bytes]) -> list[str]:
        """Into a fresh join, from the state whose keys begin with `PREFIX`. Models whose waiting predictions are
        dropped because the config now reads something else of them, or has no labels for them. StateDamaged."""
        self._early.load({key: data for key, data in state.items() if self._early.is_own(key)})
        lost: list[str] = []
        try:
            if _WORDS in state:
                content = unpack("words", state[_WORDS], _WORDS)
                self._words = Words([str(word) for word in content["words"]])
                self._since_s = None if content["since_s"] is None else float(content["since_s"])
                self._words_stored = (len(self._words.words), self._since_s)
            heads = [key for key in state if key.startswith(_MODEL) and ":" not in key.removeprefix(_MODEL)]
            for head in sorted(heads):
                name = unquote(head.removeprefix(_MODEL))
                own = {key: data for key, data in state.items() if key == head or key.startswith(f"{head}:")}
                model = self._model(name)
                if model is None:
                    lost.append(name)
                    self._dropped |= set(own)
                    continue
                stats = own.pop(f"{head}:stats", None)
                if not model.lane.load(own):
                    lost.append(name)
                if stats is not None:
                    content = unpack("stats", stats, f"{head}:stats")
                    bits = np.frombuffer(content["labelled"], dtype=np.uint8)
                    model.labelled = np.unpackbits(bits, count=int(content["n"])).astype(np.bool_)
                    model.delays_s = np.frombuffer(content["delays_s"], dtype=np.float64)
                    model.left = int(content["left"])
                    model.pushed = np.frombuffer(content["pushed"], dtype=np.bool_)
        except (KeyError, TypeError, ValueError) as error:
            raise StateDamaged(f"state of labels: {error!r}") from error
        return lost


# ---- what is passed about within one batch


@dataclass(frozen=True, slots=True, eq=False)
class _Come:
    """m labels of a batch. `before`: row of the event before which each stands; `stream_s`: stream time there."""

    record: Rows
    before: Rows
    stream_s: Floats
    slot: Floats
    hashes: Hashes
    model: Sequence[str | None]

    def of(self, model: str, sample: float) -> _Labels:
        mine = np.array([name is None or name == model for name in self.model], dtype=np.bool_)
        at = np.flatnonzero(mine & sampled(self.hashes, sample) if len(mine) else mine)
        return _Labels(
            at, self.record[at], self.before[at], self.stream_s[at], self.slot[at], self.hashes[at]
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Labels:
    """Those that may be of one model. `at`: which of all."""

    at: Rows
    order: Rows
    before: Rows
    stream_s: Floats
    slot: Floats
    hashes: Hashes

    def rows(self, at: Rows) -> _Labels:
        return _Labels(
            self.at[at], self.order[at], self.before[at], self.stream_s[at], self.slot[at], self.hashes[at]
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """k labels with the predictions that they are of. `before`: where the outcome stands if it is read at once."""

    seqs: Rows
    order: Rows
    slot: Floats
    stream_s: Floats
    before: Rows

    @classmethod
    def none(cls) -> _Told:
        nothing: Rows = np.zeros(0, dtype=np.int64)
        return cls(nothing, nothing, np.zeros(0), np.zeros(0), nothing)

    def rows(self, at: Rows) -> _Told:
        return _Told(self.seqs[at], self.order[at], self.slot[at], self.stream_s[at], self.before[at])

    def with_next(self, other: _Told) -> _Told:
        return _Told(
            np.concatenate((self.seqs, other.seqs)),
            np.concatenate((self.order, other.order)),
            np.concatenate((self.slot, other.slot)),
            np.concatenate((self.stream_s, other.stream_s)),
            np.concatenate((self.before, other.before)),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Here:
    """One model in one batch: its new predictions (`rows` of events), who leaves before which event (`leaves`, in the
    order of the lane) and who of them is pushed out, and which labels may be of which row of the lane."""

    model: _Model
    rows: Rows
    hashes: Hashes
    first_new: int
    leaves: Rows
    pushed: Bools
    told: _Labels
    seqs: Rows
    of_row: Rows
    in_time: Bools


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """Outcomes of one model that are read, and where; see `Outcomes`. `order` tells apart those at one place."""

    model: str
    gone: Gone
    before: Rows
    passed: Bools
    stream_s: Floats
    order: Rows


def _row_of(rows: Rows, first_new: int, seqs: Rows, later: int, sooner: int | None = None) -> Rows:
    """The event row of new rows of a lane; `sooner` for older ones, `later` for those that have not come yet."""
    at = seqs - first_new
    found = np.full(len(seqs), later, dtype=np.int64)
    if sooner is not None:
        found[at < 0] = sooner
    new = (at >= 0) & (at < len(rows))
    found[new] = rows[at[new]]
    return found


def _pairs(
    newest: Rows, before: Rows, replaced: Mapping[int, int], row_of: Callable[[Rows], Rows]
) -> tuple[Rows, Rows]:
    """Labels (by position) with the rows of the lane that they may be of: all new rows that come after the label in
    this batch, and the last one before it. `newest`: of each label's id, -1 for none."""
    at = np.flatnonzero(newest >= 0)
    seqs = newest[at]
    if not replaced:
        return at, seqs
    pairs = list(zip(at.tolist(), seqs.tolist(), row_of(seqs).tolist(), strict=True))
    for label, seq, row in pairs:  # grows while it is walked: an id that came several times in this batch
        if row >= before[label] and seq in replaced:
            older = replaced[seq]
            pairs.append((label, older, int(row_of(np.array([older]))[0])))
    return (
        np.array([label for label, *_ in pairs], dtype=np.int64),
        np.array([seq for _, seq, _ in pairs], dtype=np.int64),
    )


def _picked(column: Sequence[Any], rows: Sequence[int]) -> list[Any]:
    return [column[row] for row in rows]
