"""What is not as it would be undisturbed, in lines for a person. What the two sides are: see `verdict`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from streamwatch.records import Message
from tests.kafka.verdict import End, Ends

SHOWN = 10


def differences(expected: Ends, found: Ends) -> list[str]:
    """One line for each thing that is not as it would be undisturbed; none if all is equal."""
    if expected.keys() != found.keys():
        return [f"tasks: expected {sorted(expected)}, found {sorted(found)}"]
    many = len(expected) > 1
    return [
        f"task {task}: {line}" if many else line
        for task in sorted(expected)
        for line in _differences(expected[task], found[task])
    ]


def _differences(expected: End, found: End) -> list[str]:
    return [
        *_messages("alerts", expected.alerts, found.alerts),
        *_messages("dead letters", expected.dead_letters, found.dead_letters),
        *_state(expected.state, found.state),
        *([] if dict(expected.offsets) == dict(found.offsets) else
          [f"offsets: expected {dict(expected.offsets)}, found {dict(found.offsets)}"]),
    ]  # fmt: skip


def _messages(what: str, expected: Sequence[Message], found: Sequence[Message]) -> list[str]:
    if list(expected) == list(found):
        return []
    wanted, got = Counter(expected), Counter(found)
    missing = list((wanted - got).elements())
    again = [message for message in (got - wanted).elements() if message in wanted]
    unknown = [message for message in (got - wanted).elements() if message not in wanted]
    head = (
        f"{what}: {len(expected)} expected, {len(found)} found; {len(missing)} missing, "
        f"{len(again)} twice, {len(unknown)} unknown"
    )
    if not (missing or again or unknown):
        place = next(i for i, (a, b) in enumerate(zip(expected, found, strict=True)) if a != b)
        return [f"{head}, in another order from number {place} on: {_name(found[place])}"]
    groups = (("missing", missing), ("twice", again), ("unknown", unknown))
    lines = [f"  {word}: {_name(message)}" for word, some in groups for message in some[:SHOWN]]
    return [head, *lines, *_changed(missing, unknown)]


def _changed(missing: Sequence[Message], unknown: Sequence[Message]) -> list[str]:
    """Where those that are only written otherwise than expected differ."""
    expected = {name: body for message in missing for name, body in [_leaves(message)] if name}
    lines = []
    for name, found in map(_leaves, unknown):
        if name and (wanted := expected.get(name)) is not None:
            places = [at for at in {**wanted, **found} if wanted.get(at) != found.get(at)]
            told = "; ".join(f"{at}: expected {wanted.get(at)}, found {found.get(at)}" for at in places)
            lines.append(f"  changed: {name}: {told or 'its key or headers'}"[:600])
    return lines[:SHOWN]


def _leaves(message: Message) -> tuple[str, dict[str, Any]]:
    """The alert's id, "" if it is none, and its values by their paths."""
    try:
        body = json.loads(message.value or b"null")
    except ValueError:
        return "", {}
    found: dict[str, Any] = {}
    rest = [("", body)]
    while rest:
        at, value = rest.pop()
        items = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        if not isinstance(value, dict | list):
            found[at.removeprefix(".")] = value
        rest += [(f"{at}.{name}", one) for name, one in items]
    return str(found.get("id", "")), found


def _name(message: Message) -> str:
    try:
        body = json.loads(message.value or b"null")
        fields = ("id", "type", "subject", "time", "topic", "partition", "offset", "reason")
        return str({name: body[name] for name in fields if name in body})
    except (ValueError, TypeError):
        return repr(message)[:300]


def _state(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    gone, new = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    # As msgpack, because a NaN is not equal to itself.
    other = [
        name
        for name in sorted(expected.keys() & found.keys())
        if _plain(expected[name]) != _plain(found[name])
    ]
    lines = [f"state: missing {gone[:SHOWN]}"] if gone else []
    lines += [f"state: not expected {new[:SHOWN]}"] if new else []
    return lines + [
        f"state of {name}: expected {expected[name]}, found {found[name]}"[:600] for name in other[:SHOWN]
    ]


def _plain(value: Any) -> bytes:
    return msgspec.msgpack.encode(value, order="deterministic")
