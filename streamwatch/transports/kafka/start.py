"""Everything at the broker that would stop the service, asked before it starts and told all at once.

Nothing here disturbs a service of the same name that runs: no group is joined and no transactional id is initialised.
Rights are read from the broker's own list ("authorized operations"): end_offsets, which one might try instead, is
answered to who may merely describe a topic.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from kafka import TopicPartition
from kafka import errors as kafka
from kafka.admin import ConfigResource, ConfigResourceType

from streamwatch.errors import BrokerUnreachable, StartRefused
from streamwatch.transports.kafka.connect import admin, consumer
from streamwatch.transports.kafka.errors import translated
from streamwatch.transports.kafka.producer import Worker
from streamwatch.transports.kafka.settings import KafkaSettings
from streamwatch.transports.kafka.topics import (
    CONTROL_CONFIGS,
    GROUP_RIGHTS,
    INPUT_RIGHTS,
    STATE_CONFIGS,
    TRANSACTIONAL_RIGHTS,
    OwnTopic,
    Topics,
    alter_command,
    create_command,
    grant_command,
    meant,
)

# Topics that have a partition for each task, and what goes with them. A command is written to each partition.
TASKWISE = {"state": "the state is lost", "control": "its commands are lost"}
WITHIN_S = 14.0
COORDINATOR_S = 4.0
OFFSETS_S = 4.0
ADDRESSES = "make the addresses reachable from here that the brokers give out (advertised.listeners)"
FEW_BROKERS = (
    "on a cluster of fewer than 3 brokers set {replication}=1{isr} there; else wait until all are up"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something at the broker that is not as the service needs it. `stops`: it cannot run so."""

    what: str
    todo: str
    stops: bool = True

    def __str__(self) -> str:
        return f"{self.what}. To do: {self.todo}"


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found, and how many tasks there are."""

    findings: list[Finding]
    tasks: int


def check_start(settings: KafkaSettings, topics: Topics) -> Checked:
    """For `check --connect`: all findings; nothing is created. StartRefused or BrokerUnreachable without a
    connection."""

    def call() -> Checked:
        findings, cut = _findings(settings, topics)
        return Checked(findings, cut.tasks or 0)

    return _within(settings, call)


def prepare_start(settings: KafkaSettings, topics: Topics) -> Checked:
    """For `run`: creates own topics that are missing (if `create_topics`). StartRefused with all that stops it;
    returns what does not."""

    def call() -> Checked:
        findings, cut = _findings(settings, topics)
        if stopping := [finding for finding in findings if finding.stops]:
            raise StartRefused("\n".join(map(str, stopping)))
        _create_missing(settings, cut)
        return Checked(findings, cut.tasks or 0)

    return _within(settings, call)


def _within(settings: KafkaSettings, call: Callable[[], Checked]) -> Checked:
    worker = Worker("the check of the broker")
    try:
        return worker.start(call).result(WITHIN_S)
    except FutureTimeout as error:
        raise BrokerUnreachable(
            f"Kafka at {settings.bootstrap_servers} takes connections, but its brokers do not answer within "
            f"{WITHIN_S:g} s. To do: {ADDRESSES}"
        ) from error
    finally:
        worker.stop()


def _findings(settings: KafkaSettings, topics: Topics) -> tuple[list[Finding], Topics]:
    """And the topics with the number of tasks."""
    with translated("ask the broker"), closing(admin(settings)) as client, _reached(settings):
        names = list(dict.fromkeys((*topics.inputs, *(own.name for own in topics.own))))
        known = {entry["name"]: entry for entry in client.describe_topics(names)}
        findings = list(unreadable(settings, client, topics.inputs, known))
        if topics.tasks is None:
            counts = {name: len(known[name]["partitions"]) for name in topics.inputs}
            findings += uneven(counts)
            topics = replace(topics, tasks=max(counts.values()) or None)
        for own in topics.own:
            findings += _own(settings, client, own, known[own.name])
        findings += _group(settings, client, topics.group)
        for transactional_id in topics.transactional_ids:
            findings += _transactional(settings, client, transactional_id)
        readable = [
            TopicPartition(name, part["partition_index"])
            for name in (*topics.inputs, topics.control)
            if _error(known[name]) is None
            for part in known[name]["partitions"]
        ]
        if readable and not any(finding.stops for finding in findings):
            findings += _offsets(settings, readable)
    return findings, topics


def uneven(counts: Mapping[str, int]) -> Iterator[Finding]:
    """Of `tasks: per_partition`: a key must be in the same partition of every topic. `counts`: partitions by topic;
    0 = it cannot be seen."""
    if len({count for count in counts.values() if count}) > 1:
        told = ", ".join(f"{name} has {count}" for name, count in sorted(counts.items()) if count)
        yield Finding(
            f"tasks: per_partition reads partition N of every topic as task N, and the topics have not equally many "
            f"partitions: {told}",
            "create the topics with equally many partitions, keyed by model and by the same partitioner; or set "
            "tasks: one, which reads topics of any shape",
        )


@contextmanager
def _reached(settings: KafkaSettings) -> Iterator[None]:
    """The first connection was made; what fails now goes to the addresses that the brokers gave out."""
    try:
        yield
    except (kafka.KafkaConnectionError, kafka.NodeNotReadyError, kafka.RequestTimedOutError) as error:
        raise BrokerUnreachable(
            f"Kafka at {settings.bootstrap_servers} answers, but a broker that it names does not: {error}. "
            f"To do: {ADDRESSES}"
        ) from error


def unreadable(
    settings: KafkaSettings, client: Any, names: Sequence[str], known: Mapping[str, Any]
) -> Iterator[Finding]:
    """What keeps us from reading these input topics. `known`: the admin client's description of each."""
    for name in names:
        error = _error(known[name])
        if error is kafka.UnknownTopicOrPartitionError:
            yield Finding(
                f"input topic {name!r} does not exist",
                f"create it, or correct the config; {meant(name, client.list_topics())}",
            )
        else:
            yield from _rights(settings, f"input topic {name!r}", name, INPUT_RIGHTS, known[name])


