"""An alert by the beginning of its id, as a person copies it from `tail`, a page or `status`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from streamwatch.config import Config
from streamwatch.errors import StartRefused, UsageError
from streamwatch.transports.kafka.bystander import bystander, partitions

STEP = 4_000
SEARCH_S = 30.0
SHORTEST = 4
SHOWN = 16  # where the shorter beginning was not enough


class _Data(msgspec.Struct, frozen=True):
    key: str
    model: str
    monitor: str
    summary: str
    incident: str | None = None


class Said(msgspec.Struct, frozen=True):
    """What is needed here of an alert on the topic."""

    id: str
    time: str
    type: str
    open: bool
    data: _Data

    @property
    def incident(self) -> str:
        return self.data.incident or self.id


@dataclass(frozen=True, slots=True)
class Target:
    """The one thing that a person meant: an incident, or one alert by its key; `latest` was said last of it."""

    kind: Literal["incident", "key"]
    value: str
    latest: Said


Pick = Callable[[list[Said], str], Target | None]


def find(config: Config, beginning: str, pick: Pick) -> Target:
    """Looks in the alert topic, newest first, until something fits. UsageError if nothing does, or several do."""
    if len(beginning) < SHORTEST or not re.fullmatch("[0-9a-f]+", beginning):
        raise UsageError(
            f"expected at least the first {SHORTEST} characters of an alert's id, incident or key (digits and a to f), "
            f"got {beginning[:80]!r}"
        )
    seen: list[Said] = []
    deadline = time.monotonic() + SEARCH_S
    with closing(_newest(config)) as steps:
        for step in steps:
            seen += step
            if (found := pick(seen, beginning)) is not None:
                return found
            if time.monotonic() > deadline:
                break
    since = f", the oldest of {seen[-1].time}" if seen else ""
    raise UsageError(
        f"no alert begins with {beginning!r}: looked at the newest {len(seen):,} of {config.alerts_topic}{since}"
    )


def _newest(config: Config) -> Generator[list[Said], None, None]:
    topic = config.alerts_topic
    sources = partitions(config.kafka, {topic: ("Read",)})[topic]
    if not sources:
        raise StartRefused(
            f"there is no topic {topic!r} to look into. To do: `streamwatch run` makes it at its first start; if it "
            "runs, see whether outputs.alerts is the same here and there"
        )
    with bystander(config.kafka) as reader:
        for records in reader.newest(sources, STEP):
            yield list(_alerts(record.value for record in records))


def _alerts(values: Iterable[Any]) -> Iterator[Said]:
    for value in values:
        try:
            yield msgspec.json.decode(value or b"", type=Said)
        except msgspec.DecodeError:
            continue  # not an alert, and so not the one that is looked for


def incident(seen: list[Said], beginning: str) -> Target | None:
    """The incident of which an id begins so: its own, or that of one of its alerts."""
    hits = [said for said in seen if any(one.startswith(beginning) for one in (said.id, said.incident))]
    found = {said.incident: said for said in reversed(hits)}
    if len(found) > 1:
        raise _several(beginning, found.values())
    return next((Target("incident", name, said) for name, said in found.items()), None)


def alert(seen: list[Said], beginning: str) -> Target | None:
    """What has an id that begins so: an incident as a whole, or the one alert with this id or key."""
    incidents = {said.incident: said for said in reversed(seen) if said.incident.startswith(beginning)}
    keys = {
        said.data.key for said in seen if said.id.startswith(beginning) or said.data.key.startswith(beginning)
    }
    of_incidents = {said.data.key for said in seen if said.incident in incidents}
    by_key = {said.data.key: said for said in reversed(seen) if said.data.key in keys | of_incidents}
    if len(incidents) > 1 or (incidents and not keys <= of_incidents) or (not incidents and len(keys) > 1):
        raise _several(beginning, by_key.values())
    if incidents:
        ((name, said),) = incidents.items()
        # The latest word of all that belongs to it: open if any of it is.
        latest = next(
            (by_key[key] for key in of_incidents if by_key[key].open and by_key[key].incident == name), said
        )
        return Target("incident", name, latest)
    return next((Target("key", key, by_key[key]) for key in keys), None)


def _several(beginning: str, found: Iterable[Said]) -> UsageError:
    lines = [
        f"  {said.incident[:SHOWN]}  {said.time}  {said.type.rpartition('.')[2]}  {said.data.summary}"
        for said in sorted(found, key=lambda said: said.time, reverse=True)
    ]
    more = [f"  and {len(lines) - 10} more"] if len(lines) > 10 else []
    return UsageError(
        "\n".join([f"{beginning!r} is the beginning of several, give more of it:", *lines[:10], *more])
    )
