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

import heapq
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import quote, unquote

import numpy as np

from streamwatch import matching
from streamwatch.alerts import Labels
from streamwatch.config import Config
from streamwatch.early import Early
from streamwatch.errors import StateDamaged
from streamwatch.events import Events, LabelEvents, Needs
from streamwatch.labels import Hashes, Words, hashed, sampled
from streamwatch.lane import Gone, Lane
from streamwatch.latemodel import LabelLook, LateModel, Waiting
from streamwatch.matching import Come, Here, Read, Told, pairs, picked
from streamwatch.records import Batch, Source
from streamwatch.series import Bools, Floats
from streamwatch.state import pack, unpack
from streamwatch.traffic import Outcomes, Rows

PREFIX: Final = "labels:"
# Why a prediction is never joined: it has no id, one with its id waits, it left before its time, or without a label.
UNJOINED: Final = ("without id", "repeated", "pushed out", "without a label", "no room")
_MODEL: Final = "labels:model:"
_WORDS: Final = "labels:words"
BLOCK: Final = 256  # words of one record


def columns(needs: Needs) -> tuple[str, ...]:
    """What is kept of a prediction that waits, beside its id and when it came."""
    features = [f"feature:{name}" for name in sorted(needs.features)]
    fields = sorted(needs.fields & {"prediction", "score"})
    return (*fields, *features, "version", "time_s", "topic", "partition", "offset")


