"""A status for people: columns that fit a terminal, or are never folded elsewhere. Times are UTC."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamwatch.cli.lines import about, printable, short
from streamwatch.cli.status import Late, Open, Status, Window
from streamwatch.config import Config
from streamwatch.times import epoch_s

STYLES = {"critical": "bold red", "warning": "yellow", "info": "cyan"}
PLAIN_WIDTH = 10_000  # nothing is folded where lines are cut and searched by programs


def show(status: Status, config: Config, out: TextIO) -> None:
    plain = not out.isatty()
    console = Console(
        file=out,
        width=PLAIN_WIDTH if plain else None,
        highlight=False,
        markup=False,
        emoji=False,
        no_color=plain,
    )
    with console.capture() as captured:
        for part in _parts(status, config):
            console.print(part)
    out.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def _parts(status: Status, config: Config) -> Iterator[Text | Table]:
    yield from _head(status, config)
    if status.committed is None:
        return
    if status.open:
        yield Text()
        rows = [_open(alert) for alert in sorted(status.open, key=_rank)]
        yield _table(("open", "severity", "what", "since (UTC)", "said (UTC)", "incident", "silenced"), rows)
    if status.windows:
        yield Text()
        rows = [_window(window) for window in status.windows]
        yield _table(("window", "does", "of", "from (UTC)", "until (UTC)", "by", "why"), rows)
    if any(one.fired or one.true or one.false for one in status.verdicts):
        yield Text()
        counts = [
            (one.monitor or "(not said)", *map(str, (one.fired, one.true, one.false, one.without)))
            for one in status.verdicts
        ]
        yield _table(("monitor", "fired", "true", "false", "no verdict"), counts)
        false = sum(one.false for one in status.verdicts)
        yield Text(f"realised false alarms: {false} false in {_long(status.watched_s)} watched")
    if status.late:
        yield Text()
        yield _table(
            ("late labels of", "wait", "at most", "with label", "delay", "read"), map(_late, status.late)
        )
        if status.early_labels:
            yield Text(f"{_count(status.early_labels, 'label')} of predictions that have not come yet")
    if not status.read:
        return
    yield Text()
    reads = [
        (
            f"{one.topic}-{one.partition}",
            "new" if one.position is None else f"{one.position:,}",
            f"{one.end:,}",
            "from what comes" if one.lag is None else f"{one.lag:,}",
        )
        for one in status.read
    ]
    yield _table(("partition", "read up to", "end", "lag"), reads)


def _head(status: Status, config: Config) -> Iterator[Text]:
    if status.committed is None:
        yield Text(
            f"{status.service}: no state yet: nothing was ever committed to {config.state_topic}. "
            "`streamwatch run` commits with the first records that it reads"
        )
        return
    silenced = sum(alert.silenced for alert in status.open)
    blind = sum(alert.state == "blind" for alert in status.open)
    marks = [f"{count} {what}" for count, what in ((blind, "blind"), (silenced, "silenced")) if count]
    yield Text(
        f"{status.service}: {len(status.open) or 'nothing'} open"
        + (f" ({', '.join(marks)})" if marks else "")
    )
    now_s = epoch_s(status.at)
    running = {None: "not known whether it runs", 0: "nobody runs it"}.get(
        status.running, f"{_count(status.running or 0, 'member')} in its group"
    )
    of = (
        "none yet"
        if status.stream_time is None
        else f"{status.stream_time[:19]}Z, {_ago(status.stream_time, now_s)}"
    )
    yield Text(f"{running}; last commit {_ago(status.committed, now_s)}; stream time {of}")
    yield Text(f"{_count(status.stream_keys, 'stream key')}, {status.state_bytes / 1024:,.0f} KiB of state")
    if status.pooled:
        yield Text(
            f"more segments than {config.max_segments:,} (`max_segments`), the rest pooled as `other`: "
            + "; ".join(status.pooled)
        )
    if status.not_waiting:
        yield Text(
            f"not shown: predictions of {', '.join(status.not_waiting)} that wait for labels: this config reads "
            "something else of them; a service that starts with it drops them"
        )
    if status.dropped:
        names = ", ".join(status.dropped)
        yield Text(
            f"not shown: state of {names}: this config has them not, or with another meaning; a service that starts "
            "with it drops that state"
        )


def _open(alert: Open) -> tuple[str | Text, ...]:
    by = alert.silenced_by
    parts = () if by is None else (by.name, by.author, by.until and f"until {_minute(by.until)}", by.reason)
    return (
        Text(alert.state, style="bold magenta" if alert.state == "blind" else ""),
        Text(alert.severity, style="" if alert.silenced else STYLES.get(alert.severity, "")),
        alert.summary,
        _minute(alert.since),
        _minute(alert.said),
        short(alert.incident or alert.key),
        ", ".join(part for part in parts if part),
    )


def _late(model: Late) -> tuple[str, ...]:
    """How many predictions wait, of the last that left how many had a label, and how late those were."""
    coverage, delay_s = model.coverage, model.median_delay_s
    return (
        model.model,
        f"{model.waiting:,}",
        f"{model.most:,}",
        "not known yet" if coverage is None else f"{coverage:.1%}",
        "" if delay_s is None else about(delay_s),
        model.read,
    )


def _window(window: Window) -> tuple[str, ...]:
    does = "mutes" if window.do == "mute" else "skips"
    return (
        window.name,
        does if window.in_force else f"soon {does}",
        ", ".join(window.match) or "everything",
        "" if window.in_force else _minute(window.since),
        "no end in sight" if window.until is None else _minute(window.until),
        window.author or "the config",
        window.reason or "",
    )


def _rank(alert: Open) -> tuple[bool, int, str]:
    return alert.silenced, ("critical", "warning", "info").index(alert.severity), alert.since


def _table(head: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in head:
        long = name in ("what", "silenced", "of", "why")
        table.add_column(name, no_wrap=not long, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) if isinstance(cell, str) else cell for cell in row))
    return table


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _long(time_s: float) -> str:
    """
    >>> _long(3_999.0), _long(3_568_320.0)
    ('1.1 hours', '41.3 days')
    """
    days = time_s / 86_400.0
    return f"{days:.1f} days" if days >= 2 else f"{days * 24:.1f} hours"


def _minute(time: str) -> str:
    """Of RFC 3339 the day and the minute, for columns.

    >>> _minute("2026-11-24T13:47:38.757Z")
    '11-24 13:47'
    """
    return time[5:16].replace("T", " ")


def _ago(time: str, now_s: float) -> str:
    """
    >>> _ago("1970-01-01T00:00:00Z", 12.3), _ago("1970-01-01T00:00:00Z", 7_300.0), _ago("1970-01-01T00:01:00Z", 0.0)
    ('12s ago', '2h ago', '60s ahead')
    """
    past_s = now_s - epoch_s(time)
    return f"{about(abs(past_s))} {'ago' if past_s >= 0 else 'ahead'}"
