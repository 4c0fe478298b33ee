"""From a decision to the alert that is written: all its parts, its stable id, and its one-sentence summary."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from streamwatch import __version__
from streamwatch.alerts import (
    SCHEMA_VERSION,
    Alert,
    AlertData,
    Change,
    Labels,
    MadeBy,
    Onset,
    Promise,
    SilencedBy,
    State,
    Unseen,
    dedup_key,
    fitted,
    rfc3339,
    stable_id,
)
from streamwatch.config import Config, plain
from streamwatch.detectors.base import Detection
from streamwatch.events import StreamKey
from streamwatch.labels import read_later_s
from streamwatch.policy import Decision, Drift, Look, Warmth, is_open
from streamwatch.trail import Trail
from streamwatch.watcher import BLIND, Watcher, drift_name
from streamwatch.windows import NEVER, InForce, covered_until

SCHEMA_ID = f"urn:streamwatch:alert:{SCHEMA_VERSION}"


class Composer:
    """Writes alerts in the name of one config."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.source = config.source
        self.sight = config.sight
        self.made_by = MadeBy(streamwatch=__version__, config=config.digest)

    def alert(
        self,
        key: StreamKey,
        trail: Trail,
        watcher: Watcher,
        about: str,
        decision: Decision,
        drift: Drift | None,
        found: Detection | Look | Warmth | None = None,
        mute: InForce | None = None,
        labels: Labels | None = None,
    ) -> Alert:
        """`drift` is what stands after the decision, or stood before it when nothing does any more. `found` is what
        was found just now, if anything; else the alert goes on from what was said before. `mute` marks it. `labels`:
        how late labels stand now."""
        assert decision.state is not None
        state, reason, time_s = decision.state, decision.reason, decision.time_s
        monitor, policy = watcher.monitor, watcher.monitor.policy
        before = watcher.said.get(about)
        silenced_by = None if mute is None else _silenced_by(mute, time_s)
        by = before.data.silenced_by if reason == "unsilenced" and before is not None else silenced_by
        apart = by.name if by is not None and reason in ("silenced", "unsilenced") else ""
        if isinstance(found, Detection) and monitor.every is not None:
            apart = rfc3339(found.onset_time_s)  # one event may close several buckets
        alert_id = self.id(
            key, trail, watcher.monitor.name, watcher.label, about, watcher.digest, decision, apart
        )
        change = None
        direction: Literal["up", "down"] | None = None
        if drift is not None:
            change = Change(
                from_=drift.before.mean, from_n=drift.before.n, to=drift.said.mean, to_n=drift.said.n
            )
            direction = "up" if drift.said.mean >= drift.before.mean else "down"
        onset: Onset | None = None
        if isinstance(found, Detection):
            onset = Onset(time=rfc3339(found.onset_time_s), uncertain_s=found.onset_uncertain_s)
            # A trail knows the times of reading, and late labels are read later than their predictions came.
            later_s = read_later_s(self._config.spec(key.model).labels, labels)
            evidence, cut = trail.evidence(found.onset_time_s + later_s)
        elif before is not None:
            onset, evidence, cut = before.data.onset, before.data.evidence, before.data.evidence_cut
        else:
            evidence, cut = trail.evidence(time_s)
        unseen = before.data.unseen if before is not None else None
        if isinstance(found, Look):
            limit = 1.0 if found.none else policy.blind.unusable
            unseen = Unseen(count=found.of if found.none else found.unusable, of=found.of, limit=limit)
        elif isinstance(found, Warmth):
            unseen = Unseen(count=max(0, found.need - found.seen), of=found.need, limit=0.0)
        if not watcher.late:
            labels = Labels(read="inline") if watcher.signal.of_labels else None
        elif labels is None and before is not None:
            labels = before.data.labels
        data = AlertData(
            key=dedup_key(self.source, key, monitor.name, watcher.label, about),
            reason=reason,
            incident=before.data.incident if before is not None else alert_id,
            model=key.model,
            version=key.version or None,
            versions_seen=tuple(sorted(trail.versions)),
            segment=dict(key.segment),
            monitor=monitor.name,
            signal=_signal(watcher, drift_name(about) if about != BLIND else ""),
            detector={"name": monitor.detector.label, **plain(monitor.detector)},
            direction=direction,
            change=change,
            onset=onset,
            unseen=unseen,
            promise=Promise(),
            labels=labels,
            silenced_by=silenced_by,
            evidence=evidence,
            evidence_cut=cut,
            made_by=self.made_by,
            owner=policy.owner,
            runbook=policy.runbook,
            tags=policy.tags,
            summary=f"{_named(watcher)} of {key} {_happened(watcher, state, reason, change, unseen, found)}"
            + (_until(silenced_by) if reason == "silenced" and silenced_by is not None else ""),
        )
        alert = Alert(
            id=alert_id,
            source=self.source,
            type=f"streamwatch.alert.{state}",
            subject=key.model,
            time=rfc3339(time_s),
            dataschema=SCHEMA_ID,
            severity=policy.severity,
            open=is_open(state),
            silenced=mute is not None,
            data=data,
        )
        return fitted(alert)

    def condition(
        self,
        monitor: str,
        kind: str,
        text: str,
        model: str,
        state: Literal["blind", "seeing"],
        reason: str,
        time_s: float,
        what: str,
        unseen: Unseen | None,
        mute: InForce | None,
    ) -> Alert:
        """What keeps more than one monitor from seeing, or does no more. It is about no stream key, so its id is made
        of what it says and when: the same whether the clock found it or an event."""
        key = StreamKey(model, None)
        alert_id = stable_id(self.source, monitor, text, model, state, reason, time_s)
        data = AlertData(
            key=dedup_key(self.source, key, monitor, text, BLIND),
            reason=reason,
            incident=alert_id,
            model=model,
            version=None,
            versions_seen=(),
            segment={},
            monitor=monitor,
            signal={"kind": kind, "text": text},
            detector={"name": "none"},
            direction=None,
            change=None,
            onset=None,
            unseen=unseen,
            promise=Promise(),
            labels=None,
            silenced_by=None if mute is None else _silenced_by(mute, time_s),
            evidence=(),
            made_by=self.made_by,
            owner=self.sight.owner,
            runbook=self.sight.runbook,
            tags=self.sight.tags,
            summary=what,
        )
        alert = Alert(
            id=alert_id,
            source=self.source,
            type=f"streamwatch.alert.{state}",
            subject=model,
            time=rfc3339(time_s),
            dataschema=SCHEMA_ID,
            severity="warning",
            open=is_open(state),
            silenced=mute is not None,
            data=data,
        )
        return fitted(alert)

    def condition_marked(self, said: Alert, decision: Decision, mute: InForce | None) -> Alert:
        """The same again, marked or not any more."""
        data = said.data
        silenced_by = None if mute is None else _silenced_by(mute, decision.time_s)
        by = silenced_by or data.silenced_by
        assert by is not None
        what = data.summary.partition("; silenced by ")[0]
        return msgspec.structs.replace(
            said,
            id=stable_id(
                self.source,
                data.monitor,
                data.signal["text"],
                data.model,
                decision.state,
                decision.reason,
                decision.time_s,
                by.name,
            ),
            time=rfc3339(decision.time_s),
            silenced=mute is not None,
            data=msgspec.structs.replace(
                data,
                reason=decision.reason,
                silenced_by=silenced_by,
                made_by=self.made_by,
                summary=what + (_until(silenced_by) if silenced_by is not None else ""),
            ),
        )

    def condition_ended(self, said: Alert, decision: Decision) -> Alert:
        """Its end for a reason outside the data: somebody accepted it, or nobody watches the model any more."""
        data, reason, time_s = said.data, decision.reason, decision.time_s
        return msgspec.structs.replace(
            said,
            id=stable_id(self.source, data.monitor, data.signal["text"], data.model, "ended", reason, time_s),
            type="streamwatch.alert.ended",
            time=rfc3339(time_s),
            open=False,
            data=msgspec.structs.replace(
                data, reason=reason, made_by=self.made_by, summary=f"{reason}: {data.summary}"
            ),
        )

    def ended(
        self, key: StreamKey, trail: Trail, digest: str, about: str, said: Alert, decision: Decision
    ) -> Alert:
        """The end of what is open, for a reason outside the data (retired, evicted, removed from the config). It
        needs nothing but the alert last written: the monitor may not exist any more."""
        data = said.data
        monitor, signal = data.monitor, str(data.signal.get("text", ""))
        return msgspec.structs.replace(
            said,
            id=self.id(key, trail, monitor, signal, about, digest, decision),
            type="streamwatch.alert.ended",
            time=rfc3339(decision.time_s),
            open=False,
            data=msgspec.structs.replace(
                data,
                reason=decision.reason,
                made_by=self.made_by,
                summary=f"{monitor} ({signal}) of {key} ended: {_ENDED[decision.reason]}",
            ),
        )

    def id(
        self,
        key: StreamKey,
        trail: Trail,
        monitor: str,
        signal: str,
        about: str,
        digest: str,
        decision: Decision,
        apart: str = "",
    ) -> str:
        """`apart`: what tells apart alerts of one time: whose silence began or ended, which bucket shows it."""
        parts = (apart,) if apart else ()
        return stable_id(
            self.source,
            monitor,
            signal,
            about,
            key.model,
            key.version,
            key.segment,
            decision.state,
            decision.reason,
            decision.time_s,
            trail.last_id,
            trail.n,
            digest,
            *parts,
        )


