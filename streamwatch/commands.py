"""Commands: records on the control topic by which people speak to a running service.

    silence   alerts that fit are marked as silenced, from a moment to a moment
    pause     detectors of what fits do not read, from a moment to a moment
    end       a silence or a pause ends before its time
    accept    this level is the new normal: what is open ends, and its detector begins anew
    verdict   an incident was true, or a false alarm

They are JSON objects, read in the order of the task as all records are: so they act exactly once, at the same record
live and in a replay. Each has an `id`, an `author` and a `reason`; nothing is silent for ever, so a silence and a
pause have an end.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from streamwatch.errors import SenderError
from streamwatch.matchers import OPEN_ALERT, matchers
from streamwatch.records import Header, Message
from streamwatch.windows import Do, InForce, Once, moment_s

LARGEST = 64 * 1024

Id = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,99}$")]
Author = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=500)]
Matchers = Annotated[tuple[str, ...], Meta(min_length=1, max_length=64)]


class _Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="command"):
    id: Id
    author: Author
    reason: Text = ""

    @property
    def kind(self) -> str:
        return str(self.__struct_config__.tag)

    def message(self) -> Message:
        headers: tuple[Header, ...] = (("content-type", b"application/json; charset=UTF-8"),)
        return Message(self.id.encode(), msgspec.json.encode(self), headers)


class _Timed(_Command, frozen=True, kw_only=True):
    match: Matchers
    from_: str = msgspec.field(name="from")
    to: str

    def _in_force(self, do: Do) -> InForce:
        times = Once(moment_s(self.from_), moment_s(self.to))
        return InForce(self.id, do, matchers(self.match), times, self.reason or None, self.author)


class Silence(_Timed, frozen=True, kw_only=True, tag="silence"):
    """Alerts of what fits are written all the same, marked with `silenced`. Another one with its id replaces it."""

    @property
    def in_force(self) -> InForce:
        return self._in_force("mute")


class Pause(_Timed, frozen=True, kw_only=True, tag="pause"):
    """Detectors of what fits read no values of events with times from a moment to a moment."""

    @property
    def in_force(self) -> InForce:
        return self._in_force("skip")


class End(_Command, frozen=True, kw_only=True, tag="end"):
    """The silence or pause with the id `of` ends now."""

    of: Id


class Accept(_Command, frozen=True, kw_only=True, tag="accept"):
    """Of what fits: open drifts end with the reason `accepted`, and detectors begin anew, with the values that follow.
    Besides the usual names, `incident=` and `key=` name open alerts."""

    match: Matchers


class Verdict(_Command, frozen=True, kw_only=True, tag="verdict"):
    """What an incident was: `true` (something had changed) or `false` (a false alarm)."""

    incident: Id
    verdict: Literal["true", "false"]
    monitor: str = ""
    model: str = ""


Command = Silence | Pause | End | Accept | Verdict

_DECODER = msgspec.json.Decoder(Command)


def command(value: bytes) -> Command:
    """The command in a record's value. SenderError says what is wrong with it."""
    if len(value) > LARGEST:
        raise SenderError("not a command", f"expected at most {LARGEST} bytes, got {len(value)}")
    try:
        found: Command = _DECODER.decode(value)
        match found:
            case Silence() | Pause():
                times = found.in_force.times
                assert isinstance(times, Once)
                if times.to_s <= times.from_s:
                    raise ValueError(f"`to` ({found.to}) is not after `from` ({found.from_})")
            case Accept():
                matchers(found.match, OPEN_ALERT)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise SenderError("not a command", str(error) or "nested too deep") from None
    return found
