"""One model whose labels come late: its lane of waiting predictions, and how its labels stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from streamwatch.alerts import Labels
from streamwatch.labels import LabelsSpec
from streamwatch.lane import Lane
from streamwatch.series import Bools, Floats
from streamwatch.state import pack, unpack
from streamwatch.traffic import Rows

COVERAGE_OF: Final = 1_000  # predictions that left last
DELAYS_OF: Final = 256  # of those with a label, the last
LOOK_OF: Final = 100


class Waiting(NamedTuple):
    """Predictions of a model that wait for their labels, how many may at most, and how labels stand."""

    model: str
    predictions: int
    most: int
    labels: Labels


class LabelLook(NamedTuple):
    """At a row: of the last `of` predictions that left so many had no label (`unlabelled`), and so many of the last 100
    were pushed out before their time."""

    row: int
    model: str
    of: int
    unlabelled: int
    pushed: int


@dataclass(slots=True, eq=False)
class LateModel:
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
    last_s: float = 0.0  # stream time when something was done to it last
    asked: bool = False  # whether it is noted when its first prediction is old
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

    def waiting(self) -> Waiting:
        """When all of this batch has been read."""
        end = int(self.gone_at[-1]) if len(self.gone_at) else 0
        return Waiting(self.name, len(self.lane), self.spec.most, self.standing(end))

    def left_now(self, leaves: Rows, labelled: Bools, delays_s: Floats, pushed: Bools) -> None:
        """Predictions leave: before which event each, which have a label, how late those were, which are pushed."""
        self.labelled = np.concatenate((self.labelled, labelled))
        self.delays_s = np.concatenate((self.delays_s, delays_s))
        self.pushed = np.concatenate((self.pushed, pushed))
        self.gone_at = leaves
        self.left += len(leaves)
        self.changed = True

    # ---- state

    def keys(self) -> set[str]:
        """Of all that is in the state."""
        return {*self.lane.keys(), self.stats_key}

    @property
    def stats_key(self) -> str:
        return f"{self.lane.name}:stats"

    def changes(self) -> dict[str, bytes | None]:
        """As `Ledger.changes`."""
        changed = self.lane.changes()
        if self.changed:
            self.changed = False
            last = self.labelled[-COVERAGE_OF:]
            stats = {
                "labelled": np.packbits(last).tobytes(),
                "n": len(last),
                "left": self.left,
                "pushed": self.pushed[-LOOK_OF:].tobytes(),
                "delays_s": self.delays_s[-DELAYS_OF:].tobytes(),
            }
            changed[self.stats_key] = pack("stats", stats)
        return changed

    def load(self, state: Mapping[str, bytes]) -> bool:
        """See `Lane.load`."""
        own = dict(state)
        stats = own.pop(self.stats_key, None)
        whole = self.lane.load(own)
        if stats is not None:
            content: Mapping[str, Any] = unpack("stats", stats, self.stats_key)
            bits = np.frombuffer(content["labelled"], dtype=np.uint8)
            self.labelled = np.unpackbits(bits, count=int(content["n"])).astype(np.bool_)
            self.delays_s = np.frombuffer(content["delays_s"], dtype=np.float64)
            self.left = int(content["left"])
            self.pushed = np.frombuffer(content["pushed"], dtype=np.bool_)
        return whole
