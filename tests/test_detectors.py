"""River's detectors behind the guard: the same alarms as River where the guard has nothing to do, and each measured
hazard of River's (DESIGN: what the detectors do by themselves) with the guard that meets it.
"""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel, ConfigDict, ValidationError
from river import drift
from river.drift import binary
from river.drift import datasets as recorded

from streamwatch.detectors import DETECTORS, AnyDetector
from streamwatch.detectors.adwin import AdwinAlarm, AdwinSettings
from streamwatch.detectors.base import Detection, Watched
from streamwatch.detectors.river import Adwin, Ddm, Eddm, Fhddm, HddmA, HddmW, Kswin, PageHinkley
from streamwatch.errors import StateDamaged
from streamwatch.series import Floats, Kind

# Each with its River twin. EDDM's and KSWIN's defaults are not River's.
TWINS: list[tuple[Any, Callable[[], Any]]] = [
    (Adwin(), drift.ADWIN),
    (Adwin(delta=0.05, clock=7, max_buckets=3, min_window_length=3, grace_period=40),
     lambda: drift.ADWIN(delta=0.05, clock=7, max_buckets=3, min_window_length=3, grace_period=40)),
    (PageHinkley(scale="none"), drift.PageHinkley),
    (PageHinkley(scale="none", min_instances=5, delta=0.1, threshold=3.0, alpha=0.99),
     lambda: drift.PageHinkley(5, 0.1, 3.0, 0.99)),
    (Kswin(), lambda: drift.KSWIN(seed=1)),
    (Kswin(alpha=0.001, window_size=60, stat_size=20, seed=7),
     lambda: drift.KSWIN(0.001, 60, 20, 7)),
    (Ddm(), binary.DDM),
    (Ddm(warm_start=40, drift_threshold=2.0), lambda: binary.DDM(40, 2.0, 2.0)),
    (Eddm(warm_start=30, beta=0.9), binary.EDDM),
    (Eddm(), lambda: binary.EDDM(200, 0.95, 0.6)),
    (HddmA(), binary.HDDMA),
    (HddmA(drift_confidence=0.05), lambda: binary.HDDMA(drift_confidence=0.05)),
    (HddmW(), binary.HDDMW),
    (HddmW(drift_confidence=0.05, lambda_val=0.2), lambda: binary.HDDMW(0.05, 0.06, 0.2)),
    (Fhddm(), binary.FHDDM),
    (Fhddm(sliding_window_size=30, confidence_level=0.01, short_window_size=10),
     lambda: binary.FHDDM(30, 0.01, 10)),
]  # fmt: skip
every_twin = pytest.mark.parametrize(
    ("config", "river"), TWINS, ids=lambda value: getattr(value, "label", "")
)
few = settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def seconds(n: int) -> Floats:
    return np.arange(n) * 1.0


def river_alarms(detector: Any, values: Floats) -> list[int]:
    alarms = []
    for at, value in enumerate(values.tolist()):
        detector.update(value)
        if detector.drift_detected:
            alarms.append(at)
    return alarms


def expected(config: Any, river: Callable[[], Any], values: Floats, watched: Watched) -> list[int]:
    """Where River itself alarms, in its own words: FHDDM when ones get fewer; a pair starts afresh together."""
    fewer = isinstance(config, Fhddm)
    two_sided = isinstance(config, Adwin | PageHinkley | Kswin)
    if two_sided or (watched == "up") != fewer:
        return river_alarms(river(), values) if two_sided or watched != "both" else _pair(river, values)
    return river_alarms(river(), 1.0 - values) if watched != "both" else _pair(river, values)


def _pair(river: Callable[[], Any], values: Floats) -> list[int]:
    one, other = river(), river()
    alarms = []
    for at, value in enumerate(values.tolist()):
        one.update(value)
        other.update(1.0 - value)
        if one.drift_detected or other.drift_detected:
            alarms.append(at)
            one, other = river(), river()
    return alarms


