"""Findings as programs read them: plain data for `--json`, without values that could be a customer's."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from streamwatch.offline.described import doubts
from streamwatch.offline.fieldprofile import QUANTILES, Field
from streamwatch.offline.findings import Findings


def as_data(found: Findings, now_s: float) -> dict[str, Any]:
    """For `--json`. Times are seconds since the epoch."""
    look, sample = found.look, found.look.sample
    return {
        "topic": sample.topic,
        "file": None if sample.file is None else str(sample.file),
        "sampled": {"records": look.records, "which": sample.taken, "at_s": now_s},
        "partitions": [
            {**asdict(part), "records_per_s": look.rates[part.number]} for part in sample.partitions
        ],
        "records_per_s": look.rate,
        "first_s": look.first_s,
        "last_s": look.last_s,
        "records": {
            "json_objects": look.objects,
            "tombstones": look.tombstones,
            "unreadable": dict(look.unreadable),
        },
        "keys": {
            "null": look.keys.null,
            "binary": look.keys.binary,
            "different": look.keys.field.distinct,
            "repeat": found.key_is,
            "each_in_one_partition": look.keys.one_partition,
        },
        "headers": [_field_data(field, name) for name, field in look.headers.items()],
        "fields": [
            {**_field_data(field, path), "probably": found.roles(path)} for path, field in look.fields.items()
        ],
        "read": {name: guess.place for name, guess in found.proposal.read.items()},
        "events": found.events,
        "events_first_s": found.span_s and found.span_s[0],
        "events_last_s": found.span_s and found.span_s[1],
        "dead_letters": dict(found.dead),
        "models": [
            {
                "model": model.name,
                "events": model.events,
                "versions": [{"version": v, "events": n} for v, n in model.versions.items()],
                "partitions": sorted(model.partitions),
                "task": model.guessed.task,
                "positive": model.guessed.positive,
            }
            for model in found.models
        ],
        "doubts": doubts(found),
    }  # fmt: skip


def _field_data(field: Field, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "present": field.present,
        "missing": field.missing,
        "types": dict(field.types),
        "different": field.distinct,
        "quantiles": None if field.quantiles is None or field.identifying else dict(
            zip(map(str, QUANTILES), field.quantiles, strict=True)),
        "common": dict(field.common),
        "time": field.time,
    }  # fmt: skip
