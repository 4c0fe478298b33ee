"""A start that cannot work ends within 15 s and says which thing and what to do; one that can, works in full."""

from __future__ import annotations

import re
import shlex
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ConfigResource,
    ConfigResourceType,
    ResourcePattern,
)
from kafka.admin import ResourceType as Kind
from kafka.structs import OffsetAndMetadata

from streamwatch.errors import BrokerUnreachable, StartRefused
from streamwatch.records import Message
from streamwatch.transports.kafka import connect
from streamwatch.transports.kafka.clients import needed
from streamwatch.transports.kafka.diagnosis import speaks_tls
from streamwatch.transports.kafka.follow import follow
from streamwatch.transports.kafka.rights import Right, grants, of_service
from streamwatch.transports.kafka.settings import KafkaSettings
from streamwatch.transports.kafka.snapshot import snapshot
from streamwatch.transports.kafka.speak import speak
from streamwatch.transports.kafka.start import check_start, prepare_start
from streamwatch.transports.kafka.topics import Topics
from tests.broker import Broker, Tls, classpath, free_port, wait_until
from tests.certificates import Authority, Signed
from tests.kafka.drive import config, driven, meanwhile
from tests.topics import create_topic, produce, read_committed


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made_in(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made_in(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="module")
def ours(authority: Authority) -> Signed:
    return authority.sign("me", password="opens the key")


@pytest.fixture(scope="module")
def secured(authority: Authority) -> Iterator[Broker]:
    tls = Tls(authority.sign("broker").both, authority.cert)
    with Broker(users=USERS, tls=tls, acls=True, far=True) as started:
        yield started


def sasl(
    broker: Broker, user: str = "alice", password: str = "right", mechanism: str = "PLAIN"
) -> KafkaSettings:
    return KafkaSettings.model_validate({
        "bootstrap_servers": broker.address("SASL"),
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": mechanism,
        "sasl_username": user,
        "sasl_password": password,
    })  # fmt: skip


def tls(broker: Broker, ca: Path, listener: str = "SSL", **more: str) -> KafkaSettings:
    given = {
        "bootstrap_servers": broker.address(listener),
        "security_protocol": "SSL",
        "ssl_ca": str(ca),
        **more,
    }
    return KafkaSettings.model_validate(given)


def plain(broker: Any, **more: Any) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=broker.bootstrap_servers, **more)


def topics_of(service: str) -> Topics:
    return Topics(
        inputs=(f"{service}-in",),
        alerts=f"{service}-alerts",
        dead_letters=f"{service}-dead-letters",
        state=f"{service}-state",
        control=f"{service}-control",
        group=service,
    )


def single(rights: Iterable[Right]) -> list[Right]:
    """One operation each."""
    return [Right(right.kind, right.name, (operation,)) for right in rights for operation in right.operations]


NEEDED = single(of_service(topics_of("s"), create=True))
USERS = dict.fromkeys(
    ["alice", "service", "oncall", *(f"u{number}" for number in range(len(NEEDED)))], "right"
)


def grant(broker: Broker, principal: str, rights: Iterable[Right]) -> None:
    with closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)) as admin:
        admin.create_acls([
            ACL(
                principal, "*", ACLOperation[re.sub("(?<!^)(?=[A-Z])", "_", operation).upper()],
                ACLPermissionType.ALLOW, ResourcePattern(Kind[kind.replace("-", "_").upper()], name),
            )
            for kind, name, (operation,), _ in single(rights)
        ])  # fmt: skip


def refusal(settings: KafkaSettings, topics: Topics) -> str:
    began = time.monotonic()
    with pytest.raises(StartRefused) as refused:
        prepare_start(settings, topics)
    assert time.monotonic() - began < 15
    return str(refused.value)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_wrong_password_is_refused_naming_the_user_and_never_the_password(
    secured: Broker, unique: str, mechanism: str
) -> None:
    text = refusal(sasl(secured, password="secret-and-wrong", mechanism=mechanism), topics_of(unique))
    assert "refuses the connection" in text
    assert "check" in text
    assert "sasl_username ('alice') and sasl_password" in text
    assert "secret-and-wrong" not in text


def test_a_mechanism_that_is_not_enabled_is_refused_naming_it(secured: Broker, unique: str) -> None:
    assert "sasl_mechanism" in refusal(sasl(secured, mechanism="SCRAM-SHA-256"), topics_of(unique))


