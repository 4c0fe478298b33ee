"""DDM, EDDM and FHDDM, which read zeros and ones: River's, as alarms."""

from __future__ import annotations

import collections
import math
from collections.abc import Iterator
from typing import Any

from streamwatch.detectors import checked
from streamwatch.detectors.base import Watched
from streamwatch.detectors.wrapped import Wrapped, drift
from streamwatch.errors import StateDamaged


class DdmAlarm(Wrapped):
    """`statistic`: standard deviations above the lowest error rate; `drift_threshold` is compared with it.

    River's DDM takes the first error after an error-free warm-up for a drift: the lowest error rate is 0, with a
    standard deviation of 0. So a warm-up that held no error ends with one error that is not in the data.
    """

    def __init__(self, *, warm_start: int, drift_threshold: float) -> None:
        self._warm_start = warm_start
        super().__init__(
            drift().binary.DDM(warm_start=warm_start, drift_threshold=drift_threshold, warning_threshold=0.0)
        )

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

    def _missing(self) -> int:
        n = int(self._river._p.n)  # the error that is added may be the last one that is missing
        return self._warm_start - n if n < self._warm_start else self._warm_start + 1 - n

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
        river._ps_min = math.inf if river._p_min is None else river._p_min + river._s_min


class EddmAlarm(Wrapped):
    """`statistic`: by which share the distance between errors is below its greatest; rings above 1 - beta."""

    def __init__(self, *, warm_start: int, beta: float) -> None:
        super().__init__(drift().binary.EDDM(warm_start=warm_start, alpha=1.0, beta=beta))

    @property
    def statistic(self) -> float | None:
        river = self._river
        distances = river._error_distances
        if river._p2s_prime_max <= 0:
            return None
        return float(1.0 - (distances.mean.get() + 2.0 * distances.get() ** 0.5) / river._p2s_prime_max)

    def _missing(self) -> int:
        return int(self._river.warm_start - self._river._n_errors)

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


class FhddmAlarm(Wrapped):
    """Rings when ones get FEWER, against River's docs. `statistic`: the fall of the window's mean over its bound, the
    window without its oldest value; rings above 1."""

    def __init__(
        self, *, sliding_window_size: int, confidence_level: float, short_window_size: int | None
    ) -> None:
        super().__init__(drift().binary.FHDDM(sliding_window_size, confidence_level, short_window_size))

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

    def _missing(self) -> int:
        return int(self._river.sliding_window_size) - 1 - len(self._river._sliding_window)

    def _state(self) -> dict[str, Any]:
        river = self._river
        short = river.short_window_size is not None
        return {
            "window": bytes(map(int, river._sliding_window)),
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
