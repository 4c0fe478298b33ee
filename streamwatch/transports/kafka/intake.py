"""From one poll of a task's partitions to what happened, in the order of the task: in a group, or as a bystander."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from streamwatch.records import Source
from streamwatch.transports.base import Happening
from streamwatch.transports.kafka.flow import Flow
from streamwatch.transports.kafka.partitions import Fetched, Partitions

# Where partitions end for us; None if the broker does not answer.
AskEnds = Callable[[Iterable[Source]], Mapping[Source, int] | None]


def hand_out(
    flow: Flow, partitions: Partitions, fetched: Fetched, limit: int, now: float, ask_ends: AskEnds
) -> list[Happening]:
    """Stalls, and at most one batch of at most `limit` records."""
    flow.feed(fetched, now)
    if asked := flow.to_ask(now, partitions.has_more):
        ends = ask_ends(asked)
        flow.answer(now, ends, {source: partitions.position(source) for source in asked})
    out: list[Happening] = [*flow.stalls(now)]
    if (batch := flow.take(limit)) is not None:
        out.append(batch)
    paused, resumed = flow.valves()
    partitions.pause(paused)
    partitions.resume(resumed)
    return out


def lag(flow: Flow, partitions: Partitions) -> dict[Source, int]:
    """By positions: control markers have offsets too, so the difference of offsets alone says more."""
    return {source: _lag(flow, partitions, source) for source in flow.sources}


def _lag(flow: Flow, partitions: Partitions, source: Source) -> int:
    end, position = partitions.highwater(source), partitions.position(source)
    ahead = max(0, end - position) if end is not None and position is not None else 0
    return flow.buffered(source) + ahead
