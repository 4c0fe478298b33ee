"""The model in production: will this flight, which has just left the gate, arrive more than 15 minutes late?

A logistic regression, fitted by Newton's method in a tenth of a second. As models do, it takes what it is given: an
unknown carrier has no weight of its own, and a missing age is read as the mean one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamwatch.demo.flights import Features, Flight
from streamwatch.series import Floats

NAME, VERSION = "late-arrival", "1"
STEPS, PENALTY = 10, 0.01
DELAY_MIN = (-30.0, 120.0)  # beyond, a minute more tells nothing
SCALES = {"dep_delay": 30.0, "distance": 1000.0, "hour": 10.0, "plane_age": 10.0}


@dataclass(frozen=True, slots=True)
class Model:
    """`weights` are those of the constant, the numbers of SCALES, each carrier, each origin."""

    weights: Floats
    carriers: tuple[str, ...]
    origins: tuple[str, ...]
    mean_age: float

    def scores(self, rows: Sequence[Features]) -> Floats:
        """(n,): the probability that each is late."""
        return _likely(_matrix(rows, self.carriers, self.origins, self.mean_age), self.weights)


def trained(flights: Sequence[Flight]) -> Model:
    rows = [flight.features for flight in flights]
    carriers = tuple(sorted({str(row["carrier"]) for row in rows}))
    origins = tuple(sorted({str(row["origin"]) for row in rows}))
    mean_age = float(np.mean([row["plane_age"] for row in rows if row["plane_age"] is not None]))
    inputs = _matrix(rows, carriers, origins, mean_age)
    late = np.array([flight.late for flight in flights], dtype=np.float64)
    weights = np.zeros(inputs.shape[1])
    for _ in range(STEPS):
        likely = _likely(inputs, weights)
        slope = inputs.T @ (late - likely) - PENALTY * weights
        curve = (inputs.T * (likely * (1.0 - likely))) @ inputs + PENALTY * np.eye(len(weights))
        weights = weights + np.linalg.solve(curve, slope)
    return Model(weights, carriers, origins, mean_age)


def _matrix(
    rows: Sequence[Features], carriers: Sequence[str], origins: Sequence[str], mean_age: float
) -> Floats:
    columns: list[Floats] = [np.ones(len(rows))]
    for name, scale in SCALES.items():
        values = [row[name] for row in rows]
        numbers = np.array([mean_age if value is None else value for value in values], dtype=np.float64)
        if name == "dep_delay":
            numbers = np.clip(numbers, *DELAY_MIN)
        columns.append(numbers / scale)
    for name, known in (("carrier", carriers), ("origin", origins)):
        columns += [np.array([row[name] == one for row in rows], dtype=np.float64) for one in known]
    return np.stack(columns, axis=1)


def _likely(inputs: Floats, weights: Floats) -> Floats:
    likely: Floats = 1.0 / (1.0 + np.exp(-(inputs @ weights)))
    return likely
