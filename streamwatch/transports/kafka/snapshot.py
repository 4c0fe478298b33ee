"""What a service has committed by now, and how far it is behind: read as a bystander, in the order that makes the lag
at most too large: first the state, then where the inputs end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from streamwatch.config import Config
from streamwatch.errors import StartRefused
from streamwatch.records import Source
from streamwatch.transports.kafka.bystander import Bystander, bystander, members, partitions
from streamwatch.transports.kafka.restore import refuse_foreign
from streamwatch.transports.kafka.state_topic import MARK_KEY, Fold
from streamwatch.transports.tasks import task_of

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
class Held:
    """Of one task, as `Engine.restore` takes it. `committed_s`: when its last commit was, by the broker's or its
    writer's clock."""

    state: Mapping[str, bytes]
    mark: bytes
    committed_s: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`tasks`: those that ever committed. `members`: processes in the group, None if that is not ours to know."""

    tasks: Mapping[int, Held]
    read: Sequence[Read] = field(default_factory=tuple)
    members: int | None = None


def snapshot(config: Config) -> Snapshot | None:
    """None if nothing was ever committed. StartRefused: no state topic, or no right to read it. StateError as when
    the service restores it."""
    topics = (*config.input_topics, config.control_topic, config.state_topic)
    found = partitions(config.kafka, dict.fromkeys(topics, ("Read",)))
    places = found[config.state_topic]
    if not places:
        raise StartRefused(
            f"there is no topic {config.state_topic!r}. To do: `streamwatch run` makes it at its first start; if it "
            "runs, see whether service and outputs.state are the same here and there"
        )
    folds = {place.partition: Fold(*place) for place in places}
    committed_s: dict[int, float] = {}
    with bystander(config.kafka) as reader:
        for record in reader.all(places):
            folds[record.partition].take(record.offset, record.key, record.value)
            if record.key == MARK_KEY:
                committed_s[record.partition] = record.timestamp / 1000.0
        positions: dict[Source, int] = {}
        for task, fold in folds.items():
            if fold.mark is not None:
                place = f"{fold.place} offset {fold.mark_offset}"
                refuse_foreign(fold.mark, config, task, len(places), place)
                positions |= fold.mark.positions
        if not committed_s:
            return None
        sources = [source for topic in topics[:-1] for source in found[topic]]
        # A task that never committed begins with what comes.
        begun = [source for source in sources if task_of(config.tasks, source) in committed_s]
        read = _read(reader, sources, begun, positions)
    held = {task: Held(*folds[task].state()[:2], committed_s[task]) for task in sorted(committed_s)}
    return Snapshot(held, read, members(config.kafka, config.service))


def _read(
    reader: Bystander, sources: Sequence[Source], tasks: Sequence[Source], positions: Mapping[Source, int]
) -> list[Read]:
    """`tasks`: the partitions of tasks that have begun."""
    topics = {source.topic for source in positions}
    bounds = reader.bounds(sources)
    # A new partition of a topic that is read begins at its first record; a new topic where it ends when it is found.
    begun = {source for source in tasks if source.topic in topics}
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
