"""The alert: the event that streamwatch writes downstream, as a structured CloudEvent 1.0 on Kafka.

`id` is stable: the same records give the same ids, live, replayed or after a crash. `data.key` is the same from
firing to ended, so a pager uses it as its dedup key. `open` says whether somebody still has to care.

Source: CloudEvents 1.0.2 and its Kafka protocol binding (structured content mode).
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from streamwatch.events import StreamKey
from streamwatch.records import Header, Message

State = Literal["firing", "settled", "recovered", "ended", "blind", "seeing"]
Severity = Literal["info", "warning", "critical"]

SCHEMA_VERSION = 1
LARGEST = 64 * 1024
CONTENT_TYPE = b"application/cloudevents+json; charset=UTF-8"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """How the level changed: `from` and `to` are means over `from_n` and `to_n` values, or over so many buckets of
    time if `signal.every` says how long these are; each is the `signal.stat` of its values."""

    stat: Literal["mean"] = "mean"
    from_: float = msgspec.field(name="from")
    from_n: int
    to: float
    to_n: int
    reference: float | None = None


class Onset(msgspec.Struct, frozen=True, kw_only=True):
    """When the change began, by the events' own times (RFC 3339), give or take `uncertain_s`."""

    time: str
    uncertain_s: float


class Unseen(msgspec.Struct, frozen=True, kw_only=True):
    """Why a monitor is blind: of the last `of` values expected, `count` could not be used. With `warm-up`: of the `of`
    values that it needs at least, `count` have not come."""

    count: int
    of: int
    limit: float
    example: str | None = None


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """What is promised about false alarms: the budget, and whether the reference passed its gate."""

    budget: str | None = None
    gate: Literal["none", "passed", "estimate", "refused"] = "none"


class Labels(msgspec.Struct, frozen=True, kw_only=True):
    """How ground truth was read for this alert: with its event, or from labels that come later. Of the last 1,000
    predictions that waited for a label `coverage` is the share that had one; `median_delay_s` is that of the last 256
    labels. None: nothing waits, or nothing has left yet."""

    read: Literal["inline", "matured", "arrival"]
    coverage: float | None = None
    median_delay_s: float | None = None


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Where to look: records [first, last] of one partition, and ids of some events among them."""

    topic: str
    partition: int
    first: int
    last: int
    sample_ids: tuple[str, ...] = ()


class MadeBy(msgspec.Struct, frozen=True, kw_only=True):
    """Which code, config and reference made this alert."""

    streamwatch: str
    config: str
    reference: str | None = None


class SilencedBy(msgspec.Struct, frozen=True, kw_only=True):
    """What marks the alert: the id of a silence or the name of a window, and until when at most (None: no end in
    sight). `author` is None for a window of the config."""

    name: str
    author: str | None
    reason: str | None
    until: str | None


class AlertData(msgspec.Struct, frozen=True, kw_only=True):
    """The body of an alert. `key` is a pager's dedup key; `incident` is the id of the incident's first firing. `signal`
    is its kind and parts, its `text` as in the config and, if buckets of time are read, `every` and `stat`."""

    schema: int = SCHEMA_VERSION
    key: str
    reason: str
    incident: str | None
    model: str
    version: str | None
    versions_seen: tuple[str, ...]
    segment: dict[str, str]
    monitor: str
    signal: dict[str, Any]
    detector: dict[str, Any]
    direction: Literal["up", "down"] | None
    change: Change | None
    onset: Onset | None
    unseen: Unseen | None = None
    promise: Promise
    labels: Labels | None
    silenced_by: SilencedBy | None = None
    evidence: tuple[Evidence, ...]
    evidence_cut: int = 0
    members: tuple[str, ...] = ()
    members_cut: int = 0
    made_by: MadeBy
    owner: str | None
    runbook: str | None
    tags: dict[str, str]
    summary: str


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A CloudEvent. `severity`, `open` and `silenced` are extension attributes, so that a router need not open
    the body. `subject` is the model, and also the Kafka key."""

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: str
    subject: str
    time: str
    datacontenttype: Literal["application/json"] = "application/json"
    dataschema: str
    severity: Severity
    open: bool
    silenced: bool = False
    data: AlertData

    @property
    def state(self) -> str:
        return self.type.rpartition(".")[2]

    def message(self) -> Message:
        """As written to the alert topic: key = the model, structured content mode."""
        headers: tuple[Header, ...] = (("content-type", CONTENT_TYPE),)
        return Message(self.subject.encode(), msgspec.json.encode(self), headers)


def fitted(alert: Alert, limit: int = LARGEST) -> Alert:
    """The alert itself if it is not larger than `limit` bytes as JSON; else without, in this order, its sample ids,
    its versions, and evidence from the end (counted in `evidence_cut`), until it fits. Ids and versions are the
    senders': what they write must not make an alert that no broker takes."""
    cuts: list[Callable[[AlertData], AlertData]] = [
        lambda data: replace(data, evidence=tuple(replace(e, sample_ids=()) for e in data.evidence)),
        lambda data: replace(data, versions_seen=()),
    ]
    while len(msgspec.json.encode(alert)) > limit and (cuts or alert.data.evidence):
        cut = cuts.pop(0) if cuts else _less_evidence
        alert = replace(alert, data=cut(alert.data))
    return alert


def _less_evidence(data: AlertData) -> AlertData:
    kept = data.evidence[: len(data.evidence) // 2]
    return replace(data, evidence=kept, evidence_cut=data.evidence_cut + len(data.evidence) - len(kept))


def rfc3339(time_s: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC, to the microsecond, without needless digits.

    >>> rfc3339(0.0), rfc3339(1.5)
    ('1970-01-01T00:00:00Z', '1970-01-01T00:00:01.500000Z')
    """
    moment = dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(seconds=time_s)
    return moment.replace(tzinfo=None).isoformat() + "Z"


def stable_id(*parts: object) -> str:
    """A hash of the parts, each written with its type and length, so that no two lists of parts collide. The order
    of the keys of a mapping does not matter.

    >>> stable_id("a", None, 1.5) == stable_id("a", None, 1.5), stable_id("a", "b") == stable_id("ab", "")
    (True, False)
    """
    digest = hashlib.sha256(msgspec.msgpack.encode(parts, order="deterministic"))
    return digest.hexdigest()[:32]


def dedup_key(source: str, key: StreamKey, monitor: str, signal: str, about: str) -> str:
    """The pager's key: `about` is "drift" or "blind", so that the two open and close on their own."""
    return stable_id(source, key.model, key.version, key.segment, monitor, signal, about)
