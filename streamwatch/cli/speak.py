"""`streamwatch silence`, `pause`, `accept`, `verdict`: one command each, written to the control topic of a service.

What cannot be meant (no such monitor, no such alert, a silence for ever) is refused before it is written.
"""

from __future__ import annotations

import getpass
import math
import os
import secrets
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import typer

from streamwatch import configfile, logs
from streamwatch.alerts import rfc3339
from streamwatch.cli import lookup
from streamwatch.cli.behind import behind
from streamwatch.cli.fitting import checked, refuse_unfit
from streamwatch.cli.holding import stands
from streamwatch.cli.lines import printable, short
from streamwatch.commands import Accept, Command, End, Pause, Silence, Verdict, command
from streamwatch.conditions import MONITOR
from streamwatch.config import Config
from streamwatch.errors import SenderError, UsageError
from streamwatch.matchers import OPEN_ALERT
from streamwatch.transports.kafka.speak import speak
from streamwatch.units import duration, seconds
from streamwatch.windows import LATEST_S, moment_s

LONGEST_S = 30 * 86_400.0
# Alerts are silenced by their own time, and a stream may be behind: a silence that begins "now" is about them all the
# same. (Not so a pause: values from before now are good.) It never changes what was written before it was read.
BEHIND_S = 86_400.0
KINDS: dict[str, type[Silence] | type[Pause]] = {"silence": Silence, "pause": Pause}


@dataclass(frozen=True, slots=True)
class When:
    """The options --for, --from and --to, as given."""

    for_: str | None = None
    from_: str | None = None
    to: str | None = None


def hold(
    kind: Literal["silence", "pause"],
    paths: Sequence[Path],
    match: Sequence[str],
    when: When,
    reason: str | None,
    author: str | None,
    force: bool,
) -> int:
    """A silence or a pause begins."""
    config = _config(paths)
    if not reason:
        raise UsageError(f"--reason: expected why, for whoever meets the {kind} later")
    fits = _matched(config, match, force)
    now_s = time.time()
    from_, to = span(when, now_s, kind)
    spoken = KINDS[kind](
        id=_id(kind), author=_author(author), reason=reason, match=tuple(match), from_=from_, to=to
    )
    _write(config, spoken)
    what = "silences alerts of" if kind == "silence" else "pauses detectors of"
    begins = f"from {from_} " if when.from_ else ""
    typer.echo(
        f"{spoken.id} {what} {fits} {begins}until {to} ({spoken.author}: {printable(reason)}); "
        f"end it with: streamwatch {kind} {shlex.join(map(str, paths))} --end {spoken.id}"
    )
    if (late := behind(config, kind, moment_s(from_), now_s)) is not None:
        typer.echo(f"warning: {late}", err=True)
    return 0


def end(paths: Sequence[Path], of: str, reason: str | None, author: str | None, force: bool) -> int:
    """A silence or a pause ends before its time."""
    config = _config(paths)
    told = "" if force else f", {stands(config, of)}"
    spoken = End(id=_id("end"), author=_author(author), reason=reason or "", of=of)
    _write(config, spoken)
    typer.echo(f"{spoken.id} ends {of}{told}")
    return 0


def accept(
    paths: Sequence[Path],
    match: Sequence[str],
    beginning: str | None,
    reason: str | None,
    author: str | None,
    force: bool,
) -> int:
    """What stands is the new normal."""
    config = _config(paths)
    if beginning is None:
        fits = _matched(config, match, force, OPEN_ALERT)
    else:
        target = lookup.find(config, beginning, lookup.alert)
        if not force:
            _refuse_closed(target)
        match = (f"{target.kind}={target.value}",)
        fits = f"the {target.kind} {short(target.value)} ({printable(target.latest.data.summary)})"
    spoken = Accept(id=_id("accept"), author=_author(author), reason=reason or "", match=tuple(match))
    _write(config, spoken)
    typer.echo(
        f"{spoken.id} accepts the level of {fits} as normal: its open alerts end, and its detectors begin anew "
        "with the values that follow"
    )
    return 0


