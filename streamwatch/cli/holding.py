"""Silences and pauses as they stand on the control topic: what `--end` may name."""

from __future__ import annotations

import time

from streamwatch.cli.lines import printable
from streamwatch.commands import End, Pause, Silence, command
from streamwatch.config import Config
from streamwatch.errors import SenderError, UsageError
from streamwatch.transports.kafka.bystander import bystander
from streamwatch.transports.kafka.speak import tasks
from streamwatch.windows import moment_s


def stands(config: Config, of: str) -> str:
    """What the silence or pause with this id is about. UsageError if there is none, with those that there are."""
    one_of_them, *_ = tasks(config.kafka, config.control_topic, also_read=True)  # each task reads the same
    found: dict[str, Silence | Pause] = {}
    now_s = time.time()
    with bystander(config.kafka) as reader:
        for record in reader.all([one_of_them]):
            try:
                spoken = command(record.value or b"")
            except SenderError:
                continue  # the service tells of it as a dead letter
            match spoken:
                case Silence() | Pause():
                    found[spoken.id] = spoken
                case End():
                    found.pop(spoken.of, None)
    standing = {name: one for name, one in found.items() if moment_s(one.to) > now_s}
    if of in standing:
        return _told(standing[of])
    there = [f"{one.id} ({_told(one)})" for one in sorted(standing.values(), key=lambda one: one.to)]
    raise UsageError(
        f"nothing was written: no silence or pause {of[:80]!r} stands. There is {'; '.join(there[:10]) or 'none'}. "
        "To write it all the same: --force"
    )


def _told(one: Silence | Pause) -> str:
    return f"the {one.kind} of {printable(', '.join(one.match))} until {one.to} ({printable(one.author)})"