def test_a_wrong_authority_is_refused_naming_the_file(
    secured: Broker, stranger: Authority, unique: str
) -> None:
    text = refusal(tls(secured, stranger.cert), topics_of(unique))
    assert "certificate verify failed" in text
    assert f"must be in ssl_ca ({stranger.cert})" in text


def test_a_port_that_wants_our_certificate_says_so(
    secured: Broker, authority: Authority, unique: str
) -> None:
    assert "set ssl_cert and ssl_key" in refusal(tls(secured, authority.cert, "MTLS"), topics_of(unique))


def test_plaintext_on_a_tls_port_is_refused_with_the_protocol_to_set(secured: Broker, unique: str) -> None:
    settings = KafkaSettings(bootstrap_servers=secured.address("SSL"))
    assert "set security_protocol to SSL" in refusal(settings, topics_of(unique))


def test_a_port_that_speaks_tls_is_known_by_its_answer_and_not_by_its_number(secured: Broker) -> None:
    answers = {name: speaks_tls(secured.address(name)) for name in ("SSL", "MTLS", "PLAINTEXT", "SASL")}
    assert answers == {"SSL": True, "MTLS": True, "PLAINTEXT": False, "SASL": False}
    assert not speaks_tls(f"localhost:{free_port()}")


def test_tls_on_a_plaintext_port_is_refused_with_the_protocol_to_set(
    secured: Broker, authority: Authority, unique: str
) -> None:
    text = refusal(tls(secured, authority.cert, "PLAINTEXT"), topics_of(unique))
    assert "does not speak TLS" in text
    assert "PLAINTEXT" in text


def test_no_login_on_a_port_that_wants_one_is_refused_with_the_protocol_to_set(
    secured: Broker, unique: str
) -> None:
    settings = KafkaSettings(bootstrap_servers=secured.address("SASL"))
    assert "set security_protocol to SASL_PLAINTEXT" in refusal(settings, topics_of(unique))


def test_nobody_listening_is_unreachable_not_refused_and_leaves_no_thread_behind(unique: str) -> None:
    settings = KafkaSettings(bootstrap_servers=f"localhost:{free_port()}")
    threads, began = set(threading.enumerate()), time.monotonic()
    with pytest.raises(
        BrokerUnreachable, match=r"no Kafka broker answers at localhost:\d+ .*connection refused"
    ):
        prepare_start(settings, topics_of(unique))
    assert time.monotonic() - began < 15
    wait_until(lambda: set(threading.enumerate()) <= threads, 5, "its threads have ended")


def test_addresses_that_cannot_be_reached_from_here_are_said(secured: Broker, unique: str) -> None:
    began = time.monotonic()
    with pytest.raises(BrokerUnreachable, match=r"advertised\.listeners"):
        prepare_start(KafkaSettings(bootstrap_servers=secured.address("FAR")), topics_of(unique))
    assert time.monotonic() - began < 15


def test_files_of_tls_that_cannot_be_used_are_refused_before_any_connection(
    ours: Signed, authority: Authority, tmp_path: Path
) -> None:
    def refused(**files: str) -> str:
        given = {
            "bootstrap_servers": "localhost:1",
            "security_protocol": "SSL",
            "ssl_ca": str(authority.cert),
            **files,
        }
        with pytest.raises(StartRefused) as error:
            connect.admin(KafkaSettings.model_validate(given))
        return str(error.value)

    key = authority.sign("another").key
    assert "ssl_ca: there is no file" in refused(ssl_ca=str(tmp_path / "no.pem"))
    (tmp_path / "text.pem").write_text("no certificate")
    assert "ssl_ca: " in refused(ssl_ca=str(tmp_path / "text.pem"))
    assert "does not belong" in refused(ssl_cert=str(ours.cert), ssl_key=str(key))
    assert "ssl_key_password" in refused(
        ssl_cert=str(ours.cert), ssl_key=str(ours.key), ssl_key_password="wrong"
    )
    assert "ssl_key_password" in refused(ssl_cert=str(ours.cert), ssl_key=str(ours.key))


def test_who_may_not_write_commands_is_told_what_to_grant_and_writes_with_no_more(
    secured: Broker, unique: str
) -> None:
    create_topic(secured.bootstrap_servers, unique)
    settings, spoken = sasl(secured, "u0"), Message(b"id", b"{}")
    grant(secured, "User:u0", [Right("topic", unique, ("Read",))])
    with pytest.raises(StartRefused, match=f"--operation Write --topic {unique}"):
        speak(settings, unique, spoken)
    grant(secured, "User:u0", [Right("topic", unique, ("Write",))])
    speak(settings, unique, spoken)
    assert [record.value for record in read_committed(secured.bootstrap_servers, unique)] == [b"{}"]


