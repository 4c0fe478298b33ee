"""`streamwatch schema`: what others may rely on, as JSON Schema 2020-12."""

from __future__ import annotations

import json
from typing import Any, Literal, get_args

import msgspec

from streamwatch import configfile
from streamwatch.alerts import Alert, State
from streamwatch.commands import Command
from streamwatch.compose import SCHEMA_ID
from streamwatch.policy import Reason

DIALECT = "https://json-schema.org/draft/2020-12/schema"


# Why nothing is said: reasons of decisions that make no alert.
UNSAID = ("other direction", "small", "known")


def schema(of: Literal["alert", "event", "label", "command", "config"]) -> str:
    made: dict[str, Any]
    match of:
        case "alert":
            made = {"$id": SCHEMA_ID, **msgspec.json.schema(Alert)}
            said = made["$defs"]["Alert"]["properties"]
            said["type"] = {"enum": [f"streamwatch.alert.{state}" for state in get_args(State)]}
            said["time"] = {"type": "string", "format": "date-time"}
            made["$defs"]["AlertData"]["properties"]["reason"] |= {
                "description": "why it is said; others may come",
                "examples": [reason for reason in get_args(Reason) if reason not in UNSAID],
            }
        case "event":
            made = event()
        case "label":
            made = label()
        case "command":
            made = command()
        case "config":
            made = dict(configfile.schema())
    made.pop("$schema", None)
    _on_one_line(made)
    return json.dumps({"$schema": DIALECT, **made}, indent=2, ensure_ascii=False)


def _on_one_line(part: Any) -> None:
    """Descriptions that are docstrings of ours, without the ends of their lines."""
    for name, value in part.items() if isinstance(part, dict) else enumerate(part):
        if name == "description" and isinstance(value, str):
            part[name] = " ".join(value.split())
        elif isinstance(value, dict | list):
            _on_one_line(value)


def event() -> dict[str, Any]:
    """A prediction event under the names that an input's `read` has by default.

    What identifies the event must be right, else it is a dead letter. The values may be anything: one that cannot
    be used is counted, and the event counts; so the schema says what is of use, and senders are to keep to it.
    """
    number: dict[str, Any] = {"type": ["number", "boolean", "null"]}
    label: dict[str, Any] = {"type": ["string", "number", "boolean", "null"]}
    return {
        "$id": "urn:streamwatch:event:1",
        "title": "Prediction event",
        "description": "Other fields are allowed and not read; the config's `read` gives other names.",
        "type": "object",
        "required": ["model"],
        "properties": {
            "event_id": {"type": ["string", "integer", "null"], "description": "names the event in alerts"},
            "model": {"type": "string", "minLength": 1},
            "model_version": {"type": ["string", "integer", "null"]},
            "timestamp": {
                "type": ["string", "number", "null"],
                "description": "RFC 3339, or epoch seconds or milliseconds; absent: the record's own time",
            },
            "prediction": {**label, "description": "what the model said"},
            "score": {**number, "description": "for a binary task: the probability of the positive class"},
            "features": {
                "type": ["object", "null"],
                "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
            },
            "label": {
                **label,
                "description": "the truth, where it is known already; one that comes later is a label event",
            },
            "latency_ms": {**number, "description": "what the prediction took"},
        },
        "examples": [
            {
                "event_id": "a1",
                "model": "fraud",
                "model_version": "3",
                "timestamp": "2026-11-24T10:00:00Z",
                "prediction": 1,
                "score": 0.93,
                "features": {"amount": 12.5, "country": "DE"},
                "label": None,
                "latency_ms": 8.1,
            }
        ],
    }


def label() -> dict[str, Any]:
    """A label that comes later than its prediction, under the names that an input of labels has by default."""
    return {
        "$id": "urn:streamwatch:label:1",
        "title": "Label event",
        "description": "The truth about a prediction, from an input with `kind: labels`. It may come again, corrected.",
        "type": "object",
        "required": ["event_id", "label"],
        "properties": {
            "event_id": {"type": ["string", "integer"], "description": "that of the prediction"},
            "label": {
                "type": ["string", "number", "boolean", "null"],
                "description": "the truth; null: not known yet, and the event is ignored",
            },
            "model": {
                "type": ["string", "null"],
                "description": "where an id is that of predictions of several models; absent: of all of them",
            },
        },
        "examples": [{"event_id": "a1", "label": 0}, {"event_id": "a1", "label": 1, "model": "fraud"}],
    }


def command() -> dict[str, Any]:
    """What `silence`, `pause`, `accept` and `verdict` write; other programs may write it too."""
    made = {
        "$id": "urn:streamwatch:command:1",
        "title": "Command",
        "description": "A record on the control topic of a service: JSON, to every partition.",
        **msgspec.json.schema(Command),
        "examples": [
            {
                "command": "silence",
                "id": "s-1a2b3c",
                "author": "ana",
                "reason": "backfill",
                "match": ["monitor=error-rate", "segment.country=DE"],
                "from": "2026-11-27T08:00:00Z",
                "to": "2026-11-27T10:00:00Z",
            },
            {"command": "end", "id": "e-4d5e6f", "author": "ana", "of": "s-1a2b3c"},
            {"command": "accept", "id": "a-7a8b9c", "author": "ana", "match": ["model=fraud"]},
        ],
    }
    for name in ("Silence", "Pause"):
        for moment in ("from", "to"):
            made["$defs"][name]["properties"][moment]["format"] = "date-time"
    return made
