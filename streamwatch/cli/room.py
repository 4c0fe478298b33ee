"""How much room a config can come to need: memory by its stream keys, memory and state by the predictions that wait for
late labels; and whether as many may wait as come.

The bytes are measured: a detector's with ADWIN (README, "Memory"), a waiting prediction's with a million of them that
come and go (`python -m tests.bench.waiting`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from streamwatch.cli.lines import about, number, size
from streamwatch.config import Config
from streamwatch.control import Control
from streamwatch.join import columns
from streamwatch.labels import LabelsSpec
from streamwatch.plan import Plan, cuts_of
from streamwatch.units import duration

PROCESS_BYTES = 105 * 2**20
DETECTOR_BYTES = 12 * 2**10
# Hash, times, label, and the index, in which rows that have gone stay until it is merged.
ROW_BYTES, STATE_ROW_BYTES = 150, 45
COLUMN_BYTES = 8


@dataclass(frozen=True, slots=True)
class Late:
    """A model whose labels come late, "*" for each other one; bytes of a prediction that waits."""

    model: str
    spec: LabelsSpec
    memory: int
    state: int

    @property
    def name(self) -> str:
        return "each other model" if self.model == "*" else self.model

    def waiting(self, rate: float) -> float:
        """How many wait when so many come a second."""
        return rate * self.spec.sample * self.spec.wait

    def fitting(self, rate: float) -> float:
        """The largest share of them for which there is room, rounded down to two digits of a percentage."""
        share = self.spec.most / (rate * self.spec.wait)
        step = 10.0 ** (math.floor(math.log10(share)) - 1)
        return math.floor(share / step + 1e-9) * step


def late(config: Config) -> list[Late]:
    of = len(columns(Plan(config, Control(config)).needs_of_outcomes)) * COLUMN_BYTES
    return [
        Late(name, spec.labels, ROW_BYTES + of, STATE_ROW_BYTES + of)
        for name, spec in config.models.items()
        if spec.labels is not None
    ]


def room(config: Config) -> Iterator[str]:
    """A line each."""
    yield _keys(config)
    for model in late(config):
        spec = model.spec
        yield (
            f"late labels of {model.name}: at most {spec.most:,} predictions wait (`most`), which takes about "
            f"{size(spec.most * model.memory)} of memory and {size(spec.most * model.state)} of state; they wait "
            f"{duration(spec.wait)} if no more than {number(spec.most / (spec.wait * spec.sample))} come a second"
        )


def _keys(config: Config) -> str:
    """Stream keys differ in how many monitors they have: the most counts."""
    of = Counter(cut for monitor in config.monitors if monitor.of is None for cut in cuts_of(monitor))
    most = max(of.values(), default=0)
    whole = PROCESS_BYTES + DETECTOR_BYTES * most * config.max_stream_keys
    slicings = {cut.by for cut in of if cut.by}
    features = any(monitor.of == "all" for monitor in config.monitors)
    each = f"{most} detector{'' if most == 1 else 's'}"
    return (
        f"memory: about {size(PROCESS_BYTES)}, and {size(DETECTOR_BYTES)} for each detector; {size(whole)} if there "
        f"are {config.max_stream_keys:,} stream keys (`max_stream_keys`) of {each}"
        + (
            f", of which one version of a model has at most {1 + len(slicings) * (config.max_segments + 1):,} "
            "(`max_segments`)"
            if slicings
            else ""
        )
        + (", and more for those of each feature (`of: all`)" if features else "")
    )


def measured(config: Config, rate: float, over_s: float) -> Iterator[tuple[bool, str]]:
    """Whether there is room for what comes, a line for each model; `rate`: records a second of the topics of
    predictions, over the last seconds."""
    topics = ", ".join(
        dict.fromkeys(
            topic for entry in config.inputs if entry.kind == "predictions" for topic in entry.topics
        )
    )
    models, last = late(config), duration(over_s)
    if models and not rate:
        yield True, f"nothing came into {topics} in the last {last}: no rate to judge `most` by"
        return
    if_all = ", if all are of one model" if len(config.models) > 1 or "*" in config.models else ""
    for model in models:
        spec, waiting = model.spec, model.waiting(rate)
        come = (
            f"late labels of {model.name}: {number(rate)} records a second came into {topics} in the last {last}, so "
            f"{number(waiting)} predictions would wait {duration(spec.wait)}{if_all}"
        )
        if waiting <= spec.most:
            yield True, f"{come}; {spec.most:,} may (`most`)"
            continue
        yield (
            False,
            (
                f"{come}, which takes {size(waiting * model.memory)} of memory; `most` holds those of "
                f"{about(spec.most / (rate * spec.sample))}. `sample: {model.fitting(rate) * 100:.10g}%` would fit"
            ),
        )
