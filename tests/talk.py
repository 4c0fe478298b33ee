"""What people say to a running service: single commands, and a seeded talk of all kinds of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from streamwatch.alerts import rfc3339
from streamwatch.commands import Accept, Command, End, Pause, Silence, Verdict
from tests.build import START_S

Match = tuple[str, ...]

# What of a talk's commands is of which kind; several are about the same few ids, so that they replace and end others.
KINDS = {"silence": 6, "pause": 1, "end": 3, "accept": 2, "verdict": 1}
NAMES = 8
FROM_S = (-400.0, 0.0, 0.0, 300.0)
FOR_S = (1.0, 60.0, 900.0, 8000.0)


def _timed(name: str, from_s: float, for_s: float, match: Match, more: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": name,
        "author": "ana",
        "match": match or ("model=fraud",),
        "from_": rfc3339(START_S + from_s),
        "to": rfc3339(START_S + from_s + for_s),
        **more,
    }


def silence(name: str = "s1", from_s: float = 0, for_s: float = 3600, *match: str, **more: Any) -> Silence:
    """Times are those after START_S."""
    return Silence(**_timed(name, from_s, for_s, match, more))


def pause(name: str = "p1", from_s: float = 0, for_s: float = 3600, *match: str, **more: Any) -> Pause:
    """Times are those after START_S."""
    return Pause(**_timed(name, from_s, for_s, match, more))


def accept(*match: str, name: str = "a1") -> Accept:
    return Accept(id=name, author="ana", match=match or ("model=fraud",))


def end(of: str = "s1", name: str = "x1") -> End:
    return End(id=name, author="bo", of=of)


def spoken(
    draw: random.Random,
    number: int,
    at_s: float,
    about: Sequence[Match],
    accepted: Sequence[Match] = (),
    for_s: Sequence[float] = FOR_S,
) -> Command:
    """A command at so many seconds after START_S. `about`: what it may be about; `accepted`: what an accept, too."""
    kind = draw.choices(list(KINDS), list(KINDS.values()))[0]
    match, name = draw.choice(about), f"c{draw.randrange(NAMES)}"
    from_s, length_s = at_s + draw.choice(FROM_S), draw.choice(for_s)
    match kind:
        case "silence":
            return silence(name, from_s, length_s, *match)
        case "pause":
            return pause(name, from_s, length_s, *match)
        case "end":
            return end(name, f"e{number}")
        case "accept":
            return accept(*draw.choice([*about, *accepted]), name=f"a{number}")
    verdict: Any = draw.choice(["true", "false"])
    return Verdict(id=f"v{number}", author="bo", incident=f"i{number % 7}", verdict=verdict, monitor="error")
