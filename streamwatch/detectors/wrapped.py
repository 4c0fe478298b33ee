"""River's detectors that are written in Python, as alarms: with types, and with their state as plain numbers.

River has no type information; nothing outside of this module and `adwin` touches it. What is read and written here
are River's private attributes: a version of River that renames them fails in the constructor's first use, in tests.
"""

from __future__ import annotations

import collections
import math
import struct
from collections.abc import Iterator
from typing import Any

import river.drift

from streamwatch.detectors import checked
from streamwatch.detectors.base import Watched
from streamwatch.errors import StateDamaged

_DRIFT: Any = river.drift  # half of its signatures have types, half have none
_INF = math.inf
_ONE = 1.0 + 1e-9  # a running mean of ones may be rounded above 1


class _Wrapped:
    """The calls that all of them share. The one-sided ring when ones get more."""

    def __init__(self, river: Any) -> None:
        self._river = river

    @property
    def direction(self) -> Watched:
        return "up"

    def read(self, values: Iterator[float]) -> bool:
        river, update = self._river, self._river.update
        for value in values:
            update(value)
            if river._drift_detected:
                return True
        return False

    def read_one(self, value: float) -> bool:
        self._river.update(value)
        return bool(self._river._drift_detected)

    def start(self) -> None:
        self._river._drift_detected = False
        self._river._reset()

    @property
    def warm(self) -> bool:
        return not self._river._drift_detected and self._seen_enough()

    def _seen_enough(self) -> bool:
        raise NotImplementedError

    def dump(self) -> dict[str, Any]:
        return {"rang": bool(self._river._drift_detected), **self._state()}

    def load(self, dump: Any) -> None:
        rang = checked.flag(dump, "rang")
        self._restore(dump)
        self._river._drift_detected = rang

    def _state(self) -> dict[str, Any]:
        raise NotImplementedError

    def _restore(self, dump: Any) -> None:
        raise NotImplementedError


class PageHinkleyAlarm(_Wrapped):
    """Two-sided; `statistic` is the greater of its two sums, which `threshold` is compared with."""

    def __init__(self, *, min_instances: int, delta: float, threshold: float, alpha: float) -> None:
        super().__init__(_DRIFT.PageHinkley(min_instances, delta, threshold, alpha, "both"))

    def start_from(self, n: int, mean: float) -> None:
        """Afresh, with n values of this mean as read."""
        self.start()
        self._river._x_mean.n = float(n)
        self._river._x_mean._mean = mean

    def _sums(self) -> tuple[float, float]:
        river = self._river
        return river._sum_increase - river._min_increase, river._max_decrease - river._sum_decrease

    @property
    def direction(self) -> Watched:
        rise, fall = self._sums()
        return "up" if rise > fall else "down"

    @property
    def statistic(self) -> float | None:
        rise, fall = self._sums()
        return max(rise, fall) if rise > -_INF else None

    def _seen_enough(self) -> bool:
        return bool(self._river._x_mean.n + 1 >= self._river.min_instances)

    def _state(self) -> dict[str, Any]:
        river = self._river
        return {
            "n": int(river._x_mean.n),
            "mean": float(river._x_mean._mean),
            "sums": [float(river._sum_increase), float(river._sum_decrease)],
            "min_rise": None if river._min_increase == _INF else float(river._min_increase),
            "max_fall": float(river._max_decrease),
        }

    def _restore(self, dump: Any) -> None:
        river = self._river
        river._x_mean.n = float(checked.count(dump, "n"))
        river._x_mean._mean = checked.number(dump, "mean")
        sums = checked.numbers(dump, "sums", 2)
        if len(sums) != 2:
            raise StateDamaged(f"sums: expected 2 numbers, got {len(sums)}")
        river._sum_increase, river._sum_decrease = sums
        lowest = checked.optional(dump, "min_rise")
        river._min_increase = _INF if lowest is None else lowest
        river._max_decrease = checked.number(dump, "max_fall")


_WORDS = struct.Struct("<625I")


class KswinAlarm(_Wrapped):
    """Two-sided; `statistic` is the p-value, which `alpha` is compared with."""

    def __init__(self, *, alpha: float, window_size: int, stat_size: int, seed: int) -> None:
        super().__init__(_DRIFT.KSWIN(alpha, window_size, stat_size, seed))

    @property
    def direction(self) -> Watched:
        return "both"

    @property
    def statistic(self) -> float | None:
        river = self._river
        tested = river._drift_detected or len(river.window) == river.window_size
        return float(river.p_value) if tested else None

    def _seen_enough(self) -> bool:
        return len(self._river.window) + 1 >= int(self._river.window_size)

    def _state(self) -> dict[str, Any]:
        river = self._river
        _, words, _ = river._rng.getstate()
        return {
            "window": [float(value) for value in river.window],
            "p_value": float(river.p_value),
            "n": int(river.n),
            "rng": _WORDS.pack(*words),
        }

    def _restore(self, dump: Any) -> None:
        river = self._river
        window = checked.numbers(dump, "window", river.window_size)
        river.window = collections.deque(window, maxlen=river.window_size)
        river.p_value = checked.number(dump, "p_value", 0.0, 1.0)
        river.n = checked.count(dump, "n")
        words = _WORDS.unpack(checked.octets(dump, "rng", _WORDS.size, _WORDS.size))
        if words[-1] > 624:
            raise StateDamaged(f"rng: its position is {words[-1]}, beyond 624")
        river._rng.setstate((3, words, None))


