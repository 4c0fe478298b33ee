"""A stream: all that is kept for one stream key: its trail and its watchers."""

from __future__ import annotations

import json
from typing import Any

from streamwatch.events import StreamKey
from streamwatch.held import Held
from streamwatch.trail import Rows, Track, Trail
from streamwatch.watcher import Watcher
from streamwatch.windows import NEVER

Order = tuple[str, str, tuple[tuple[str, str], ...]]


class Stream:
    """`watchers` by (position of the monitor in the config, signal as text). `trail` is that of its events,
    `outcomes` that of outcomes that were read later. `held`: rows that wait to be read; None: not asked for yet.
    `fresh`: the warm-up of some watcher begins with the next event; `warm_by_s`: not before then one is asked."""

    __slots__ = ("_judged", "fresh", "held", "key", "order", "outcomes", "trail", "warm_by_s", "watchers")

    def __init__(self, key: StreamKey) -> None:
        self.key = key
        self.order: Order = key_order(key)
        self.trail = Trail()
        self.outcomes = Trail()
        self.held: Held | None = None
        self._judged = False
        self.fresh = False
        self.warm_by_s = NEVER
        self.watchers: dict[tuple[int, str], Watcher] = {}

    def subject(self) -> dict[str, str]:
        """What matchers about a stream key look at."""
        return subject(self.key)

    def add(self, watcher: Watcher) -> None:
        self.held = None
        self.watchers[watcher.position, watcher.label] = watcher
        self.fresh = self.fresh or (watcher.warmup is not None and watcher.warmup.began_s is None)

    def start(self, events: Rows, outcomes: Rows) -> None:
        """The rows of this key in the range that is now processed; `forward` takes them in."""
        self.trail.start(events)
        self._judged = len(outcomes) > 0
        if self._judged:  # of 10,000 streams each object that is touched comes from far
            self.outcomes.start(outcomes)

    def forward(self, track: Track, stop: int) -> None:
        """Take in all rows before `stop`."""
        self.trail.forward(track, stop)
        if self._judged:
            self.outcomes.forward(track, stop)

    def trail_of(self, watcher: Watcher) -> Trail:
        return self.outcomes if watcher.late else self.trail

    def dump(self) -> dict[str, Any]:
        return {
            "key": [self.key.model, self.key.version, [list(pair) for pair in self.key.segment]],
            "trail": self.trail.dump(),
            "outcomes": self.outcomes.dump() if self.outcomes.n else None,
            "watchers": [watcher.dump() for _, watcher in sorted(self.watchers.items())],
        }


def subject(key: StreamKey) -> dict[str, str]:
    segment = {f"segment.{name}": value for name, value in key.segment}
    return {"model": key.model, "version": key.version or "", **segment}


def key_order(key: StreamKey) -> Order:
    """All versions together sort before each version."""
    return key.model, "" if key.version is None else f"v{key.version}", key.segment


def state_key(key: StreamKey) -> str:
    """The key of the stream's record in the state topic.

    >>> state_key(StreamKey("fraud", None, (("country", "DE"),)))
    'stream:["fraud",null,[["country","DE"]]]'
    """
    return "stream:" + json.dumps([key.model, key.version, key.segment], separators=(",", ":"))
