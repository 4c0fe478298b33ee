r"""Where each field of an event stands in a record: the `read` block of an input.

A field is a dotted path (`out.score`), or a mapping with one of `path`, `const`, `header`, `key`,
`record_time`, `topic`, and with `map` and `pick` as options; null means that the records do not have it. A dot
that belongs to a name is written `\.`, a backslash `\\`. `features: .` says that the record itself holds the
features (flat records).
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from streamwatch.categories import text
from streamwatch.times import ACCEPTED, epoch_s

Scalar = str | int | float | bool
Path = tuple[str, ...]

VALUES: Final = ("prediction", "score", "label", "latency_ms")  # the fields that signals read

_KINDS: Final = ("path", "const", "header", "key", "record_time", "topic")
_FORMS: Final = (
    "a dotted path such as out.score, {path: ...}, {const: ...}, {header: NAME}, {key: true}, "
    "{record_time: true}, {topic: true}, or null"
)
_SEGMENT = re.compile(r"(?:[^.\\]|\\[.\\])+")


def split(path: str) -> Path:
    r"""The names along a dotted path; "." is the record itself.

    >>> split("out.score"), split(r"a\.b.c"), split(".")
    (('out', 'score'), ('a.b', 'c'), ())
    """
    if path == ".":
        return ()
    names = _SEGMENT.findall(path)
    if ".".join(names) != path or not names:
        raise ValueError(
            rf"expected names joined by dots, such as out.score (a dot within a name is \.), got {path!r}"
        )
    return tuple(re.sub(r"\\(.)", r"\1", name) for name in names)


class Place(BaseModel):
    """Where one field stands. Exactly one of path, const, header, key, record_time, topic."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str | None = Field(default=None, min_length=1, description="dotted path in the record's JSON")
    const: Scalar | None = Field(default=None, description="the same value for every record")
    header: str | None = Field(
        default=None, min_length=1, description="a Kafka header; the last one of that name"
    )
    key: Literal[True] | None = Field(default=None, description="the record's key as text")
    record_time: Literal[True] | None = Field(
        default=None, description="the record's own timestamp (only for time)"
    )
    topic: Literal[True] | None = Field(default=None, description="the record's topic")
    map: dict[str, Scalar | None] | None = Field(
        default=None,
        min_length=1,
        description="what each value stands for (null = nothing); a value that is not in it is unusable. "
        'Numbers and booleans are matched by their JSON text: 1, 1.0 and "1" are one',
    )
    pick: int | Literal["max", "argmax"] | None = Field(
        default=None,
        description="of a list of numbers: the entry at an index, the largest, or the index of the largest",
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"path": value}
        if not isinstance(value, dict):
            raise ValueError(f"expected {_FORMS}; got {value!r}")  # noqa: TRY004 - pydantic wants ValueError
        found = [kind for kind in _KINDS if value.get(kind) is not None]
        if len(found) != 1 and not set(value) - set(cls.model_fields):
            got = " and ".join(found) if found else "none of them"
            raise ValueError(f"expected exactly one of {', '.join(_KINDS)}, got {got}")
        return value

    @field_validator("path")
    @classmethod
    def _path(cls, value: str | None) -> str | None:
        if value is not None:
            split(value)
        return value

    @field_validator("map", mode="before")
    @classmethod
    def _keys(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {text(key) or key: entry for key, entry in value.items()}

    @field_validator("pick", mode="before")
    @classmethod
    def _pick(cls, value: Any) -> Any:
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        if value is None or whole or value in ("max", "argmax"):
            return value
        raise ValueError(f"expected an index from 0, max or argmax, got {value!r}")

    @model_serializer
    def _dump(self) -> str | dict[str, Any]:
        """As short as it can be written."""
        given = {
            name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None
        }
        return self.path if self.path is not None and len(given) == 1 else given

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A string, or an object with exactly one of the kinds; null only where `map` holds it."""
        written = dict(handler.resolve_ref_schema(handler(core)))
        properties: dict[str, Any] = {}
        for name, entry in written.get("properties", {}).items():
            choices = [choice for choice in entry["anyOf"] if choice != {"type": "null"}]
            given = choices[0] if len(choices) == 1 else {"anyOf": choices}
            properties[name] = {**given, "description": entry["description"]}
        mapping = {
            "type": "object",
            "additionalProperties": False,
            "properties": properties,
            "oneOf": [{"required": [kind]} for kind in _KINDS],
        }
        path = {"type": "string", "minLength": 1, "description": "dotted path in the record's JSON"}
        return {"title": cls.__name__, "description": cls.__doc__, "anyOf": [path, mapping]}

    @property
    def where(self) -> str:
        """As a person would name it: the path, or `header ce_model`."""
        if self.path is not None:
            return self.path
        if self.header is not None:
            return f"header {self.header}"
        return next(kind for kind in _KINDS if getattr(self, kind) is not None).replace("_", " ")


class Read(BaseModel):
    """Where each field of an event stands in a record; the defaults are the names of the event contract.

    null: the records do not have the field. Without an id, alerts name no events; without a time, the record's
    own timestamp counts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Place | None = Field(
        default=Place(path="event_id"), description="identifies the event; joins late labels"
    )
    model: Place = Field(default=Place(path="model"), description="the model that made the prediction")
    version: Place | None = Field(default=Place(path="model_version"), description="the model's version")
    time: Place | None = Field(
        default=Place(path="timestamp"),
        description=f"{ACCEPTED}; where an event has none, its record's own timestamp counts",
    )
    prediction: Place | None = Field(
        default=Place(path="prediction"), description="what the model said: a class or a number"
    )
    score: Place | None = Field(
        default=Place(path="score"), description="the probability of the positive class"
    )
    features: Place | None = Field(
        default=Place(path="features"),
        description='the object that holds the features; "." = the record itself',
    )
    label: Place | None = Field(
        default=Place(path="label"), description="the ground truth, where the event has it"
    )
    latency_ms: Place | None = Field(
        default=Place(path="latency_ms"), description="how long the prediction took"
    )

    @field_validator("model", mode="before")
    @classmethod
    def _model(cls, value: Any) -> Any:
        if value is None:
            raise ValueError(
                "every event needs a model: say where it stands, or {const: NAME} if there is only one"
            )
        return value

    @field_validator("*")
    @classmethod
    def _suits(cls, place: Place | None, info: ValidationInfo) -> Place | None:
        """Which forms and options make sense for which field."""
        name = str(info.field_name)
        if place is None:
            return None
        if name == "features":
            if place.path is None or place.map is not None or place.pick is not None:
                raise ValueError(
                    "features are read from an object in the record: write its dotted path, or null"
                )
            return place
        if place.path == ".":
            raise ValueError(f"only features can be the record itself (.); {name} needs a name")
        if place.record_time and name != "time":
            raise ValueError(f"record_time is a time; {name} cannot be read from it")
        if place.pick is not None and name not in VALUES:
            raise ValueError(f"pick works for {', '.join(VALUES)}, not for {name}")
        if place.map is not None and name in ("id", "time"):
            raise ValueError(f"a map makes no sense for {name}")
        if place.const is not None:
            _const(name, place.const)
        return place


def _const(name: str, value: Scalar) -> None:
    if name == "time":
        epoch_s(value)
    elif name in ("id", "model", "version") and (isinstance(value, bool) or value == "" or value != value):
        raise ValueError(f"expected a text or a number as constant {name}, got {value!r}")


class Only(BaseModel):
    """Which records of the topics are meant: those where a field is one of these values. Others are ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: Place = Field(
        description="where it stands: a dotted path, {header: NAME}, {key: true} or {topic: true}"
    )
    is_: tuple[Scalar, ...] = Field(alias="is", min_length=1, description="one value, or a list of them")

    @field_validator("is_", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        return value if isinstance(value, list | tuple) else (value,)

    @field_validator("field")
    @classmethod
    def _varies(cls, place: Place) -> Place:
        if place.const is not None or place.record_time:
            raise ValueError(
                "expected a field that tells records apart: a path, a header, the key or the topic"
            )
        return place

    @property
    def texts(self) -> frozenset[str]:
        """The values as categories are compared: 1, 1.0 and "1" are the same."""
        return frozenset(found for value in self.is_ if (found := text(value)) is not None)


class Input(BaseModel):
    """Topics of one kind with the mapping of their fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topics: tuple[str, ...] = Field(min_length=1, description="the topics that hold these events")
    kind: Literal["predictions", "labels"] = Field(
        default="predictions",
        description="what the events are; of labels id, label and (if there) model are read",
    )
    only: Only | None = Field(default=None, description="which records of the topics; default: all")
    read: Read = Field(default_factory=Read, description="where each field of an event stands in a record")