def _own(settings: KafkaSettings, client: Any, own: OwnTopic, entry: Mapping[str, Any]) -> Iterator[Finding]:
    what = f"{own.role} topic {own.name!r}"
    if _error(entry) is not kafka.UnknownTopicOrPartitionError:
        yield from _rights(settings, what, own.name, own.rights, entry)
        if _error(entry) is None:
            yield from _shape(settings, client, own, entry)
        return
    command = create_command(settings, own)
    if not settings.create_topics:
        yield Finding(f"{what} does not exist, and create_topics is false", command)
        return
    wanted = {own.name: own.creation(settings)}
    answer = client.create_topics(wanted, validate_only=True, raise_errors=False)["topics"][0]
    error = kafka.for_code(answer["error_code"])
    if error in (kafka.TopicAuthorizationFailedError, kafka.ClusterAuthorizationFailedError):
        grant = grant_command(settings, ("Create",), "topic", own.name)
        yield Finding(f"{what} does not exist, and we may not create it", f"{command}   or let us: {grant}")
    elif error not in (kafka.NoError, kafka.TopicAlreadyExistsError):
        reason = (answer["error_message"] or error.__name__).rstrip(".")
        yield Finding(
            f"{what} does not exist, and cannot be created: {reason}",
            f"change replication_factor, or: {command}",
        )
    else:
        # Who may create it need not be allowed to use it.
        yield from _rights(settings, what, own.name, own.rights, {**entry, "error_code": 0, "partitions": []})


def _rights(
    settings: KafkaSettings, what: str, topic: str, operations: tuple[str, ...], entry: Mapping[str, Any]
) -> Iterator[Finding]:
    error = _error(entry)
    if error is kafka.TopicAuthorizationFailedError:
        missing = operations
    elif error is not None:
        yield Finding(f"{what}: {error.__name__}", "ask who runs the cluster")
        return
    else:
        missing = _lacking(operations, entry.get("authorized_operations"))
    if missing:
        may_not = " or ".join(operation.lower() for operation in missing)
        grant = grant_command(settings, missing, "topic", topic)
        yield Finding(f"{settings.principal} may not {may_not} {what} (or it does not exist)", grant)
    for part in entry["partitions"]:
        if part["leader_id"] < 0:
            yield Finding(
                f"{what}: partition {part['partition_index']} has no leader", "start its brokers", stops=False
            )


def _shape(
    settings: KafkaSettings, client: Any, own: OwnTopic, entry: Mapping[str, Any]
) -> Iterator[Finding]:
    what, partitions = f"{own.role} topic {own.name!r}", len(entry["partitions"])
    if own.role in TASKWISE and own.partitions and partitions != own.partitions:
        yield Finding(
            f"{what} has {partitions} partitions, and there is 1 for each task: {own.partitions}",
            f"delete it ({TASKWISE[own.role]}) and: {create_command(settings, own)}   or name another with "
            f"outputs.{own.role}",
        )
    if "DESCRIBE_CONFIGS" not in (entry.get("authorized_operations") or ()):
        return  # not ours to know
    resource = ConfigResource(ConfigResourceType.TOPIC, own.name, configs=None)
    given = client.describe_configs([resource], config_filter="all")["topic"].get(own.name, {})
    policy = str(given.get("cleanup.policy", {}).get("value", ""))
    if own.role == "state" and policy and policy != "compact":
        yield Finding(
            f"{what} has cleanup.policy={policy}: state would be deleted with age",
            alter_command(settings, own.name, {"cleanup.policy": "compact"}),
        )
    if own.role == "state" and int(given.get("segment.ms", {}).get("value") or 0) > 24 * 3_600_000:
        what = f"{what} keeps a segment open for days (segment.ms): a restore reads all of it"
        wanted = {"segment.ms": STATE_CONFIGS["segment.ms"]}
        yield Finding(what, alter_command(settings, own.name, wanted), stops=False)
    if own.role == "control" and int(given.get("retention.ms", {}).get("value") or -1) >= 0:
        wanted = {"retention.ms": CONTROL_CONFIGS["retention.ms"]}
        yield Finding(
            f"{what} forgets commands with age (retention.ms): a first start or a replay later lacks them",
            alter_command(settings, own.name, wanted),
            stops=False,
        )
    if own.role != "state" and "compact" in policy:
        yield Finding(
            f"{what} has cleanup.policy={policy}: only the last record of each key would stay",
            alter_command(settings, own.name, {"cleanup.policy": "delete"}),
        )