class Join:
    """`needs`: what performance signals, their `where` and their `by` read of a prediction."""

    def __init__(self, config: Config, needs: Needs) -> None:
        self._config = config
        self._fields = sorted(needs.fields & {"prediction", "score"})
        self._features = sorted(needs.features)
        self._columns = columns(needs)
        self._models: dict[str, LateModel] = {}
        self._visited: list[LateModel] = []  # in this batch, by name
        self._due: list[
            tuple[float, str]
        ] = []  # when the first of a lane is old; one entry for each lane that has rows
        specs = [spec.labels for spec in config.models.values() if spec.labels is not None]
        named = [name for name, spec in config.models.items() if spec.labels is not None]
        self._one_model = len(named) == 1 and named != ["*"]
        self._early = Early(max((spec.early for spec in specs), default=0.0))
        self._sample = max((spec.sample for spec in specs), default=1.0)
        self._since_s: float | None = None
        self._words = Words()
        self._words_stored: tuple[int, float | None] = (0, None)
        self._dropped: set[str] = set()
        self._grown: set[Lane] = set()  # since the state was asked for
        self._counts: Counter[str] = Counter()

    def waiting(self) -> list[Waiting]:
        """By model; after `place`."""
        return [model.waiting() for _, model in sorted(self._models.items())]

    @property
    def early(self) -> int:
        """Labels that wait for their predictions."""
        return len(self._early)

    def take_counts(self) -> Mapping[str, int]:
        """Since the last call: `outcomes` read, `labels` that found their prediction, and `labels without a
        prediction`; predictions that are never joined by why (`UNJOINED`)."""
        counts, self._counts = self._counts, Counter()
        return counts

    def standing(self, model: str, row: int) -> Labels | None:
        """How the labels of a model stood at a row of the traffic that `place` has told of."""
        found = self._models.get(model)
        return None if found is None else found.standing(row)

    def looks(self) -> list[LabelLook]:
        """Of this batch, after `place`."""
        return [look for model in self._visited for look in model.looks()]

    def place(self, new_rows: Rows, count: int) -> None:
        """Where events are in the traffic: (n,) row of each; `count` rows in all."""
        ends = np.append(new_rows, count)
        # Those that become old together are read together, before the event that made them old.
        together = np.append(0, ends[:-1] + 1)
        for model in self._visited:
            model.gone_at = (ends if model.spec.read == "arrival" else together)[model.gone_at]

    # ---- one batch

    def take(
        self, batch: Batch, events: Events, labels: LabelEvents, stream_s: Floats, before_s: float | None
    ) -> Outcomes | None:
        """What is read in this batch. `stream_s` (n,): at each event; `before_s`: before the batch."""
        if self._since_s is None and len(events):
            self._since_s = float(stream_s[0])
        before = np.searchsorted(events.record, labels.record).astype(np.int64)
        times = np.concatenate(([before_s or 0.0], stream_s))
        come = Come(
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
        self._visited = self._visit(rows_of, labels, float(stream_s[-1]) if len(stream_s) else None)
        here = []
        for model in self._visited:
            rows = np.array(rows_of.get(model.name, ()), dtype=np.int64)
            here.append(self._arrive(model, batch, events, rows, come, stream_s))
        for one in here:
            found[one.told.at[one.in_time]] = True
        waits = ~found
        if not self._one_model:
            waits |= np.array([model is None for model in come.model], dtype=np.bool_)
        # What is outside the sample never finds a prediction, and would push out what does.
        waits &= sampled(come.hashes, self._sample)
        kept = np.flatnonzero(waits)
        keys = self._early.keys(come, kept)
        parts = [part for one in here for part in self._settle(one, come, kept, stream_s)]
        self._counts["labels without a prediction"] += self._early.keep(
            come, kept, keys, stream_s, self._since_s
        )
        for model in self._visited:
            model.last_s = float(stream_s[-1]) if len(stream_s) else model.last_s
            self._ask(model)
        return self._outcomes(parts)

    def _visit(
        self, rows_of: Mapping[str, Sequence[int]], labels: LabelEvents, now_s: float | None
    ) -> list[LateModel]:
        """The models that this batch may do something to: a service may know thousands."""
        for model in self._visited:
            model.forget()
        names = set()
        while self._due and now_s is not None and self._due[0][0] <= now_s:
            _, name = heapq.heappop(self._due)
            if name in self._models:
                self._models[name].asked = False
                names.add(name)
        if None in labels.model:
            names |= {name for name, model in self._models.items() if len(model.lane)}
        names |= {name for name in labels.model if name is not None and name in self._models}
        names |= {name for name in rows_of if self._model(name, rows_of) is not None}
        return [self._models[name] for name in sorted(names & self._models.keys())]

    def _ask(self, model: LateModel) -> None:
        """When its first prediction is old, it is to be visited."""
        if len(model.lane) and not model.asked:
            model.asked = True
            due_s = float(model.lane.arrivals(1)[0]) + model.spec.wait
            heapq.heappush(self._due, (due_s, model.name))

    def _model(self, name: str, coming: Collection[str] = ()) -> LateModel | None:
        """None: its labels do not come late, or there is no room for one more model. `coming`: of this batch."""
        known = self._models.get(name)
        if known is not None:
            return known
        spec = self._config.spec(name).labels
        if spec is None:
            return None
        if len(self._models) >= self._config.max_stream_keys:
            idle = [one for one in self._models.values() if not len(one.lane) and one.name not in coming]
            if not idle:
                self._counts["no room"] += 1
                return None
            oldest = min(idle, key=lambda model: (model.last_s, model.name))
            del self._models[oldest.name]
            self._dropped |= oldest.keys()
            self._grown.discard(oldest.lane)
        lane = Lane(_MODEL + quote(name, safe=""), self._columns)
        made = self._models[name] = LateModel(name, spec, lane)
        return made

    def _arrive(
        self, model: LateModel, batch: Batch, events: Events, rows: Rows, come: Come, stream_s: Floats
    ) -> Here:
        """Predictions come; who leaves, and which labels come to whom in time."""
        lane, spec, n = model.lane, model.spec, len(stream_s)
        first = lane.first
        rows, hashes = self._joined(model, events, rows)
        rows, hashes, replaced = self._new(model, rows, hashes, stream_s)
        first_new = lane.next
        lane.append(hashes, stream_s[rows], self._payload(batch, events, rows))
        self._grown.add(lane)
        row_of = partial(matching.row_of, rows, first_new)
        count = max(lane.due(float(stream_s[-1]), spec.wait) if n else 0, lane.next - spec.most - first)
        matured = np.searchsorted(stream_s, lane.arrivals(count) + spec.wait, side="left")
        pushed = row_of(np.arange(first, first + count) + spec.most, n)
        leaves = np.minimum(matured, pushed).astype(np.int64)

        told = come.of(model.name, spec.sample)
        at, seqs = pairs(lane.find(told.hashes), told.before, replaced, lambda seq: row_of(seq, n, -1))
        told = told.rows(at)
        of_row = row_of(seqs, n, -1)
        leaving = np.full(len(seqs), n, dtype=np.int64)
        soon = seqs - first < count
        leaving[soon] = leaves[seqs[soon] - first]
        in_time = (of_row < told.before) & (told.before <= leaving)
        return Here(model, rows, hashes, first_new, leaves, pushed < matured, told, seqs, of_row, in_time)

    def _settle(self, here: Here, come: Come, kept: Rows, stream_s: Floats) -> list[Read]:
        """Labels are told, and who is old leaves."""
        told, seqs, of_row = here.told, here.seqs, here.of_row
        since_s = np.maximum(told.stream_s, self._since_s or 0.0)
        ahead = (of_row >= told.before) & np.isin(told.at, kept)
        ahead[ahead] = stream_s[of_row[ahead]] < since_s[ahead] + here.model.spec.early
        ahead[ahead] = self._early.still_waits(
            np.searchsorted(kept, told.at[ahead]), come.before[kept], of_row[ahead]
        )
        early = Told(
            seqs[ahead], told.order[ahead], told.slot[ahead], stream_s[of_row[ahead]], of_row[ahead] + 1
        )
        late = here.in_time
        in_time = Told(seqs[late], told.order[late], told.slot[late], told.stream_s[late], told.before[late])
        prior = self._early.of(here, come.before[kept], stream_s, self._since_s or 0.0)
        read = self._label(here.model, prior.with_next(early).with_next(in_time))
        gone = here.model.lane.pop(len(here.leaves))
        return read + self._leave(here.model, gone, here.leaves, here.pushed, stream_s)

    def _joined(self, model: LateModel, events: Events, rows: Rows) -> tuple[Rows, Hashes]:
        """Rule 1 without the waiting: the predictions that can be joined."""
        kept = [row for row in rows.tolist() if events.id[row] is not None]
        self._counts["without id"] += len(rows) - len(kept)
        hashes = hashed([str(events.id[row]) for row in kept])
        inside = sampled(hashes, model.spec.sample)
        return np.array(kept, dtype=np.int64)[inside], hashes[inside]

    def _new(
        self, model: LateModel, rows: Rows, hashes: Hashes, stream_s: Floats
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
        self._counts["repeated"] += len(rows) - len(kept)
        return rows[kept], hashes[kept], replaced

    def _payload(self, batch: Batch, events: Events, rows: Rows) -> dict[str, Sequence[Any]]:
        at = rows.tolist()
        records = events.record[rows]
        sources = [batch.sources[index] for index in batch.source[records].tolist()]
        return {
            **{name: [events.fields[name][row] for row in at] for name in self._fields},
            **{f"feature:{name}": picked(events.feature(name), at) for name in self._features},
            "version": [events.version[row] for row in at],
            "time_s": events.time_s[rows].tolist(),
            "topic": [source.topic for source in sources],
            "partition": [source.partition for source in sources],
            "offset": batch.offset[records].tolist(),
        }

    # ---- labels find predictions

    def _label(self, model: LateModel, told: Told) -> list[Read]:
        """Rule 3; with `read: arrival` what is read at once."""
        lane, spec = model.lane, model.spec
        if not len(told.seqs):
            return []
        told = told.rows(np.lexsort((told.order, told.seqs)))
        arrival = spec.read == "arrival"
        before = lane.slots(told.seqs)
        self._counts["labels"] += len(told.seqs)
        if arrival or spec.conflict == "first":
            fresh = np.isnan(before) & np.append(True, told.seqs[1:] != told.seqs[:-1])
            told = told.rows(np.flatnonzero(fresh))
        lane.set(told.seqs, told.slot, told.stream_s)
        model.changed = True
        if not arrival or not len(told.seqs):
            return []
        gone = lane.columns(told.seqs)
        self._counts["outcomes"] += len(gone)
        return [
            Read(
                model.name,
                gone,
                told.before,
                np.zeros(len(told.seqs), dtype=np.bool_),
                told.stream_s,
                told.order,
            )
        ]

    def _leave(
        self, model: LateModel, gone: Gone, leaves: Rows, pushed: Bools, stream_s: Floats
    ) -> list[Read]:
        """Rule 4."""
        if not len(gone):
            return []
        spec = model.spec
        labelled = ~np.isnan(gone.slot)
        delays_s = (gone.slot_s - gone.stream_s)[labelled]
        model.left_now(leaves, labelled, delays_s, pushed)
        self._counts["pushed out"] += int((pushed & ~labelled).sum())
        self._counts["without a label"] += int((~pushed & ~labelled).sum())
        absent = ~labelled & ~pushed if spec.absent_means != "drop" else np.zeros(len(gone), dtype=np.bool_)
        slot = gone.slot.copy()
        if absent.any():
            slot[absent] = self._words.encoded([spec.absent_means])[0]
        read = absent if spec.read == "arrival" else labelled | absent
        at = np.flatnonzero(read)
        if not len(at):
            return []
        self._counts["outcomes"] += len(at)
        kept = Gone(
            gone.stream_s[at],
            {name: picked(column, at.tolist()) for name, column in gone.columns.items()},
            slot[at],
            gone.slot_s[at],
        )
        return [
            Read(model.name, kept, leaves[at], np.ones(len(at), dtype=np.bool_), stream_s[leaves[at]], at)
        ]

    # ---- outcomes

    def _outcomes(self, parts: Sequence[Read]) -> Outcomes | None:
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

    @property
    def pending_bytes(self) -> int:
        """As `Ledger.pending_bytes`."""
        return self._early.pending_bytes + sum(lane.pending_bytes for lane in self._grown)

    def changes(self) -> dict[str, bytes | None]:
        """As `Ledger.changes`."""
        changed: dict[str, bytes | None] = dict.fromkeys(self._dropped)
        self._dropped = set()
        self._grown.clear()
        for model in self._models.values():
            changed |= model.changes()
        changed |= self._early.changes()
        words = (len(self._words.words), self._since_s)
        if words != self._words_stored:
            for number in range(self._words_stored[0] // BLOCK, -(-words[0] // BLOCK)):
                block = self._words.words[number * BLOCK : (number + 1) * BLOCK]
                changed[f"{_WORDS}:{number}"] = pack("words", {"words": block})
            self._words_stored = words
            changed[_WORDS] = pack("words", {"n": words[0], "since_s": self._since_s})
        return changed

    def load(self, state: Mapping[str, bytes]) -> list[str]:
        """Into a fresh join, from the state whose keys begin with `PREFIX`. Models whose waiting predictions are
        dropped because the config now reads something else of them, or has no labels for them. StateDamaged."""
        self._early.load(state)
        lost: list[str] = []
        try:
            if _WORDS in state:
                content = unpack("words", state[_WORDS], _WORDS)
                words: list[str] = []
                for number in range(-(-int(content["n"]) // BLOCK)):
                    block = unpack("words", state[f"{_WORDS}:{number}"], f"{_WORDS}:{number}")
                    words += [str(word) for word in block["words"]]
                self._words = Words(words)
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
                if not model.load(own):
                    lost.append(name)
                self._ask(model)
        except (KeyError, TypeError, ValueError) as error:
            raise StateDamaged(f"state of labels: {error!r}") from error
        return lost
