"""Texts that came in events or from people, on a line of a terminal."""

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


def draws(stream: TextIO) -> bool:
    """Whether it can show dots and lines."""
    try:
        "⣀┄┤".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
