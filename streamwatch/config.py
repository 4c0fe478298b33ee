"""The config as one frozen value. `configfile` reads it from YAML; everything below takes it as an argument."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from streamwatch.alerts import stable_id
from streamwatch.decode import Input
from streamwatch.detectors import AnyDetector
from streamwatch.every import Every
from streamwatch.policy import Policy
from streamwatch.series import Kind
from streamwatch.signals import ModelSpec, Signal, Where
from streamwatch.transports.kafka.settings import KafkaSettings
from streamwatch.units import Seconds
from streamwatch.windows import Window

Tasks = Literal["one", "per_partition"]
Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,99}$")]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DeadLetters(Frozen):
    topic: str | None = Field(None, description="default: {service}-dead-letters")
    payload: Literal["none", "hash", "head"] = Field(
        "none", description="what of the record is kept: nothing, its SHA-256, or its first 4 KiB"
    )


class Outputs(Frozen):
    alerts: str | None = Field(None, description="topic of the alerts; default: {service}-alerts")
    dead_letters: DeadLetters = Field(
        default_factory=DeadLetters, description="records that could not be read"
    )
    state: str | None = Field(None, description="compacted topic of the state; default: {service}-state")
    control: str | None = Field(
        None, description="topic of commands (silence, accept, verdict, pause); default: {service}-control"
    )


class Versions(Frozen):
    retire_after: Seconds = Field(
        7200.0, description="a version without events for so long, while another has them, is retired"
    )


class Sight(Frozen):
    """When the service as a whole, or a model, cannot be seen: alerts of the monitor `service`."""

    silence: Seconds = Field(
        21600.0,
        description="a model without events for so long is blind; 0s = never; models.NAME.silence says else",
    )
    lag: Seconds = Field(
        600.0, description="the records that are read next are older than this: blind; 0s = never"
    )
    owner: str | None = Field(None, description="who is responsible; default: that of `defaults`")
    runbook: str | None = Field(None, description="a link for whoever is called; default: that of `defaults`")
    tags: dict[str, str] = Field(
        default_factory=dict, description="copied to its alerts, with those of `defaults`"
    )


class Http(Frozen):
    host: str = Field("127.0.0.1", description="nothing listens beyond loopback unless told")
    port: int = Field(8080, ge=0, le=65535, description="0 = any free port (the log says which)")


class Monitor(Frozen):
    """A named signal, its detector and its policy. `policy` holds what the monitor says of its own; what it does not
    say comes from the config's `defaults` (merged when the file is read)."""

    name: Name = Field(description="unique; stands in its alerts")
    signal: Signal
    of: Literal["all"] | None = Field(
        None, description="with signal feature or missing: one watcher per feature"
    )
    except_: tuple[str, ...] = Field((), alias="except", description="features left out of `of: all`")
    detector: AnyDetector = Field(description="its name, or its name with its settings")
    every: Every | None = Field(
        None, description="buckets of time before the detector, like 1m; default: it reads every value"
    )
    models: tuple[str, ...] | None = Field(None, description="only these models; default: all")
    where: Where | None = Field(None, description="which events it reads, by features")
    by: tuple[tuple[str, ...], ...] = Field((), description="slicings, beside the whole")
    per: Literal["model", "version"] = Field(description="whether versions are told apart")
    policy: Policy = Field(default_factory=Policy)

    def read_kind(self, spec: ModelSpec) -> Kind:
        """Of the values that the detector reads. ValueError as in `Signal.value_kind`, or if buckets have none."""
        kind = self.signal.value_kind(spec)
        return kind if self.every is None else self.every.kind(kind)

    @property
    def read(self) -> str:
        """What the detector reads, in words."""
        return str(self.signal) if self.every is None else f"the {self.every} of {self.signal}"


class Defaults(Policy):
    """What the monitors of a file inherit where they do not say it themselves."""

    every: Every | None = Field(None, description=Monitor.model_fields["every"].description)


_OPERATION = frozenset({"commit_every", "idle", "stall", "watchdog", "start"})


class Config(Frozen):
    """One service: where it reads, what it watches, where it writes."""

    service: Name = Field(description="the group, transactional ids and own topics are named after it")
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    inputs: tuple[Input, ...] = Field(
        min_length=1, description="topics of one kind, with the mapping of their fields"
    )
    outputs: Outputs = Field(default_factory=Outputs, description="own topics")
    models: dict[str, ModelSpec] = Field(
        default_factory=dict, description='by model; "*" is for every model without an entry'
    )
    monitors: tuple[Monitor, ...] = Field(
        min_length=1, description="each a named signal, its detector and its policy (see `defaults`)"
    )
    windows: tuple[Window, ...] = Field((), description="times in which alerts are muted, or nothing is read")
    tasks: Tasks = Field(
        "one",
        description="how the work is cut: one task for all partitions, or partition N of every topic forms task N",
    )
    start: Literal["earliest", "latest"] = Field("latest", description="where the very first start begins")
    commit_every: Seconds = Field(1.0, description="state and offsets are committed at least this often")
    idle: Seconds = Field(0.1, description="how long a partition must be at its end before the others go on")
    stall: Seconds = Field(60.0, description="a partition that cannot be fetched for so long is stalled")
    ahead: Seconds = Field(300.0, description="an event may be this much later than its record")
    versions: Versions = Field(default_factory=Versions, description="when a model's version is retired")
    sight: Sight = Field(default_factory=Sight, description="when a model or the whole service cannot see")
    max_stream_keys: int = Field(10_000, ge=1, description="the one silent longest goes first, announced")
    max_segments: int = Field(
        1_000,
        ge=1,
        description="of each slicing (`by`) of a model; later ones are pooled as `other`, announced",
    )
    watchdog: Seconds = Field(
        60.0, ge=30.0, description="no progress of the loop for so long ends the process"
    )
    http: Http | None = Field(default_factory=Http, description="health, readiness, metrics; null = off")

    @cached_property
    def digest(self) -> str:
        """Of all that alerts depend on; not of how the cluster is reached or how often is committed, so that a
        replay of the same config makes the same alerts, byte for byte."""
        return stable_id(self.model_dump(mode="json", by_alias=True, exclude={"kafka", "http", *_OPERATION}))

    @property
    def source(self) -> str:
        return f"/streamwatch/{self.service}"

    @property
    def alerts_topic(self) -> str:
        return self.outputs.alerts or f"{self.service}-alerts"

    @property
    def dead_letters_topic(self) -> str:
        return self.outputs.dead_letters.topic or f"{self.service}-dead-letters"

    @property
    def state_topic(self) -> str:
        return self.outputs.state or f"{self.service}-state"

    @property
    def control_topic(self) -> str:
        return self.outputs.control or f"{self.service}-control"

    @property
    def input_topics(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(topic for entry in self.inputs for topic in entry.topics))

    @cached_property
    def late_monitors(self) -> frozenset[str]:
        """Monitors that read outcomes of labels that come late, for some model at least."""
        return frozenset(
            one.name
            for one in self.monitors
            if one.signal.of_labels
            and any(self.spec(name).labels is not None for name in one.models or self.models)
        )

    def silence(self, model: str) -> float:
        """Seconds without events after which a model is silent; 0: never."""
        own = self.spec(model).silence
        return self.sight.silence if own is None else own

    def spec(self, model: str) -> ModelSpec:
        """What is known of a model: its own entry, or the one for all."""
        return self.models.get(model) or self.models.get("*") or ModelSpec()


def plain(model: BaseModel) -> dict[str, Any]:
    """A pydantic value as plain data without defaults' noise, for digests and alerts."""
    return model.model_dump(mode="json", by_alias=True)
