"""Everything that can be found in a sample, in one value: what it shows, what its fields probably are, the models, the
monitors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamwatch.errors import OperatorError
from streamwatch.offline.look import Look, look
from streamwatch.offline.models import Model, models
from streamwatch.offline.proposal import Proposal, decoded, propose
from streamwatch.offline.watching import Suggestion, suggest
from streamwatch.transports.sample import Sample, is_csv, sample_file


@dataclass(frozen=True, slots=True)
class Findings:
    """`events` of the sample's records are read by the proposed mapping; `dead` are not, by the reasons' codes.

    key_is   which field the keys repeat: id, model, or None
    span_s   the earliest and the latest time of the events; None without events
    """

    look: Look
    proposal: Proposal
    models: Sequence[Model]
    suggestions: Sequence[Suggestion]
    events: int
    dead: Mapping[str, int]
    key_is: str | None
    span_s: tuple[float, float] | None

    def roles(self, path: str) -> list[str]:
        """What is read from this field."""
        return [
            name for name, guess in self.proposal.read.items() if guess.field and guess.field.path == path
        ]

    @property
    def scattered(self) -> list[Model]:
        """Models that lie in more than one partition."""
        return [model for model in self.models if len(model.partitions) > 1]


def find(sample: Sample) -> Findings:
    """OperatorError if no record is a JSON object: then nothing can be said of fields."""
    seen = look(sample)
    proposal = propose(seen)
    read = decoded(seen, proposal)
    found = models(seen, read)
    dead = Counter(letter.code for letter in read.dead_letters)
    keys = [sample.records.key[row] for row in read.events.record.tolist()]
    return Findings(
        seen,
        proposal,
        found,
        suggest(seen, proposal, found),
        len(read.events),
        dict(dead.most_common()),
        _key_is(keys, {"id": read.events.id, "model": read.events.model}),
        (float(read.events.time_s.min()), float(read.events.time_s.max())) if len(read.events) else None,
    )


def find_in_file(path: Path, topic: str | None = None) -> Findings:
    """As `find`. A CSV is read twice: only the first reading shows which columns are names, where 1.10 is not 1.1."""
    found = find(sample_file(path, topic))
    if not is_csv(path):
        return found
    named = {found.proposal.read[name].place for name in ("id", "model", "version") if isinstance(
        found.proposal.read[name].place, str)}  # fmt: skip
    return find(sample_file(path, topic, as_text=named)) if named else found


def nothing_to_read(found: Look) -> OperatorError | None:
    """Why there is nothing to say of fields; None if there is."""
    if found.objects:
        return None
    codes = ", ".join(f"{count:,} {code}" for code, count in found.unreadable.items())
    what = f"{found.sample.where}: of {found.records:,} records none is a JSON object"
    if found.tombstones == found.records:
        return OperatorError(f"{what}: all are tombstones (without a value)")
    if found.registry > found.records / 2:
        return OperatorError(
            f"{what}: they begin as Avro or Protobuf of a schema registry, and this version reads JSON. To do: give a "
            "topic with JSON"
        )
    return OperatorError(f"{what} ({codes}). To do: give a topic or file whose records are JSON objects")


def _key_is(keys: Sequence[bytes | None], columns: Mapping[str, Sequence[Any]]) -> str | None:
    for name, column in columns.items():
        same = sum(
            key is not None and value is not None and key == value.encode("utf-8", "replace")
            for key, value in zip(keys, column, strict=True)
        )
        if same and same >= 0.95 * len(keys):
            return name
    return None
