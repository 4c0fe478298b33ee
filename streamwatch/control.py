"""What people have told the service: silences and pauses in force beside the config's windows, and their verdicts.

State like all else: it comes from records in the order of the task and is written with the commit. A silence that is
over is forgotten when the next command comes, never by a clock, so a replay holds the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from streamwatch.alerts import stable_id
from streamwatch.commands import Command, End, Pause, Silence, Verdict
from streamwatch.config import Config, plain
from streamwatch.errors import SenderError, StateDamaged
from streamwatch.matchers import fit
from streamwatch.state import pack
from streamwatch.windows import InForce, Once

STATE_KEY = "control"
MOST_IN_FORCE = 1_000
MOST_VERDICTS = 10_000
EVER = float("-inf")


class Applied(NamedTuple):
    """The windows that are about one watcher. `since_s`: stream time since which it is these."""

    mutes: tuple[InForce, ...] = ()
    skips: tuple[InForce, ...] = ()
    since_s: float = EVER


NONE = Applied()


class Change(NamedTuple):
    """Windows that have gone, and the one that has come."""

    gone: list[InForce]
    come: InForce | None


class Judged(NamedTuple):
    """A verdict on an incident, at a stream time."""

    verdict: bool
    monitor: str
    model: str
    author: str
    time_s: float


class Control:
    """`windows`: those of the config, then silences and pauses in the order of their ids. `fired`: incidents by
    monitor, since stream time `since_s`. `unaffected` holds for a watcher that no window is about."""

    def __init__(self, config: Config) -> None:
        self._fixed = tuple(window.in_force for window in config.windows)
        self._digest = stable_id([plain(window) for window in config.windows])
        self._commands: dict[str, tuple[Silence | Pause, InForce]] = {}
        self._since_s = EVER
        self._changed = False
        self.windows: tuple[InForce, ...] = self._fixed
        self.unaffected = NONE
        self.verdicts: dict[str, Judged] = {}
        self.fired: Counter[str] = Counter()
        self.since_s: float | None = None

    def applied(self, subject: Mapping[str, str]) -> Applied:
        mine = [window for window in self.windows if fit(window.matchers, subject)]
        if not mine:
            return self.unaffected
        mutes = tuple(window for window in mine if window.do == "mute")
        skips = tuple(window for window in mine if window.do == "skip")
        return Applied(mutes, skips, self._since_s)

    def reapplied(self, before: Applied, change: Change, comes: bool) -> Applied:
        """What applies to a watcher after a change. `comes`: the window that has come is about it."""
        gone = {window.name for window in change.gone}
        mine = [window for window in (*before.mutes, *before.skips) if window.name not in gone]
        # A window of the config may have the name of a silence: what is of the config stays.
        mine += [
            window
            for window in (*before.mutes, *before.skips)
            if window.name in gone and window in self._fixed
        ]
        if comes and change.come is not None:
            mine.append(change.come)
        mine.sort(key=self._place)
        mutes = tuple(window for window in mine if window.do == "mute")
        skips = tuple(window for window in mine if window.do == "skip")
        return Applied(mutes, skips, self._since_s) if mine else self.unaffected

    def _place(self, window: InForce) -> tuple[int, str]:
        """As in `windows`."""
        fixed = window.author is None and window in self._fixed
        return (self._fixed.index(window), "") if fixed else (len(self._fixed), window.name)

    def obey(self, command: Command, stream_time_s: float | None) -> Change | None:
        """How the windows changed. SenderError if it cannot be obeyed."""
        gone: list[InForce] = []
        come: InForce | None = None
        now_s = 0.0 if stream_time_s is None else stream_time_s
        match command:
            case Silence() | Pause():
                over = [key for key, (_, window) in self._commands.items() if _to_s(window) <= now_s]
                gone = [self._commands.pop(key)[1] for key in over]
                if len(self._commands) >= MOST_IN_FORCE and command.id not in self._commands:
                    raise SenderError(
                        "not a command", f"{MOST_IN_FORCE} silences and pauses are in force: end some of them"
                    )
                if command.id in self._commands:
                    gone.append(self._commands[command.id][1])
                come = command.in_force
                self._commands[command.id] = command, come
            case End():
                if command.of not in self._commands:
                    return None
                gone = [self._commands.pop(command.of)[1]]
            case Verdict():
                self.verdicts.pop(command.incident, None)
                if len(self.verdicts) >= MOST_VERDICTS:
                    del self.verdicts[next(iter(self.verdicts))]
                self.verdicts[command.incident] = Judged(
                    command.verdict == "true", command.monitor, command.model, command.author, now_s
                )
                self._changed = True
                return None
            case _:
                return None
        self._since_s = now_s
        self._changed = True
        self._refresh()
        return Change(gone, come)

    def began(self, stream_time_s: float) -> None:
        """The first event was read."""
        if self.since_s is None:
            self.since_s = stream_time_s
            self._changed = True

    def fire(self, monitor: str) -> None:
        """A new incident of this monitor was said."""
        self.fired[monitor] += 1
        self._changed = True

    def changes(self) -> dict[str, bytes | None]:
        """As `Ledger.changes`."""
        if not self._changed:
            return {}
        self._changed = False
        return {STATE_KEY: pack(STATE_KEY, self.dump())}

    def dump(self) -> dict[str, Any]:
        return {
            "commands": [msgspec.to_builtins(one) for _, (one, _) in sorted(self._commands.items())],
            "windows": self._digest,
            "windows_since_s": None if self._since_s == EVER else self._since_s,
            "verdicts": [[incident, *judged] for incident, judged in self.verdicts.items()],
            "fired": dict(sorted(self.fired.items())),
            "since_s": self.since_s,
        }

    def load(self, content: Mapping[str, Any] | None, stream_time_s: float | None) -> None:
        """None: nothing was ever said. Windows that the config has changed meanwhile are so from now on.
        StateDamaged if it is not what `dump` wrote."""
        if content is not None:
            self._load(content)
        if content is None or content["windows"] != self._digest:
            self._since_s = EVER if stream_time_s is None else stream_time_s
            self._changed = True
            self._refresh()

    def _load(self, content: Mapping[str, Any]) -> None:
        try:
            str(content["windows"])
            found = [msgspec.convert(one, Silence | Pause) for one in content["commands"]]
            self._commands = {one.id: (one, one.in_force) for one in found}
            since_s = content["windows_since_s"]
            self._since_s = EVER if since_s is None else float(since_s)
            self.verdicts = {
                str(incident): Judged(bool(verdict), str(monitor), str(model), str(author), float(time_s))
                for incident, verdict, monitor, model, author, time_s in content["verdicts"]
            }
            self.fired = Counter({str(name): int(count) for name, count in content["fired"].items()})
            self.since_s = None if content["since_s"] is None else float(content["since_s"])
            self._refresh()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StateDamaged(f"state {STATE_KEY}: not what commands leave: {error!r}") from error

    def _refresh(self) -> None:
        self.unaffected = Applied((), (), self._since_s)
        self.windows = self._fixed + tuple(window for _, (_, window) in sorted(self._commands.items()))


def _to_s(window: InForce) -> float:
    times = window.times
    assert isinstance(times, Once)
    return times.to_s
