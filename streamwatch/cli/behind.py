"""Whether a silence or a pause begins later than its words say: both go by the events' own times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from streamwatch.alerts import rfc3339
from streamwatch.cli.lines import about
from streamwatch.config import Config
from streamwatch.errors import StreamwatchError
from streamwatch.transports.kafka.streamtime import stream_times_s

Kind = Literal["silence", "pause"]
FAR_S = 600.0  # who says "now" means as much


def behind(config: Config, kind: Kind, from_s: float, now_s: float) -> str | None:
    """What to tell if the stream has not come as far as the beginning. It is no reason to fail: the command stands."""
    try:
        return late(kind, stream_times_s(config), from_s, now_s)
    except StreamwatchError as error:
        return f"it is not known whether the stream is behind the clock: {error}"


def late(kind: Kind, times_s: Mapping[int, float], from_s: float, now_s: float) -> str | None:
    """
    >>> late("pause", {0: 7_000.0}, 100_000.0, 100_000.0)
    "stream time is 1970-01-01T01:56:40Z, 25h behind the clock, and a pause goes by the events' own times: it is in \
force when the stream gets to 1970-01-02T03:46:40Z"
    """
    task, stream_s = min(times_s.items(), key=lambda item: item[1], default=(0, now_s))
    if stream_s >= min(from_s, now_s) - FAR_S:
        return None
    of = f" of task {task}" if len(times_s) > 1 else ""
    return (
        f"stream time{of} is {rfc3339(stream_s)}, {about(now_s - stream_s)} behind the clock, and a {kind} goes by "
        f"the events' own times: it is in force when the stream gets to {rfc3339(from_s)}"
    )
