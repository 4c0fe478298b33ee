"""What no single field can know: whether the parts of a config fit each other, and what is allowed but costs.

`conflicts` are errors: with them a monitor could never read anything, or topics would be mixed up. `warnings` are
few, and each is measured or certain.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from streamwatch import conditions
from streamwatch.config import Config, Monitor
from streamwatch.detectors import DETECTORS
from streamwatch.detectors.river import Eddm, Kswin, PageHinkley
from streamwatch.errors import Problem
from streamwatch.events import Needs
from streamwatch.explain import closest
from streamwatch.series import Kind
from streamwatch.signals import ModelSpec
from streamwatch.yamltree import Loc

_OF_ALL = ("feature", "missing")
_ABOUT_KIND = {
    "binary": "0 or 1",
    "unit": "numbers from 0 to 1",
    "real": "any numbers",
    "codes": "categories",
}


class Finding(NamedTuple):
    """`loc` is a location in the `Config` value."""

    loc: Loc
    what: str
    hint: str = ""


def lint(config: Config) -> list[Problem]:
    """The warnings, without places in a file (`configfile.read` gives them with their places)."""
    return [
        Problem("config", 0, 0, ".".join(map(str, one.loc)), one.what, one.hint) for one in warnings(config)
    ]


def conflicts(config: Config) -> Iterator[Finding]:
    yield from _topics(config)
    yield from _windows(config)
    yield from _labels(config)
    for position, monitor in enumerate(config.monitors):
        loc = ("monitors", position)
        if monitor.name == conditions.MONITOR:
            yield Finding(
                (*loc, "name"), f"alerts of the whole service are named {monitor.name}", "choose another"
            )
        yield from _names(config, monitor, loc)
        yield from _form(monitor, loc)
        yield from _kinds(config, monitor, loc)
        yield from _buckets(config, monitor, loc)
        yield from _mapped(config, monitor, loc)


def warnings(config: Config) -> Iterator[Finding]:
    for position, monitor in enumerate(config.monitors):
        loc = ("monitors", position, "detector")
        detector = monitor.detector
        if isinstance(detector, Kswin):
            yield Finding(
                loc,
                "kswin takes about 300 us a value, a thousand times what adwin takes",
                "fine below some hundred events a second",
            )
        if isinstance(detector, Eddm) and detector.beta >= 0.9 and detector.warm_start <= 30:
            yield Finding(
                loc,
                "with these settings eddm alarms on most streams whose error rate never changes: 192 of 200 "
                "within 2,000 events",
                "its defaults here do not",
            )
        if isinstance(detector, PageHinkley) and detector.scale == "none":
            kinds = {_kind(monitor, spec) for _, spec in _watched(config, monitor)}
            if "real" in kinds:
                yield Finding(
                    loc,
                    "with scale: none the threshold is in the units of the signal: one value is deaf on one "
                    "signal and alarms all the time on another",
                    "scale: auto learns the units",
                )
    if config.tasks == "per_partition":
        for position, entry in enumerate(config.inputs):
            place = entry.read.model
            if entry.kind == "predictions" and place is not None and place.const is not None:
                yield Finding(
                    ("inputs", position, "read", "model"),
                    "with tasks: per_partition each partition is watched by itself, and one model is in all of them",
                    "tasks: one, unless the topic has one partition",
                )
    kafka = config.kafka
    if kafka.security_protocol == "SASL_PLAINTEXT" and kafka.sasl_mechanism == "PLAIN":
        yield Finding(
            ("kafka", "security_protocol"),
            "the password goes over the network in the clear",
            "SASL_SSL, or a SCRAM mechanism",
        )


def _topics(config: Config) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for position, entry in enumerate(config.inputs):
        for topic in entry.topics:
            if topic in seen and (entry.only is None or config.inputs[seen[topic]].only is None):
                yield Finding(
                    ("inputs", position, "topics"),
                    f"the topic {topic} is in the {_ordinal(seen[topic])} input too",
                    "a topic is read once, by one mapping; two kinds of events in one are told apart by `only`",
                )
            seen.setdefault(topic, position)
    own: dict[str, str] = {}
    for name, topic, loc in (
        ("alerts", config.alerts_topic, ("outputs", "alerts")),
        ("dead letters", config.dead_letters_topic, ("outputs", "dead_letters", "topic")),
        ("state", config.state_topic, ("outputs", "state")),
        ("commands", config.control_topic, ("outputs", "control")),
    ):
        if topic in seen:
            yield Finding(
                loc, f"the topic {topic} of the {name} is also an input", "give it a name of its own"
            )
        if topic in own:
            yield Finding(
                loc, f"the {name} and the {own[topic]} have the same topic {topic}", "each needs its own"
            )
        own.setdefault(topic, name)


def _windows(config: Config) -> Iterator[Finding]:
    seen: set[str] = set()
    for position, window in enumerate(config.windows):
        if window.name in seen:
            yield Finding(
                ("windows", position, "name"),
                f"another window is named {window.name}",
                "muted alerts say the name of their window",
            )
        seen.add(window.name)


def _labels(config: Config) -> Iterator[Finding]:
    """Late labels have somewhere to come from, somebody who waits for them, and an id to be joined by."""
    late = [name for name, spec in config.models.items() if spec.labels is not None]
    of_labels = [position for position, entry in enumerate(config.inputs) if entry.kind == "labels"]
    if len(of_labels) == len(config.inputs):
        yield Finding(("inputs",), "no input has predictions", "kind: predictions")
    for position, entry in enumerate(config.inputs):
        loc = ("inputs", position)
        if entry.kind == "labels" and not late:
            hint = "models: {NAME: {labels: {wait: 7d}}}"
            yield Finding((*loc, "kind"), "no model in `models` waits for labels", hint)
        if entry.kind == "labels" and entry.read.label is None:
            yield Finding((*loc, "read", "label"), "labels are read, and null says that there is none")
        if late and entry.read.id is None:
            yield Finding(
                (*loc, "read", "id"), "late labels are joined by the id, and null says there is none"
            )
    for name in late:
        if not of_labels and all(entry.read.label is None for entry in config.inputs):
            yield Finding(("models", name, "labels"), "no input brings labels", "an input with kind: labels")


def _names(config: Config, monitor: Monitor, loc: Loc) -> Iterator[Finding]:
    for place, model in enumerate(monitor.models or ()):
        if model not in config.models and "*" not in config.models and config.models:
            yield Finding(
                (*loc, "models", place),
                f"there is no model {model} in `models`",
                closest(model, config.models),
            )
    if monitor.models == ():
        yield Finding((*loc, "models"), "names no model, so it watches none", "leave it out to watch all")


def _form(monitor: Monitor, loc: Loc) -> Iterator[Finding]:
    signal = monitor.signal
    if monitor.of is not None and signal.kind not in _OF_ALL:
        yield Finding((*loc, "of"), f"`of: all` goes with feature and missing, not with {signal.kind}")
    elif monitor.of is not None and signal.name is not None:
        yield Finding(
            (*loc, "of"),
            f"`of: all` and the name {signal.name} contradict each other",
            f"signal: {signal.kind} for all, signal: {signal} for the one",
        )
    elif monitor.of is None and signal.kind in _OF_ALL and signal.name is None:
        yield Finding(
            (*loc, "signal"),
            f"`{signal.kind}` does not say which feature",
            f"signal: {signal.kind}:NAME, or `of: all` beside it",
        )
    if monitor.except_ and monitor.of is None:
        yield Finding((*loc, "except"), "`except` goes with `of: all`: it names the features left out")
    slicings = [tuple(sorted(slicing)) for slicing in monitor.by]
    for place, slicing in enumerate(monitor.by):
        if not slicing:
            yield Finding((*loc, "by", place), "a slicing names at least one feature")
        elif len(set(slicing)) < len(slicing):
            yield Finding((*loc, "by", place), "a slicing names each feature once")
        elif slicings.index(slicings[place]) < place:
            yield Finding((*loc, "by", place), "this slicing is there already")


def _kinds(config: Config, monitor: Monitor, loc: Loc) -> Iterator[Finding]:
    """The signal makes sense for each model, and the detector can read what it gives."""
    refused: dict[Kind, str] = {}
    for model, spec in _watched(config, monitor):
        try:
            kind = monitor.signal.value_kind(spec)
        except ValueError as exc:
            able = [name for name, other in _watched(config, monitor) if _kind(monitor, other) is not None]
            hint = (
                f"models: [{', '.join(able)}]"
                if able and "*" not in able
                else "change the signal or the task"
            )
            yield Finding((*loc, "signal"), f"model {model}: {exc}" if model else str(exc), hint)
            continue
        if monitor.every is not None:
            try:
                kind = monitor.every.kind(kind)
            except ValueError:
                continue  # `_buckets` says it
        if kind not in monitor.detector.accepts:
            refused.setdefault(kind, model)
    for kind in refused:
        takes = ", ".join(_ABOUT_KIND[one] for one in sorted(monitor.detector.accepts))
        readers = ", ".join(cls.name for cls in DETECTORS if kind in cls.accepts)
        yield Finding(
            (*loc, "detector"),
            f"{monitor.detector.label} reads {takes}; {monitor.read} gives {_ABOUT_KIND[kind]}",
            (f"these read it: {readers}" if readers else "")
            + ("" if monitor.every is None else "; or every: null"),
        )


def _buckets(config: Config, monitor: Monitor, loc: Loc) -> Iterator[Finding]:
    """Buckets of time have values of the asked kind, and these come in an order of time."""
    if monitor.every is None:
        return
    for model, spec in _watched(config, monitor):
        kind = _kind(monitor, spec)
        try:
            if kind is not None:
                monitor.every.kind(kind)
        except ValueError:
            yield Finding(
                (*loc, "every", "stat"),
                f"a share is of values that are 0 or 1; {monitor.signal} gives {_ABOUT_KIND[kind or 'real']}",
                "stat: mean, or count",
            )
            return
        labels = spec.labels if monitor.signal.of_labels else None
        if labels is not None and labels.read == "arrival":
            yield Finding(
                (*loc, "every"),
                f"outcomes of {model} are read as their labels come, in no order of time: most would be too late "
                "for their bucket",
                f"models: {{{model}: {{labels: {{read: matured}}}}}}, or every: null",
            )
            return


def _mapped(config: Config, monitor: Monitor, loc: Loc) -> Iterator[Finding]:
    """Some input says where the fields stand that the monitor reads."""
    of_signal = monitor.signal.needs()
    for name in sorted(of_signal.fields):
        if all(
            getattr(entry.read, name) is None
            for entry in config.inputs
            if entry.kind == "predictions" or name == "label"
        ):
            yield Finding(
                (*loc, "signal"),
                f"{monitor.signal} reads `{name}`, and no input says where it stands",
                f"read: {{{name}: ...}} in an input",
            )
    of_rows = monitor.where.needs() if monitor.where else Needs()
    of_rows |= Needs(features=frozenset(name for slicing in monitor.by for name in slicing))
    for part, needs in (("signal", of_signal), ("where", of_rows)):
        if not (needs.features or needs.all_features):
            continue
        if all(entry.read.features is None for entry in config.inputs if entry.kind == "predictions"):
            yield Finding(
                (*loc, part if part == "signal" or monitor.where else "by"),
                "reads features, and no input says where they stand",
                "read: {features: ...} in an input",
            )


def _watched(config: Config, monitor: Monitor) -> list[tuple[str, ModelSpec]]:
    """The models whose tasks are known, by name; "" stands for models that the config says nothing of."""
    if monitor.models is not None:
        return [(model, config.spec(model)) for model in monitor.models]
    return list(config.models.items()) or [("", config.spec(""))]


def _kind(monitor: Monitor, spec: ModelSpec) -> Kind | None:
    try:
        return monitor.signal.value_kind(spec)
    except ValueError:
        return None


def _ordinal(position: int) -> str:
    return {0: "first", 1: "second", 2: "third"}.get(position, f"{position + 1}th")
