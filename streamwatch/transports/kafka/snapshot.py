"""What a service has committed by now, and how far it is behind: read as a bystander, in the order that makes the lag
at most too large: first the state, then where the inputs end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streamwatch.config import Config
from streamwatch.errors import StartRefused
from streamwatch.records import Source
from streamwatch.transports.kafka.bystander import Bystander, bystander, members, partitions
from streamwatch.transports.kafka.restore import refuse_foreign
from streamwatch.transports.kafka.state_topic import MARK_KEY, Fold

COUNTED = 100  # so few offsets are looked at: markers of transactions are none to wait for


@dataclass(frozen=True, slots=True)
class Read:
    """How far one partition is read. `position`: the next offset, None if the service does not know the partition yet;
    `lag`: records that it has not processed, None if that begins with what comes."""

    source: Source
    position: int | None
    end: int
    lag: int | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`state` and `mark` as `Engine.restore` takes them. `committed_s`: when the last commit was, by the broker's or
    its writer's clock. `members`: processes in the group, None if that is not ours to know."""

    state: Mapping[str, bytes]
    mark: bytes
    committed_s: float
    read: Sequence[Read]
    members: int | None


def snapshot(config: Config, task: int = 0) -> Snapshot | None:
    """None if nothing was ever committed. StartRefused: no state topic, or no right to read it. StateError as when
    the service restores it."""
    topics = (*config.input_topics, config.control_topic, config.state_topic)
    found = partitions(config.kafka, dict.fromkeys(topics, ("Read",)))
    place = Source(config.state_topic, task)
    if place not in found[config.state_topic]:
        raise StartRefused(
            f"there is no topic {config.state_topic!r}. To do: `streamwatch run` makes it at its first start; if it "
            "runs, see whether service and outputs.state are the same here and there"
        )
    fold = Fold(*place)
    committed_s = 0.0
    with bystander(config.kafka) as reader:
        for record in reader.all([place]):
            fold.take(record.offset, record.key, record.value)
            if record.key == MARK_KEY:
                committed_s = record.timestamp / 1000.0
        if fold.mark is None:
            return None
        refuse_foreign(fold.mark, config, task, f"{fold.place} offset {fold.mark_offset}")
        sources = [source for topic in topics[:-1] for source in found[topic]]
        read = _read(reader, sources, fold.mark.positions)
    state, mark, _ = fold.state()
    return Snapshot(state, mark, committed_s, read, members(config.kafka, config.service))


def _read(reader: Bystander, sources: Sequence[Source], positions: Mapping[Source, int]) -> list[Read]:
    topics = {source.topic for source in positions}
    bounds = reader.bounds(sources)
    # A new partition of a topic that is read begins at its first record; a new topic where it ends when it is found.
    begun = {source for source in sources if source.topic in topics}
    behind = {
        source: (max(positions.get(source, 0), bounds[source][0]), bounds[source][1]) for source in begun
    }
    few = {source: (first, end) for source, (first, end) in behind.items() if 0 < end - first <= COUNTED}
    counts = Counter(Source(record.topic, record.partition) for record in reader.between(few))
    return [
        Read(
            source,
            positions.get(source),
            bounds[source][1],
            None
            if source not in begun
            else counts[source]
            if source in few
            else max(0, behind[source][1] - behind[source][0]),
        )
        for source in sources
    ]
