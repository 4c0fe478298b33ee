"""Who needs which rights at the broker, all of them, as the commands that grant them. Asks no broker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from streamwatch.transports.kafka.settings import KafkaSettings
from streamwatch.transports.kafka.topics import (
    GROUP_RIGHTS,
    INPUT_RIGHTS,
    TRANSACTIONAL_RIGHTS,
    Topics,
    grant_command,
)

ON_CALL = "User:oncall"


class Right(NamedTuple):
    """`kind`: topic, group or transactional-id, as `kafka-acls.sh` calls them. `prefixed`: `name` is the beginning of
    the names that are meant."""

    kind: str
    name: str
    operations: tuple[str, ...]
    prefixed: bool = False


def of_service(topics: Topics, create: bool) -> Iterator[Right]:
    """What `run` needs. `create`: it may make own topics that are missing."""
    for name in topics.inputs:
        yield Right("topic", name, INPUT_RIGHTS)
    for own in topics.own:
        yield Right("topic", own.name, (*own.rights, "Create") if create else own.rights)
    yield Right("group", topics.group, GROUP_RIGHTS)
    if topics.tasks is None:
        yield Right("transactional-id", f"{topics.group}-", TRANSACTIONAL_RIGHTS, prefixed=True)
    for transactional_id in topics.transactional_ids:
        yield Right("transactional-id", transactional_id, TRANSACTIONAL_RIGHTS)


def of_settings(topics: Topics) -> Iterator[Right]:
    """What `run` and `check --connect` use where they may: a wrong cleanup policy or retention is said."""
    for own in topics.own:
        yield Right("topic", own.name, ("DescribeConfigs",))


def of_on_call(topics: Topics) -> Iterator[Right]:
    """What tail, status, silence, pause, accept and verdict need."""
    for name in topics.inputs:
        yield Right("topic", name, INPUT_RIGHTS)  # status counts what is not processed yet
    yield Right("topic", topics.state, ("Read",))
    yield Right("topic", topics.alerts, ("Read",))
    yield Right("topic", topics.control, ("Read", "Write"))
    yield Right("group", topics.group, ("Describe",))


def grants(settings: KafkaSettings, topics: Topics) -> Iterator[str]:
    """Lines for a shell: commands, and comments that say whom they are for."""
    parts = (
        ("the service", of_service(topics, settings.create_topics), settings.principal),
        (
            "the service, optional: to be told of wrong settings of its topics",
            of_settings(topics),
            settings.principal,
        ),
        (
            f"who is on call ({ON_CALL} stands for the name): tail, status, silence, pause, accept, verdict",
            of_on_call(topics),
            ON_CALL,
        ),
    )
    for whom, rights, principal in parts:
        yield f"# {whom}"
        for right in rights:
            yield grant_command(settings, right.operations, right.kind, right.name, principal, right.prefixed)