def _group(settings: KafkaSettings, client: Any, group: str) -> Iterator[Finding]:
    what = f"group {group!r}"
    try:
        answer = _coordinated(lambda: client.describe_groups([group]))[group]
    except kafka.GroupAuthorizationFailedError:
        missing: tuple[str, ...] = GROUP_RIGHTS
    except kafka.CoordinatorNotAvailableError:
        few = FEW_BROKERS.format(replication="offsets.topic.replication.factor", isr="")
        yield Finding(f"no broker coordinates {what}", few)
        return
    except ValueError:
        return  # kafka-python 3.0.12 cannot read the rights of a broker that has none (Tansu): joining will tell
    else:
        missing = _lacking(GROUP_RIGHTS, answer.get("authorized_operations"))
    if missing:
        yield Finding(
            f"{settings.principal} may not join {what}", grant_command(settings, missing, "group", group)
        )


def _transactional(settings: KafkaSettings, client: Any, transactional_id: str) -> Iterator[Finding]:
    what = f"transactional id {transactional_id!r}"
    try:
        _coordinated(lambda: client.describe_transactions([transactional_id]))
    except kafka.TransactionalIdAuthorizationFailedError:
        grant = grant_command(settings, TRANSACTIONAL_RIGHTS, "transactional-id", transactional_id)
        yield Finding(f"{settings.principal} may not use {what}", grant)
    except kafka.CoordinatorNotAvailableError:
        isr = " and transaction.state.log.min.isr=1"
        few = FEW_BROKERS.format(replication="transaction.state.log.replication.factor", isr=isr)
        yield Finding(f"no broker coordinates {what}", few)
    except (kafka.TransactionalIdNotFoundError, kafka.UnsupportedVersionError):
        pass  # never used yet; or a broker that cannot say (before Kafka 3.0): the first transaction will


def _offsets(settings: KafkaSettings, parts: Sequence[Any]) -> Iterator[Finding]:
    """That the brokers which lead the partitions can be reached: the first address says nothing of the others."""
    with closing(consumer(settings, group_id=None)) as client:
        try:
            client.end_offsets(list(parts), timeout_ms=int(OFFSETS_S * 1000))
        except kafka.KafkaTimeoutError:
            yield Finding(
                "the brokers that hold the topics to be read do not answer",
                ADDRESSES,
            )


def _coordinated(call: Callable[[], Any]) -> Any:
    """The first question of its kind makes the broker create its internal topic: asked again until that is there."""
    deadline = time.monotonic() + COORDINATOR_S
    while True:
        try:
            return call()
        except (
            kafka.CoordinatorNotAvailableError,
            kafka.CoordinatorLoadInProgressError,
            kafka.NotCoordinatorError,
        ):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _create_missing(settings: KafkaSettings, topics: Topics) -> None:
    with translated("create own topics"), closing(admin(settings)) as client:
        known = {entry["name"]: entry for entry in client.describe_topics([own.name for own in topics.own])}
        missing = [own for own in topics.own if _error(known[own.name]) is kafka.UnknownTopicOrPartitionError]
        for own in missing:
            try:
                client.create_topics({own.name: own.creation(settings)})
            except kafka.TopicAlreadyExistsError:
                continue  # another replica was first
        client.wait_for_topics([own.name for own in missing], timeout_ms=5_000)


def _error(entry: Mapping[str, Any]) -> type[kafka.KafkaError] | None:
    return kafka.for_code(entry["error_code"]) if entry["error_code"] else None


def _lacking(operations: tuple[str, ...], allowed: Any) -> tuple[str, ...]:
    """None or nothing allowed: the broker does not say (some other than Apache Kafka do not)."""
    return tuple(name for name in operations if allowed and name.upper() not in allowed)
