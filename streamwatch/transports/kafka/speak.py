"""Writing to a service's control topic: one command, to every task."""

from __future__ import annotations

from contextlib import closing

from kafka import errors as kafka

from streamwatch.errors import BrokerUnreachable, StartRefused
from streamwatch.records import Message, Source
from streamwatch.transports.kafka import connect
from streamwatch.transports.kafka.bystander import partitions
from streamwatch.transports.kafka.errors import translated
from streamwatch.transports.kafka.settings import KafkaSettings

ANSWER_S = 20.0


def tasks(settings: KafkaSettings, topic: str, also_read: bool = False) -> tuple[Source, ...]:
    """The partitions of a control topic: each task reads one. StartRefused: no such topic, or no right."""
    sources = partitions(settings, {topic: ("Read", "Write") if also_read else ("Write",)})[topic]
    if not sources:
        raise StartRefused(
            f"there is no topic {topic!r} to write the command to. To do: `streamwatch run` makes it at its first "
            "start; if it runs, see whether service and outputs.control are the same here and there"
        )
    return sources


def speak(settings: KafkaSettings, topic: str, message: Message) -> None:
    """Returns when all tasks will read it. StartRefused: no such topic, or no right.

    BrokerUnreachable: it may have been written, or not.
    """
    sources = tasks(settings, topic)
    doing = f"write to the topic {topic}"
    with translated(doing), closing(connect.writer(settings, "streamwatch-speak")) as producer:
        try:
            sent = [
                producer.send(
                    topic,
                    message.value,
                    key=message.key,
                    headers=list(message.headers),
                    partition=source.partition,
                )
                for source in sources
            ]
            for future in sent:
                future.get(timeout=ANSWER_S)
        except kafka.KafkaTimeoutError as error:
            raise BrokerUnreachable(
                f"cannot {doing}: no answer. Whether it was written is not known; `streamwatch status` shows "
                "what the service obeyed"
            ) from error
