"""Which field is the time of an event: the sample decides, not the name alone.

A time that is in a unit that is not read, or after the record's own time (a local time without its zone, a clock that
is ahead), would make every record a dead letter: then the record's own time counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, Final

from streamwatch.decode import Decoder, Input, Read
from streamwatch.events import Needs
from streamwatch.offline import roles
from streamwatch.offline.fieldprofile import Field
from streamwatch.offline.look import Look
from streamwatch.offline.outputs import Guess

ACCEPTED: Final = 0.99  # of the records must have a time that can be read, for a field to be the time


def guess_time(look: Look, fields: Mapping[str, Field], own: Collection[str]) -> Guess:
    """The first candidate that the decoder reads. `own`: paths that other fields are read from."""
    named = [field for field in roles.ranked("time", fields.values()) if field.time and field.path not in own]
    dated = [f for f in fields.values() if f.time and f.time.startswith("RFC") and f not in named]
    doubts: list[str] = []
    candidates: list[tuple[Any, str, Field | None]] = [(f.path, str(f.time), f) for f in (*named, *dated)]
    candidates += [
        ({"header": name}, str(f.time), None) for name, f in roles.by_header("time", look.headers) if f.time
    ]
    good: list[tuple[Any, str, Field | None]] = []
    for place, unit, field in candidates:
        where = _where(place)
        if unit in ("us", "ns"):
            doubts.append(
                f"{where} is in {'micro' if unit == 'us' else 'nano'}seconds: only seconds and milliseconds are read"
            )
            continue
        wrong = _refused(look, place)
        if wrong > (1 - ACCEPTED) * look.objects:
            doubts.append(
                f"{where} is after the record's own time in {wrong / look.objects:.0%} of the records: a clock, or a "
                "local time without its zone? Such records would be dead letters"
            )
        else:
            good.append((place, unit, field))
    if good:
        place, unit, field = good[0]
        for other, _, _ in good[1:3]:
            doubts.append(f"{_where(other)} might also be the time")
        if unit == "RFC 3339 without zone":
            doubts.append("has no zone and is read as UTC: is it?")
        return Guess(
            place, {"s": "epoch seconds", "ms": "epoch milliseconds"}.get(unit, unit), tuple(doubts), field
        )
    if look.first_s is None:
        doubts.append("no field is a time, and a file has no record times: all events get this one. On a topic: "
                      "time: {record_time: true}")  # fmt: skip
        return Guess({"const": "2000-01-01T00:00:00Z"}, "a stand-in", tuple(doubts))
    return Guess({"record_time": True}, "the record's own time", tuple(doubts))


def _where(place: Any) -> str:
    return f"`{place}`" if isinstance(place, str) else f"the header {place['header']}"


def _refused(look: Look, place: Any) -> int:
    """How many records would be dead letters for their time."""
    nothing = dict.fromkeys(("id", "version", "prediction", "score", "label", "latency_ms", "features"))
    read = Read.model_validate({**nothing, "model": {"const": "any"}, "time": place})
    decoder = Decoder([Input(topics=(look.sample.topic,), read=read)], Needs())
    codes = Counter(letter.code for letter in decoder.decode(look.sample.records).dead_letters)
    return codes["time out of range"] + codes["field missing"] + codes["field wrong"]