def positions(config: Any, kind: Kind, watched: Watched, values: Floats, cuts: list[int]) -> list[int]:
    detector = config.build(kind, watched)
    edges = [0, *sorted(cuts), len(values)]
    found = []
    for at, stop in enumerate(edges[1:]):
        start = edges[at]
        found += [
            start + one.position
            for one in detector.update(values[start:stop], seconds(len(values))[start:stop])
        ]
    return found


def changing(kind: Kind, seed: int, n: int) -> Floats:
    """Noise on levels that change now and then; never so low or high that a warm-up of DDM holds one value only."""
    rng = np.random.default_rng(seed)
    level = np.repeat(rng.uniform(0.35, 0.65, 8), -(-n // 8))[:n]
    if kind == "binary":
        return (rng.random(n) < level).astype(np.float64)
    if kind == "unit":
        return rng.beta(5 * level, 5 * (1 - level))
    return rng.normal(level, 0.2)


@every_twin
@given(data=st.data())
@few
def test_the_same_alarms_as_river_on_random_streams_in_any_split(
    config: Any, river: Callable[[], Any], data: st.DataObject
) -> None:
    kind: Kind = data.draw(st.sampled_from(sorted(config.accepts)))
    watched: Watched = (
        "both" if "real" in config.accepts else data.draw(st.sampled_from(["up", "down", "both"]))
    )
    n = 350 if isinstance(config, Kswin) else 2500
    values = changing(kind, data.draw(st.integers(0, 10_000)), n)
    cuts = data.draw(st.lists(st.integers(0, n), max_size=6))
    assert positions(config, kind, watched, values, cuts) == expected(config, river, values, watched)


def brent() -> Floats:
    """Daily oil prices, 1987 to 2019, from River's package."""
    return np.array([price for _, price in recorded.BrentSpotPrice()], dtype=np.float64)


@every_twin
def test_the_same_alarms_as_river_on_recorded_data(config: Any, river: Callable[[], Any]) -> None:
    prices = brent()[:4000]
    streams: dict[Kind, Floats] = {
        "real": prices,
        "unit": prices / prices.max(),
        "binary": (np.diff(prices) < 0).astype(np.float64),
    }
    total = 0
    for kind in sorted(config.accepts):
        values = streams[kind][: 900 if isinstance(config, Kswin) else None]
        wanted = expected(config, river, values, "both")
        assert positions(config, kind, "both", values, [100, 101, 850]) == wanted
        total += len(wanted)
    assert total > 0 or isinstance(config, Eddm | Fhddm | HddmA | HddmW | Ddm)


@pytest.mark.parametrize("cls", DETECTORS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_one_bad_value_does_not_make_a_detector_deaf(cls: Any, bad: float) -> None:
    """River's own: one NaN, and ADWIN, PageHinkley, DDM, HDDM and FHDDM never alarm again."""
    calm, loud = np.tile([0.0] * 9 + [1.0], 40), np.tile([1.0] * 9 + [0.0], 300)
    detector = cls().build("binary", "up")
    with pytest.raises(ValueError, match="value 400 of 3401"):
        detector.update(np.r_[calm, bad, loud], seconds(3401))
    assert detector.level.n == 0
    detector.update(calm, seconds(400))
    with pytest.raises(ValueError, match="expected 0 or 1"):
        detector.update_one(bad, 0.0)
    part = 120 if cls is Kswin else 3000
    assert detector.update(loud[:part], seconds(part)) or cls is Eddm


def test_river_itself_goes_deaf_at_one_nan() -> None:
    """When this fails River has mended it, and the guard's first rule may go."""
    for river in (
        drift.ADWIN(),
        drift.PageHinkley(),
        binary.DDM(),
        binary.HDDMA(),
        binary.HDDMW(),
        binary.FHDDM(),
    ):
        values = np.r_[np.tile([0.0, 1.0], 100), math.nan, np.zeros(1000), np.ones(1000)]
        assert river_alarms(river, values[201:]) or isinstance(river, binary.FHDDM)
    for river in (drift.ADWIN(), drift.PageHinkley(), binary.HDDMA(), binary.HDDMW()):
        assert river_alarms(river, values) == []


@pytest.mark.parametrize("cls", [Adwin, PageHinkley, Kswin])
def test_huge_numbers_leave_a_detector_able_to_hear(cls: Any) -> None:
    """Squares of 1e200 are infinite, and infinity less infinity is NaN: the deafness of NaN by another door."""
    rng = np.random.default_rng(0)
    n = 200 if cls is Kswin else 3000
    values = np.r_[rng.normal(50, 10, n), 1e308, -1e308, 1e308, rng.normal(50, 10, n), rng.normal(90, 10, n)]
    detector = cls().build("real", "both")
    found = detector.update(values, seconds(len(values)))
    assert math.isfinite(detector.level.mean)
    assert any(one.position >= 2 * n + 3 for one in found)
    assert detector.update_one(-1.7e308, 0.0) is not None
    assert msgspec.msgpack.encode(detector.dump())


def test_width_and_estimate_of_adwin_are_read_before_the_window_goes() -> None:
    values = np.r_[np.zeros(1000), np.ones(500)]
    detector = Adwin().build("binary", "both")
    found = detector.update(values[:1024], seconds(1024))
    assert [one.position for one in found] == [1023]
    river = drift.ADWIN()
    assert river_alarms(river, values[:1024]) == [1023]
    assert found[0].statistic == detector.statistic == river.estimation
    assert not detector.warm
    river.update(1.0)
    assert river.width == 1
    detector.update_one(1.0, 0.0)
    assert detector.statistic == 1.0


def test_the_onset_is_near_the_change_where_index_less_width_is_not() -> None:
    """River's window at the alarm still holds much of the old level."""
    rng = np.random.default_rng(3)
    ours, rivers = [], []
    for _ in range(30):
        values = np.r_[rng.random(2000) < 0.1, rng.random(1000) < 0.25].astype(np.float64)
        river = drift.ADWIN()
        alarm = next((at for at in river_alarms_until_first(river, values) if at >= 2000), None)
        found = Adwin().build("binary", "up").update(values, seconds(3000))
        late = [one for one in found if one.position >= 2000]
        if alarm is not None and late:
            ours.append(abs(late[0].onset_time_s - 2000))
            rivers.append(abs(alarm - river.width - 2000))
    assert len(ours) > 20
    assert np.median(ours) < 50
    assert np.median(ours) < 0.5 * np.median(rivers)


def river_alarms_until_first(detector: Any, values: Floats) -> list[int]:
    for at, value in enumerate(values.tolist()):
        detector.update(value)
        if detector.drift_detected:
            return [at]
    return []


def test_fhddm_alarms_when_errors_get_more() -> None:
    """River's own alarms when they get fewer, against its docs."""
    rng = np.random.default_rng(4)
    worse = np.r_[rng.random(500) < 0.1, rng.random(500) < 0.6].astype(np.float64)
    better = worse[::-1].copy()
    assert river_alarms(binary.FHDDM(), worse) == []
    assert river_alarms(binary.FHDDM(), better)
    assert [one.direction for one in Fhddm().build("binary", "up").update(worse, seconds(1000))] == ["up"]
    assert Fhddm().build("binary", "up").update(better, seconds(1000)) == []
    assert [one.direction for one in Fhddm().build("binary", "down").update(better, seconds(1000))] == [
        "down"
    ]


def test_the_first_error_of_ddm_after_a_calm_start_is_no_drift() -> None:
    values = np.zeros(5000)
    values[[31, 400, 4000]] = 1.0
    assert river_alarms(binary.DDM(), values) == [31, 400, 4000]
    assert Ddm().build("binary", "up").update(values, seconds(5000)) == []


@pytest.mark.parametrize("at", [0, 15, 29])
def test_one_error_in_the_warm_up_of_ddm_leaves_all_to_river(at: int) -> None:
    values = np.r_[np.zeros(30), np.random.default_rng(at).random(3000) < 0.05].astype(np.float64)
    values[at] = 1.0
    detector = Ddm().build("binary", "up")
    river = binary.DDM()
    for value in values.tolist():
        found = detector.update_one(value, 0.0)
        river.update(value)
        assert bool(found) == river.drift_detected
        if found:
            break
        assert detector.dump()["alarm"]["n"] == river._p.n


def test_the_smallest_scale_and_the_greatest_value_give_numbers() -> None:
    values = np.r_[np.random.default_rng(17).normal(0, 1e-150, 400), 1e308]
    detector = PageHinkley().build("real", "both")
    found = detector.update(values, seconds(401))
    assert [one.position for one in found] == [400]
    assert found[0].statistic is not None
    assert math.isfinite(found[0].statistic)


def test_rare_errors_at_a_constant_rate_do_not_make_ddm_alarm() -> None:
    """0.05 %: River's own alarms 56 times in 100,000."""
    values = (np.random.default_rng(5).random(100_000) < 0.0005).astype(np.float64)
    assert len(river_alarms(binary.DDM(), values)) > 25
    assert len(Ddm().build("binary", "up").update(values, seconds(100_000))) <= 1


def test_ddm_still_hears_a_rise_after_a_calm_start() -> None:
    rng = np.random.default_rng(6)
    for base in (40, 500, 5000):
        values = np.r_[np.zeros(base), (rng.random(1000) < 0.2)].astype(np.float64)
        found = Ddm().build("binary", "up").update(values, seconds(len(values)))
        assert found
        assert base <= found[0].position < base + 300


def test_eddm_defaults_are_quiet_on_constant_rates_and_hear_a_tripled_one() -> None:
    """The measurement that chose them. River's defaults: 192 of 200 alarm within 2,000 values."""
    heard = late = 0
    for rate in (0.02, 0.05, 0.1, 0.2):
        rng = np.random.default_rng(7)
        alarmed = sum(
            bool(
                Eddm()
                .build("binary", "up")
                .update((rng.random(2000) < rate).astype(np.float64), seconds(2000))
            )
            for _ in range(100)
        )
        assert alarmed <= 4, rate
        for _ in range(10):
            values = np.r_[rng.random(2000) < rate, rng.random(5000) < 3 * rate].astype(np.float64)
            found = Eddm().build("binary", "up").update(values, seconds(len(values)))
            heard += any(one.position >= 2000 for one in found)
            late += 1
    rng = np.random.default_rng(7)
    rivers = sum(
        bool(river_alarms(binary.EDDM(), (rng.random(2000) < 0.1).astype(np.float64))) for _ in range(40)
    )
    assert rivers > 35
    assert heard >= 0.85 * late


def test_kswin_is_seeded_and_blind_after_an_alarm_and_says_so() -> None:
    rng = np.random.default_rng(8)
    values = np.r_[rng.normal(0, 1, 150), rng.normal(4, 1, 200)]
    runs = [Kswin().build("real", "both").update(values, seconds(350)) for _ in range(2)]
    assert runs[0] == runs[1]
    assert Kswin().seed == 1
    detector = Kswin().build("real", "both")
    at = runs[0][-1].position
    detector.update(values[: at + 1], seconds(at + 1))
    blind = 0
    while not detector.warm:
        detector.update_one(1.0, 0.0)
        blind += 1
    assert blind == 99
    with pytest.raises(ValidationError):
        Kswin(seed=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("normal", lambda rng, n: rng.normal(0, 1, n)),
        ("far and wide", lambda rng, n: rng.normal(50_000, 10_000, n)),
        ("tiny", lambda rng, n: rng.normal(1e-9, 1e-12, n)),
        ("exponential", lambda rng, n: rng.exponential(30, n)),
        ("heavy", lambda rng, n: rng.lognormal(0, 1, n)),
    ],
)
def test_page_hinkley_on_real_values_does_not_depend_on_their_unit(name: str, draw: Any) -> None:
    """River's own, false alarms in 10,000: N(0, 1) 6.6, N(50000, 10000) 333. Scaled: less than 1 of any."""
    rng = np.random.default_rng(9)
    values = draw(rng, 100_000)
    assert len(PageHinkley().build("real", "both").update(values, seconds(len(values)))) <= 9
    step = np.r_[values[:5000], values[5000:8000] + 2 * values.std()]
    found = PageHinkley().build("real", "up").update(step, seconds(8000))
    assert any(5000 <= one.position < 5400 for one in found)


def test_scaling_is_for_real_values_unless_asked_for() -> None:
    values = (np.random.default_rng(10).random(6000) < np.repeat([0.1, 0.4], 3000)).astype(np.float64)
    wanted = river_alarms(drift.PageHinkley(), values)
    assert positions(PageHinkley(), "binary", "both", values, []) == wanted
    assert positions(PageHinkley(), "unit", "both", values, []) == wanted
    assert positions(PageHinkley(scale="none"), "real", "both", values, []) == wanted
    assert positions(PageHinkley(scale="warmup"), "binary", "both", values, []) != wanted


def test_a_constant_stream_has_no_scale_and_its_step_is_found() -> None:
    """Not warm while all values are the same; the change itself gives the scale."""
    detector = PageHinkley().build("real", "both")
    assert detector.update(np.full(3000, 5.0), seconds(3000)) == []
    assert not detector.warm
    found = detector.update(np.full(300, 7.0), seconds(300))
    assert [(one.direction, one.before.mean, one.after.mean) for one in found] == [("up", 5.0, 7.0)]


def test_a_change_while_the_scale_is_learnt_is_found() -> None:
    rng = np.random.default_rng(12)
    values = np.r_[rng.normal(100, 1, 150), rng.normal(120, 1, 500)]
    found = PageHinkley().build("real", "up").update(values, seconds(650))
    assert found
    assert abs(found[0].onset_time_s - 150) <= found[0].onset_uncertain_s


@pytest.mark.parametrize("cls", [Ddm, Eddm, HddmA, HddmW, Fhddm])
def test_one_sided_detectors_watch_the_other_side_when_told_to(cls: Any) -> None:
    rng = np.random.default_rng(13)
    worse = np.r_[rng.random(8000) < 0.1, rng.random(8000) < 0.9].astype(np.float64)
    better = 1.0 - worse
    cases: list[tuple[Watched, Floats, str]] = [
        ("up", worse, "up"),
        ("down", better, "down"),
        ("both", worse, "up"),
        ("both", better, "down"),
    ]
    for watched, values, wanted in cases:
        found = cls().build("binary", watched).update(values, seconds(16_000))
        assert next(one.direction for one in found if one.position >= 8000) == wanted, watched


def test_improvement_is_not_told_when_only_worse_is_watched_and_becomes_the_new_base() -> None:
    rng = np.random.default_rng(14)
    values = np.r_[rng.random(2000) < 0.6, rng.random(2000) < 0.1, rng.random(2000) < 0.4].astype(np.float64)
    for cls in (Adwin, PageHinkley):
        both = cls().build("binary", "both").update(values, seconds(6000))
        found = cls().build("binary", "up").update(values, seconds(6000))
        assert [one.direction for one in both] == ["down", "up"]
        assert found == both[1:]
        assert found[0].before.mean == pytest.approx(0.1, abs=0.03)


def adwin_state(n: int = 700) -> dict[str, Any]:
    alarm = AdwinAlarm(AdwinSettings(0.002, 32, 5, 5, 10))
    alarm.read(iter(np.random.default_rng(15).random(n).tolist()))
    return alarm.dump()


def load_adwin(dump: Any) -> AdwinAlarm:
    alarm = AdwinAlarm(AdwinSettings(0.002, 32, 5, 5, 10))
    alarm.load(dump)
    return alarm


def test_adwin_bytes_are_taken_whole_or_not_at_all(capfd: pytest.CaptureFixture[str]) -> None:
    """River panics at truncated bytes (and prints it), and takes bytes with a tail."""
    dump = adwin_state()
    state = dump["window"]
    assert load_adwin(dump).dump() == dump
    for cut in range(0, len(state)):
        with pytest.raises(StateDamaged):
            load_adwin(dump | {"window": state[:cut]})
    for tail in (b"\0", b"x" * 8, state):
        with pytest.raises(StateDamaged):
            load_adwin(dump | {"window": state + tail})
    assert "panic" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("at", "layout", "value", "text"),
    [
        (0, "<d", 0.5, "other settings"),
        (8, "<I", 31, "other settings"),
        (36, "<d", math.nan, "not finite"),
        (52, "<d", 699.0, "its buckets hold 700 values, its width is 699"),
        (68, "<I", 2**31 - 1, "counts do not fit"),
        (84, "<Q", 63, "damaged"),
        (92, "<Q", 6, "another size"),
        (124, "<d", math.inf, "not finite"),
        (-4, "<i", 11, "its end"),
    ],
)
def test_adwin_state_that_cannot_be_is_named(at: int, layout: str, value: float, text: str) -> None:
    dump = adwin_state()
    state = bytearray(dump["window"])
    struct.pack_into(layout, state, at % len(state), value)
    with pytest.raises(StateDamaged, match=text):
        load_adwin(dump | {"window": bytes(state)})


def test_every_flipped_bit_of_adwin_is_refused_or_harmless(capfd: pytest.CaptureFixture[str]) -> None:
    dump = adwin_state(90)
    more = np.random.default_rng(16).random(100).tolist()
    refused = 0
    for bit in range(8 * len(dump["window"])):
        state = bytearray(dump["window"])
        state[bit // 8] ^= 1 << bit % 8
        try:
            alarm = load_adwin(dump | {"window": bytes(state)})
        except StateDamaged:
            refused += 1
            continue
        alarm.read(iter(more))
    assert refused > 1000
    assert "panic" not in capfd.readouterr().err


def test_a_panic_of_river_becomes_state_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The layout check comes first; without it the bytes reach River."""
    monkeypatch.setattr("streamwatch.detectors.adwin._check", lambda state, settings: None)
    dump = adwin_state()
    with pytest.raises(StateDamaged, match="ADWIN"):
        load_adwin(dump | {"window": dump["window"][:-40]})
    with pytest.raises(StateDamaged, match="differently"):
        load_adwin(dump | {"window": dump["window"] + b"x"})


def test_state_of_other_settings_is_refused() -> None:
    dump = Adwin(delta=0.1).build("unit", "both").dump()
    with pytest.raises(StateDamaged, match="other settings"):
        Adwin().load("unit", "both", dump)
    with pytest.raises(StateDamaged):
        Ddm().load("binary", "both", Ddm().build("binary", "up").dump())


@pytest.mark.parametrize("cls", DETECTORS)
def test_a_kind_that_a_detector_cannot_read_is_refused_when_it_is_built(cls: Any) -> None:
    for kind in {"binary", "unit", "real", "codes"} - cls.accepts:
        with pytest.raises(ValueError, match=f"{cls.name} reads .*, not {kind}"):
            cls().build(kind, "both")


def test_values_and_times_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="3 values with 2 times"):
        Adwin().build("unit", "both").update(np.zeros(3), np.zeros(2))
    assert Adwin().build("unit", "both").update(np.zeros(0), np.zeros(0)) == []


class Form(BaseModel):
    model_config = ConfigDict(frozen=True)
    detector: AnyDetector


@pytest.mark.parametrize("cls", DETECTORS)
def test_a_detector_is_named_alone_or_with_its_settings_and_written_back(cls: Any) -> None:
    bare = Form.model_validate({"detector": cls.name})
    assert bare.detector == cls()
    assert Form.model_validate({"detector": {cls.name: {}}}) == bare
    assert Form.model_validate({"detector": {cls.name: None}}) == bare
    assert Form(detector=cls()) == bare
    plain = bare.model_dump(mode="json")
    assert plain == {"detector": {cls.name: cls().model_dump(mode="json")}}
    assert Form.model_validate_json(json.dumps(plain)) == bare
    name, field = next(iter(cls.model_fields.items()))
    assert field.description
    value = getattr(cls(), name)
    changed = Form.model_validate(
        {"detector": {cls.name: {name: value * 0.9 if isinstance(value, float) else value + 1}}}
    )
    assert changed != bare
    assert bare.detector.label == cls.name == cls.model_construct().label


@pytest.mark.parametrize(
    ("given", "place", "text"),
    [
        ("adwn", (), "no detector is named 'adwn': did you mean adwin? there are adwin, page_hinkley, kswin"),
        ("PageHinkley", (), "did you mean page_hinkley?"),
        ("HDDM-A", (), "did you mean hddm_a?"),
        ("x", (), "no detector is named 'x': there are adwin"),
        (3, (), "expected a detector: its name, or {name: {its settings}}, got 3"),
        (None, (), "expected a detector"),
        ({}, (), "expected a detector"),
        ({"adwin": {}, "ddm": {}}, (), "expected a detector"),
        ({"adwn": {}}, (), "did you mean adwin?"),
        ({"adwin": {"delta": 2}}, ("adwin", "delta"), "less than 1"),
        ({"adwin": {"dleta": 0.1}}, ("adwin", "dleta"), "not permitted"),
        ({"adwin": [1]}, ("adwin",), "dictionary"),
        (
            {"kswin": {"stat_size": 90}},
            ("kswin",),
            "window_size must be at least twice stat_size: 100 < 2 * 90",
        ),
        ({"fhddm": {"short_window_size": 200}}, ("fhddm",), "short_window_size must be at most"),
        ({"page_hinkley": {"scale": "rank"}}, ("page_hinkley", "scale"), "'auto', 'none' or 'warmup'"),
    ],
)
def test_errors_say_where_and_what(given: Any, place: tuple[str, ...], text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Form.model_validate({"detector": given})
    (error,) = caught.value.errors()
    assert error["loc"] == ("detector", *place)
    assert text in error["msg"]


@pytest.mark.parametrize("mode", ["validation", "serialization"])
def test_the_json_schema_takes_both_forms_and_knows_every_setting(mode: Any) -> None:
    schema = Form.model_json_schema(mode=mode)
    validator = Draft202012Validator(schema)
    for cls in DETECTORS:
        assert validator.is_valid({"detector": cls.name})
        assert validator.is_valid({"detector": {cls.name: cls().model_dump(mode="json")}})
        about = schema["properties"]["detector"]["anyOf"][1]["properties"][cls.name]
        assert set(about["properties"]) == set(cls.model_fields)
    for wrong in ("adwn", {"adwin": {"delta": 2}}, {"adwin": {"x": 1}}, {}, {"adwin": {}, "ddm": {}}, 3):
        assert not validator.is_valid({"detector": wrong})


@pytest.mark.parametrize("cls", DETECTORS)
def test_settings_at_their_bounds_can_be_built_and_run(cls: Any) -> None:
    """No bound lets in what makes River raise."""
    schema = cls.model_json_schema()["properties"]
    for name, about in schema.items():
        for bound in ("minimum", "exclusiveMinimum"):
            if bound not in about or (cls is Kswin and name == "window_size"):
                continue
            value = about[bound] if bound == "minimum" else 1e-9
            config = cls(**{name: value})
            for watched in ("up", "down", "both"):
                values = np.tile([0.0, 1.0, 1.0], 15 if cls is Kswin else 50)
                found = config.build("binary", watched).update(values, seconds(len(values)))
                assert all(isinstance(one, Detection) for one in found)


def test_reading_a_config_does_not_import_scipy() -> None:
    """River's package of detectors takes a second to import; ADWIN alone does not need it."""
    code = (
        "import sys; from streamwatch.detectors.river import Adwin; import streamwatch.detectors; "
        "Adwin().build('unit', 'both').update_one(1.0, 0.0); print('scipy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "False"
