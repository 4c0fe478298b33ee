"""What is noticed of models and inputs as a whole, in the order of a batch: silence, labels, stalled inputs.

In the order of rows; at one row first what stream time made due there (by time), then what the row itself shows.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamwatch.alerts import Alert, Unseen, rfc3339
from streamwatch.coded import coded
from streamwatch.conditions import About, Conditions
from streamwatch.config import Config
from streamwatch.join import Join
from streamwatch.latemodel import LabelLook
from streamwatch.policy import Decision
from streamwatch.presence import Presence
from streamwatch.stream import Stream
from streamwatch.traffic import Traffic


class _Item(NamedTuple):
    """What a row shows: a model that was silent is heard again (`look` None), or how labels stand."""

    row: int
    model: str
    look: LabelLook | None


class Notices:
    """`models`: the number of streams of each model, as it stands: one without any is watched by nobody."""

    def __init__(
        self, config: Config, conditions: Conditions, join: Join | None, models: Mapping[str, int]
    ) -> None:
        self._models = models
        self._config = config
        self._conditions = conditions
        self._join = join
        self._presence = Presence(config)
        self._items: list[tuple[int, str, bool, _Item]] = []
        self._traffic: Traffic | None = None
        self._rows: dict[str, npt.NDArray[np.intp]] | None = None

    def heard(self, stream: Stream) -> None:
        """From the state."""
        model = stream.key.model
        self._presence.heard(model, stream.trail.last_s, stream.trail.arrived_s)

    def restored(self) -> None:
        """All of the state has been heard."""
        for model in self._models:
            last_s = self._presence.last_s(model)
            if last_s is not None and not self._conditions.known(About("events", model)):
                self._presence.ask(model, last_s)

    # ---- one batch

    def begin(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._rows = None
        self._items = []
        if self._join is not None:
            for look in self._join.looks():
                if look.row < len(traffic):
                    self._note(_Item(look.row, look.model, look))
        names = set(coded(traffic.events.model).words)
        silent = self._conditions.silent() & names
        for model in sorted(silent | self._presence.unasked(names)):
            if rows := self._of(model):
                if model in silent:
                    self._note(_Item(rows[0], model, None))
                else:
                    self._presence.ask(model, float(traffic.stream_s[rows[0]]))

    def _note(self, item: _Item) -> None:
        heapq.heappush(self._items, (item.row, item.model, item.look is not None, item))

    def _of(self, model: str) -> list[int]:
        """The rows of a model's events."""
        assert self._traffic is not None
        if self._rows is None:
            models, outcome = coded(self._traffic.events.model), self._traffic.outcome
            codes = models.codes if outcome is None else np.where(outcome, len(models.words), models.codes)
            order = np.argsort(codes, kind="stable")
            edges = np.searchsorted(codes[order], np.arange(1, len(models.words) + 1))
            self._rows = dict(zip(models.words, np.split(order, edges), strict=False))
        rows = self._rows.get(model)
        return [] if rows is None else rows.tolist()

    def until(self, row: int, time_s: float) -> list[Alert]:
        """All before a place: this row, and there this time."""
        assert self._traffic is not None
        stream_s, alerts = self._traffic.stream_s, list[Alert]()
        while True:
            due_s = self._presence.next_s
            at = (
                int(np.searchsorted(stream_s, due_s, side="left")) if due_s <= stream_s[-1] else len(stream_s)
            )
            item = self._items[0][-1] if self._items else None
            mark_s = self._conditions.next_s
            marked = (
                int(np.searchsorted(stream_s, mark_s, side="left"))
                if mark_s <= stream_s[-1]
                else len(stream_s)
            )
            if (marked, mark_s) <= min((row, time_s), (at, due_s)) and (item is None or marked <= item.row):
                alerts += self._conditions.mark(mark_s)
            elif item is not None and item.row < at and (item.row, stream_s[item.row]) <= (row, time_s):
                heapq.heappop(self._items)
                alerts += self._shown(item)
            elif (at, due_s) <= (row, time_s):
                alerts += self._maybe_silent(at)
            else:
                return alerts

    def _maybe_silent(self, at: int) -> list[Alert]:
        assert self._traffic is not None
        due_s, model = self._presence.pop()
        rows = self._of(model)
        before = [row for row in rows if row < at]
        after = [row for row in rows if row >= at]
        last_s = float(self._traffic.stream_s[before[-1]]) if before else self._presence.last_s(model)
        if last_s is None or model not in self._models:
            if after:
                self._presence.ask(model, float(self._traffic.stream_s[after[0]]))
            return []
        if last_s + self._config.silence(model) > due_s:
            self._presence.ask(model, last_s)
            return []
        if after:
            self._note(_Item(after[0], model, None))
        return self._silent(model, last_s)

    def _silent(self, model: str, last_s: float) -> list[Alert]:
        limit_s = self._config.silence(model)
        what = f"no events of {model} since {rfc3339(last_s)}: its monitors see nothing"
        return self._conditions.blind(About("events", model), "silent", last_s + limit_s, what)

    def _shown(self, item: _Item) -> list[Alert]:
        assert self._traffic is not None
        now_s = float(self._traffic.stream_s[item.row])
        if item.look is not None:
            return self._labels(item.look, now_s)
        self._presence.ask(item.model, now_s)
        what = f"events of {item.model} come again"
        return self._conditions.seeing(About("events", item.model), "heard again", now_s, what)

    def _labels(self, look: LabelLook, now_s: float) -> list[Alert]:
        spec = self._config.spec(look.model).labels
        assert spec is not None
        assert self._join is not None
        alerts: list[Alert] = []
        coverage, share = About("coverage", look.model), 1.0 - look.unlabelled / look.of
        least = spec.least_coverage
        if share < least and look.of * least >= 1:  # of fewer nobody can tell
            unseen = Unseen(count=look.unlabelled, of=look.of, limit=1.0 - least)
            what = (
                f"only {share:.1%} of the last {look.of:,} predictions of {look.model} had a label, and the limit is "
                f"{least:.3g}: do labels still come, and within `wait`?"
            )
            alerts += self._conditions.blind(coverage, "few labels", now_s, what, unseen)
        else:
            what = f"{share:.1%} of the last {look.of:,} predictions of {look.model} had a label"
            alerts += self._conditions.seeing(coverage, "labels again", now_s, what)
        buffer = About("buffer", look.model)
        if look.pushed:
            unseen = Unseen(count=look.pushed, of=100, limit=0.0)
            what = (
                f"more than {spec.most:,} predictions of {look.model} wait for labels: {look.pushed} of the last 100 "
                "left before their time"
            )
            alerts += self._conditions.blind(buffer, "label buffer full", now_s, what, unseen)
        else:
            what = f"predictions of {look.model} wait for their labels as long as they should"
            alerts += self._conditions.seeing(buffer, "room again", now_s, what)
        return alerts

    def gone(self, model: str, decision: Decision) -> list[Alert]:
        """The last stream of a model has gone: nobody cares any more whether it is silent."""
        return self._conditions.end(model, decision)

    def end(self) -> None:
        """The batch is over."""
        traffic = self._traffic
        assert traffic is not None
        models = coded(traffic.events.model)
        last = np.full(len(models.words), -1)
        rows = np.arange(len(models)) if traffic.outcome is None else np.flatnonzero(~traffic.outcome)
        last[models.codes[rows]] = rows  # of what is written to one place twice, the last one stays
        for model, row in zip(models.words, last.tolist(), strict=True):
            if row >= 0 and model in self._models:
                self._presence.heard(model, float(traffic.stream_s[row]), float(traffic.arrived_s[row]))
        self._presence.keep(self._models)
        self._traffic = self._rows = None

    # ---- outside the order of records

    def on_clock(self, now_s: float) -> list[Alert]:
        alerts: list[Alert] = []
        for model, heard in self._presence.silent(now_s):
            alerts += self._silent(model, heard.last_s)
        return alerts

    def on_input(self, about: About, blind: bool, detail: str, now_s: float) -> list[Alert]:
        reasons = {
            "stalled": ("partition stalled", "partition moves"),
            "lost": ("records lost", "reads on"),
            "lag": ("lag", "caught up"),
            "partition": ("key in two partitions", "key in one partition"),
        }
        begins, ends = reasons[about.kind]
        if blind:
            return self._conditions.blind(about, begins, now_s, detail)
        return self._conditions.seeing(about, ends, now_s, detail)
