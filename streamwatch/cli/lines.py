"""How things are written on a line of a terminal: texts that came in events or from people, ids, times, sizes."""

from __future__ import annotations

from typing import TextIO

SHORT = 8


def short(alert_id: str) -> str:
    """As much of an id, incident or key as tells it from others; `lookup` finds it by that.

    >>> short("7060bdae4738d1a7c7c0cfa2745e45b9")
    '7060bdae'
    """
    return alert_id[:SHORT]


def printable(text: str) -> str:
    """One line, and no codes to the terminal.

    >>> printable("a" + chr(10) + "b" + chr(27) + "[2J")
    'a\\\\nb\\\\x1b[2J'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def about(time_s: float) -> str:
    """In the largest unit of which there are two.

    >>> about(0.4), about(119.0), about(7_300.0), about(172_800.0)
    ('0s', '119s', '2h', '2d')
    """
    units = ((86_400, "d"), (3_600, "h"), (60, "m"))
    unit_s, unit = next(((unit_s, unit) for unit_s, unit in units if time_s >= 2 * unit_s), (1, "s"))
    return f"{time_s // unit_s:.0f}{unit}"


def number(value: float) -> str:
    """
    >>> number(1.653), number(210.4), number(127_008_000.0)
    ('1.7', '210', '127 million')
    """
    if value >= 1e6:
        return f"{value / 1e6:,.3g} million" if value < 1e9 else f"{value / 1e6:,.0f} million"
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def size(count: float) -> str:
    """
    >>> size(12_288), size(110_100_480), size(25_146_000_000)
    ('12 KiB', '105 MiB', '23 GiB')
    """
    for unit, text in ((2**30, "GiB"), (2**20, "MiB")):
        if count >= unit:
            return f"{count / unit:,.{0 if count >= 10 * unit else 1}f} {text}"
    return f"{count / 2**10:,.0f} KiB"


def draws(stream: TextIO) -> bool:
    """Whether it can show dots and lines."""
    try:
        "⣀┄┤".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
