"""What `check` says of memory and state: sums that hold, and whether what comes has room."""

from __future__ import annotations

import random
import tracemalloc
from typing import Any

import pytest

from streamwatch.cli.room import late, measured, room
from streamwatch.config import Config
from streamwatch.engine import Engine
from tests.bench.waiting import SIZE, batch, watch
from tests.build import config, monitor
from tests.test_late_labels import INPUTS


def waits(*monitors: Any, models: Any = None, **labels: Any) -> Config:
    return config(
        *(monitors or [monitor("error", "error")]),
        inputs=INPUTS,
        models=models or {"fraud": {"labels": {"wait": "7d", **labels}}},
    )


def test_stream_keys_are_counted_with_all_monitors_that_one_can_have() -> None:
    """Those of a version, of a model and of a slice have stream keys of their own; `of: all` has no number yet."""
    of = waits(
        monitor("a", "score", per="version"),
        monitor("b", "score", by=[["country"]], per="model"),
        monitor("c", "prediction", per="version"),
        monitor("d", "feature", of="all"),
        models={"fraud": {}},
    )
    assert list(room(of)) == [
        "memory: about 105 MiB, and 12 KiB for each detector; 339 MiB if there are 10,000 stream keys "
        "(`max_stream_keys`) of 2 detectors, of which one version of a model has at most 1,002 (`max_segments`), and "
        "more for those of each feature (`of: all`)"
    ]


def test_each_model_whose_labels_come_late_has_a_line_of_what_waits_at_most() -> None:
    labels = {"wait": "7d", "sample": "50%"}
    models = {"fraud": {"labels": labels}, "churn": {}, "*": {"labels": {**labels, "most": 5_000}}}
    _, fraud, others = room(waits(models=models))
    assert fraud == (
        "late labels of fraud: at most 1,000,000 predictions wait (`most`), which takes about 189 MiB of memory and "
        "89 MiB of state; they wait 7d if no more than 3.3 come a second"
    )
    assert others.startswith("late labels of each other model: at most 5,000 predictions wait")


def test_what_comes_and_has_no_room_is_told_with_what_would_fit() -> None:
    assert list(measured(waits(), 210.0, 600.0)) == [
        (
            False,
            "late labels of fraud: 210 records a second came into predictions in the last 10m, so 127 million "
            "predictions would wait 7d, which takes 23 GiB of memory; `most` holds those of 79m. "
            "`sample: 0.78%` would fit",
        )
    ]


@pytest.mark.parametrize("rate", [1.7, 13.0, 210.0, 99_999.0])
def test_the_sample_that_would_fit_fits_and_a_little_more_would_not(rate: float) -> None:
    (model,) = late(waits())
    share = model.fitting(rate)
    assert rate * model.spec.wait * share <= model.spec.most * (1 + 1e-9)
    assert rate * model.spec.wait * share * 1.1 > model.spec.most * 0.99


def test_a_sample_makes_room_and_where_there_is_room_it_is_said() -> None:
    ((fits, line),) = measured(waits(sample="0.5%"), 210.0, 600.0)
    assert fits
    assert line.endswith("so 635,040 predictions would wait 7d; 1,000,000 may (`most`)")
    (no_rate,) = measured(waits(), 0.0, 600.0)
    assert no_rate == (True, "nothing came into predictions in the last 10m: no rate to judge `most` by")


def test_the_rate_of_a_topic_is_that_of_all_its_models() -> None:
    both = {"fraud": {"labels": {"wait": "7d"}}, "churn": {}}
    ((_, line),) = measured(waits(models=both), 1.0, 600.0)
    assert "if all are of one model" in line


@pytest.mark.parametrize("slices", [False, True])
def test_a_prediction_that_waits_takes_about_what_the_sum_says(slices: bool) -> None:
    """Memory as Python counts it, without what lies between (the sum has that, of a million that come and go)."""
    of, draw, most = watch(3 * SIZE, slices), random.Random(1), 3 * SIZE
    engine, state = Engine(of), dict[str, int]()
    engine.process(batch(0, draw))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for first in range(SIZE, 7 * SIZE, SIZE):
            engine.process(batch(first, draw))
            for key, value in engine.changes().items():
                state[key] = 0 if value is None else len(key) + len(value)
        memory = (tracemalloc.get_traced_memory()[0] - before) / most
    finally:
        tracemalloc.stop()
    kept = sum(count for key, count in state.items() if key.startswith("labels:")) / most
    (model,) = late(of)
    assert 0.5 * model.memory < memory <= 1.1 * model.memory  # of few thousand rows; of a million it is less
    assert 0.75 * model.state < kept <= 1.25 * model.state  # a chunk of these three goes as a whole
