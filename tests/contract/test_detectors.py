"""The contract of `detectors.base`, for every detector in the list, every kind that it accepts, every direction.

A new detector is tested by standing in `DETECTORS`.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamwatch.detectors import DETECTORS
from streamwatch.detectors.base import Detection, Detector, Direction, Watched
from streamwatch.detectors.river import OneSided
from streamwatch.errors import StateDamaged
from streamwatch.series import Floats, Kind

SECONDS = 2.5  # between two values


class Case(NamedTuple):
    config: Any
    kind: Kind
    watched: Watched

    def build(self) -> Detector:
        detector: Detector = self.config.build(self.kind, self.watched)
        return detector

    def load(self, dump: Any) -> Detector:
        detector: Detector = self.config.load(self.kind, self.watched, dump)
        return detector

    @property
    def half(self) -> int:
        """Values on each level. KSWIN takes 300 us a value, EDDM takes its time."""
        return {"kswin": 150, "eddm": 4000}.get(self.config.label, 800)

    @property
    def direction(self) -> Direction:
        return "up" if self.watched == "both" else self.watched

    def __str__(self) -> str:
        return f"{self.config.label}-{self.kind}-{self.watched}"


WATCHED: tuple[Watched, ...] = ("up", "down", "both")
# At its default KSWIN alarms at 15 of 10,000 values of noise, and is blind for 100 values after each.
SETTINGS = {"kswin": {"alpha": 0.0001}}
CASES = [
    Case(cls(**SETTINGS.get(cls.name, {})), kind, watched)
    for cls in DETECTORS
    for kind in sorted(cls.accepts)
    for watched in WATCHED
]
every_case = pytest.mark.parametrize("case", CASES, ids=str)
few = settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def noise(kind: Kind, high: bool, n: int, rng: np.random.Generator) -> Floats:
    if kind == "binary":
        return (rng.random(n) < (0.9 if high else 0.1)).astype(np.float64)
    if kind == "unit":
        return rng.beta(9, 1, n) if high else rng.beta(1, 9, n)
    return rng.normal(50_500.0 if high else 50_000.0, 100.0, n)


MEANS = {"binary": (0.1, 0.9), "unit": (0.1, 0.9), "real": (50_000.0, 50_500.0)}


def stream(case: Case, seed: int = 1, direction: Direction | None = None) -> tuple[Floats, Floats]:
    """A step in the middle, up or down."""
    rng = np.random.default_rng(seed)
    up = (direction or case.direction) == "up"
    values = np.concatenate([noise(case.kind, high != up, case.half, rng) for high in (True, False)])
    return values, 1e9 + SECONDS * np.arange(len(values))


def run(detector: Detector, values: Floats, times_s: Floats, cuts: list[int]) -> list[Detection]:
    edges = [0, *sorted(cuts), len(values)]
    return [
        replace(found, position=start + found.position)
        for start, stop in pairwise(edges)
        for found in detector.update(values[start:stop], times_s[start:stop])
    ]


@every_case
def test_a_step_is_found_with_its_direction_sizes_and_onset(case: Case) -> None:
    values, times_s = stream(case)
    found = next(one for one in case.build().update(values, times_s) if one.position >= case.half)
    low, high = MEANS[case.kind]
    before, after = (low, high) if case.direction == "up" else (high, low)
    assert found.direction == case.direction
    assert found.before.mean == pytest.approx(before, abs=(high - low) * 0.15)
    assert found.after.mean == pytest.approx(after, abs=(high - low) * 0.35)
    assert found.before.n > 50
    assert found.after.n == pytest.approx(found.position + 1 - case.half, rel=0.2, abs=20)
    onset_s = times_s[case.half]
    delay_s = times_s[found.position] - onset_s
    assert abs(found.onset_time_s - onset_s) <= found.onset_uncertain_s
    assert found.onset_uncertain_s <= max(64 * SECONDS, delay_s)


@every_case
@given(data=st.data())
@few
def test_the_same_detections_and_state_however_values_fall_into_calls(
    case: Case, data: st.DataObject
) -> None:
    values, times_s = stream(case, seed=data.draw(st.integers(0, 100)))
    cuts = data.draw(st.lists(st.integers(0, len(values)), max_size=8))
    whole, cut = case.build(), case.build()
    assert run(cut, values, times_s, cuts) == whole.update(values, times_s)
    assert cut.dump() == whole.dump()


@every_case
def test_value_by_value_is_the_same_as_an_array(case: Case) -> None:
    values, times_s = stream(case, seed=2)
    whole, single = case.build(), case.build()
    found = [
        replace(one, position=at)
        for at, (value, time_s) in enumerate(zip(values.tolist(), times_s.tolist(), strict=True))
        for one in single.update_one(value, time_s)
    ]
    assert found == whole.update(values, times_s)
    assert found
    assert single.dump() == whole.dump()
    stop = found[0].position + 1
    whole, single = case.build(), case.build()
    whole.update(values[:stop], times_s[:stop])
    for value, time_s in zip(values[:stop].tolist(), times_s[:stop].tolist(), strict=True):
        single.update_one(value, time_s)
    assert single.dump() == whole.dump()
    assert single.statistic == whole.statistic == found[0].statistic


@every_case
def test_a_detector_goes_on_from_its_dump_as_if_it_had_never_stopped(case: Case) -> None:
    values, times_s = stream(case, seed=3)
    whole = case.build()
    found = whole.update(values, times_s)
    assert found
    at_alarm = found[0].position + 1
    for cut in (0, 1, 20, at_alarm - 1, at_alarm, at_alarm + 1):
        first = case.build()
        early = first.update(values[:cut], times_s[:cut])
        second = case.load(msgspec.msgpack.decode(msgspec.msgpack.encode(first.dump())))
        assert second.dump() == first.dump()
        assert (second.warm, second.statistic) == (first.warm, first.statistic)
        assert second.level == first.level or cut == 0
        late = [
            replace(one, position=cut + one.position) for one in second.update(values[cut:], times_s[cut:])
        ]
        assert early + late == found
        assert second.dump() == whole.dump()


@every_case
def test_what_was_dumped_does_not_change_later(case: Case) -> None:
    values, times_s = stream(case)
    detector = case.build()
    detector.update(values[:90], times_s[:90])
    dump = detector.dump()
    before = copy.deepcopy(dump)
    detector.update(values[90:150], times_s[90:150])
    assert dump == before


BAD = [math.nan, math.inf, -math.inf]
BAD_OF_KIND: dict[Kind, list[float]] = {"binary": [1.5, -0.1, 0.5], "unit": [1.5, -0.1]}


@every_case
def test_a_value_that_cannot_be_read_is_refused_and_nothing_is_read(case: Case) -> None:
    values, times_s = stream(case)
    detector = case.build()
    detector.update(values[:200], times_s[:200])
    before = copy.deepcopy(detector.dump())
    for bad, at in itertools.product([*BAD, *BAD_OF_KIND.get(case.kind, [])], (0, 7, 29)):
        part = values[200:230].copy()
        part[at] = bad
        with pytest.raises(ValueError, match=f"value {at} of 30: expected .*, got .*{str(bad)[-3:]}"):
            detector.update(part, times_s[200:230])
        with pytest.raises(ValueError, match="expected"):
            detector.update_one(bad, 0.0)
        assert detector.dump() == before


@every_case
def test_the_arrays_given_are_not_changed(case: Case) -> None:
    values, times_s = stream(case)
    values.setflags(write=False)
    times_s.setflags(write=False)
    assert case.build().update(values, times_s)


@pytest.mark.parametrize("case", [case for case in CASES if case.watched != "both"], ids=str)
def test_only_the_watched_direction_is_told(case: Case) -> None:
    """A two-sided detector tells of the watched direction what it tells of it when both are watched."""
    kinds = set()
    for direction in ("up", "down"):
        values, times_s = stream(case, seed=4, direction=direction)
        found = case.build().update(values, times_s)
        assert {one.direction for one in found} <= {case.watched}
        kinds.add(bool(found))
        if not isinstance(case.config, OneSided):
            both = case.config.build(case.kind, "both").update(values, times_s)
            assert found == [one for one in both if one.direction == case.watched]
    assert True in kinds


@every_case
def test_nothing_rings_while_not_warm_and_warmth_comes_and_goes(case: Case) -> None:
    detector = case.build()
    assert not detector.warm
    assert detector.level.n == 0
    assert math.isnan(detector.level.mean)
    values, times_s = stream(case, seed=5)
    warmths = set()
    for at, (value, time_s) in enumerate(zip(values.tolist(), times_s.tolist(), strict=True)):
        warm = detector.warm
        warmths.add(warm)
        found = detector.update_one(value, time_s)
        assert warm or not found, at
        if found:
            assert not detector.warm
            assert detector.level.n == found[0].after.n
            assert detector.level.mean == pytest.approx(found[0].after.mean)
            assert detector.statistic == found[0].statistic
        assert detector.statistic is None or math.isfinite(detector.statistic)
    assert warmths == {True, False}


@every_case
def test_it_says_at_least_how_many_values_it_needs_and_detects_nothing_before(case: Case) -> None:
    """What it said of the future holds, also of a step among the first values, and after it detected something."""
    values, times_s = stream(case, seed=6)
    detector, needed = case.build(), list[int]()
    for value, time_s in zip(values[case.half - 20 :].tolist(), times_s.tolist(), strict=False):
        needed.append(detector.needs)
        found = detector.update_one(value, time_s)
        assert needed[-1] - detector.needs <= 1
        assert not (needed[-1] and found)
        if found:
            assert detector.needs == needed[0]
    assert needed[0] >= 1
    assert 0 in needed


@every_case
def test_the_level_is_the_mean_since_the_start_or_the_last_onset(case: Case) -> None:
    values, times_s = stream(case, seed=6)
    detector = case.build()
    calm = detector.update(values[:100], times_s[:100])
    if not calm:
        assert detector.level.n == 100
        assert detector.level.mean == pytest.approx(values[:100].mean())
    found = detector.update(values[100:], times_s[100:])
    last = (found or calm)[-1]
    since = len(values) - (last.position + (100 if found else 0) + 1) + last.after.n
    assert detector.level.n == since
    assert detector.level.mean == pytest.approx(values[-since:].mean())


def paths(dump: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(dump, dict):
        for key in dump:
            yield from paths(dump[key], (*path, key))
    elif isinstance(dump, list) and dump:
        yield (*path, 0)


def altered(dump: Any, path: tuple[Any, ...], change: Any) -> Any:
    """A copy of `dump` with `change` (or, for a type, nothing) at `path`."""
    whole = copy.deepcopy(dump)
    at = whole
    for key in path[:-1]:
        at = at[key]
    if change is None:
        del at[path[-1]]
    else:
        at[path[-1]] = change(at[path[-1]])
    return whole


CHANGES = {
    "text": lambda old: "x",
    "nothing": lambda old: None,
    "list": lambda old: [old],
    "map": lambda old: {},
    "NaN": lambda old: math.nan,
    "infinity": lambda old: math.inf,
    "huge": lambda old: 2**62,
    "huge float": lambda old: 1e300,
    "negative": lambda old: -3,
    "half": lambda old: (
        old[: len(old) // 2] if hasattr(old, "__len__") and not isinstance(old, dict) else 0.5
    ),
    "longer": lambda old: old + old[:1] if isinstance(old, list | bytes) else -0.5,
    "zeros": lambda old: bytes(len(old)) if isinstance(old, bytes) else 0,
    "ones": lambda old: b"\xff" * len(old) if isinstance(old, bytes) else 1.0,
}
WRONG_EVERYWHERE = ("text", "list", "map", "NaN", "infinity", "negative")


@every_case
def test_damaged_state_is_refused_or_harmless(case: Case) -> None:
    """Whatever is changed in a dump: StateDamaged, or a detector that reads on; never another error, never a panic."""
    values, times_s = stream(case, seed=7)
    detector = case.build()
    detector.update(values[:160], times_s[:160])
    dump = detector.dump()
    refused = 0
    for path in paths(dump):
        if isinstance(path[-1], str):
            with pytest.raises(StateDamaged):
                case.load(altered(dump, path, None))
        for name, change in CHANGES.items():
            wrong = altered(dump, path, change)
            try:
                survivor = case.load(wrong)
            except StateDamaged:
                refused += 1
                continue
            assert name not in WRONG_EVERYWHERE or wrong == dump or path[-1] in HARMLESS.get(name, ()), (
                path,
                name,
            )
            survivor.update(values[160:260], times_s[160:260])
            assert survivor.level.n > 0
            survivor.dump()
    assert refused > 20
    for junk in (None, [], {}, 3, "x", b"", {"alarm": {}, "history": {}}, {"alarm": None, "history": None}):
        with pytest.raises(StateDamaged):
            case.load(junk)


HARMLESS = {"negative": ("greatest",)}


@every_case
def test_flipped_bits_are_refused_or_harmless(case: Case) -> None:
    values, times_s = stream(case, seed=8)
    detector = case.build()
    detector.update(values[:160], times_s[:160])
    whole = msgspec.msgpack.encode(detector.dump())
    rng = np.random.default_rng(9)
    bits = rng.choice(8 * len(whole), size=60 if case.config.label == "kswin" else 250, replace=False)
    for bit in bits.tolist():
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            dump = msgspec.msgpack.decode(bytes(flipped))
            survivor = case.load(dump)
        except (StateDamaged, msgspec.DecodeError, UnicodeDecodeError):
            continue
        survivor.update(values[160:180], times_s[160:180])
        survivor.dump()
