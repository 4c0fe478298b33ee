"""The join of predictions and labels, against the plain reading of its rules, one record after the other."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from streamwatch import early
from streamwatch.config import Config
from streamwatch.events import Events, LabelEvents, Needs
from streamwatch.join import Join
from streamwatch.labels import Words, hashed, sampled
from streamwatch.latemodel import COVERAGE_OF, DELAYS_OF
from streamwatch.records import Batch, Source
from streamwatch.traffic import Outcomes
from tests.build import config, monitor

NEEDS = Needs(frozenset({"prediction", "label"}), frozenset({"country"}))
Item = tuple[Any, ...]  # ("p", time_s, id, model, prediction, country) or ("l", id, model, label)


def of(**labels: Any) -> Config:
    both = {"early": "20s", **labels}
    return config(
        monitor("error", "error", by=[["country"]]),
        inputs=[{"topics": ["predictions"]}, {"topics": ["labels"], "kind": "labels"}],
        models={"a": {"labels": {"wait": "100s", **both}}, "b": {"labels": {"wait": "50s", **both}}, "c": {}},
    )


class Plain:
    """Rules 1 to 4, a record at a time."""

    def __init__(self, config: Config) -> None:
        self.specs = {name: spec.labels for name, spec in config.models.items() if spec.labels}
        self.waiting: dict[str, list[dict[str, Any]]] = {name: [] for name in self.specs}
        self.early: list[tuple[str, str | None, Any, float | None]] = []
        self.now_s: float | None = None
        self.read: list[tuple[Any, ...]] = []
        self.left: dict[str, list[tuple[bool, float | None]]] = {name: [] for name in self.specs}

    def take(self, item: Item, offset: int) -> None:
        if item[0] == "l":
            self._label(*item[1:])
            return
        _, time_s, event_id, model, prediction, country = item
        self.now_s = time_s if self.now_s is None else max(self.now_s, time_s)
        self.early = [(*one[:3], self.now_s if one[3] is None else one[3]) for one in self.early]
        for name in sorted(self.specs):
            while self.waiting[name] and self.waiting[name][0]["at"] + self.specs[name].wait <= self.now_s:
                self._leave(name, True)
        spec = self.specs.get(model)
        if spec is None or event_id is None or not sampled(hashed([event_id]), spec.sample)[0]:
            return
        if any(row["id"] == event_id for row in self.waiting[model]):
            return
        row = {
            "id": event_id,
            "at": self.now_s,
            "label": None,
            "when": None,
            "out": (model, prediction, country, offset, time_s),
        }
        if len(self.waiting[model]) >= spec.most:
            self._leave(model, False)
        self.waiting[model].append(row)
        for name, of_model, label, since_s in self.early:
            if name == event_id and of_model in (None, model) and since_s + spec.early > self.now_s:
                self._tell(model, row, label)

    def _label(self, event_id: str, model: str | None, label: Any) -> None:
        found = False
        for name in sorted(self.specs):
            spec = self.specs[name]
            if model not in (None, name) or not sampled(hashed([event_id]), spec.sample)[0]:
                continue
            for row in self.waiting[name]:
                if row["id"] == event_id:
                    found = True
                    self._tell(name, row, label)
        if not found or model is None:
            self.early.append((event_id, model, label, self.now_s))

    def _tell(self, model: str, row: dict[str, Any], label: Any) -> None:
        spec = self.specs[model]
        if row["label"] is not None and (spec.read == "arrival" or spec.conflict == "first"):
            return
        row["label"], row["when"] = label, self.now_s
        if spec.read == "arrival":
            self.read.append((*row["out"], label))

    def _leave(self, model: str, matured: bool) -> None:
        spec = self.specs[model]
        row = self.waiting[model].pop(0)
        self.left[model].append(
            (row["label"] is not None, None if row["label"] is None else row["when"] - row["at"])
        )
        label = row["label"]
        if label is None:
            if spec.absent_means == "drop" or not matured:
                return
            label = spec.absent_means
        elif spec.read == "arrival":
            return
        self.read.append((*row["out"], label))


def parts(items: Sequence[Item], offset: int) -> tuple[Batch, Events, LabelEvents]:
    n = len(items)
    batch = Batch(
        0, (Source("predictions", 0), Source("labels", 0)),
        np.array([0 if item[0] == "p" else 1 for item in items], dtype=np.int32),
        np.arange(offset, offset + n, dtype=np.int64), np.zeros(n, dtype=np.int64), [None] * n, [b""] * n, [()] * n,
    )  # fmt: skip
    at = [row for row, item in enumerate(items) if item[0] == "p"]
    mine = [items[row] for row in at]
    events = Events(
        np.array(at, dtype=np.int64), np.array([one[1] for one in mine], dtype=np.float64),
        [one[2] for one in mine], [one[3] for one in mine], ["1"] * len(mine),
        {"prediction": [one[4] for one in mine], "label": [None] * len(mine)},
        {"country": [one[5] for one in mine]},
    )  # fmt: skip
    at = [row for row, item in enumerate(items) if item[0] == "l"]
    told = [items[row] for row in at]
    labels = LabelEvents(
        np.array(at, dtype=np.int64),
        [one[1] for one in told],
        [one[2] for one in told],
        [one[3] for one in told],
    )
    return batch, events, labels


def rows(outcomes: Outcomes | None) -> list[tuple[Any, ...]]:
    if outcomes is None:
        return []
    assert {outcomes.sources[index] for index in outcomes.source} <= {Source("predictions", 0)}
    return list(
        zip(outcomes.model, outcomes.fields["prediction"], outcomes.features["country"], outcomes.offset.tolist(),
            outcomes.time_s.tolist(), outcomes.fields["label"], strict=True)
    )  # fmt: skip


def joined(
    config: Config, items: Sequence[Item], sizes: Sequence[int], restart: bool
) -> tuple[list[Any], Join]:
    state: dict[str, bytes] = {}
    join, now_s, start, read = Join(config, NEEDS), None, 0, []
    for size in sizes:
        batch, events, labels = parts(items[start : start + size], start)
        stream_s = np.maximum.accumulate(np.maximum(events.time_s, -1.0 if now_s is None else now_s))
        outcomes = join.take(batch, events, labels, stream_s, now_s)
        join.place(np.arange(len(events)), len(events))
        if outcomes is not None:
            assert (np.diff(outcomes.before) >= 0).all()
        read += rows(outcomes)
        if len(stream_s):
            now_s = float(stream_s[-1])
        start += size
        if restart:
            for key, value in join.changes().items():
                if value is None:
                    state.pop(key, None)
                else:
                    state[key] = value
            join = Join(config, NEEDS)
            assert join.load(state) == []
    return read, join


def life(n: int, seed: int) -> list[Item]:
    """Labels early, late, twice, contradicting, of one model or of all, of nobody; ids that come again."""
    draw = random.Random(seed)
    items: list[Item] = []
    now_s = 1000.0
    known: list[str] = ["x"]
    for _ in range(n):
        if draw.random() < 0.5:
            now_s += draw.choice([0.0, 0.5, 2.0, 6.0]) + (150.0 if draw.random() < 0.005 else 0.0)
            fresh = draw.choice(known) if draw.random() < 0.15 else f"i{draw.randrange(200)}"
            known.append(fresh)
            name = None if draw.random() < 0.03 else fresh
            prediction = draw.choice([0, 1, 1.0, "yes", None])
            items.append(
                (
                    "p",
                    now_s - draw.choice([0, 0, 9]),
                    name,
                    draw.choice("aabc"),
                    prediction,
                    draw.choice(["DE", "AT", None]),
                )
            )
        else:
            recent = [*known[-25:], f"i{draw.randrange(200)}"]
            items.append(
                (
                    "l",
                    draw.choice(recent),
                    draw.choice([None, None, "a", "b"]),
                    draw.choice([0, 1, "yes", 2.5]),
                )
            )
    return items


SPECS: list[dict[str, Any]] = [
    {},
    {"conflict": "first"},
    {"absent_means": 0},
    {"read": "arrival"},
    {"read": "arrival", "absent_means": "no"},
    {"sample": "40%"},
    {"conflict": "first", "absent_means": 1},
]


@pytest.mark.parametrize(
    ("seed", "labels"),
    list(enumerate(SPECS)),
    ids=[" ".join(map(str, spec.values())) or "plain" for spec in SPECS],
)
def test_a_join_reads_what_its_rules_say_whatever_batches_and_restarts(labels, seed):
    items = life(700, seed)
    config = of(**labels)
    plain = Plain(config)
    for offset, item in enumerate(items):
        plain.take(item, offset)
    assert len(plain.read) > 40
    draw = random.Random(seed)
    for most, restart in ((1, False), (2000, False), (8, True), (300, True)):
        sizes: list[int] = []
        while sum(sizes) < len(items):
            sizes.append(draw.randint(1, most))
        read, join = joined(config, items, sizes, restart)
        assert read == plain.read
        for name in ("a", "b"):
            last = [labelled for labelled, _ in plain.left[name]][-COVERAGE_OF:]
            delays = [delay for _, delay in plain.left[name] if delay is not None][-DELAYS_OF:]
            standing = join.standing(name, 10_000)
            assert standing.coverage == pytest.approx(sum(last) / len(last), abs=1e-4)
            assert standing.median_delay_s == pytest.approx(statistics.median(delays))


def test_more_than_most_push_the_oldest_out_with_the_label_that_they_have():
    config = of(most=1000, wait="10d")
    plain = Plain(config)
    draw = random.Random(5)
    items: list[Item] = []
    for i in range(3000):
        items.append(("p", 1000.0 + i, f"i{i % 1700}", "a", 1, None))
        items.append(("l", f"i{max(0, i - draw.randrange(1500)) % 1700}", "a", 1))
    for offset, item in enumerate(items):
        plain.take(item, offset)
    for size in (700, 6_000):
        read, join = joined(config, items, [size] * (len(items) // size + 1), restart=size == 700)
        assert read == plain.read
        assert next((one.model, one.predictions, one.most) for one in join.waiting()) == ("a", 1000, 1000)


def test_a_label_before_all_predictions_waits_for_the_first():
    items: list[Item] = [
        ("l", "x", None, 1),
        ("p", 1_700_000_000.0, "x", "a", 1, None),
        ("p", 1_700_000_200.0, "y", "a", 1, None),
    ]
    for sizes in ([3], [1, 1, 1]):
        read, _ = joined(of(), items, sizes, restart=True)
        assert [row[-1] for row in read] == [1]


def test_waiting_predictions_are_dropped_when_the_config_reads_something_else_of_them():
    items = life(300, 1)
    batch, events, labels = parts(items, 0)
    join = Join(of(), NEEDS)
    join.take(batch, events, labels, np.maximum.accumulate(events.time_s), None)
    state = {key: value for key, value in join.changes().items() if value}
    other = Join(of(), Needs(frozenset({"score", "label"})))
    assert other.load(state) == ["a", "b"]
    gone = other.changes()
    assert {key for key in state if ":chunk:" in key and "early" not in key} <= {
        key for key in gone if gone[key] is None
    }
    assert [one.predictions for one in other.waiting()] == [0, 0]


def test_what_became_of_predictions_and_labels_is_counted_once_each():
    def later(time_s: float) -> Item:
        return ("p", 1000.0 + time_s, f"at {time_s}", "b", 1, None)

    items: list[Item] = [
        ("p", 1000.0, "x", "a", 1, None),
        ("p", 1001.0, "x", "a", 1, None),
        ("p", 1002.0, None, "a", 1, None),
        ("p", 1003.0, "y", "a", 1, None),
        ("l", "x", None, 1),
        ("l", "x", "a", 0),
        ("l", "nobody", None, 1),
        later(45.0),  # "nobody" has waited for its 20 s
        later(101.0),  # "x" leaves with its label, "at 45.0" without one
        later(104.0),  # "y" leaves without one
    ]
    counts = {
        "outcomes": 1, "labels": 2, "without id": 1, "repeated": 1, "pushed out": 0, "without a label": 2,
        "labels without a prediction": 2,  # and the one for "x" of any model waited for one of "b"
    }  # fmt: skip
    for sizes in ([len(items)], [1] * len(items)):
        _, join = joined(of(), items, sizes, restart=False)
        assert [one.predictions for one in join.waiting()] == [0, 2]
        assert join.early == 0
        assert join.take_counts() == counts
        assert join.take_counts() == {}


def test_an_outcome_that_is_read_on_arrival_is_counted_and_not_missed_when_its_time_is_over():
    items: list[Item] = [
        ("p", 1000.0, "x", "a", 1, None),
        ("l", "x", "a", 1),
        ("p", 1200.0, "y", "a", 1, None),
    ]
    _, join = joined(of(read="arrival"), items, [3], restart=False)
    counts = join.take_counts()
    assert (counts["outcomes"], counts["without a label"]) == (1, 0)


def test_a_label_outside_the_sample_pushes_none_out_that_waits_for_its_prediction(monkeypatch):
    monkeypatch.setattr("streamwatch.early.MOST", 3)
    names = [f"i{i}" for i in range(200)]
    inside = sampled(hashed(names), 0.1)
    mine = next(name for name, yes in zip(names, inside, strict=True) if yes)
    others = [name for name, yes in zip(names, inside, strict=True) if not yes]
    items: list[Item] = [
        ("p", 1000.0, others[0], "a", 1, None),
        ("l", mine, None, 1),
        *(("l", name, None, 1) for name in others),
        ("p", 1001.0, mine, "a", 1, None),
        ("p", 1102.0, others[0], "a", 1, None),
    ]
    read, _ = joined(of(sample="10%"), items, [1] * len(items), restart=False)
    assert len(read) == 1


def test_each_model_has_its_own_rule_for_labels_that_came_early():
    """What another model wants of several labels is not its business."""
    items: list[Item] = [("p", 1000.0, "z", "a", 1, None), ("l", "x", "a", 0), ("l", "x", "a", 1),
                         ("p", 1001.0, "x", "a", 1, None), ("p", 1200.0, "y", "a", 1, None)]  # fmt: skip
    of_both = of().model_copy(update={"models": {**of().models, "b": of(read="arrival").models["b"]}})
    read, _ = joined(of_both, items, [1] * 5, restart=True)
    assert [row[-1] for row in read] == [1.0]


def test_early_labels_are_bounded_also_where_no_prediction_comes(monkeypatch):
    monkeypatch.setattr(early, "MOST", 20)
    items: list[Item] = [("l", f"x{i}", None, 1) for i in range(200)]
    _, join = joined(of(), items, [10] * 20, restart=False)
    assert join.early == 20
    again: list[Item] = [
        ("l", "x", None, 1),
        *[("l", f"o{i}", None, 1) for i in range(20)],
        ("p", 1000.0, "x", "a", 1, None),
    ]
    for sizes in ([22], [1] * 22):
        assert joined(of(), [*again, ("p", 1200.0, "y", "a", 1, None)], [*sizes, 1], restart=False)[0] == []


def test_models_without_end_take_no_more_room_than_there_is_and_cost_no_batch_anything():
    every = config(
        monitor("error", "error"),
        inputs=[{"topics": ["predictions"]}, {"topics": ["labels"], "kind": "labels"}],
        models={"*": {"labels": {"wait": "100s"}}},
        max_stream_keys=10,
    )
    items: list[Item] = [("p", 1000.0 + 200.0 * i, f"i{i}", f"m{i}", 1, None) for i in range(40)]
    state: dict[str, bytes] = {}
    join, now_s = Join(every, NEEDS), None
    for i, item in enumerate(items):
        batch, events, labels = parts([item], i)
        join.take(batch, events, labels, events.time_s, now_s)
        now_s = float(events.time_s[-1])
        for key, value in join.changes().items():
            state.pop(key, None) if value is None else state.update({key: value})
    assert len(join.waiting()) == 10
    assert len({key.split(":")[2] for key in state if key.startswith("labels:model:")}) <= 10
    crowd: list[Item] = [("p", 1000.0, f"i{i}", f"m{i}", 1, None) for i in range(15)]
    batch, events, labels = parts(crowd, 0)
    join = Join(every, NEEDS)
    join.take(batch, events, labels, events.time_s, None)
    assert (len(join.waiting()), join.take_counts()["no room"]) == (10, 5)


def test_words_are_bounded_and_what_is_no_label_is_unusable():
    words = Words()
    slots = words.encoded(["a", "b", "a", 1, True, None, float("nan"), [1], 2**60])
    assert words.words == ["a", "b"]
    back = words.decoded(slots)
    assert back[:6] == ["a", "b", "a", 1.0, 1.0, None]
    assert len({id(one) for one in back[6:]}) == 1
    assert words.decoded(words.encoded(["x" * 201])) == [back[6]]
    assert words.words == ["a", "b"]


def test_words_are_written_in_blocks_and_only_new_ones():
    join = Join(of(), NEEDS)
    for i in range(3):
        batch, events, labels = parts(
            [("l", "x", None, f"class {n}") for n in range(i * 200, i * 200 + 200)], 0
        )
        join.take(batch, events, labels, events.time_s, None)
        written = join.changes()
        assert sum(len(value or b"") for key, value in written.items() if ":words:" in key) < 10_000