@pytest.mark.parametrize("number", range(len(NEEDED)), ids=[f"{o} {kind} {n}" for kind, n, (o,), _ in NEEDED])
def test_a_missing_right_is_named_with_the_command_that_grants_it(
    secured: Broker, unique: str, number: int
) -> None:
    """Each of those that `check --print-acls` prints for the service is needed."""
    topics, user = topics_of(unique), f"u{number}"
    rights = single(of_service(topics, create=True))
    kind, name, (operation,), _ = rights.pop(number)
    for topic in (*topics.inputs, *(own.name for own in topics.own)):
        if topic != name or operation != "Create":
            policy = "compact" if topic == topics.state else "delete"
            create_topic(secured.bootstrap_servers, topic, cleanup_policy=policy)
    grant(secured, f"User:{user}", rights)
    text = refusal(sasl(secured, user), topics)
    assert len(text.splitlines()) == 1, text
    assert "may not" in text
    assert text.endswith(f"--allow-principal User:{user} --operation {operation} --{kind} {name}")


def test_the_rights_that_are_printed_are_enough_for_the_service_and_for_who_is_on_call(
    secured: Broker, unique: str
) -> None:
    """It makes its topics and commits; a second worker takes over and restores; then somebody looks and speaks."""
    servers, settings = secured.bootstrap_servers, sasl(secured, "service")
    create_topic(servers, f"{unique}-in")
    watched = config(servers, unique, kafka=settings.model_copy(update={"session_timeout_ms": 3_000}))
    for text in grants(settings, needed(watched)):
        if words := shlex.split(text, comments=True):
            operations = tuple(words[at + 1] for at, word in enumerate(words) if word == "--operation")
            kind, name = words[-2:]
            right = Right(kind.removeprefix("--"), name, operations)
            grant(secured, words[words.index("--allow-principal") + 1], [right])
    produce(servers, f"{unique}-in", [b"one"])
    with driven(watched) as first, driven(watched) as second:
        first.read(1).commit([b"alert"], {"k": b"v"})
        with meanwhile(first):
            second.until(lambda: second.transport.progress().detail == "standby")
        first.transport.close()
        second.opened()
        assert second.state == {"k": b"v"}
        produce(servers, f"{unique}-in", [b"two"])
        second.read(1).commit([b"another"])
    by = sasl(secured, "oncall")
    speak(by, watched.control_topic, Message(b"id", b"{}"))
    assert next(follow(by, watched.alerts_topic, from_start=True)) == b"alert"
    found = snapshot(watched.model_copy(update={"kafka": by}))
    assert found is not None
    assert (found.members, {read.source.topic: read.lag for read in found.read}) == (
        0,
        {f"{unique}-in": 0, f"{unique}-control": 1},
    )


def test_all_findings_are_told_at_once_and_the_closest_names(broker: Any, unique: str) -> None:
    create_topic(broker.bootstrap_servers, f"{unique}-predictions")
    topics = replace(topics_of(unique), inputs=(f"{unique}-prediction", f"{unique}-label"))
    create_topic(broker.bootstrap_servers, topics.state, partitions=3)
    create_topic(
        broker.bootstrap_servers, topics.control, 3, retention_ms="1000", cleanup_policy="compact,delete"
    )
    findings = check_start(plain(broker, create_topics=False), topics).findings
    text = "\n".join(map(str, findings))
    assert f"input topic '{unique}-prediction' does not exist" in text
    assert f"{unique}-predictions" in text
    assert f"input topic '{unique}-label' does not exist" in text
    assert f"alerts topic '{topics.alerts}' does not exist" in text
    assert f"dead letters topic '{topics.dead_letters}' does not exist" in text
    assert f"state topic '{topics.state}' has 3 partitions" in text
    assert f"state topic '{topics.state}' has cleanup.policy=delete" in text
    assert f"control topic '{topics.control}' has 3 partitions" in text
    assert "or name another with outputs.control" in text
    assert f"control topic '{topics.control}' has cleanup.policy=" in text
    (forgets,) = [finding for finding in findings if "forgets commands" in finding.what]
    assert forgets.todo.endswith("retention.ms=-1")
    assert not forgets.stops


