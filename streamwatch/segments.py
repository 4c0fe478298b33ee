"""Which segments of a slicing have stream keys of their own: the first `max_segments` of a model, in the order in which
its events brought them, over all versions. Events and outcomes of all others are pooled in the segment `other`.

A segment that is known stays so, whether its stream key is evicted or not, as long as its model has any stream key. So
who is pooled depends on the order of events alone, and not on batches. A real segment `other` is in the pool, too.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from streamwatch.categories import Segment
from streamwatch.coded import Table
from streamwatch.errors import StateDamaged
from streamwatch.events import StreamKey
from streamwatch.plan import Plan
from streamwatch.rowgroups import Cut, Keyed
from streamwatch.series import Bools
from streamwatch.state import pack

PREFIX: Final = "segments:"
OTHER: Final = "other"


class Slicing(NamedTuple):
    """A model, sliced by features."""

    by: tuple[str, ...]
    model: str

    def __str__(self) -> str:
        return f"{', '.join(self.by)} of {self.model}"


@dataclass(slots=True, eq=False)
class _Known:
    """`segments` in the order in which they came. `full_at`: the row of this batch that brought the first one too many;
    -1: that was before, or did not happen (`pooled`)."""

    segments: dict[Segment, None] = field(default_factory=dict)
    pooled: bool = False
    full_at: int = -1

    def dump(self, slicing: Slicing) -> dict[str, Any]:
        values = [[value for _, value in segment] for segment in self.segments]
        return {"by": slicing.by, "model": slicing.model, "segments": values, "pooled": self.pooled}


class Segments:
    """`most`: of one slicing of a model."""

    def __init__(self, most: int, plan: Plan) -> None:
        self._most = most
        self._plan = plan
        self._known: dict[tuple[str, ...], dict[str, _Known]] = {cut.by: {} for cut in plan.cuts if cut.by}
        self._changed: set[Slicing] = set()
        self._full: list[tuple[int, Slicing]] = []  # the row that brought the first one too many

    @property
    def pooled(self) -> list[Slicing]:
        """Slicings of which some segments are pooled."""
        return sorted(
            Slicing(by, model)
            for by, of_by in self._known.items()
            for model, known in of_by.items()
            if known.pooled
        )

    def take_full(self) -> list[Slicing]:
        """Slicings of which pooling began in the last batch."""
        full, self._full = sorted(self._full), []
        for _, slicing in full:
            if known := self._known[slicing.by].get(slicing.model):
                known.full_at = -1
        return [slicing for _, slicing in full]

    # ---- one batch

    def keyed(self, cuts: Mapping[Cut, Keyed], outcome: Bools | None, start: int = 0) -> dict[Cut, Keyed]:
        """The stream keys of the batch's rows from `start` on: `cuts` are those of all segments. Costs nothing by row
        where all segments are known."""
        return {
            cut: self._keyed(cut.by, keys, outcome, start) if cut.by else keys for cut, keys in cuts.items()
        }

    def _keyed(self, by: tuple[str, ...], keys: Keyed, outcome: Bools | None, start: int) -> Keyed:
        of_by, pool = self._known[by], pool_of(by)
        strange: list[int] = []
        new = False
        for code, key in enumerate(keys.keys):
            known = of_by.get(key.model)
            if known is not None and key.segment in known.segments:
                continue
            if key.segment != pool and self._plan.entries(key):
                strange.append(code)
                new = new or known is None or not known.pooled or len(known.segments) < self._most
        if not strange:
            return keys
        if new:
            self._admit(by, keys.without(outcome), {keys.keys[code] for code in strange}, start)
        return self._pooled(keys, strange, by)

    def _admit(self, by: tuple[str, ...], coming: Keyed, strange: Container[StreamKey], start: int) -> None:
        """Events bring segments: in the order of their rows."""
        of_by = self._known[by]
        for key, row in sorted(coming.first_rows(start), key=lambda first: first[1]):
            if key not in strange:
                continue
            known = of_by.get(key.model)
            if known is None:
                known = of_by[key.model] = _Known()
            if key.segment in known.segments:
                continue
            slicing = Slicing(by, key.model)
            if len(known.segments) < self._most:
                known.segments[key.segment] = None
                self._changed.add(slicing)
            elif not known.pooled:
                known.pooled, known.full_at = True, row
                self._full.append((row, slicing))
                self._changed.add(slicing)

    def _pooled(self, keys: Keyed, strange: Sequence[int], by: tuple[str, ...]) -> Keyed:
        """What is still strange belongs into the pool of its model, if that has begun."""
        of_by, pool, some = self._known[by], pool_of(by), False
        codes, targets = keys.codes, list(keys.keys)
        for code in strange:
            key = keys.keys[code]
            known = of_by.get(key.model)
            if known is None or not known.pooled or key.segment in known.segments:
                continue
            some = True
            targets[code] = key._replace(segment=pool)
            if known.full_at > 0:
                # Rows before that can only be of outcomes, of which nobody has seen the event.
                early = codes[: known.full_at]
                if (early == code).any():
                    codes = codes.copy()
                    codes[: known.full_at][early == code] = -1
        if not some:
            return keys
        table = Table()
        place = np.array([*(table[key] for key in targets), -1], dtype=np.int64)
        return Keyed(list(table), place[codes])

    def forget(self, model: str, row: int) -> None:
        """The model has no stream key any more, before this row of the batch."""
        for by, of_by in self._known.items():
            if of_by.pop(model, None) is not None:
                slicing = Slicing(by, model)
                self._changed.add(slicing)
                self._full = [one for one in self._full if one[1] != slicing or one[0] < row]

    # ---- state

    def changes(self) -> dict[str, bytes | None]:
        """As `Ledger.changes`."""
        changes: dict[str, bytes | None] = {}
        for slicing in sorted(self._changed):
            known = self._known.get(slicing.by, {}).get(slicing.model)
            at = PREFIX + json.dumps([slicing.model, slicing.by], separators=(",", ":"))
            changes[at] = None if known is None else pack("segments", known.dump(slicing))
        self._changed.clear()
        return changes

    def load(self, content: Mapping[str, Any], where: str) -> None:
        """What `changes` gave; it goes if the config has not this slicing any more, or the model not. StateDamaged if
        it is something else."""
        try:
            by, model = tuple(map(str, content["by"])), str(content["model"])
            segments = [tuple(zip(by, map(str, values), strict=True)) for values in content["segments"]]
            known = _Known(dict.fromkeys(segments), bool(content["pooled"]))
        except (KeyError, TypeError, ValueError) as error:
            raise StateDamaged(f"state {where}: not the segments of a slicing: {error!r}") from error
        if by in self._known:
            self._known[by][model] = known
        else:
            self._changed.add(Slicing(by, model))

    def loaded(self, keys: Iterable[StreamKey]) -> None:
        """All of the state is loaded, and these are the stream keys: what has one is known, a model without is not."""
        models = set[str]()
        for key in keys:
            models.add(key.model)
            by = tuple(name for name, _ in key.segment)
            if by in self._known and key.segment != pool_of(by):
                known = self._known[by].setdefault(key.model, _Known())
                if key.segment not in known.segments:
                    known.segments[key.segment] = None
                    self._changed.add(Slicing(by, key.model))
        for model in {model for of_by in self._known.values() for model in of_by} - models:
            self.forget(model, 0)


def pool_of(by: tuple[str, ...]) -> Segment:
    return tuple((name, OTHER) for name in by)