class DdmAlarm(_Wrapped):
    """`statistic`: standard deviations above the lowest error rate; `drift_threshold` is compared with it.

    River's DDM takes the first error after an error-free warm-up for a drift: the lowest error rate is 0, with a
    standard deviation of 0. So a warm-up that held no error ends with one error that is not in the data.
    """

    def __init__(self, *, warm_start: int, drift_threshold: float) -> None:
        super().__init__(
            _DRIFT.binary.DDM(warm_start=warm_start, drift_threshold=drift_threshold, warning_threshold=0.0)
        )
        self._warm_start = warm_start

    def read(self, values: Iterator[float]) -> bool:
        river, update, warm_start = self._river, self._river.update, self._warm_start
        for value in values:
            update(value)
            if river._drift_detected:
                return True
            mean = river._p
            if mean.n == warm_start and mean._mean == 0.0:
                update(1.0)
        return False

    def read_one(self, value: float) -> bool:
        return self.read(iter((value,)))

    @property
    def statistic(self) -> float | None:
        river = self._river
        if river._p_min is None or river._s_min == 0.0:
            return None
        p = river._p.get()
        return float((p + math.sqrt(max(0.0, p * (1 - p)) / river._p.n) - river._p_min) / river._s_min)

    def _seen_enough(self) -> bool:
        return bool(self._river._p.n > self._warm_start)

    def _state(self) -> dict[str, Any]:
        river = self._river
        return {
            "n": int(river._p.n),
            "p": float(river._p._mean),
            "p_min": None if river._p_min is None else float(river._p_min),
            "s_min": None if river._s_min is None else float(river._s_min),
        }

    def _restore(self, dump: Any) -> None:
        river = self._river
        river._p.n = float(checked.count(dump, "n"))
        river._p._mean = checked.number(dump, "p", 0.0, 1.0)
        river._p_min = checked.optional(dump, "p_min", 0.0, 1.0)
        river._s_min = checked.optional(dump, "s_min", 0.0, 1.0)
        if (river._p_min is None) != (river._s_min is None) or (
            (river._p_min is None) == (river._p.n > self._warm_start)
        ):
            raise StateDamaged("the lowest error rate of DDM is there too early, or missing")
        river._ps_min = _INF if river._p_min is None else river._p_min + river._s_min


class EddmAlarm(_Wrapped):
    """`statistic`: by which share the distance between errors is below its greatest; rings above 1 - beta."""

    def __init__(self, *, warm_start: int, beta: float) -> None:
        super().__init__(_DRIFT.binary.EDDM(warm_start=warm_start, alpha=1.0, beta=beta))

    @property
    def statistic(self) -> float | None:
        river = self._river
        distances = river._error_distances
        if river._p2s_prime_max <= 0:
            return None
        return float(1.0 - (distances.mean.get() + 2.0 * distances.get() ** 0.5) / river._p2s_prime_max)

    def _seen_enough(self) -> bool:
        return bool(self._river._n_errors >= self._river.warm_start)

    def _state(self) -> dict[str, Any]:
        river = self._river
        distances = river._error_distances
        return {
            "n": int(river._n),
            "errors": int(river._n_errors),
            "last_error": int(river._last_error),
            "mean": float(distances.mean._mean),
            "squares": float(distances._S),
            "greatest": float(river._p2s_prime_max),
        }

    def _restore(self, dump: Any) -> None:
        river = self._river
        distances = river._error_distances
        river._n = checked.count(dump, "n")
        river._last_error = checked.count(dump, "last_error", 0, river._n)
        river._n_errors = checked.count(dump, "errors", 0, river._last_error)
        distances.mean.n = float(river._n_errors)
        distances.mean._mean = checked.number(dump, "mean", 0.0)
        distances._S = checked.number(dump, "squares", 0.0)
        river._p2s_prime_max = checked.number(dump, "greatest", -1.0)
        if river._p2s_prime_max == 0.0:
            raise StateDamaged("the greatest distance between errors is 0")


