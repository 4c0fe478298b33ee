"""Which part of its topics a bystander reads: from where, to where, of which partitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Literal, NamedTuple

from kafka import errors as kafka

from streamwatch.config import Config
from streamwatch.errors import StartRefused
from streamwatch.logs import log
from streamwatch.records import Source
from streamwatch.transports.kafka import connect
from streamwatch.transports.kafka.ends import Ends
from streamwatch.transports.kafka.errors import translated
from streamwatch.transports.kafka.start import unreadable


@dataclass(frozen=True, slots=True)
class Span:
    """By the times of records, in seconds since the epoch.

    since   or everything that is there ("earliest"), or what comes from now on ("latest")
    until   or what is committed now ("now"), or for ever (None)
    """

    since: float | Literal["earliest", "latest"]
    until: float | Literal["now"] | None


class There(NamedTuple):
    """The partitions that are there, and why commands among them cannot be read, if they cannot."""

    sources: frozenset[Source]
    hidden: str


def partitions(config: Config, topics: Sequence[str], client_id: str) -> There:
    """The partitions of these topics, and of the control topic if there is one; nothing is made.

    StartRefused if a topic is not there, or not ours to read. A control topic that is not ours to read is left out.
    """
    control = config.control_topic
    with translated("ask the broker"), closing(connect.admin(config.kafka, client_id)) as client:
        known = {entry["name"]: entry for entry in client.describe_topics([*topics, control])}
        found = [finding for finding in unreadable(config.kafka, client, topics, known) if finding.stops]
        if found:
            raise StartRefused("\n".join(map(str, found)))
        hidden = ""
        read = list(topics)
        if known[control]["error_code"] != kafka.UnknownTopicOrPartitionError.errno:
            stopping = [str(f) for f in unreadable(config.kafka, client, [control], known) if f.stops]
            hidden = "; ".join(stopping)
            read += [] if hidden else [control]
    return There(
        frozenset(
            Source(name, part["partition_index"]) for name in read for part in known[name]["partitions"]
        ),
        hidden,
    )


def starts(config: Config, span: Span, sources: Iterable[Source], ends: Ends) -> dict[Source, int]:
    """The first offset of each partition. The control topic begins at its beginning, as the service's first start
    does: what was silenced before holds."""
    everything = ends.begin(sources)
    if span.since == "earliest":
        return everything
    stable = ends.stable_end(sources)
    if span.since == "latest":
        found = stable
    else:
        found = {**stable, **ends.at_time(sources, span.since)}
        for source, first in sorted(everything.items()):
            if 0 < first == found[source] < stable[source] and source.topic != config.control_topic:
                log().warning(
                    "begins late",
                    topic=source.topic,
                    partition=source.partition,
                    detail=f"the broker has deleted what was before offset {first} (retention): there may have been "
                    "records of the time asked for",
                )
    return {
        source: everything[source] if source.topic == config.control_topic else found[source]
        for source in found
    }


def stops(
    span: Span, sources: Iterable[Source], ends: Ends, first: Mapping[Source, int]
) -> dict[Source, int] | None:
    """The offset after the last of each partition; None: there is no last."""
    if span.until is None:
        return None
    stable = ends.stable_end(sources)
    at_time = {} if span.until == "now" else ends.at_time(sources, span.until)
    return {source: max(first[source], min(end, at_time.get(source, end))) for source, end in stable.items()}