_ENDED = {
    "retired": "the version has no events any more while another has",
    "evicted": "too many stream keys, and this one was silent longest",
    "removed": "the monitor was changed or removed from the config",
    "accepted": "the level was accepted as the new normal",
}


def _named(watcher: Watcher) -> str:
    """With `of: all` the monitor's name does not say which feature it is about, nor with `every` what its numbers
    are."""
    monitor = watcher.monitor
    parts = [] if monitor.of is None else [str(watcher.signal.name)]
    if monitor.every is not None:
        parts.append(str(monitor.every))
    return f"{monitor.name} ({', '.join(parts)})" if parts else monitor.name


def _signal(watcher: Watcher, name: str) -> dict[str, Any]:
    described = {"kind": watcher.signal.kind, "text": watcher.label}
    for part in ("name", "value"):
        value = getattr(watcher.signal, part)
        if value is not None:
            described[part] = value
    if watcher.monitor.every is not None:
        every = plain(watcher.monitor.every)
        described |= {"every": every["length"], "stat": every["stat"]}
    if name:
        described["of"] = name
    return described


def _silenced_by(mute: InForce, time_s: float) -> SilencedBy:
    until_s = covered_until((mute,), time_s)
    return SilencedBy(
        name=mute.name,
        author=mute.author,
        reason=mute.reason,
        until=None if until_s == NEVER else rfc3339(until_s),
    )