class HddmAAlarm(_Wrapped):
    """`statistic`: the rise over its bound; rings at 1."""

    def __init__(self, *, drift_confidence: float) -> None:
        super().__init__(_DRIFT.binary.HDDMA(drift_confidence, warning_confidence=drift_confidence))

    @property
    def statistic(self) -> float | None:
        river = self._river
        low, whole = river._x_min, river._z
        if not low.n or low.n == whole.n:
            return None
        part = (whole.n - low.n) / low.n / whole.n
        bound = math.sqrt(part / 2 * math.log(2.0 / river.drift_confidence))
        return float((whole.get() - low.get()) / bound)

    def _seen_enough(self) -> bool:
        return bool(self._river._z.n >= 1)

    def _state(self) -> dict[str, Any]:
        means = self._river._x_min, self._river._x_max, self._river._z
        return {"n": [int(mean.n) for mean in means], "means": [float(mean._mean) for mean in means]}

    def _restore(self, dump: Any) -> None:
        river = self._river
        n = checked.counts(dump, "n", 3)
        means = checked.numbers(dump, "means", 3, 0.0, _ONE)
        if not len(n) == len(means) == 3 or max(n) > n[2] or (min(n) == 0 and n != [0, 0, 0]):
            raise StateDamaged(f"the counts of HDDM_A do not fit together: {n}")
        for mean, its_n, its_mean in zip((river._x_min, river._x_max, river._z), n, means, strict=True):
            mean.n = float(its_n)
            mean._mean = its_mean


_SAMPLES = ("_total", "_s1_incr", "_s2_incr", "_s1_decr", "_s2_decr")


class HddmWAlarm(_Wrapped):
    """`statistic`: the rise over its bound; rings above 1."""

    def __init__(self, *, drift_confidence: float, lambda_val: float) -> None:
        super().__init__(_DRIFT.binary.HDDMW(drift_confidence, drift_confidence, lambda_val))

    @property
    def statistic(self) -> float | None:
        river = self._river
        low, now = river._s1_incr, river._s2_incr
        if not (low._is_init and now._is_init):
            return None
        bound = river._mcdiarmid_bound(low.ibc + now.ibc, river.drift_confidence)
        return float((now.ewma - low.ewma) / bound)

    def _seen_enough(self) -> bool:
        return bool(self._river._total._is_init)

    def _state(self) -> dict[str, Any]:
        river = self._river
        samples = [getattr(river, name) for name in _SAMPLES]
        return {
            "means": [float(sample.ewma) if sample._is_init else -1.0 for sample in samples],
            "bounds": [float(sample._ibc) for sample in samples],
            "cut_rise": None if river._incr_cutpoint == _INF else float(river._incr_cutpoint),
            "cut_fall": None if river._decr_cutpoint == -_INF else float(river._decr_cutpoint),
        }

    def _restore(self, dump: Any) -> None:
        river = self._river
        means = checked.numbers(dump, "means", len(_SAMPLES), -1.0, _ONE)
        bounds = checked.numbers(dump, "bounds", len(_SAMPLES), 0.0, _ONE)
        if not len(means) == len(bounds) == len(_SAMPLES) or any(-1.0 < mean < 0.0 for mean in means):
            raise StateDamaged(f"the means of HDDM_W do not fit together: {means}")
        for name, mean, bound in zip(_SAMPLES, means, bounds, strict=True):
            sample = getattr(river, name)
            if mean >= 0.0:
                sample._ewma.update(mean)  # the first value is the mean
                sample._is_init = True
            sample._ibc = bound
        rise, fall = checked.optional(dump, "cut_rise"), checked.optional(dump, "cut_fall")
        river._incr_cutpoint = _INF if rise is None else rise
        river._decr_cutpoint = -_INF if fall is None else fall


class FhddmAlarm(_Wrapped):
    """Rings when ones get FEWER, against River's docs. `statistic`: the fall of the window's mean over its bound, the
    window without its oldest value; rings above 1."""

    def __init__(
        self, *, sliding_window_size: int, confidence_level: float, short_window_size: int | None
    ) -> None:
        super().__init__(_DRIFT.binary.FHDDM(sliding_window_size, confidence_level, short_window_size))

    @property
    def direction(self) -> Watched:
        return "down"

    @property
    def statistic(self) -> float | None:
        river = self._river
        n = len(river._sliding_window)
        if n + 1 < river.sliding_window_size or not n:
            return None
        return float((river._u_max - river.n_one / n) / river._epsilon)

    def _seen_enough(self) -> bool:
        return bool(len(self._river._sliding_window) + 1 >= self._river.sliding_window_size)

    def _state(self) -> dict[str, Any]:
        river = self._river
        short = river.short_window_size is not None
        return {
            "window": bytes(int(value) for value in river._sliding_window),
            "greatest": float(river._u_max),
            "greatest_short": float(river._u_short_max) if short else 0.0,
        }

    def _restore(self, dump: Any) -> None:
        river = self._river
        window = checked.octets(dump, "window", 0, river.sliding_window_size - 1)
        if not set(window) <= {0, 1}:
            raise StateDamaged("the window of FHDDM holds more than zeros and ones")
        river._sliding_window = collections.deque(map(float, window), maxlen=river.sliding_window_size)
        river.n_one = float(sum(window))
        river._u_max = checked.number(dump, "greatest", 0.0, 1.0)
        short = checked.number(dump, "greatest_short", 0.0, 1.0)
        if river.short_window_size is not None:
            river._u_short_max = short
