"""Findings as people read them: lines and tables of text, without values that could be a customer's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from streamwatch.alerts import rfc3339
from streamwatch.offline.fieldprofile import Field
from streamwatch.offline.findings import Findings
from streamwatch.offline.starter import inline, shown

MOST_ROWS = 40
MOST_LISTED = 5


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def told(found: Findings, now_s: float) -> Iterator[str | Table]:
    """In the order in which a person wants to know it."""
    look, sample = found.look, found.look.sample
    yield f"{sample.where}: {_held(found)}{_rate(found, now_s)}"
    yield f"sampled: {sample.taken}, {look.records:,} records{_span(found)}"
    if len(sample.partitions) > 1 or sample.file is None:
        yield Table(
            "partitions",
            ("partition", "first offset", "end offset", "sampled", "records/s"),
            _partitions(found),
        )
    yield f"records: {', '.join(_records(found))}"
    yield f"keys: {keys(found)}"
    if look.headers:
        yield Table("headers", ("header", "in", "different", "values"), [
            (name, _share(field.present, field.records), f"{field.distinct:,}", _values(field, hide=False))
            for name, field in look.headers.items()
        ])  # fmt: skip
    if look.fields:
        yield Table(
            "fields", ("field", "type", "missing", "different", "values", "probably"), list(_fields(found))
        )
        if look.cut:
            yield f"only the first {len(look.fields)} fields are shown: names without end are values, not fields"
    if found.models:
        yield Table("models", ("model", "version", "records", "partitions"), list(_models(found)))
        yield f"models in partitions: {lie(found)}"
    if look.objects:
        yield Table("mapping", ("read", "from", "because"), [
            (name, inline(guess.place), guess.why) for name, guess in found.proposal.read.items()
        ])  # fmt: skip
        dead = (
            f"; dead letters: {', '.join(f'{n:,} {code}' for code, n in found.dead.items())}"
            if found.dead
            else ""
        )
        yield f"read so, {found.events:,} of {look.records:,} records are events{_times(found)}{dead}"
    for doubt in doubts(found):
        yield f"? {doubt}"


def doubts(found: Findings) -> list[str]:
    """Everything that somebody who knows the events should confirm."""
    texts = list(found.proposal.doubts)
    texts += [f"{name}: {doubt}" for name, guess in found.proposal.read.items() for doubt in guess.doubts]
    tasks = {model.guessed.doubt: model.name for model in reversed(found.models) if model.guessed.doubt}
    return texts + [f"model {name}: {doubt}" for doubt, name in tasks.items()]


def _held(found: Findings) -> str:
    parts = found.look.sample.partitions
    many = f"{len(parts):,} partition{'' if len(parts) == 1 else 's'}"
    if any(part.held is None for part in parts):
        return many
    return f"{many}, {sum(part.held or 0 for part in parts):,} records held"


def _rate(found: Findings, now_s: float) -> str:
    look = found.look
    rate = "" if look.rate is None else f", about {look.rate:,.3g} records/s"
    if look.last_s is None:
        return rate
    return f"{rate}, newest {ago(now_s - look.last_s)}"


def ago(seconds: float) -> str:
    """
    >>> ago(0.2), ago(90), ago(7200), ago(3e5), ago(-60)
    ('just now', '90 s ago', '120 min ago', '3 days ago', '60 s ahead of this clock')
    """
    if abs(seconds) < 1:
        return "just now"
    if seconds < 0:
        return f"{-seconds:,.0f} s ahead of this clock"
    for limit, unit, name in ((120, 1, "s"), (7201, 60, "min"), (172_800, 3600, "hours")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name} ago"
    return f"{seconds / 86400:,.0f} days ago"


def _span(found: Findings) -> str:
    look = found.look
    if look.first_s is None or look.last_s is None:
        return ", without record times"
    return f", from {rfc3339(look.first_s)} to {rfc3339(look.last_s)}"


def _times(found: Findings) -> str:
    if found.span_s is None or found.proposal.read["time"].field is None:
        return ""
    first_s, last_s = found.span_s
    return f", of {rfc3339(first_s)} to {rfc3339(last_s)}"


def _partitions(found: Findings) -> Sequence[tuple[str, ...]]:
    look = found.look
    rows = [
        (
            str(part.number),
            f"{part.first:,}",
            "?" if part.end is None else f"{part.end:,}",
            f"{part.sampled:,}",
            "" if (rate := look.rates[part.number]) is None else f"{rate:,.3g}",
        )
        for part in look.sample.partitions
    ]
    return _cut(rows)


def _records(found: Findings) -> Iterator[str]:
    look = found.look
    yield f"{look.objects:,} JSON objects"
    if look.tombstones:
        yield f"{look.tombstones:,} tombstones ({_share(look.tombstones, look.records)})"
    for code, count in look.unreadable.items():
        yield f"{count:,} {code} ({_share(count, look.records)})"


def keys(found: Findings) -> str:
    look = found.look
    if look.keys.null == look.records:
        return "none"
    parts = [f"{look.keys.field.distinct:,} different texts"] if look.keys.field.present else []
    if look.keys.binary:
        parts.append(f"{look.keys.binary:,} are no UTF-8")
    if look.keys.null:
        parts.append(f"{_share(look.keys.null, look.records)} null")
    if found.key_is:
        parts.append(f"the same as the {found.key_is}")
    if look.keys.one_partition is not None:
        where = "each in one partition" if look.keys.one_partition else "some in several partitions"
        parts.append(where)
    return ", ".join(parts)


def lie(found: Findings) -> str:
    """How models lie in partitions, and so how the work can be cut."""
    if len(found.look.sample.partitions) == 1:
        return "there is one partition"
    if not found.scattered:
        return "each model lies wholly in one partition, as far as was sampled: work can be cut by partition"
    names = ", ".join(shown(model.name) for model in found.scattered[:MOST_LISTED])
    return f"{names} in several partitions: all partitions are one task (tasks: one)"


def _fields(found: Findings) -> Iterator[tuple[str, ...]]:
    paths = list(found.look.fields)
    for path in paths[:MOST_ROWS]:
        field = found.look.fields[path]
        role = found.roles(path)
        hide = "id" in role or field.identifying
        yield (
            shown(path), _types(field), _share(field.missing, field.records) if field.missing else "",
            "" if field.types.keys() <= {"object"} else f"{field.distinct:,}", _values(field, hide), ", ".join(role),
        )  # fmt: skip
    if len(paths) > MOST_ROWS:
        yield (f"and {len(paths) - MOST_ROWS} more: --json", "", "", "", "", "")


def _types(field: Field) -> str:
    total = sum(field.types.values())
    kinds = sorted(field.types.items(), key=lambda pair: -pair[1])
    if len(kinds) == 1:
        return kinds[0][0]
    return ", ".join(f"{kind} {_share(count, total)}" for kind, count in kinds)


def _values(field: Field, hide: bool) -> str:
    if field.vectors is not None:
        length = f"{field.vectors.shortest}" if field.vectors.shortest == field.vectors.longest else (
            f"{field.vectors.shortest} to {field.vectors.longest}")  # fmt: skip
        what = (
            "probabilities"
            if field.vectors.probabilities
            else "numbers"
            if field.vectors.numbers
            else "others"
        )
        return f"lists of {length} {what}"
    if field.json is not None:
        return f"JSON in a text{': ' + shown(', '.join(field.json)) if field.json else ''}"
    if field.time:
        return f"times ({field.time})"
    if hide:
        return "not shown"
    if field.common:
        rest = field.distinct - len(field.common)
        said = ", ".join(f"{shown(value)} {_share(count, field.present)}" for value, count in field.common)
        return said + (f", {rest} more" if rest else "")
    if field.quantiles is not None:
        low, _, _, middle, _, _, high = field.quantiles
        return f"{low:.6g} to {high:.6g}, median {middle:.6g}"
    if field.text:
        return "not shown" + (", written as numbers" if field.numeric_text else "")
    return ""


def _models(found: Findings) -> Iterator[tuple[str, ...]]:
    rows = [
        (shown(model.name), "" if version is None else shown(version), f"{count:,}",
         _listed(sorted(model.partitions)))
        for model in found.models
        for version, count in model.versions.items()
    ]  # fmt: skip
    yield from _cut(rows)


def _listed(numbers: Sequence[int]) -> str:
    rest = f" and {len(numbers) - MOST_LISTED} more" if len(numbers) > MOST_LISTED else ""
    return ", ".join(map(str, numbers[:MOST_LISTED])) + rest


def _cut(rows: Sequence[tuple[str, ...]]) -> Sequence[tuple[str, ...]]:
    if len(rows) <= MOST_ROWS:
        return rows
    return [*rows[:MOST_ROWS], (f"and {len(rows) - MOST_ROWS} more", *[""] * (len(rows[0]) - 1))]


def _share(count: int, total: int) -> str:
    """
    >>> _share(1, 3), _share(0, 3), _share(1, 5000), _share(4999, 5000)
    ('33%', '0%', '<1%', '>99%')
    """
    share = count / total if total else 0.0
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 < share < 1 else f"{share:.0%}"
