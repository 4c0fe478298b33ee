"""A first config from a look: YAML with a comment beside each guess, and `# ?` where somebody should decide."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamwatch.categories import text
from streamwatch.offline.look import Look
from streamwatch.offline.models import Model
from streamwatch.offline.proposal import Proposal
from streamwatch.offline.watching import Suggestion, slug
from streamwatch.transports.lines import plain_name

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_UNPRINTED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")  # not allowed as such in YAML


@dataclass(frozen=True, slots=True)
class Starter:
    """All that a first config is made from. `kafka` is its block as lines of YAML, `path` where it will lie."""

    look: Look
    proposal: Proposal
    models: Sequence[Model]
    suggestions: Sequence[Suggestion]
    kafka: Sequence[str]
    path: str

    @property
    def service(self) -> str:
        return slug(f"{slug(self.look.sample.topic)}-watch")

    @property
    def doubts(self) -> int:
        return sum(line.lstrip().startswith("# ?") for line in self.text().splitlines())

    @property
    def commands(self) -> tuple[str, ...]:
        """What to type next."""
        path = shlex.quote(self.path)
        if (file := self.look.sample.file) is not None:
            return (
                f"streamwatch check {path}",
                f"streamwatch replay {path} {shlex.quote(str(file))} > alerts.jsonl",
            )
        return (
            f"streamwatch check --connect {path}",
            f"streamwatch replay {path} --since 24h > alerts.jsonl",
            f"streamwatch run {path}",
        )

    def text(self) -> str:
        return "\n".join(_lines(self)) + "\n"


def _lines(made: Starter) -> Iterator[str]:
    sample = made.look.sample
    yield f"# A first config for {shown(sample.where)}, made by `streamwatch init` from {sample.taken}."
    yield "# Lines with `# ?` are guesses that somebody who knows the events should confirm or change."
    yield "# Next:"
    yield from (f"#   {shown(command)}" for command in made.commands)
    yield ""
    yield f"service: {scalar(made.service)} # the group, the transactional ids and the own topics are named after it"
    yield "kafka:"
    yield from (f"  {line}" for line in made.kafka)
    yield "inputs:"
    if sample.file is not None and sample.topic == plain_name(sample.file):
        yield "  # ? the topic: here the file's name stands for it"
    yield f"  - topics: [{scalar(sample.topic)}]"
    for doubt in made.proposal.doubts:
        yield f"    # ? {shown(doubt)}"
    yield "    read: # where each field of an event stands in a record"
    for name, guess in made.proposal.read.items():
        for doubt in guess.doubts:
            yield f"      # ? {shown(doubt)}"
        why = f" # {shown(guess.why)}" if guess.why else ""
        yield f"      {name}: {inline(guess.place)}{why}"
    yield from _models(made.models)
    yield "defaults: # of every monitor that does not say it itself"
    yield "  repeat_every: 4h # an open alert is written again this often"
    yield "  settle_after: 1h # no detection for so long is settled"
    yield "  # owner: my-team"
    yield "monitors:"
    for one in made.suggestions:
        for doubt in one.doubts:
            yield f"  # ? {shown(doubt)}"
        entry = {"name": one.name, "signal": one.signal, **one.extra, "detector": "adwin"}
        if one.models:
            entry["models"] = list(one.models)
        why = f" # {shown(one.why)}" if one.why else ""
        yield f"  - {inline(entry)}{why}"


def _models(models: Sequence[Model]) -> Iterator[str]:
    if not models:
        return
    yield "models: # a model's task decides which signals make sense"
    guesses = {model.guessed for model in models}
    named = [('"*"', models[0])] if len(guesses) == 1 else [(scalar(m.name), m) for m in models]
    for name, model in named:
        guessed = model.guessed
        entry: dict[str, Any] = {"task": guessed.task}
        if guessed.positive is not None:
            entry["positive"] = guessed.positive
        if guessed.doubt:
            yield f"  # ? {shown(guessed.doubt)}"
        yield f"  {name}: {inline(entry)}"


def inline(value: Any) -> str:
    """Plain data as YAML on one line.

    >>> inline({"path": "a b", "pick": 1, "of": ["x", "NO", None]})
    '{path: "a b", pick: 1, of: [x, "NO", null]}'
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {inline(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(inline, value)) + "]"
    return scalar(value)


def scalar(value: Any) -> str:
    """A scalar as YAML, in quotes where it could be read as something else; `${` stays what it is."""
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
            return value
        return _UNPRINTED.sub(_escape, json.dumps(value.replace("${", "$${"), ensure_ascii=False))
    return "null" if value is None else text(value) or json.dumps(value)


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def shown(said: str) -> str:
    """On one line, without what a terminal would obey."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in said)