def verdict(
    paths: Sequence[Path],
    beginning: str,
    said: Literal["true", "false"],
    reason: str | None,
    author: str | None,
) -> int:
    """What an incident was."""
    config = _config(paths)
    target = lookup.find(config, beginning, lookup.incident)
    data = target.latest.data
    spoken = Verdict(
        id=_id("verdict"),
        author=_author(author),
        reason=reason or "",
        incident=target.value,
        verdict=said,
        monitor=data.monitor,
        model=data.model,
    )
    _write(config, spoken)
    was = "true" if said == "true" else "a false alarm"
    typer.echo(f"{spoken.id} calls the incident {short(target.value)} {was} ({printable(data.summary)})")
    return 0


def span(when: When, now_s: float, kind: Literal["silence", "pause"]) -> tuple[str, str]:
    """`from` and `to` of a silence or pause. UsageError if it has no end, or one that cannot be meant."""
    if (when.for_ is None) is (when.to is None):
        raise UsageError("expected either --for (like --for 2h) or --to (like --to 2026-11-27T08:00:00Z)")
    now_s = math.floor(now_s)
    from_s = now_s if when.from_ is None else _read("--from", moment_s, when.from_)
    to_s = (
        from_s + _read("--for", seconds, when.for_) if when.to is None else _read("--to", moment_s, when.to)
    )
    if to_s > LATEST_S:
        raise UsageError("expected an end before the year 9999")
    if to_s <= max(from_s, now_s):
        first = "now" if from_s <= now_s else when.from_
        raise UsageError(f"expected an end after {first}, got {rfc3339(to_s)}: it would end before it begins")
    if to_s - from_s > LONGEST_S:
        raise UsageError(
            f"a {kind} lasts at most {duration(LONGEST_S)}, got {duration(round(to_s - from_s))}: a monitor that is "
            "silent for longer is forgotten. What is to be so for good belongs into the config (windows), or the "
            "monitor out of it"
        )
    if kind == "silence" and when.from_ is None:
        from_s -= BEHIND_S
    return rfc3339(from_s), rfc3339(to_s)


def _read(option: str, read: Callable[[str], float], given: str | None) -> float:
    try:
        return read(given or "")
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def _config(paths: Sequence[Path]) -> Config:
    config = configfile.load(paths, os.environ)
    logs.configure(config.service, "auto", "warning")
    return config


def _matched(config: Config, match: Sequence[str], force: bool, more: tuple[str, ...] = ()) -> str:
    if not match:
        raise UsageError(
            "of what? Expected --monitor, --model or --match (like --match segment.country=DE); of everything: "
            "--match 'monitor=*'"
        )
    wanted = checked(match, more)
    if not force:
        refuse_unfit(config, match, wanted)
    return printable(", ".join(match))


def _id(kind: str) -> str:
    """Short, for it is typed; of those in force at a time no two are the same."""
    return f"{kind[0]}-{secrets.token_hex(3)}"


def _author(given: str | None) -> str:
    if given:
        return given
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user need not have a name
        raise UsageError("--author: who speaks? The login has no name here") from None


def _write(config: Config, spoken: Command) -> None:
    message = spoken.message()
    try:
        command(message.value or b"")  # as the service will read it
    except SenderError as error:
        raise UsageError(f"nothing was written: {error}") from None
    speak(config.kafka, config.control_topic, message)


def _refuse_closed(target: lookup.Target) -> None:
    latest = target.latest
    state = latest.type.rpartition(".")[2]
    if state == "blind" and latest.data.monitor != MONITOR:
        raise UsageError(
            f"nothing was written: {short(target.value)} is blind: there is no level to accept. Its values "
            "are to be made usable; until then it can be silenced. To write it all the same: --force"
        )
    if not latest.open:
        raise UsageError(
            f"nothing was written: {short(target.value)} is not open any more, it {state} at {latest.time}. "
            "To write it all the same: --force"
        )
