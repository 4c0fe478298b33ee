"""The table of hostile records: each class with its result (dead letter with its reason, unusable value, or fine).

Then 100,000 of them at random among good ones: nothing raises, and every record is in exactly one place.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pytest

from streamwatch.decode import Decoder, Input
from streamwatch.events import Events, Needs
from streamwatch.fields import DEEPEST, Fields, Unusable
from streamwatch.series import floats
from tests.decoding import EVERYTHING, RECORD_S, batch, decode, event, one, only, rows

DEEP = 100_000


def raw(before: bytes = b"", **fields: Any) -> bytes:
    """A good event with some JSON text put in front of its fields; a field of bytes is put in as it is."""
    marked = {name: f"@{name}@" if isinstance(value, bytes) else value for name, value in fields.items()}
    text = json.dumps(event(**marked)).encode()
    for name, value in fields.items():
        if isinstance(value, bytes):
            text = text.replace(f'"@{name}@"'.encode(), value)
    return b"{" + before + text[1:]


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@dataclass(frozen=True)
class Dead:
    code: str
    field: str
    reason: str  # a part of it


Fine = Callable[[dict[str, Any]], bool]

GOOD: Fine = lambda row: row == one(decode(event()))  # noqa: E731


def reads(**expected: Any) -> Fine:
    return lambda row: all(
        repr(row[name.replace("__", ".")]) == repr(want) for name, want in expected.items()
    )


def unusable(name: str) -> Fine:
    """The value is unusable, and nothing else is other than usual."""

    def holds(row: dict[str, Any]) -> bool:
        usual = one(decode(event()))
        others = all(repr(row[other]) == repr(usual[other]) for other in usual if other != name)
        return others and row[name] is not None and bool(floats([row[name]])[1][0])

    return holds


NO_TEXT = "expected a text or a number"
NO_TIME = "expected RFC 3339 or epoch seconds or milliseconds"
TABLE: dict[str, tuple[bytes | None, Dead | Fine]] = {
    # the record as a whole
    "empty": (b"", Dead("empty", "", "got no bytes")),
    "white space": (b" \n", Dead("not json", "", "no JSON")),
    "truncated": (raw()[:-20], Dead("not json", "", "no JSON")),
    "truncated in a text": (b'{"model":"fra', Dead("not json", "", "no JSON")),
    "truncated in an escape": (b'{"model":"fra\\', Dead("not json", "", "no JSON")),
    "two objects": (raw() + raw(), Dead("not json", "", "Extra data")),
    "trailing comma": (raw()[:-1] + b",}", Dead("not json", "", "no JSON")),
    "single quotes": (b"{'model':'fraud'}", Dead("not json", "", "no JSON")),
    "null": (b"null", Dead("not an object", "", "expected a JSON object, got null")),
    "a list": (b"[]", Dead("not an object", "", "got a list of 0")),
    "a number": (b"3", Dead("not an object", "", "got 3")),
    "a text": (b'"x"', Dead("not an object", "", 'got "x"')),
    "a NaN": (b"NaN", Dead("not an object", "", "got NaN")),
    "a lone surrogate": (b'"\\ud800"', Dead("not an object", "", 'got "\\ud800"')),
    "no JSON at all": (b"hello", Dead("not json", "", "no JSON")),
    "binary": (b"\x00\x00\x00\x00\x07\x02a1\x0afraud", Dead("not json", "", "no JSON")),
    "binary, no UTF-8": (b"\x93\xff\xfe", Dead("not utf-8", "", "got byte 0x93 at position 0")),
    "UTF-16": (raw().decode().encode("utf-16"), Dead("not utf-8", "", "got byte 0xff at position 0")),
    "a control character in a text": (raw(b'"x":"\x01",'), Dead("not json", "", "control character")),
    "a byte order mark": (b"\xef\xbb\xbf" + raw(), GOOD),
    # fields that identify
    "no fields": (b"{}", Dead("field missing", "model", f"model: {NO_TEXT}, got nothing")),
    "model null": (raw(model=None), Dead("field missing", "model", "got nothing")),
    "model empty": (raw(model=""), Dead("field wrong", "model", "got an empty text")),
    "model a list": (raw(model=["m"]), Dead("field wrong", "model", f"{NO_TEXT}, got a list of 1")),
    "model an object": (raw(model={"n": 1}), Dead("field wrong", "model", "got an object of 1")),
    "model a boolean": (raw(model=True), Dead("field wrong", "model", "got true")),
    "model NaN": (raw(model=math.nan), Dead("field wrong", "model", "got NaN")),
    "model 1e999": (raw(model=b"1e999"), Dead("field wrong", "model", "got Infinity")),
    "model of 400 digits": (raw(model=10**399), reads(model=str(10**399))),
    "model of 5,000 digits": (raw(model=b"1" * 5000), Dead("field wrong", "model", "got Infinity")),
    "model too long": (raw(model="m" * 1025), Dead("field wrong", "model", "at most 1,024 characters")),
    "model with NUL": (raw(model="a\0b"), reads(model="a\0b")),
    "model a lone surrogate": (raw(model=b'"\\ud800"'), Dead("not utf-8", "model", 'got "\\ud800"')),
    "model no UTF-8": (raw(model=b'"a\xff"'), Dead("not utf-8", "model", "expected text in UTF-8")),
    "model a surrogate in UTF-8": (raw(model=b'"\xed\xa0\x80"'), Dead("not utf-8", "model", "in UTF-8")),
    "id a list": (raw(event_id=[1]), Dead("field wrong", "event_id", f"{NO_TEXT}, got a list of 1")),
    "id an object": (raw(event_id={}), Dead("field wrong", "event_id", "got an object of 0")),
    "id a boolean": (raw(event_id=False), Dead("field wrong", "event_id", "got false")),
    "id 10 MB": (raw(event_id="i" * 10_000_000), Dead("field wrong", "event_id", "(10000000 characters)")),
    "id a lone surrogate": (raw(event_id=b'"\\udfff"'), Dead("not utf-8", "event_id", "in UTF-8")),
    "id a number": (raw(event_id=5), reads(id="5")),
    "id absent": (raw(event_id=None), reads(id=None)),
    "version a list": (raw(model_version=[]), Dead("field wrong", "model_version", "got a list of 0")),
    "version too long": (raw(model_version="3" * 1025), Dead("field wrong", "model_version", "at most 1,024")),
    "version a surrogate": (raw(model_version=b'"\\ud800"'), Dead("not utf-8", "model_version", "in UTF-8")),
    "time a word": (raw(timestamp="yesterday"), Dead("field wrong", "timestamp", f'{NO_TIME}, got "yesterday"')),
    "time NaN": (raw(timestamp=math.nan), Dead("field wrong", "timestamp", f"{NO_TIME}, got NaN")),
    "time the text NaN": (raw(timestamp="NaN"), Dead("field wrong", "timestamp", 'got "NaN"')),
    "time a boolean": (raw(timestamp=True), Dead("field wrong", "timestamp", "got true")),
    "time a list": (raw(timestamp=[1]), Dead("field wrong", "timestamp", "got a list of 1")),
    "time in year 1": (raw(timestamp="0001-01-01T00:00:00Z"), Dead("time out of range", "timestamp", "from 1970")),
    "time in year 9999": (raw(timestamp="9999-12-31T23:59:59Z"), Dead("time out of range", "timestamp", "9999-12")),
    "time infinite": (raw(timestamp=math.inf), Dead("time out of range", "timestamp", "got Infinity")),
    "time 10**400": (raw(timestamp=10**400), Dead("time out of range", "timestamp", "characters)")),
    "time in nanoseconds": (raw(timestamp=int(RECORD_S * 1e9)), Dead("time out of range", "timestamp", "got 179")),
    "time a surrogate": (raw(timestamp=b'"\\ud800"'), Dead("not utf-8", "timestamp", "in UTF-8")),
    # values: the event is good
    **{
        f"{name} {what}": (raw(**{name: text}), unusable(name))
        for name in ("prediction", "score", "label", "latency_ms")
        for what, text in {
            "a list": b"[1]", "an object": b'{"a":1}', "NaN": b"NaN", "-Infinity": b"-Infinity", "1e999": b"1e999",
            "10**400": b"1" + b"0" * 400, "5,000 digits": b"9" * 5000, "a text": b'"x"', "no UTF-8": b'"\xff"',
            "a lone surrogate": b'"\\ud800"', "deep": nested(DEEPEST - 1),
        }.items()
    },
    "a feature NaN": (raw(features=b'{"amount":NaN,"country":"DE"}'), unusable("features.amount")),
    "a feature no UTF-8": (raw(features=b'{"amount":12.5,"country":"\xff"}'), unusable("features.country")),
    "a feature a surrogate": (raw(features=b'{"amount":12.5,"country":"\\ud8ff"}'), unusable("features.country")),
    "a feature not read NaN": (raw(features=b'{"amount":12.5,"country":"DE","z":NaN}'), GOOD),
    "features a surrogate": (raw(features=b'"\\ud800"'), lambda row: isinstance(row["features.amount"], Unusable)),
    "features a text": (raw(features="x"), lambda row: isinstance(row["features.amount"], Unusable)),
    "features null": (raw(features=None), reads(features__amount=None, features__country=None)),
    "score of 400 digits": (raw(score=10**399), reads(score=10**399)),
    # what nobody reads
    "NaN where nobody reads": (raw(b'"x":[NaN,-Infinity],'), GOOD),
    "1e999 where nobody reads": (raw(b'"x":1e999,'), GOOD),
    "5,000 digits where nobody reads": (raw(b'"x":' + b"1" * 5000 + b","), GOOD),
    "5,000 digits and NaN where nobody reads": (raw(b'"y":NaN,"x":-' + b"1" * 5000 + b","), GOOD),
    "no UTF-8 where nobody reads": (raw(b'"x":"\xff\xc0\x80","\xfe":1,'), GOOD),
    "no UTF-8 and NaN where nobody reads": (raw(b'"x":"\xff\xc0\x80","\xfe":NaN,'), GOOD),
    "a surrogate where nobody reads": (raw(b'"x":"\\ud800","\\udc00":1,'), GOOD),
    "10 MB where nobody reads": (raw(b'"x":"' + b"x" * 10_000_000 + b'",'), GOOD),
    "10 MB of quotes": (raw(b'"x":"' + b'\\"' * 5_000_000 + b'",'), GOOD),
    "10 MB of brackets in a text": (raw(b'"x":"' + b"[{" * 5_000_000 + b'",'), GOOD),
    "10 MB of small lists": (raw(b'"x":[' + b"[]," * 3_000_000 + b"0],"), GOOD),
    "10 MB of an open text": (b'{"x":"' + b'\\"[' * 3_000_000, Dead("not json", "", "no JSON")),
    # nesting
    "nested as deep as is read": (raw(b'"x":' + nested(DEEPEST - 1) + b","), GOOD),
    "nested a level deeper": (raw(b'"x":' + nested(DEEPEST) + b","), Dead("too deep", "", "at most 256 levels")),
    "nested deep where nobody reads": (raw(b'"x":' + nested(DEEP) + b","), Dead("too deep", "", "at most 256")),
    "nested deep in a field": (raw(score=nested(DEEP)), Dead("too deep", "", "at most 256")),
    "nested objects": (raw(b'"x":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b","), Dead("too deep", "", "at most")),
    "nested and never closed": (b"[" * DEEP, Dead("too deep", "", "at most 256")),
    # repeated names: the last one counts
    "repeated names": (raw(b'"model":"other","score":7,"model":["x"],'), GOOD),
    "repeated names, the last one wrong": (
        raw()[:-1] + b',"model":null}',
        Dead("field missing", "model", "got nothing"),
    ),
    "repeated objects": (raw(b'"features":{"amount":7,"country":"FR"},"features":5,'), GOOD),
    "repeated names with NaN": (raw(b'"model":NaN,"score":NaN,'), GOOD),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_each_class_of_hostile_record_has_its_result(name: str) -> None:
    value, expected = TABLE[name]
    decoded = decode(value)
    if isinstance(expected, Dead):
        letter = only(decoded)
        assert (letter.code, letter.field) == (expected.code, expected.field)
        assert expected.reason in letter.reason
        assert len(letter.reason) < 300
    else:
        assert expected(one(decoded)), one(decoded)
        writable(decoded.events)


@pytest.mark.parametrize("payload", ["hash", "head"])
def test_every_dead_letter_can_be_written_within_32_kib(payload: str) -> None:
    values = [value for value, expected in TABLE.values() if isinstance(expected, Dead)]
    decoded = decode(*values, payload=payload)
    assert len(decoded.dead_letters) == len(values)
    assert max(len(letter.message("service").value or b"") for letter in decoded.dead_letters) < 32 * 1024


def test_all_of_the_table_in_one_batch_equals_each_alone() -> None:
    values = [value for value, _ in TABLE.values() if value is None or len(value) < 1_000_000]
    together = decode(*values)
    alone = [decode(value) for value in values]
    seen = [repr(row | {"record": 0}) for row in rows(together)]
    assert seen == [repr(row) for part in alone for row in rows(part)]
    reasons = [(letter.code, letter.reason) for letter in together.dead_letters]
    assert reasons == [(letter.code, letter.reason) for part in alone for letter in part.dead_letters]


def test_ten_records_of_10_mb_among_good_ones() -> None:
    big = [raw(features=b'{"amount":1,"x":"' + b"y" * 10_000_000 + b'"}') for _ in range(10)]
    values = [entry for value in big for entry in (value, event())]
    assert len(decode(*values).events) == 20


def test_the_depth_that_is_read_does_not_depend_on_how_deep_the_caller_stands() -> None:
    values = [raw(b'"x":' + nested(levels) + b",") for levels in (DEEPEST - 1, DEEPEST)]
    values += [raw(b'"y":NaN,"x":' + nested(levels) + b",") for levels in (DEEPEST - 1, DEEPEST)]
    values += [raw(b'"y":"\\ud800",', score=nested(levels)) for levels in (DEEPEST - 1, DEEPEST)]
    expected = decode(*values)
    assert expected.events.record.tolist() == [0, 2, 4]

    def below(frames: int) -> Any:
        return below(frames - 1) if frames else decode(*values)

    deeper = below(sys.getrecursionlimit() - DEEPEST - 250 - _depth())
    assert deeper.events.record.tolist() == expected.events.record.tolist()
    assert deeper.dead_letters == expected.dead_letters


def test_a_caller_that_leaves_no_room_for_nesting_gets_a_reason_and_no_recursion_error() -> None:
    value = raw(b'"x":' + nested(DEEPEST - 1) + b",")

    def below(frames: int) -> Any:
        if frames:
            return below(frames - 1)
        try:
            return fields.rows([value])[1]
        except RecursionError as exc:
            return exc

    fields = Fields([("a",)])
    wrong = below(sys.getrecursionlimit() - 100 - _depth())
    assert isinstance(wrong, dict), wrong
    assert [exc.code for exc in wrong.values()] in (["too deep"], [])  # some Pythons need no room there


def _depth() -> int:
    frame, depth = sys._getframe(), 0
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


def test_all_features_can_be_written_whatever_the_names() -> None:
    needs = Needs(all_features=True)
    hostile = raw(features=b'{"a\\ud800":1,"b\xff":2,"c":"\\ud800","d":["\\ud800"],"e":NaN}')
    everything = one(decode(hostile, needs=needs))["all"]
    assert list(everything) == ["a\ufffd", "b\ufffd", "c", "d", "e"]
    assert isinstance(everything["c"], Unusable)
    msgspec.json.encode(everything["a\ufffd"])


def test_100000_hostile_records_at_random_among_good_ones() -> None:
    rng = random.Random(20261124)
    table = [(value, result) for value, result in TABLE.values() if value is None or len(value) < 100_000]
    hostile = [value for value, _ in table]
    dead = [isinstance(result, Dead) for _, result in table]
    count = 200_000
    values: list[bytes | None] = []
    expected: Counter[str] = Counter()
    good: dict[int, str] = {}
    for row in range(count):
        if row % 2:
            which = rng.randrange(len(hostile) + 1)
            if which == len(hostile):
                values.append(None)
                expected["tombstones"] += 1
            else:
                values.append(hostile[which])
                expected["dead letters" if dead[which] else "events"] += 1
        else:
            good[row] = f"e{row}"
            values.append(raw(event_id=f"e{row}"))
            expected["events"] += 1
    whole = batch(values)
    decoder = Decoder([Input(topics=("predictions",))], EVERYTHING)
    seen: Counter[str] = Counter()
    ids: dict[int, str | None] = {}
    places: list[int] = []
    start = 0
    while start < count:
        stop = min(start + rng.choice([1, 10, 500, 5000]), count)
        decoded = decoder.decode(whole.rows(start, stop))
        at = (decoded.events.record + start).tolist()
        ids |= dict(zip(at, decoded.events.id, strict=True))
        places += at + [letter.offset - 100 for letter in decoded.dead_letters]
        seen["events"] += len(decoded.events)
        seen["dead letters"] += len(decoded.dead_letters)
        seen["tombstones"] += decoded.tombstones
        seen["ignored"] += decoded.ignored
        writable(decoded.events)
        start = stop
    assert seen == expected
    assert len(places) == len(set(places)) == count - expected["tombstones"]
    assert {row: ids[row] for row in good} == good


def writable(events: Events) -> None:
    """Whatever becomes part of keys, ids and alerts can be written as UTF-8, and columns are as long as each other."""
    for column in (events.id, events.model, events.version):
        msgspec.msgpack.encode(list(column))
    lengths = {len(column) for column in (*events.fields.values(), *events.features.values(), events.id)}
    assert lengths == {len(events)} == {len(events.time_s)} == {len(events.record)}
    assert np.isfinite(events.time_s).all()
