"""The config's field mapping, compiled to a decoder that reads only what the monitors need: bytes -> Events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from streamwatch.events import Decoded, Needs
from streamwatch.records import Batch


class Read(BaseModel):
    """Where each field of an event stands in a record. Stub."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Input(BaseModel):
    """Topics of one kind with the mapping of their fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topics: tuple[str, ...] = Field(min_length=1)
    kind: Literal["predictions"] = "predictions"
    read: Read = Field(default_factory=Read)


class Decoder:
    """Reads batches of the given inputs. `ahead_s`: how far an event's time may be past its record's time."""

    def __init__(
        self,
        inputs: Sequence[Input],
        needs: Needs,
        ahead_s: float = 300.0,
        payload: Literal["none", "hash", "head"] = "none",
    ) -> None:
        raise NotImplementedError

    def decode(self, batch: Batch) -> Decoded:
        raise NotImplementedError
