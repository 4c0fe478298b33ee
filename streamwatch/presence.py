"""Which models send events: when each was heard last, and when it is to be asked whether it has been silent too long.

A model is silent when stream time (moved on by other models), or the clock while nothing is left to read, is `silence`
past its last event. A version that retires is not silent: another one of its model goes on.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from typing import NamedTuple

from streamwatch.config import Config


class Heard(NamedTuple):
    """`last_s`: stream time of the last event. `arrived_s`: the time of its record; below 0 if it had none."""

    last_s: float
    arrived_s: float


class Presence:
    def __init__(self, config: Config) -> None:
        self._config = config
        self._heard: dict[str, Heard] = {}
        self._asked: dict[str, float] = {}  # when a model is to be asked about
        self._due: list[tuple[float, str]] = []

    def heard(self, model: str, last_s: float, arrived_s: float) -> None:
        known = self._heard.get(model, Heard(last_s, arrived_s))
        self._heard[model] = Heard(max(known.last_s, last_s), max(known.arrived_s, arrived_s))

    def keep(self, models: Collection[str]) -> None:
        """Nobody watches the others any more."""
        if len(self._heard) > len(models):
            for model in [model for model in self._heard if model not in models]:
                del self._heard[model]

    def last_s(self, model: str) -> float | None:
        heard = self._heard.get(model)
        return None if heard is None else heard.last_s

    # ---- when to ask

    def unasked(self, models: Collection[str]) -> set[str]:
        return set(models) - self._asked.keys()

    def ask(self, model: str, last_s: float) -> None:
        """It was heard at `last_s`; ask when that is too long ago, unless it is asked about already."""
        limit_s = self._config.silence(model)
        if limit_s > 0 and model not in self._asked:
            self._asked[model] = last_s + limit_s
            heapq.heappush(self._due, (last_s + limit_s, model))

    @property
    def next_s(self) -> float:
        """Before this stream time no model can turn out to be silent."""
        return self._due[0][0] if self._due else float("inf")

    def pop(self) -> tuple[float, str]:
        """When the next one is asked about, and which."""
        due_s, model = heapq.heappop(self._due)
        del self._asked[model]
        return due_s, model

    def silent(self, now_s: float) -> Iterator[tuple[str, Heard]]:
        """By the clock: models whose last record came `silence` ago."""
        for model, heard in sorted(self._heard.items()):
            limit_s = self._config.silence(model)
            if limit_s > 0 and 0 <= heard.arrived_s <= now_s - limit_s:
                yield model, heard
