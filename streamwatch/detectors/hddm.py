"""HDDM_A and HDDM_W, which read numbers in [0, 1]: River's, as alarms."""

from __future__ import annotations

import math
from typing import Any

from streamwatch.detectors import checked
from streamwatch.detectors.wrapped import Wrapped, drift
from streamwatch.errors import StateDamaged

_ONE = 1.0 + 1e-9  # a running mean of ones may be rounded above 1


class HddmAAlarm(Wrapped):
    """`statistic`: the rise over its bound; rings at 1."""

    def __init__(self, *, drift_confidence: float) -> None:
        super().__init__(drift().binary.HDDMA(drift_confidence, warning_confidence=drift_confidence))

    @property
    def statistic(self) -> float | None:
        river = self._river
        low, whole = river._x_min, river._z
        if not low.n or low.n == whole.n:
            return None
        part = (whole.n - low.n) / low.n / whole.n
        bound = math.sqrt(part / 2 * math.log(2.0 / river.drift_confidence))
        return float((whole.get() - low.get()) / bound)

    def _missing(self) -> int:
        return 1 - int(self._river._z.n)

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


class HddmWAlarm(Wrapped):
    """`statistic`: the rise over its bound; rings above 1."""

    def __init__(self, *, drift_confidence: float, lambda_val: float) -> None:
        super().__init__(drift().binary.HDDMW(drift_confidence, drift_confidence, lambda_val))

    @property
    def statistic(self) -> float | None:
        river = self._river
        low, now = river._s1_incr, river._s2_incr
        if not (low._is_init and now._is_init):
            return None
        bound = river._mcdiarmid_bound(low.ibc + now.ibc, river.drift_confidence)
        return float((now.ewma - low.ewma) / bound)

    def _missing(self) -> int:
        return 1 - int(self._river._total._is_init)

    def _state(self) -> dict[str, Any]:
        river = self._river
        samples = [getattr(river, name) for name in _SAMPLES]
        return {
            "means": [float(sample.ewma) if sample._is_init else -1.0 for sample in samples],
            "bounds": [float(sample._ibc) for sample in samples],
            "cut_rise": None if river._incr_cutpoint == math.inf else float(river._incr_cutpoint),
            "cut_fall": None if river._decr_cutpoint == -math.inf else float(river._decr_cutpoint),
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
        river._incr_cutpoint = math.inf if rise is None else rise
        river._decr_cutpoint = -math.inf if fall is None else fall
