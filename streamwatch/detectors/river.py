"""River's detectors as settings: one class each, with River's parameters, and River's defaults unless it says why not.

Parameters of River's warning zones are left out: nothing here reads a warning. So is what `direction` says.

The papers: ADWIN [1], PageHinkley [2], KSWIN [3], DDM [4], EDDM [5], HDDM_A and HDDM_W [6], FHDDM [7].

[1] Bifet, Gavalda: Learning from time-changing data with adaptive windowing. SDM 2007.
[2] Page: Continuous inspection schemes. Biometrika 41, 1954.
[3] Raab, Heusinger, Schleif: Reactive soft prototype computing for concept drift streams. Neurocomputing 2020.
[4] Gama, Medas, Castillo, Rodrigues: Learning with drift detection. SBIA 2004.
[5] Baena-Garcia et al.: Early drift detection method. IWKDDS 2006.
[6] Frias-Blanco et al.: Online and non-parametric drift detection methods based on Hoeffding's bounds. TKDE 2014.
[7] Pesaranghader, Viktor: Fast Hoeffding drift detection method for evolving data streams. ECML 2016.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from streamwatch.detectors.adwin import AdwinAlarm, AdwinSettings
from streamwatch.detectors.alarm import Alarm, Flipped, Pair
from streamwatch.detectors.base import DetectorConfig, Plain, Watched
from streamwatch.detectors.binary import DdmAlarm, EddmAlarm, FhddmAlarm
from streamwatch.detectors.guard import Guarded
from streamwatch.detectors.hddm import HddmAAlarm, HddmWAlarm
from streamwatch.detectors.scaled import Scaled
from streamwatch.detectors.wrapped import KswinAlarm, PageHinkleyAlarm
from streamwatch.series import Kind

_BINARY: frozenset[Kind] = frozenset({"binary"})
_SHARES: frozenset[Kind] = frozenset({"binary", "unit"})
_NUMBERS: frozenset[Kind] = frozenset({"binary", "unit", "real"})


class River(DetectorConfig):
    """What all of River's detectors have in common: the guard."""

    name: ClassVar[str]
    state_version: ClassVar[int] = 1

    @property
    def label(self) -> str:
        return self.name

    def alarm(self, kind: Kind, watched: Watched) -> Alarm:
        raise NotImplementedError

    def build(self, kind: Kind, watched: Watched, reference: Any = None) -> Guarded:
        if kind not in self.accepts:
            raise ValueError(f"{self.label} reads {', '.join(sorted(self.accepts))} values, not {kind}")
        return Guarded(self.alarm(kind, watched), kind, watched)

    def load(self, kind: Kind, watched: Watched, dump: Plain, reference: Any = None) -> Guarded:
        detector = self.build(kind, watched, reference)
        detector.load(dump)
        return detector


class OneSided(River):
    """Rings only when ones get more; the other direction is the same detector on 1 - value."""

    def rise(self) -> Alarm:
        raise NotImplementedError

    def fall(self) -> Alarm:
        return Flipped(self.rise(), "down")

    def alarm(self, kind: Kind, watched: Watched) -> Alarm:
        if watched == "up":
            return self.rise()
        if watched == "down":
            return self.fall()
        return Pair(self.rise(), self.fall())


class Adwin(River):
    """ADWIN: a window that shrinks when two parts of it differ in their means."""

    name = "adwin"
    accepts = _NUMBERS

    delta: float = Field(0.002, gt=0, lt=1, description="significance; smaller = fewer alarms, later")
    clock: int = Field(32, ge=1, le=1_000_000, description="looks for a change at every so many values")
    max_buckets: int = Field(5, ge=1, le=1000, description="buckets of one size before two become one")
    min_window_length: int = Field(5, ge=1, le=1_000_000, description="smaller parts are not compared")
    grace_period: int = Field(10, ge=0, le=1_000_000, description="no alarm in so many first values")

    def alarm(self, kind: Kind, watched: Watched) -> Alarm:
        return AdwinAlarm(
            AdwinSettings(self.delta, self.clock, self.max_buckets, self.min_window_length, self.grace_period)
        )


class PageHinkley(River):
    """Page-Hinkley: the sum of what values are above (or below) their mean, less an allowance."""

    name = "page_hinkley"
    accepts = _NUMBERS

    min_instances: int = Field(30, ge=1, le=1_000_000, description="no alarm in so many first values")
    delta: float = Field(0.005, ge=0, le=1e9, description="allowance a value: smaller changes are ignored")
    threshold: float = Field(50.0, gt=0, le=1e12, description="alarm above; larger = fewer alarms, later")
    alpha: float = Field(0.9999, gt=0, le=1, description="forgetting: 1 = none")
    scale: Literal["auto", "none", "warmup"] = Field(
        "auto",
        description="delta and threshold are in units of the values. warmup: values are first brought to the "
        "spread of a uniform distribution on [0, 1], learnt from the first values after each start; "
        "none: taken as they are, as in River; auto: warmup for real values, none for those in [0, 1]",
    )
    warmup: int = Field(200, ge=30, le=100_000, description="values that the scale is learnt from")

    def alarm(self, kind: Kind, watched: Watched) -> Alarm:
        alarm = PageHinkleyAlarm(
            min_instances=self.min_instances, delta=self.delta, threshold=self.threshold, alpha=self.alpha
        )
        scaled = self.scale == "warmup" or (self.scale == "auto" and kind == "real")
        return Scaled(alarm, self.warmup) if scaled else alarm


