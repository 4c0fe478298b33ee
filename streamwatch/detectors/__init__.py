"""Detectors: the contract in `base`, River's detectors in `river`, and how a config names any of them.

A config says `adwin`, or `{adwin: {delta: 0.002}}`. `DETECTORS` lists the classes; a new one is tested by standing
there.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import (
    BeforeValidator,
    Discriminator,
    GetJsonSchemaHandler,
    PlainSerializer,
    Tag,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from streamwatch.detectors.base import DetectorConfig
from streamwatch.detectors.river import Adwin, Ddm, Eddm, Fhddm, HddmA, HddmW, Kswin, PageHinkley, River

DETECTORS: tuple[type[River], ...] = (Adwin, PageHinkley, Kswin, Ddm, Eddm, HddmA, HddmW, Fhddm)
_NAMES = [cls.name for cls in DETECTORS]


def _wrong(value: Any) -> str:
    """What is wrong with the form of a detector, or ""."""
    if isinstance(value, DetectorConfig):
        return ""
    if isinstance(value, Mapping) and len(value) == 1:
        value = next(iter(value))
    if not isinstance(value, str):
        return f"expected a detector: its name, or {{name: {{its settings}}}}, got {value!r}"
    if value in _NAMES:
        return ""
    plain = value.lower().replace("-", "_").replace(" ", "_")
    near = [name for name in _NAMES if name.replace("_", "") == plain.replace("_", "")]
    near = near or difflib.get_close_matches(plain, _NAMES, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"no detector is named {value!r}: {hint}there are {', '.join(_NAMES)}"


def _form(value: Any) -> Any:
    wrong = _wrong(value)
    if wrong:
        raise PydanticCustomError("detector", "{wrong}", {"wrong": wrong})
    return value


def _name(value: Any) -> str:
    if isinstance(value, DetectorConfig):
        return value.label
    return str(value if isinstance(value, str) else next(iter(value)))


def _settings(value: Any) -> Any:
    if isinstance(value, DetectorConfig):
        return value
    settings = {} if isinstance(value, str) else next(iter(value.values()))
    return {} if settings is None else settings


def _plain(detector: DetectorConfig) -> dict[str, Any]:
    return {detector.label: detector.model_dump(mode="json")}


class _Schema:
    """The JSON Schema of both forms."""

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        choices = {cls.name: handler(cls.__pydantic_core_schema__) for cls in DETECTORS}
        return {
            "anyOf": [
                {"type": "string", "enum": _NAMES},
                {
                    "type": "object",
                    "properties": choices,
                    "additionalProperties": False,
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            ]
        }


if TYPE_CHECKING:
    AnyDetector = DetectorConfig
else:  # made from the list, which no type checker can follow
    AnyDetector = Annotated[
        Union[tuple(Annotated[cls, BeforeValidator(_settings), Tag(cls.name)] for cls in DETECTORS)],  # noqa: UP007
        Discriminator(_name),
        BeforeValidator(_form),
        PlainSerializer(_plain),
        _Schema(),
    ]
