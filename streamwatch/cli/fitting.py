"""Whether a command can be about anything that a config watches: a misspelt name is found before it is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from streamwatch.conditions import ALL_MODELS, MONITOR
from streamwatch.config import Config, Monitor
from streamwatch.errors import UsageError
from streamwatch.matchers import Matcher, matchers

# What alerts may say that the config does not: only events tell. None: any text.
Subject = Mapping[str, str | None]


def checked(texts: Sequence[str], more: tuple[str, ...] = ()) -> tuple[Matcher, ...]:
    """UsageError for what is no matcher."""
    try:
        return matchers(texts, more)
    except ValueError as error:
        raise UsageError(f"--match: {error}") from None


def refuse_unfit(config: Config, texts: Sequence[str], wanted: Sequence[Matcher]) -> None:
    """UsageError if the matchers fit nothing that this config can watch."""
    subjects = list(_subjects(config))
    if any(all(_may_fit(one, subject) for one in wanted) for subject in subjects):
        return
    alone = [
        (text, one)
        for text, one in zip(texts, wanted, strict=True)
        if not any(_may_fit(one, subject) for subject in subjects)
    ]
    if not alone:
        why = f"no monitor of the config fits {', '.join(texts)} together"
    else:
        why = "; ".join(_nothing_fits(text, one, subjects) for text, one in alone)
    raise UsageError(f"nothing was written: {why}. To write it all the same: --force")


def _may_fit(one: Matcher, subject: Subject) -> bool:
    value = subject.get(one.name, "")
    return value is None or one.fits({one.name: value})


def _nothing_fits(text: str, one: Matcher, subjects: Sequence[Subject]) -> str:
    known = sorted({value for subject in subjects if (value := subject.get(one.name, ""))})
    if not known:
        return f"no monitor of the config has {one.name}, which {text} asks for"
    close = get_close_matches("*".join(one.parts), known, n=1)
    hint = f"did you mean {one.name}={close[0]}?" if close else f"there is {', '.join(known[:10])}"
    return f"nothing in the config fits {text} ({hint})"


def _subjects(config: Config) -> Iterator[Subject]:
    """What a watcher of each monitor, and what the service itself says, may be, as matchers look at it."""
    watched = {model for monitor in config.monitors for model in _models(config, monitor)}
    for model in sorted(watched | {ALL_MODELS}, key=str):
        any_text = dict.fromkeys(("signal", "incident", "key"))
        yield {
            "model": model,
            "version": "",
            "monitor": MONITOR,
            "severity": "warning",
            "owner": config.sight.owner or "",
            **{f"tags.{name}": value for name, value in config.sight.tags.items()},
            **any_text,
        }
    for monitor in config.monitors:
        policy = monitor.policy
        for model in _models(config, monitor):
            for slicing in ((), *monitor.by):
                yield {
                    "model": model,
                    "version": None if monitor.per == "version" else "",
                    "monitor": monitor.name,
                    "signal": str(monitor.signal) if monitor.of is None else None,
                    "severity": policy.severity,
                    "owner": policy.owner or "",
                    "incident": None,
                    "key": None,
                    **{f"segment.{name}": None for name in slicing},
                    **{f"tags.{name}": value for name, value in policy.tags.items()},
                }


def _models(config: Config, monitor: Monitor) -> tuple[str | None, ...]:
    """Where the config names all models that are meant, those; events may bring others, but rarely does one who names
    another mean them."""
    if monitor.models is not None:
        return monitor.models
    return (None,) if not config.models or "*" in config.models else tuple(config.models)
