"""The demo on brokers: the same alerts as in memory, nothing left behind, and an end whenever it is wanted."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from streamwatch.cli.demo import ended_by_sigterm
from streamwatch.demo.embedded import Embedded, binary
from streamwatch.demo.feed import Airline, Feed
from streamwatch.demo.stage import config_of, in_memory, on_kafka
from streamwatch.demo.stories import STORIES
from streamwatch.demo.topics import made_if_missing, topic_for, write, write_for_ever
from streamwatch.errors import BrokerUnreachable, StartRefused
from streamwatch.transports.kafka import connect
from streamwatch.transports.kafka.settings import KafkaSettings
from tests.conftest import SharedBroker
from tests.topics import create_topic, read_committed


@pytest.fixture(scope="module")
def feed() -> Feed:
    return Airline().feed(STORIES[0])


def left(servers: str, service: str) -> set[str]:
    """Topics and groups on the broker that are named after the service."""
    admin = KafkaAdminClient(bootstrap_servers=servers, bootstrap_timeout_ms=10_000)
    try:
        names = [*admin.list_topics(), *(group["group_id"] for group in admin.list_groups())]
    finally:
        admin.close()
    return {name for name in names if name.startswith(service)}


def test_memory_embedded_and_real_broker_give_the_same_alerts_and_nothing_is_left(
    feed: Feed, broker: SharedBroker, unique: str
) -> None:
    servers = broker.bootstrap_servers
    memory: list[bytes] = []
    in_memory(config_of(unique), feed, memory.append)
    real: list[bytes] = []
    on_kafka(config_of(unique, KafkaSettings(bootstrap_servers=servers)), feed, real.append)
    assert left(servers, unique) == set()
    program = binary()
    assert program is not None
    embedded: list[bytes] = []
    with Embedded(program) as small:
        on_kafka(config_of(unique, small.settings), feed, embedded.append)
    assert len(memory) == 1
    assert memory == real == embedded


def test_a_service_that_is_late_is_an_error_and_nothing_is_left(
    feed: Feed, broker: SharedBroker, unique: str
) -> None:
    config = config_of(unique, KafkaSettings(bootstrap_servers=broker.bootstrap_servers))
    with pytest.raises(BrokerUnreachable, match="not through in time"):
        on_kafka(config, feed, lambda _: None, within_s=0.0)
    assert left(broker.bootstrap_servers, unique) == set()


def short(feed: Feed) -> Feed:
    """50 events without the fault, and 50 with it."""
    rows = slice(feed.began - 50, feed.began + 50)
    return Feed(feed.times_s[rows], feed.events[rows], 50)


def test_records_have_the_times_of_their_events_and_are_not_deleted_for_their_age(
    feed: Feed, broker: SharedBroker, unique: str
) -> None:
    config = config_of(unique, KafkaSettings(bootstrap_servers=broker.bootstrap_servers))
    (topic,) = config.input_topics
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs=None)
    with topic_for(config, keep=False), closing(connect.admin(config.kafka)) as admin:
        given = admin.describe_configs([resource], config_filter="all")["topic"][topic]
        write(config.kafka, topic, short(feed))
        records = read_committed(broker.bootstrap_servers, topic, at_least=100)
    assert [record.timestamp / 1000 for record in records] == list(short(feed).times_s)
    assert given["retention.ms"]["value"] == "-1"


def test_a_topic_that_is_there_already_is_not_touched(feed: Feed, broker: SharedBroker, unique: str) -> None:
    topic = create_topic(broker.bootstrap_servers, f"{unique}-predictions")
    config = config_of(unique, KafkaSettings(bootstrap_servers=broker.bootstrap_servers))
    with pytest.raises(StartRefused, match="already"):
        on_kafka(config, feed, lambda _: None)
    assert left(broker.bootstrap_servers, unique) == {topic}


def test_only_events_are_of_now_and_go_on_in_rounds(feed: Feed, broker: SharedBroker, unique: str) -> None:
    """Each event with an id of its own; what the fault changes is changed in every round."""
    settings = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
    made_if_missing(settings, unique)
    made_if_missing(settings, unique)
    began_ms = time.time() * 1000

    def until_third(number: int) -> None:
        if number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_for_ever(settings, unique, short(feed), 1000.0, until_third)
    records = read_committed(broker.bootstrap_servers, unique, at_least=200)
    events = [json.loads(record.value) for record in records]
    assert len({event["event_id"] for event in events}) == 200
    assert [event["features"] for event in events] == 2 * [event["features"] for event in short(feed).events]
    assert all(began_ms - 1 <= record.timestamp <= time.time() * 1000 for record in records)
    assert records[-1].timestamp - records[0].timestamp >= 150, "at a steady pace"


def test_sigterm_is_as_ctrl_c() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), ended_by_sigterm():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_ends_the_demo_and_its_broker() -> None:
    command = [sys.executable, "-m", "streamwatch", "demo"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = ""
        while "(127.0.0.1:" not in said:
            line = process.stdout.readline()
            assert line, "it ended before it named its broker"
            said += line
        port = int(said.partition("(127.0.0.1:")[2].partition(",")[0])
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors == ""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