def test_own_topics_are_created_once_as_they_must_be_and_by_check_not_at_all(
    broker: Any, unique: str
) -> None:
    topics = topics_of(unique)
    create_topic(broker.bootstrap_servers, topics.inputs[0])
    assert check_start(plain(broker), topics).findings == []
    with closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)) as admin:
        assert topics.state not in admin.list_topics()
        assert prepare_start(plain(broker), topics).findings == []
        assert {own.name for own in topics.own} <= set(admin.list_topics())
        assert prepare_start(plain(broker), topics).findings == []
        resource = ConfigResource(ConfigResourceType.TOPIC, topics.state)
        configs = admin.describe_configs([resource])["topic"][topics.state]
        assert configs["cleanup.policy"]["value"] == "compact"
        assert configs["segment.ms"]["value"] == "600000"
        resource = ConfigResource(ConfigResourceType.TOPIC, topics.control)
        configs = admin.describe_configs([resource])["topic"][topics.control]
        assert (configs["cleanup.policy"]["value"], configs["retention.ms"]["value"]) == ("delete", "-1")
        assert configs["message.timestamp.type"]["value"] == "LogAppendTime"


def test_a_replication_factor_that_the_cluster_cannot_give_is_refused(broker: Any, unique: str) -> None:
    create_topic(broker.bootstrap_servers, topics_of(unique).inputs[0])
    text = refusal(plain(broker, replication_factor=3), topics_of(unique))
    assert "replication_factor" in text
    assert "only 1 broker" in text


def test_the_commands_that_are_told_do_what_is_wanted(secured: Broker, unique: str) -> None:
    """Kafka's own tools run them; the address of the administrator's port stands in for ours."""
    topics, settings = topics_of(unique), sasl(secured).model_copy(update={"create_topics": False})
    create_topic(secured.bootstrap_servers, topics.inputs[0])
    grant(
        secured,
        "User:alice",
        [right for right in of_service(topics, create=False) if right.name not in topics.inputs],
    )
    tools = {
        "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
        "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
    }
    for finding in check_start(settings, topics).findings:
        script, *rest = shlex.split(finding.todo.split("   or ")[0])
        at = rest.index("--command-config")
        del rest[at : at + 2]
        rest[rest.index("--bootstrap-server") + 1] = secured.bootstrap_servers
        command = ["java", "-XX:TieredStopAtLevel=1", "-cp", classpath("kafka-tools"), tools[script], *rest]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
    assert prepare_start(settings, topics).findings == []


@pytest.mark.parametrize("way", ["SASL PLAIN", "SASL SCRAM-SHA-512", "TLS", "mutual TLS"])
def test_each_way_in_works_in_full_with_group_and_transaction(
    secured: Broker, authority: Authority, ours: Signed, unique: str, way: str
) -> None:
    topics = topics_of(unique)
    principal = {"TLS": "User:ANONYMOUS", "mutual TLS": "User:CN=me"}.get(way, "User:alice")
    certificate = {"ssl_cert": str(ours.cert), "ssl_key": str(ours.key), "ssl_key_password": "opens the key"}
    settings = {
        "TLS": lambda: tls(secured, authority.cert),
        "mutual TLS": lambda: tls(secured, authority.cert, "MTLS", **certificate),
    }.get(way, lambda: sasl(secured, mechanism=way.split()[-1]))()
    grant(secured, principal, of_service(topics, create=True))
    create_topic(secured.bootstrap_servers, topics.inputs[0])
    produce(secured.bootstrap_servers, topics.inputs[0], [b"event"])
    assert [finding for finding in prepare_start(settings, topics).findings if finding.stops] == []

    part = TopicPartition(topics.inputs[0], 0)
    with (
        closing(connect.consumer(settings, group_id=topics.group, auto_offset_reset="earliest")) as consumer,
        closing(connect.producer(settings, topics.transactional_ids[0], compression_type="lz4")) as producer,
    ):
        consumer.subscribe([topics.inputs[0]])
        read: list[Any] = []

        def polled() -> list[Any]:
            read.extend(
                record.value for records in consumer.poll(timeout_ms=300).values() for record in records
            )
            return read

        assert wait_until(polled, 20) == [b"event"]
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(topics.alerts, b"alert")
        producer.send_offsets_to_transaction({part: OffsetAndMetadata(1, "", -1)}, consumer.group_metadata())
        producer.commit_transaction()
        assert consumer.committed(part, timeout_ms=5_000) == 1
    found = read_committed(secured.bootstrap_servers, topics.alerts, at_least=1)
    assert [record.value for record in found] == [b"alert"]


def test_secrets_do_not_show_when_settings_or_errors_are_printed(secured: Broker) -> None:
    settings = sasl(secured, password="very-secret")
    assert "very-secret" not in f"{settings!r} {settings} {settings.model_dump_json()}"
