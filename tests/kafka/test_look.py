"""`look` and `init` on a real broker: what they find, what they refuse, and that they leave no trace.

The broker makes topics by itself when a client asks for one carelessly, so that a test sees it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern
from kafka.admin import ResourceType as Kind

from streamwatch import configfile
from streamwatch.errors import OperatorError, StartRefused
from streamwatch.offline.described import lie
from streamwatch.offline.findings import find
from streamwatch.transports.kafka.sample import sample_topic
from streamwatch.transports.kafka.settings import KafkaSettings
from streamwatch.transports.sample import Limits
from tests.broker import Broker
from tests.cli import cli
from tests.shapes import SHAPES
from tests.topics import Written, create_topic, produce

RECORDS = SHAPES[0].records(400)


@pytest.fixture(scope="module")
def careless() -> Iterator[Broker]:
    settings = {"auto.create.topics.enable": "true"}
    with Broker(users={"bob": "right"}, acls=True, settings=settings) as started:
        create_topic(started.bootstrap_servers, "scored", 4)
        create_topic(started.bootstrap_servers, "empty", 1)
        produce(
            started.bootstrap_servers,
            "scored",
            [
                Written(
                    json.dumps(record.value).encode(), str(record.key).encode(), i % 3, record.timestamp_ms
                )
                for i, record in enumerate(RECORDS)
            ],
        )
        yield started


def settings(broker: Broker) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=broker.bootstrap_servers)


def traces(broker: Broker) -> dict[str, Any]:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers, bootstrap_timeout_ms=10_000)
    try:
        return {
            "groups": sorted(map(str, admin.list_groups())),
            "topics": sorted(admin.list_topics()),
            "transactions": sorted(map(str, admin.list_transactions())),
        }
    finally:
        admin.close()


def test_init_makes_a_config_for_a_topic_and_leaves_no_trace(
    careless: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVERS", careless.bootstrap_servers)
    before = traces(careless)
    kafka = tmp_path / "other.yaml"
    kafka.write_text("kafka: {bootstrap_servers: '${SERVERS}'}\n")
    done = cli("init", "scored", "--kafka", kafka)
    missing = cli("look", "scoerd", "--bootstrap-servers", careless.bootstrap_servers)
    assert traces(careless) == before
    assert (missing.exit_code, missing.stdout) == (3, "")
    assert "no topic 'scoerd'" in missing.stderr
    assert "did you mean scored?" in missing.stderr
    assert done.exit_code == 0, done.stderr
    path = tmp_path / "watch.yaml"
    path.write_text(done.stdout)
    config = configfile.load([path], {"SERVERS": "broker:1"})
    assert config.kafka.bootstrap_servers == "broker:1"
    assert config.input_topics == ("scored",)


def test_what_a_topic_holds_is_told_by_partition(careless: Broker) -> None:
    found = find(sample_topic(settings(careless), "scored", Limits(per_partition=100)))
    look = found.look
    assert [(p.number, p.first, p.end, p.held, p.sampled) for p in look.sample.partitions] == [
        (0, 0, 134, 134, 100), (1, 0, 133, 133, 100), (2, 0, 133, 133, 100), (3, 0, 0, 0, 0)
    ]  # fmt: skip
    assert look.first_s == RECORDS[100].timestamp_ms / 1000  # the first of partition 1's last 100
    assert look.last_s == RECORDS[-1].timestamp_ms / 1000
    assert look.rate == pytest.approx(1.0, rel=0.05)
    assert found.key_is == "id"
    assert found.models[0].partitions == {0, 1, 2}
    assert "in several partitions" in lie(found)


@pytest.mark.parametrize("limits", [Limits(records=40), Limits(size=1), Limits(within_s=0.0)])
def test_a_sample_is_bounded_in_records_bytes_and_time_and_says_so(careless: Broker, limits: Limits) -> None:
    sample = sample_topic(settings(careless), "scored", limits)
    assert 0 < len(sample.records) <= 40
    if limits.records == 40:
        assert sample.taken == "the last 10 records of each partition"
    else:
        assert len(sample.records) == 1
        assert ", as far as they" in sample.taken


def test_what_cannot_be_sampled_says_what_to_do(careless: Broker) -> None:
    for topic, error, words in (
        ("empty", OperatorError, "the topic empty is empty. To do: try again when"),
        ("no such", StartRefused, "correct the topic's name"),
        ("zzzzzz", StartRefused, "there are empty, scored"),
    ):
        with pytest.raises(error, match=words):
            sample_topic(settings(careless), topic)


def test_a_topic_that_may_be_seen_and_not_read_names_the_grant(careless: Broker) -> None:
    """A consumer without the right would wait for ever."""
    allowed = ACL(
        "User:bob", "*", ACLOperation.DESCRIBE, ACLPermissionType.ALLOW, ResourcePattern(Kind.TOPIC, "scored")
    )
    admin = KafkaAdminClient(bootstrap_servers=careless.bootstrap_servers, bootstrap_timeout_ms=10_000)
    admin.create_acls([allowed])
    admin.close()
    bob = KafkaSettings.model_validate({
        "bootstrap_servers": careless.address("SASL"), "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN", "sasl_username": "bob", "sasl_password": "right",
    })  # fmt: skip
    with pytest.raises(
        StartRefused,
        match=r"User:bob may not read the topic 'scored'.* To do: kafka-acls\.sh .*--operation Read",
    ):
        sample_topic(bob, "scored")
