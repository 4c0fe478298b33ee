"""What the loop does, as log lines: each happening once, traffic as one summary per interval.

The words: assigned, restored, lost, alert, dead letter, evicted, pooled, retired, not watched, committed,
overtaken, lag, stalled, seeing again, closed, failed, ready, not ready.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import msgspec

from streamwatch.alerts import Alert
from streamwatch.engine import Engine, Restored
from streamwatch.errors import PlatformError
from streamwatch.events import DeadLetter, StreamKey
from streamwatch.execute import Obeyed
from streamwatch.join import UNJOINED
from streamwatch.logs import RateLimit, log
from streamwatch.observer import Work
from streamwatch.transports.base import Closed, Opened, Progress, Stalled

INTERVAL_S = 10.0
DEAD_LETTERS_SHOWN = 5
LAG_SHOWN = 5
KEYS_SHOWN = 5
LAG_WORTH_A_LINE = 1_000


class Journal:
    """An observer that writes log lines. At most `DEAD_LETTERS_SHOWN` dead letters of a code per interval. `alone`:
    there is one task, and what a command is not about here it is not about at all."""

    def __init__(
        self,
        interval_s: float = INTERVAL_S,
        clock: Callable[[], float] = time.monotonic,
        alone: bool = True,
    ) -> None:
        self._alone = alone
        self._interval_s = interval_s
        self._clock = clock
        self._since = clock()
        self._counts: Counter[str] = Counter()
        self._unusable: Counter[str] = Counter()
        self._joined: Counter[str] = Counter()
        self._dead_letters = RateLimit(DEAD_LETTERS_SHOWN, interval_s)
        self._overtaken = 0
        self._ready: tuple[bool, str] | None = None

    def opened(self, opened: Opened) -> None:
        log().info(
            "assigned",
            task=opened.task,
            state_records=len(opened.state),
            first_start=not opened.mark,
            offsets={f"{s.topic}/{s.partition}": offset for s, offset in sorted(opened.offsets.items())},
        )
        for source, count in sorted(opened.lost.items()):
            log().warning(
                "lost",
                task=opened.task,
                topic=source.topic,
                partition=source.partition,
                records=count,
                detail="the broker deleted them (retention) before they were processed",
            )

    def restored(self, task: int, restored: Restored, seconds: float) -> None:
        write = log().warning if restored.dropped or restored.not_waiting else log().info
        write(
            "restored",
            task=task,
            stream_keys=restored.keys,
            kept=restored.kept,
            dropped=restored.dropped,
            **({"not_waiting": restored.not_waiting} if restored.not_waiting else {}),
            seconds=round(seconds, 3),
        )

    def closed(self, closed: Closed) -> None:
        log().info("closed", task=closed.task, reason=closed.reason)

    def stalled(self, stalled: Stalled) -> None:
        write = log().error if stalled.stalled else log().info
        write(
            "stalled" if stalled.stalled else "seeing again",
            task=stalled.task,
            topic=stalled.source.topic,
            partition=stalled.source.partition,
            detail=stalled.detail,
        )

    def committed(self, work: Work, seconds: float) -> None:
        for alert in work.alerts:
            alert_line(work.task, alert)
        if work.dead_letters:
            self._letters(work.task, work.dead_letters)
        if work.evicted:
            _keys(log().warning, "evicted", work.task, work.evicted)
        for slicing in work.pooled:
            log().warning(
                "pooled",
                task=work.task,
                model=slicing.model,
                by=slicing.by,
                detail="it has more segments than `max_segments`: new ones are watched together, as `other`",
            )
        if work.retired:
            _keys(log().info, "retired", work.task, work.retired)
        for obeyed in work.obeyed:
            command_line(work.task, obeyed, self._alone)
        for strange in work.unwatched:
            log().warning("not watched", task=work.task, **strange._asdict())
        self._unusable.update(work.unusable)
        self._joined.update(work.joined)
        self._counts.update(work.counts)

    def _letters(self, task: int, letters: Sequence[DeadLetter]) -> None:
        now = self._clock()
        self._held_back(now)
        for letter in letters:
            if self._dead_letters.allows((task, letter.code), now):
                letter_line(task, letter)

    def _held_back(self, now: float, everything: bool = False) -> None:
        for (task, code), count in self._dead_letters.due(now, everything):
            log().warning("dead letters not shown", task=task, code=code, count=count)

    def failed(self, error: PlatformError, task: int | None, retry_in_s: float) -> None:
        log().warning(
            "failed",
            during="poll" if task is None else "commit",
            task=task,
            error=type(error).__name__,
            detail=str(error),
            retry_in_s=round(retry_in_s, 2),
        )

    def turned(self, progress: Progress, engines: Mapping[int, Engine], healthy: bool) -> None:
        # A number in the detail (seconds so far) makes it no news.
        ready = (progress.ready, re.sub(r"\d+", "#", progress.detail))
        if self._ready != ready:
            self._ready = ready
            log().info("ready" if progress.ready else "not ready", detail=progress.detail)
        now = self._clock()
        if now - self._since >= self._interval_s:
            self._held_back(now)
            self._summary(progress, now, engines)

    def end(self, progress: Progress) -> None:
        """Write what is still held back: called once, when the loop has ended."""
        now = self._clock()
        self._held_back(now, everything=True)
        self._summary(progress, now, {})

    def _summary(self, progress: Progress, now: float, engines: Mapping[int, Engine]) -> None:
        seconds = max(now - self._since, 1e-9)
        counts, unusable, joined = self._counts, self._unusable, self._joined
        self._since, self._counts, self._unusable, self._joined = now, Counter(), Counter(), Counter()
        overtaken = progress.overtaken - self._overtaken
        self._overtaken = progress.overtaken
        lag = sum(progress.lag.values())
        if counts:
            log().info(
                "committed",
                seconds=round(seconds, 1),
                events_per_s=round(counts["events"] / seconds, 1),
                **{name: counts[name] for name in _COUNTED},
                unusable=dict(unusable),
                **(_late(joined, engines) if joined else {}),
                lag=lag,
                overtaken=overtaken,
            )
        if overtaken > 0:
            log().warning("overtaken", records=overtaken, total=progress.overtaken)
        # More waiting than one interval brings: it falls behind, or catches up from far.
        if lag > max(LAG_WORTH_A_LINE, counts["records"]):
            worst = sorted(progress.lag.items(), key=lambda item: (-item[1], item[0]))[:LAG_SHOWN]
            log().warning(
                "lag",
                records=lag,
                behind_s=round(lag / (counts["records"] / seconds), 1) if counts["records"] else None,
                worst={f"{s.topic}/{s.partition}": count for s, count in worst},
            )


def _late(joined: Mapping[str, int], engines: Mapping[int, Engine]) -> dict[str, object]:
    """Of labels that come later than their predictions."""
    waiting = [one.predictions for engine in engines.values() for one in engine.waiting()]
    return {
        "outcomes": joined.get("outcomes", 0),
        "unjoined": {why: count for why in UNJOINED if (count := joined.get(why, 0))},
        "labels_unjoined": joined.get("labels without a prediction", 0),
        **({"waiting": sum(waiting)} if engines else {}),
    }


_COUNTED = ("records", "events", "labels", "ignored", "tombstones", "alerts", "dead_letters", "commits")


def alert_line(task: int, alert: Alert) -> None:
    data = alert.data
    write = {"info": log().info, "warning": log().warning, "critical": log().error}[alert.severity]
    (write if alert.open else log().info)(
        "alert",
        task=task,
        id=alert.id,
        key=data.key,
        state=alert.state,
        reason=data.reason,
        severity=alert.severity,
        open=alert.open,
        model=data.model,
        version=data.version,
        segment=data.segment,
        monitor=data.monitor,
        signal=data.signal,
        direction=data.direction,
        **{"from": data.change.from_ if data.change else None},
        to=data.change.to if data.change else None,
        time=alert.time,
        owner=data.owner,
        summary=data.summary,
    )


def command_line(task: int, obeyed: Obeyed, alone: bool = True) -> None:
    """One that is about nothing just now is worth a second look: a name may be misspelt."""
    said = msgspec.to_builtins(obeyed.command)
    kind = said.pop("command")
    about_nothing = alone and not obeyed.watchers and kind not in ("end", "verdict")
    write = log().warning if about_nothing else log().info
    write("command", task=task, command=kind, watchers=obeyed.watchers, **said)


def _keys(write: Callable[..., object], word: str, task: int, keys: Sequence[StreamKey]) -> None:
    write(word, task=task, count=len(keys), stream_keys=[str(key) for key in keys[:KEYS_SHOWN]])


def letter_line(task: int, letter: DeadLetter) -> None:
    log().warning(
        "dead letter",
        task=task,
        topic=letter.topic,
        partition=letter.partition,
        offset=letter.offset,
        code=letter.code,
        field=letter.field,
        reason=letter.reason,
    )