class Kswin(River):
    """KSWIN: a Kolmogorov-Smirnov test of the newest values of a window against others of it. 300 us a value.

    At the default alpha it alarms at 15 of 10,000 values of normal noise, at 0.0001 at 1.
    """

    name = "kswin"
    accepts = _NUMBERS

    alpha: float = Field(0.005, gt=0, lt=1, description="the p-value that alarms; keep it below 0.01")
    window_size: int = Field(100, ge=4, le=100_000, description="values in the window")
    stat_size: int = Field(30, ge=2, le=50_000, description="newest values, compared with as many others")
    seed: int = Field(
        1, ge=0, lt=2**63, description="of the choice of the others; River's default is no seed"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if 2 * self.stat_size > self.window_size:
            raise ValueError(
                f"window_size must be at least twice stat_size: {self.window_size} < 2 * {self.stat_size}"
            )
        return self

    def alarm(self, kind: Kind, watched: Watched) -> Alarm:
        return KswinAlarm(
            alpha=self.alpha, window_size=self.window_size, stat_size=self.stat_size, seed=self.seed
        )


class Ddm(OneSided):
    """DDM: the rate of ones against its lowest so far, in standard deviations."""

    name = "ddm"
    accepts = _BINARY

    warm_start: int = Field(30, ge=1, le=1_000_000, description="no alarm in so many first values")
    drift_threshold: float = Field(3.0, gt=0, le=1e6, description="standard deviations above the lowest rate")

    def rise(self) -> Alarm:
        return DdmAlarm(warm_start=self.warm_start, drift_threshold=self.drift_threshold)


class Eddm(OneSided):
    """EDDM: the distance between ones against its greatest so far.

    River's defaults (30 and 0.9) alarm on 192 of 200 streams of a constant rate within 2,000 values. Those here were
    chosen by simulation (in the tests): at constant rates of 2 % to 50 %, 0 to 4 of 200 alarm within 2,000. The price:
    a rate that triples after 2,000 values is found by 53 to 60 of 60, but 1,100 to 2,600 values later; and its means
    run over all values since the start, so after 11,000 values only 8 of 40 find it within 6,000.
    """

    name = "eddm"
    accepts = _BINARY
    counts = "ones (zeros, where it watches for fewer ones)"

    warm_start: int = Field(200, ge=1, le=1_000_000, description="no alarm in so many first ones; River: 30")
    beta: float = Field(0.6, gt=0, lt=1, description="alarm below this share of the greatest; River: 0.9")

    def rise(self) -> Alarm:
        return EddmAlarm(warm_start=self.warm_start, beta=self.beta)


class HddmA(OneSided):
    """HDDM_A: Hoeffding's bound on the mean since the start against its lowest."""

    name = "hddm_a"
    accepts = _SHARES

    drift_confidence: float = Field(0.001, gt=0, lt=1, description="smaller = fewer alarms, later")

    def rise(self) -> Alarm:
        return HddmAAlarm(drift_confidence=self.drift_confidence)


class HddmW(OneSided):
    """HDDM_W: McDiarmid's bound on an exponentially weighted mean against its lowest."""

    name = "hddm_w"
    accepts = _SHARES

    drift_confidence: float = Field(0.001, gt=0, lt=1, description="smaller = fewer alarms, later")
    lambda_val: float = Field(0.05, gt=0, lt=1, description="weight of the newest value")

    def rise(self) -> Alarm:
        return HddmWAlarm(drift_confidence=self.drift_confidence, lambda_val=self.lambda_val)


class Fhddm(OneSided):
    """FHDDM: Hoeffding's bound on the mean of a sliding window against its best."""

    name = "fhddm"
    accepts = _BINARY

    sliding_window_size: int = Field(100, ge=2, le=100_000, description="values in the window")
    confidence_level: float = Field(0.000001, gt=0, lt=1, description="smaller = fewer alarms, later")
    short_window_size: int | None = Field(
        None, ge=1, le=100_000, description="a second, shorter window (stacking FHDDM)"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.short_window_size is not None and self.short_window_size > self.sliding_window_size:
            raise ValueError(
                f"short_window_size must be at most sliding_window_size: {self.short_window_size} > "
                f"{self.sliding_window_size}"
            )
        return self

    def rise(self) -> Alarm:
        # River's FHDDM rings when ones get fewer, against its docs.
        return Flipped(self._river(), "up")

    def fall(self) -> Alarm:
        return self._river()

    def _river(self) -> FhddmAlarm:
        return FhddmAlarm(
            sliding_window_size=self.sliding_window_size,
            confidence_level=self.confidence_level,
            short_window_size=self.short_window_size,
        )
