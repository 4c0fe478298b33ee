"""The topics that a service reads and writes, with the settings and rights that each needs."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from streamwatch.transports.kafka.settings import KafkaSettings

# Without segment.ms the cleaner never sees the active segment, and a restore reads all that was ever written.
STATE_CONFIGS = {"cleanup.policy": "compact", "segment.ms": "600000", "retention.ms": "-1"}
# Commands are few, a first start reads them all, and together they say who did what: they are kept. Their place among
# the events is by their time, and the broker's clock is nearer to the events' than the clock of who is on call.
CONTROL_CONFIGS = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "message.timestamp.type": "LogAppendTime",
}
# Kafka's names of operations. Read and Write each imply Describe.
INPUT_RIGHTS = ("Read",)
GROUP_RIGHTS = ("Read",)
NAMED = 10
TRANSACTIONAL_RIGHTS = ("Write",)


@dataclass(frozen=True, slots=True)
class Topics:
    """What one service needs of the cluster. `tasks` None: as many as its inputs have partitions, which only the
    broker knows."""

    inputs: tuple[str, ...]
    alerts: str
    dead_letters: str
    state: str
    control: str
    group: str
    tasks: int | None = 1

    @property
    def transactional_ids(self) -> tuple[str, ...]:
        return tuple(transactional_id(self.group, task) for task in range(self.tasks or 0))

    @property
    def own(self) -> tuple[OwnTopic, ...]:
        tasks = self.tasks or 0
        return (
            OwnTopic(self.state, "state", ("Read", "Write"), tasks, STATE_CONFIGS),
            OwnTopic(self.control, "control", ("Read",), tasks, CONTROL_CONFIGS),
            OwnTopic(self.alerts, "alerts", ("Write",)),
            OwnTopic(self.dead_letters, "dead letters", ("Write",)),
        )


@dataclass(frozen=True, slots=True)
class OwnTopic:
    """A topic that is ours alone, and that we may create. `rights` are Kafka's names of operations; `partitions` 0:
    as many as there are tasks, which is not known."""

    name: str
    role: str
    rights: tuple[str, ...]
    partitions: int = 1
    configs: Mapping[str, str] = field(default_factory=dict)

    def creation(self, settings: KafkaSettings) -> dict[str, object]:
        """As kafka-python's `create_topics` takes it."""
        return {
            "num_partitions": self.partitions or 1,
            "replication_factor": settings.replication_factor,
            "configs": dict(self.configs),
        }


def transactional_id(service: str, task: int) -> str:
    """Stable: the next owner's `init_transactions` fences the last one's."""
    return f"{service}-{task}"


def create_command(settings: KafkaSettings, topic: OwnTopic) -> str:
    """The command that creates the topic as we would."""
    parts = [*_tool("kafka-topics.sh", settings), "--create", "--topic", topic.name]
    parts += ["--partitions", str(topic.partitions or "N")]
    if settings.replication_factor != -1:
        parts += ["--replication-factor", str(settings.replication_factor)]
    for name, value in topic.configs.items():
        parts += ["--config", f"{name}={value}"]
    return shlex.join(parts)


def alter_command(settings: KafkaSettings, topic: str, configs: Mapping[str, str]) -> str:
    parts = [
        *_tool("kafka-configs.sh", settings),
        "--alter",
        "--entity-type",
        "topics",
        "--entity-name",
        topic,
    ]
    return shlex.join(
        [*parts, "--add-config", ",".join(f"{name}={value}" for name, value in configs.items())]
    )


def grant_command(
    settings: KafkaSettings,
    operations: tuple[str, ...],
    kind: str,
    name: str,
    principal: str = "",
    prefixed: bool = False,
) -> str:
    """The command that grants us (or `principal`) the operations. `kind`: topic, group or transactional-id;
    `prefixed`: on all whose name begins so."""
    parts = [*_tool("kafka-acls.sh", settings), "--add", "--allow-principal", principal or settings.principal]
    for operation in operations:
        parts += ["--operation", operation]
    if prefixed:
        parts += ["--resource-pattern-type", "prefixed"]
    return shlex.join([*parts, f"--{kind}", name])


def _tool(script: str, settings: KafkaSettings) -> list[str]:
    admin = [] if settings.security_protocol == "PLAINTEXT" else ["--command-config", "admin.properties"]
    return [script, "--bootstrap-server", settings.servers[0], *admin]


def meant(topic: str, existing: Iterable[str]) -> str:
    """Which topic may have been meant by one that is not there. `existing`: those that the broker shows us.

    >>> meant("prediction", ["labels", "predictions", "__consumer_offsets"]), meant("x", ["labels"])
    ('did you mean predictions?', 'there is labels')
    >>> meant("x", ["__consumer_offsets"])
    'the broker shows us no topics at all: it may be another cluster, or we may not describe its topics'
    """
    others = sorted(name for name in existing if not name.startswith("__"))
    if close := get_close_matches(topic, others, n=3, cutoff=0.5):
        return f"did you mean {' or '.join(close)}?"
    if not others:
        return "the broker shows us no topics at all: it may be another cluster, or we may not describe its topics"
    more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
    return f"there {'is' if len(others) == 1 else 'are'} {', '.join(others[:NAMED])}{more}"
