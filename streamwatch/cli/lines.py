"""Texts that came in events or from people, on a line of a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """One line, and no codes to the terminal.

    >>> printable("a" + chr(10) + "b" + chr(27) + "[2J")
    'a\\\\nb\\\\x1b[2J'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
