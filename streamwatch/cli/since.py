"""Which part of its topics a command is to read: `--since`, `--until`, `--topic` as people write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from streamwatch.alerts import rfc3339
from streamwatch.config import Config
from streamwatch.errors import UsageError
from streamwatch.transports.kafka.span import Span
from streamwatch.units import seconds
from streamwatch.windows import moment_s


def span(since: str | None, until: str | None, now_s: float) -> Span:
    """Of a replay: from the beginning if nothing else is said, up to what is there now. UsageError.

    >>> span("24h", None, 1e9), span(None, "2001-09-09T01:46:40Z", 2e9)
    (Span(since=999913600.0, until='now'), Span(since='earliest', until=1000000000.0))
    """
    since_s: float | Literal["earliest"] = "earliest" if since is None else ago(since, "--since", now_s)
    until_s: float | Literal["now"] = "now" if until is None else ago(until, "--until", now_s)
    first_s = 0.0 if since_s == "earliest" else since_s
    last_s = now_s if until_s == "now" else until_s
    if first_s >= last_s:
        raise UsageError(
            f"--since {since or rfc3339(first_s)} is not before --until {until or 'now'}: there is nothing between"
        )
    return Span(since_s, until_s)


def ago(given: str, option: str, now_s: float) -> float:
    """A duration before now, or a moment, in seconds since the epoch. UsageError.

    >>> ago("10m", "--since", 1e9), ago("2026-11-27T08:00:00Z", "--since", 1e9)
    (999999400.0, 1795766400.0)
    """
    read: Callable[[str], float] = (
        moment_s if "-" in given or ":" in given else lambda text: now_s - seconds(text)
    )
    try:
        return max(0.0, read(given.strip()))
    except ValueError as error:
        raise UsageError(
            f"{option}: {error}. Expected how long ago (10m, 24h, 7d), or a moment (2026-11-27T08:00:00Z)"
        ) from None


def topics(config: Config, asked: Sequence[str]) -> tuple[str, ...]:
    """The config's input topics, or those asked for. UsageError if one is none of them."""
    for topic in asked:
        if topic not in config.input_topics:
            raise UsageError(
                f"--topic {topic}: the config reads {', '.join(config.input_topics)}. To do: name one of these, or put "
                "the topic into the config's inputs, with the mapping of its fields"
            )
    return tuple(dict.fromkeys(asked)) or config.input_topics
