"""From one poll to what happened, in the order of each task: in a group, or as a bystander."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from streamwatch.records import Source
from streamwatch.transports.base import Happening, Idle, Lagging
from streamwatch.transports.kafka.flow import Flow
from streamwatch.transports.kafka.partitions import Fetched, Partitions

# A record that was written just before the question may not be seen by it.
GRACE_S = 5.0
# Where partitions end for us; None if the broker does not answer.
AskEnds = Callable[[Iterable[Source]], Mapping[Source, int] | None]


def feed(flows: Iterable[Flow], fetched: Fetched, now: float) -> None:
    """Each flow gets what is its own; what is nobody's is thrown away. Nothing can fail here: what was fetched and not
    fed would be a gap."""
    for flow in flows:
        flow.feed({source: fetched[source] for source in flow.sources if source in fetched}, now)


def hand_out(
    flows: Sequence[Flow], partitions: Partitions, limit: int, now: float, ask_ends: AskEnds
) -> list[Happening]:
    """Of each flow stalls, at most one batch of at most `limit` records, and that all is read. The broker is asked
    once for all flows."""
    asking = [(flow, asked) for flow in flows if (asked := flow.to_ask(now, partitions.has_more))]
    if asking:
        ends = ask_ends([source for _, asked in asking for source in asked])
        for flow, asked in asking:
            flow.answer(now, ends, {source: partitions.position(source) for source in asked})
    out: list[Happening] = []
    for flow in flows:
        out += _of_one(flow, partitions, limit, now)
    return out


def _of_one(flow: Flow, partitions: Partitions, limit: int, now: float) -> list[Happening]:
    out: list[Happening] = [*flow.stalls(now)]
    told: Lagging | None = None
    if (batch := flow.take(limit)) is not None:
        out.append(batch)
        told = flow.lag.read(batch, time.time())
    elif flow.take_repeated():
        partitions.seek(flow.positions)
    elif flow.take_ended():
        out.append(Idle(flow.task, time.time() - GRACE_S))
        told = flow.lag.ended()
    if told is not None:
        out.append(told)
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
