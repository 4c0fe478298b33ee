"""What the demo does with a broker itself: makes the story's topic, writes the events, and takes all away again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from typing import Any

from kafka import errors as kafka

from streamwatch.config import Config
from streamwatch.demo.feed import Feed
from streamwatch.errors import BrokerUnreachable, StartRefused
from streamwatch.transports.kafka import connect
from streamwatch.transports.kafka.clients import needed
from streamwatch.transports.kafka.errors import translated
from streamwatch.transports.kafka.settings import KafkaSettings

# The events are of 2013: without this a broker deletes them within minutes.
KEPT = {"retention.ms": "-1"}
FLUSH_S = 20.0
GONE = ("OK", "NoError", "UnknownTopicOrPartitionError", "GroupIdNotFoundError")


@contextmanager
def topic_for(config: Config, keep: bool) -> Iterator[None]:
    """The input topic of the config, made here. At the end it goes with the service's own topics and its group,
    unless `keep`. StartRefused if it exists: what is in it is not ours to read or to delete."""
    settings, (topic,) = config.kafka, config.input_topics
    with translated(f"make the topic {topic}"), closing(connect.admin(settings)) as client:
        try:
            client.create_topics({topic: _creation(settings, KEPT)}, wait_for_metadata=True)
        except kafka.TopicAlreadyExistsError as error:
            raise StartRefused(
                f"there is a topic {topic} already. To do: give the demo another name (--service NAME)"
            ) from error
    try:
        yield
    finally:
        if not keep:
            _removed(config)


def made_if_missing(settings: KafkaSettings, topic: str) -> None:
    with translated(f"make the topic {topic}"), closing(connect.admin(settings)) as client:
        try:
            client.create_topics({topic: _creation(settings, {})}, wait_for_metadata=True)
        except kafka.TopicAlreadyExistsError:
            return


def _creation(settings: KafkaSettings, configs: dict[str, str]) -> dict[str, object]:
    return {"num_partitions": 1, "replication_factor": settings.replication_factor, "configs": configs}


def _removed(config: Config) -> None:
    topics = [*config.input_topics, *(own.name for own in needed(config).own)]
    with translated("delete the demo's topics and its group"), closing(connect.admin(config.kafka)) as client:
        answers = client.delete_topics(topics, raise_errors=False)["topics"]
        left = {answer["name"]: kafka.for_code(answer["error_code"]).__name__ for answer in answers}
        left |= client.delete_groups([config.service])
    left = {name: error for name, error in left.items() if error not in GONE}
    if left:
        raise StartRefused(
            f"not deleted on the broker: {', '.join(f'{name} ({error})' for name, error in left.items())}. "
            "To do: delete them by hand, or ask who may"
        )


def write(settings: KafkaSettings, topic: str, feed: Feed) -> None:
    """All events at once, in order; each record has the time of its event."""
    with translated(f"write to {topic}"):
        producer = connect.writer(settings, "streamwatch-demo", linger_ms=5)
        try:
            sent = [
                producer.send(topic, value=feed.value(row), timestamp_ms=round(time_s * 1000))
                for row, time_s in enumerate(feed.times_s)
            ]
            producer.flush(timeout=FLUSH_S)
            if not all(future.succeeded() for future in sent):
                raise BrokerUnreachable(f"{topic}: events were not taken within {FLUSH_S:g} s")
        finally:
            producer.close(timeout=1.0)


def write_for_ever(
    settings: KafkaSettings, topic: str, feed: Feed, per_s: float, tell: Callable[[int], None]
) -> None:
    """Round after round at a steady pace, with the time of writing as the time of the events. `tell` gets the number
    of each round as it begins, counted from 1. Ends only by an exception, such as that of Ctrl-C."""
    with translated(f"write to {topic}"):
        producer = connect.writer(settings, "streamwatch-demo", linger_ms=50)
        waiting: deque[Any] = deque()
        try:
            began = time.monotonic()
            for number in count():
                round_, row = divmod(number, len(feed))
                if row == 0:
                    tell(round_ + 1)
                time.sleep(max(0.0, began + number / per_s - time.monotonic()))
                now_ms = round(time.time() * 1000)
                value = feed.again(row, round_ + 1, now_ms / 1000.0)
                waiting.append(producer.send(topic, value=value, timestamp_ms=now_ms))
                while waiting and waiting[0].is_done:
                    if (sent := waiting.popleft()).failed():
                        raise sent.exception
        finally:
            producer.close(timeout=1.0)
