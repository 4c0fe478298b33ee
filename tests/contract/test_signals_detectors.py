"""One battery over every signal and every detector that accepts its values: a new one of either is tested by existing.

The streams change in the middle and hold what real streams hold: gaps, NaN, infinities, texts among numbers, lists,
rows without a label.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple, get_args

import msgspec
import numpy as np
import pytest

from streamwatch.buckets import Buckets
from streamwatch.detectors import DETECTORS
from streamwatch.detectors.base import Detection, Detector, Watched
from streamwatch.detectors.river import Adwin, Eddm, Kswin
from streamwatch.events import Events
from streamwatch.every import Every, Stat
from streamwatch.series import Floats, Kind, Reading
from streamwatch.signals import ModelSpec, Signal, SignalKind, Task

N, CHANGE = 900, 500  # KSWIN reads 3,000 values a second
ODD = (None, None, None, float("nan"), float("inf"), "1", "x", [1], {"a": 1}, 10**400)
OF_FEATURES = {"feature": "feature:amount", "missing": "missing:amount", "category": "category:country=DE"}
WATCHED: tuple[Watched, ...] = get_args(Watched)


class Case(NamedTuple):
    """One signal on a model of one task, and the kind of its values."""

    signal: Signal
    spec: ModelSpec
    kind: Kind

    def __str__(self) -> str:
        return f"{self.signal}-{self.spec.task}"


def _cases() -> Iterator[Case]:
    for kind in get_args(SignalKind):
        signal = Signal.model_validate(OF_FEATURES.get(kind, kind))
        for task in get_args(Task):
            spec = ModelSpec(task=task)
            try:
                yield Case(signal, spec, signal.value_kind(spec))
            except ValueError:
                continue


CASES = tuple(_cases())
# What a detector sees depends on the kind of values, so for the pairs one task of each signal and kind is enough; and
# for KSWIN, whose updates cost a thousand times those of the others, one signal of each kind.
OF_EACH_KIND = {case.kind: case for case in reversed(CASES)}
PAIRS = [
    pytest.param(case, cls, id=f"{case}-{cls.name}")
    for case in {(case.signal, case.kind): case for case in reversed(CASES)}.values()
    for cls in DETECTORS
    if case.kind in cls.accepts and (cls is not Kswin or case is OF_EACH_KIND[case.kind])
]
EACH_CASE = pytest.mark.parametrize("case", CASES, ids=str)
EACH_PAIR = pytest.mark.parametrize(("case", "cls"), PAIRS)


@cache
def stream(task: Task) -> Events:
    """A model that gets worse at row CHANGE, on other inputs than before, and slower."""
    rng = np.random.default_rng(20)
    late = np.arange(N) >= CHANGE

    def happens(before: float, after: float) -> Any:
        return rng.random(N) < np.where(late, after, before)

    if task == "regression":
        truth = rng.normal(100.0, 5.0, N)
        prediction: Any = truth + rng.normal(0.0, 1.0, N) + np.where(late, 6.0, 0.0)
        label: Any = truth
        score: Any = prediction
    else:
        label = happens(0.3, 0.6).astype(int)
        prediction = np.where(label == 1, happens(0.9, 0.5), happens(0.1, 0.9)).astype(int)
        score = np.clip(np.where(prediction == 1, 0.8, 0.2) + rng.normal(0.0, 0.05, N), 0.0, 1.0)
    amount: Any = np.where(late, 400.0, 100.0) + rng.normal(0.0, 30.0, N)
    columns = {
        "prediction": prediction.tolist(),
        "score": score.tolist(),
        "label": label.tolist(),
        "latency_ms": (np.where(late, 30.0, 10.0) + rng.exponential(3.0, N)).tolist(),
        "amount": amount.tolist(),
        "country": np.where(happens(0.3, 0.8), "DE", "AT").tolist(),
    }
    for column in columns.values():
        for row in rng.choice(N, N // 20, replace=False).tolist():
            column[row] = ODD[int(rng.integers(len(ODD)))]
    for name, gone in (("label", happens(0.1, 0.1)), ("amount", happens(0.1, 0.6))):
        for row in np.flatnonzero(gone).tolist():
            columns[name][row] = None
    features = {name: columns.pop(name) for name in ("amount", "country")}
    times_s = 1.7e9 + np.cumsum(rng.exponential(2.0, N))
    nobody: list[str | None] = [None] * N
    return Events(np.arange(N), times_s, nobody, ["m"] * N, nobody, columns, features)


def rows(events: Events, chosen: slice | Sequence[int]) -> Events:
    def of(column: Sequence[Any]) -> list[Any]:
        return list(column[chosen]) if isinstance(chosen, slice) else [column[row] for row in chosen]

    return replace(
        events,
        record=events.record[chosen],
        time_s=events.time_s[chosen],
        id=of(events.id),
        model=of(events.model),
        version=of(events.version),
        fields={name: of(column) for name, column in events.fields.items()},
        features={name: of(column) for name, column in events.features.items()},
    )


def splits(seed: int) -> list[slice]:
    """The whole stream as parts: many of one row and of a few, some of hundreds."""
    rng = np.random.default_rng(seed)
    ends = [0]
    while ends[-1] < N:
        ends.append(min(N, ends[-1] + int(rng.choice([1, 1, 2, 5, 17, 64, 300]))))
    return [slice(start, stop) for start, stop in pairwise(ends)]


@cache
def usable(case: Case) -> tuple[Floats, Floats]:
    """The values that a detector gets of the whole stream, and their times."""
    events = stream(case.spec.task)
    values = case.signal.read(events, case.spec).values
    given = ~np.isnan(values)
    return values[given], events.time_s[given]


def fresh(case: Case, cls: Any, watched: Watched = "both") -> Detector:
    return settings(cls).build(case.kind, watched)  # type: ignore[no-any-return]


def settings(cls: Any) -> Any:
    """The defaults, but EDDM's wait for 200 ones, which are more than a good model's errors in so few rows."""
    return cls(warm_start=50) if cls is Eddm else cls()


@cache
def undisturbed(case: Case, cls: Any, watched: Watched = "both") -> tuple[list[Detection], bytes]:
    """What the detector finds in the whole stream at once, and its state then."""
    detector = fresh(case, cls, watched)
    return detector.update(*usable(case)), msgspec.msgpack.encode(detector.dump())


def assert_alike(reading: Reading, parts: Sequence[Reading]) -> None:
    assert {part.kind for part in parts} == {reading.kind}
    for name in ("values", "unusable", "expected"):
        np.testing.assert_array_equal(
            getattr(reading, name), np.concatenate([getattr(p, name) for p in parts])
        )


# The signals


@EACH_CASE
def test_the_stream_holds_values_gaps_and_what_cannot_be_used(case: Case) -> None:
    """Else the battery shows nothing. `missing` has a word for each row, and so neither."""
    reading = case.signal.read(stream(case.spec.task), case.spec)
    given = ~np.isnan(reading.values)
    assert given[:CHANGE].sum() > 100
    assert given[CHANGE:].sum() > 100
    if case.signal.kind != "missing":
        assert reading.unusable.sum() > 5
        assert (reading.expected & ~reading.unusable & ~given).sum() > 2 or case.signal.kind == "label_rate"


@EACH_CASE
@pytest.mark.parametrize("seed", range(3))
def test_a_signal_reads_the_same_however_the_stream_is_split(case: Case, seed: int) -> None:
    events = stream(case.spec.task)
    parts = [case.signal.read(rows(events, part), case.spec) for part in splits(seed)]
    assert_alike(case.signal.read(events, case.spec), parts)


@EACH_CASE
def test_a_row_is_read_the_same_whatever_stands_around_it(case: Case) -> None:
    events = stream(case.spec.task)
    order = np.random.default_rng(4).permutation(N)
    shuffled = case.signal.read(rows(events, order.tolist()), case.spec)
    reading = case.signal.read(events, case.spec)
    for name in ("values", "unusable", "expected"):
        np.testing.assert_array_equal(getattr(reading, name)[order], getattr(shuffled, name))


@EACH_CASE
def test_what_cannot_be_used_changes_no_other_row(case: Case) -> None:
    """Without the rows that give nothing, the values are what they were."""
    events = stream(case.spec.task)
    values = case.signal.read(events, case.spec).values
    good = np.flatnonzero(~np.isnan(values))
    np.testing.assert_array_equal(
        case.signal.read(rows(events, good.tolist()), case.spec).values, values[good]
    )


# Signals and detectors


@EACH_PAIR
def test_a_detector_finds_the_same_however_the_stream_is_split(case: Case, cls: Any) -> None:
    """Parts of one value go through `update_one`. The state at the end is the same to the last bit."""
    events = stream(case.spec.task)
    detector = fresh(case, cls)
    found: list[Detection] = []
    before = 0
    for part in splits(1):
        piece = rows(events, part)
        values = case.signal.read(piece, case.spec).values
        given = ~np.isnan(values)
        values, times_s = values[given], piece.time_s[given]
        if len(values) == 1:
            new = detector.update_one(float(values[0]), float(times_s[0]))
        else:
            new = detector.update(values, times_s)
        found += [replace(detection, position=detection.position + before) for detection in new]
        before += len(values)
    assert (found, msgspec.msgpack.encode(detector.dump())) == undisturbed(case, cls)


@EACH_PAIR
def test_a_detector_saved_and_loaded_goes_on_as_if_nothing_had_been(case: Case, cls: Any) -> None:
    """Saved as bytes at many places, among them just after a detection, when River starts anew."""
    values, times_s = usable(case)
    whole, state = undisturbed(case, cls)
    rng = np.random.default_rng(7)
    places = {0, 1, len(values) - 1, *rng.integers(0, len(values), 12).tolist()}
    places |= {detection.position + after for detection in whole[:5] for after in (0, 1, 2)}
    ends = [*sorted(place for place in places if place < len(values)), len(values)]
    detector = fresh(case, cls)
    found: list[Detection] = []
    start = 0
    for stop in ends:
        new = detector.update(values[start:stop], times_s[start:stop])
        found += [replace(detection, position=detection.position + start) for detection in new]
        if new and new[-1].position == stop - start - 1:
            assert detector.level == new[-1].after, "the new level is the base from its onset on"
        start = stop
        plain = msgspec.msgpack.decode(msgspec.msgpack.encode(detector.dump()))
        loaded = settings(cls).load(case.kind, "both", plain)
        assert repr((loaded.level, loaded.statistic, loaded.warm)) == repr(
            (detector.level, detector.statistic, detector.warm)
        )
        detector = loaded
    assert (found, msgspec.msgpack.encode(detector.dump())) == (whole, state)


@EACH_PAIR
def test_a_value_that_is_not_finite_is_refused_and_nothing_of_the_call_is_read(case: Case, cls: Any) -> None:
    values, times_s = (column[:60] for column in usable(case))
    detector = fresh(case, cls)
    detector.update(values[:40], times_s[:40])
    state = msgspec.msgpack.encode(detector.dump())
    for bad in (float("nan"), float("inf"), -float("inf")):
        with pytest.raises(ValueError, match=r"value 15 of 20: expected .* nothing was read"):
            detector.update(np.where(np.arange(20) == 15, bad, values[40:]), times_s[40:])
        with pytest.raises(ValueError, match="nothing was read"):
            detector.update_one(bad, float(times_s[40]))
    assert msgspec.msgpack.encode(detector.dump()) == state


@pytest.mark.parametrize(
    "cls", [cls for cls in DETECTORS if cls.accepts != {"binary"}], ids=lambda cls: cls.name
)
def test_a_detector_reads_buckets_of_each_kind_however_the_stream_is_split(cls: Any) -> None:
    """Of every stat whose values it accepts: they keep the promise of their kind."""
    read = 0
    for case, stat in itertools.product(OF_EACH_KIND.values(), get_args(Stat)):
        every = Every(length="10s", late="3s", stat=stat)
        try:
            kind = every.kind(case.kind)
        except ValueError:
            continue
        if kind not in cls.accepts:
            continue
        values, times_s = usable(case)
        results = []
        for parts in ([slice(0, len(values))], splits(2)):
            buckets, detector = Buckets(every, kind), settings(cls).build(kind, "both")
            closed: list[Any] = []
            for part in parts:
                taken = buckets.take(values[part], times_s[part])
                closed += zip(taken.values.tolist(), taken.times_s.tolist(), strict=True)
                detector.update(taken.values, taken.times_s)
            results.append((closed, msgspec.msgpack.encode([buckets.dump(), detector.dump()])))
        assert len(results[0][0]) > 50
        assert results[0] == results[1]
        read += 1
    assert read > 1


@EACH_PAIR
@pytest.mark.parametrize("watched", WATCHED)
def test_detections_come_in_order_and_say_what_can_be(case: Case, cls: Any, watched: Watched) -> None:
    values, times_s = usable(case)
    found, _ = undisturbed(case, cls, watched)
    assert [d.position for d in found] == sorted({d.position for d in found})
    for detection in found:
        at = detection.position
        assert 0 <= at < len(values)
        assert watched in ("both", detection.direction)
        assert (detection.after.mean > detection.before.mean) == (detection.direction == "up")
        for level in (detection.before, detection.after):
            assert level.n > 0
            assert values.min() <= level.mean <= values.max()
        assert detection.before.n + detection.after.n <= at + 1
        assert detection.after.mean == pytest.approx(values[at + 1 - detection.after.n : at + 1].mean())
        assert times_s[0] <= detection.onset_time_s <= times_s[at]
        assert detection.onset_time_s == times_s[at + 1 - detection.after.n]
        assert detection.onset_uncertain_s >= 0.0


def finds_the_change(case: Case, cls: Any) -> bool:
    values, times_s = usable(case)
    change_s = stream(case.spec.task).time_s[CHANGE]
    rose = values[times_s >= change_s].mean() > values[times_s < change_s].mean()
    found = undisturbed(case, cls)[0]
    return any((d.direction == "up") == rose and times_s[d.position] >= change_s for d in found)


@EACH_CASE
def test_the_change_of_each_signal_is_found(case: Case) -> None:
    assert finds_the_change(case, Adwin)


@pytest.mark.parametrize("cls", DETECTORS, ids=lambda cls: cls.name)
def test_each_detector_finds_the_change_of_most_signals(cls: Any) -> None:
    """Else the battery shows nothing of it."""
    found = [finds_the_change(case, of) for case, of in (pair.values for pair in PAIRS) if of is cls]
    assert sum(found) > 0.5 * len(found), found


@pytest.mark.parametrize("cls", DETECTORS, ids=lambda cls: cls.name)
def test_each_detector_accepts_the_values_of_some_signal_and_refuses_the_others(cls: Any) -> None:
    kinds: set[Kind] = {"binary", "unit", "real", "codes"}
    assert cls.accepts & {case.kind for case in CASES}
    for kind in kinds - cls.accepts:
        with pytest.raises(ValueError, match=f"{cls.name} reads .* values, not {kind}"):
            cls().build(kind, "both")