def _until(by: SilencedBy) -> str:
    return f"; silenced by {by.author or by.name}" + (f" until {by.until}" if by.until else "")


def _happened(
    watcher: Watcher,
    state: State,
    reason: str,
    change: Change | None,
    unseen: Unseen | None,
    found: Detection | Look | Warmth | None,
) -> str:
    if state in ("blind", "seeing"):
        if isinstance(found, Warmth):
            return _warmed(watcher, state, found)
        if state == "seeing":
            return "sees again: its values are usable"
        if watcher.blindness is not None and watcher.blindness.cold:
            return "is still blind: it has not seen enough to alarm"
        counts = "" if unseen is None else f": {unseen.count} of the last {unseen.of} values"
        what = "unusable" if watcher.monitor.every is None else "unusable or too late for their bucket"
        what = "missing" if unseen is not None and unseen.limit == 1.0 else what
        again = "is still blind" if reason in ("reminder", "silenced", "unsilenced") else "is blind"
        return f"{again}{counts} {what}" if counts else again
    assert change is not None
    was, now = _short(change.from_), _short(change.to)
    if state == "settled":
        return f"settled at {now} (was {was} before)"
    verb = "rose" if change.to >= change.from_ else "fell"
    match reason:
        case "reminder" | "silenced" | "unsilenced":
            return f"is still open: {verb} from {was} to {now}"
        case "improved":
            return f"improved: now {now} (was {was} before the change)"
        case "worse":
            return f"got worse: {verb} from {was} to {now}"
        case "turned":
            return f"turned: {verb} from {was} to {now}"
    return f"{verb} from {was} to {now}"


def _warmed(watcher: Watcher, state: State, warmth: Warmth) -> str:
    detector, every = watcher.monitor.detector, watcher.monitor.every
    values, counts = ("values", detector.counts) if every is None else ("buckets", "of them")
    if state == "seeing":
        return f"sees: it has read {warmth.seen:,} {values} and can alarm"
    needs = f"{detector.label} needs at least {warmth.need:,} {counts} before it can alarm"
    if not warmth.seen:
        return f"is blind: it has read nothing yet, and {needs}: do its signal, `where` and labels fit the events?"
    return (
        f"is blind: it has read only {warmth.seen:,} {values}, and {needs}: a longer `warm_in`, or a detector that "
        "needs fewer"
    )


def _short(value: float) -> str:
    """Three digits, as people write them.

    >>> _short(0.10234), _short(1043.7), _short(2.5e9), _short(1.5e-7)
    ('0.102', '1,044', '2,500,000,000', '1.5e-07')
    """
    return f"{value:,.0f}" if 1e3 <= abs(value) < 1e12 else f"{value:.3g}"
