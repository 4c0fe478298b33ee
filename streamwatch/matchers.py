"""Matchers: what a silence, a pause, a window or an accept is about, as people write it.

    monitor=error-rate      segment.country=DE      model!=fraud      monitor=inputs*

A name, `=` or `!=`, and a value in which `*` stands for any text. Names are those of the alert: model, version,
monitor, signal, severity, owner, `segment.<name>` and `tags.<name>`; an `accept` also knows `incident` and `key`. What
an alert does not have is the empty text, so `version=` is "all versions together". All matchers of a list must fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, NamedTuple

from pydantic import AfterValidator

NAMES = ("model", "version", "monitor", "signal", "severity", "owner")
OPEN_ALERT = ("incident", "key")
NESTED = ("segment.", "tags.")
LONGEST = 1_200


class Matcher(NamedTuple):
    name: str
    equal: bool
    parts: tuple[str, ...]  # of the value, between its stars

    def fits(self, subject: Mapping[str, str]) -> bool:
        return _fits(self.parts, subject.get(self.name, "")) is self.equal

    def __str__(self) -> str:
        return f"{self.name}{'=' if self.equal else '!='}{'*'.join(self.parts)}"


def matcher(text: str, more: tuple[str, ...] = ()) -> Matcher:
    """ValueError if it is none. `more`: names that are known here besides.

    >>> matcher("monitor=inputs*").fits({"monitor": "inputs-2"}), matcher("model!=a").fits({"model": "a"})
    (True, False)
    """
    name, equals, value = text.partition("=")
    equal = not name.endswith("!")
    name = name.removesuffix("!").strip()
    if not equals or not name:
        raise ValueError(f"expected name=value or name!=value, like monitor=error-rate, got {text[:80]!r}")
    nested = name.startswith(NESTED) and name not in NESTED
    if name not in (*NAMES, *more) and not nested:
        known = ", ".join((*NAMES, *more, "segment.<name>", "tags.<name>"))
        raise ValueError(f"expected one of {known} before the {'=' if equal else '!='}, got {name[:80]!r}")
    if len(text) > LONGEST:
        raise ValueError(f"expected at most {LONGEST} characters, got {len(text)}")
    return Matcher(name, equal, tuple(value.strip().split("*")))


def matchers(texts: Iterable[str], more: tuple[str, ...] = ()) -> tuple[Matcher, ...]:
    return tuple(matcher(text, more) for text in texts)


def parted(wanted: Iterable[Matcher]) -> tuple[list[Matcher], list[Matcher]]:
    """Those about a stream key, and those about a monitor."""
    of_stream: list[Matcher] = []
    of_monitor: list[Matcher] = []
    for one in wanted:
        in_key = one.name in ("model", "version") or one.name.startswith("segment.")
        (of_stream if in_key else of_monitor).append(one)
    return of_stream, of_monitor


def fit(wanted: Iterable[Matcher], subject: Mapping[str, str]) -> bool:
    """Whether all fit; none at all fit everything."""
    return all(one.fits(subject) for one in wanted)


def _fits(parts: tuple[str, ...], text: str) -> bool:
    """In one pass over the text, whatever the number of stars: the middle parts one after the other, as early as
    each comes."""
    first, *middle = parts
    if not middle:
        return text == first
    last = middle.pop()
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, stop = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, at, stop)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _right(text: str) -> str:
    matcher(text)
    return text


MatcherText = Annotated[str, AfterValidator(_right)]
