"""Records become events by the mapping of their input; what identifies an event decides whether there is one."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from typing import Any

import pytest

from streamwatch.decode import Decoder, Input
from streamwatch.events import Needs
from streamwatch.fields import Unusable
from tests.decoding import EVERYTHING, RECORD_S, batch, decode, event, one, only, rows

SCORE = Needs(frozenset({"score"}))


def test_an_event_of_the_contract_reads_by_the_default_names() -> None:
    assert one(decode(event())) == {
        "record": 0, "time_s": RECORD_S, "id": "a1", "model": "fraud", "version": "3",
        "prediction": 1, "score": 0.93, "label": 0, "latency_ms": 8.1,
        "features.amount": 12.5, "features.country": "DE",
    }  # fmt: skip


def test_only_what_is_needed_is_in_the_columns() -> None:
    events = decode(event(), needs=Needs(frozenset({"score"}), frozenset({"country"}))).events
    assert set(events.fields) == {"score"}
    assert set(events.features) == {"country"}
    assert events.all_features is None


def test_absent_and_null_read_as_nothing() -> None:
    first, second = rows(decode({"model": "m"}, dict.fromkeys(event()) | {"model": "m"}))
    assert first | {"record": 1} == second
    assert first["time_s"] == RECORD_S
    assert {first[name] for name in first if name not in ("record", "time_s", "model")} == {None}


def test_a_field_mapped_to_null_is_not_read() -> None:
    read = dict.fromkeys(("id", "version", "time", "prediction", "label", "latency_ms", "features"))
    row = one(decode(event(timestamp="nonsense"), read=read))
    assert (row["id"], row["version"], row["time_s"]) == (None, None, RECORD_S)
    assert (row["prediction"], row["features.amount"], row["score"]) == (None, None, 0.93)


@pytest.mark.parametrize(
    ("read", "value", "field", "expected"),
    [
        ({"score": "out.p"}, {"out": {"p": 0.5, "q": 1}}, "score", 0.5),
        ({"score": "a.b.c"}, {"a": {"b": {"c": 7}}}, "score", 7),
        ({"score": r"a\.b.c"}, {"a.b": {"c": 7}, "a": {"b": {"c": 8}}}, "score", 7),
        ({"score": r"a\\b"}, {"a\\b": 7}, "score", 7),
        ({"score": "größe"}, {"größe": 7}, "score", 7),
        ({"score": "not an identifier!"}, {"not an identifier!": 7}, "score", 7),
        ({"score": "out", "prediction": "out.class"}, {"out": {"class": 2}}, "score", {"class": 2}),
        ({"score": "out", "prediction": "out.class"}, {"out": {"class": 2}}, "prediction", 2),
        ({"score": "p", "prediction": "p"}, {"p": 1}, "prediction", 1),
        ({"version": {"const": 4}}, {}, "version", "4"),
        ({"model": {"const": "sole"}}, {"model": ["ignored"]}, "model", "sole"),
        ({"time": {"const": 1500}}, {}, "time_s", 1500.0),
        ({"time": {"record_time": True}}, {"timestamp": "nonsense"}, "time_s", RECORD_S),
        ({"version": {"topic": True}}, {}, "version", "predictions"),
        ({"model": {"topic": True, "map": {"predictions": "fraud-eu"}}}, {}, "model", "fraud-eu"),
        ({"label": {"path": "s", "map": {"CHARGEBACK": 1, "REVERSED": 0}}}, {"s": "CHARGEBACK"}, "label", 1),
        ({"label": {"path": "s", "map": {"CHARGEBACK": 1, "OPEN": None}}}, {"s": "OPEN"}, "label", None),
        ({"label": {"path": "s", "map": {"CHARGEBACK": 1}}}, {}, "label", None),
        ({"label": {"path": "s", "map": {True: "yes", 2: "two"}}}, {"s": True}, "label", "yes"),
        ({"label": {"path": "s", "map": {True: "yes", 2: "two"}}}, {"s": 2.0}, "label", "two"),
        ({"score": {"path": "probs", "pick": 1}}, {"probs": [0.2, 0.8]}, "score", 0.8),
        ({"score": {"path": "probs", "pick": "max"}}, {"probs": [0.2, 0.5, 0.3]}, "score", 0.5),
        ({"prediction": {"path": "probs", "pick": "argmax"}}, {"probs": [0.2, 0.4, 0.4]}, "prediction", 1),
        ({"prediction": {"path": "probs", "pick": "argmax", "map": {0: "ok", 1: "bad"}}}, {"probs": [0.2, 0.8]},
         "prediction", "bad"),
        ({"score": {"path": "probs", "pick": 1}}, {"probs": None}, "score", None),
        ({"features": "in.x"}, {"in": {"x": {"amount": 3}}}, "features.amount", 3),
        ({"features": "."}, {"amount": 3}, "features.amount", 3),
    ],
)  # fmt: skip
def test_each_form_of_the_mapping_reads_its_place(
    read: dict[str, Any], value: dict[str, Any], field: str, expected: Any
) -> None:
    assert one(decode({"model": "m"} | value, read=read))[field] == expected


@pytest.mark.parametrize(
    ("read", "value"),
    [
        ({"path": "p", "map": {"a": 1}}, "b"),
        ({"path": "p", "map": {"a": 1}}, ["a"]),
        ({"path": "p", "map": {"a": 1}}, math.nan),
        ({"path": "p", "pick": 2}, [0.1, 0.9]),
        ({"path": "p", "pick": 0}, 0.9),
        ({"path": "p", "pick": 0}, {"0": 0.9}),
        ({"path": "p", "pick": "max"}, []),
        ({"path": "p", "pick": "max"}, [0.1, None]),
        ({"path": "p", "pick": "max"}, [0.1, "0.9"]),
        ({"path": "p", "pick": "argmax"}, [0.1, True]),
        ({"path": "p", "pick": "argmax"}, [0.1, math.nan]),
        ({"path": "p", "pick": "argmax"}, [0.1, math.inf]),
        ({"path": "p.q"}, 5),
        ({"path": "p.q"}, [{"q": 1}]),
    ],
)
def test_what_an_option_cannot_read_is_unusable_and_no_dead_letter(read: dict[str, Any], value: Any) -> None:
    row = one(decode({"model": "m", "p": value}, read={"score": read}))
    assert isinstance(row["score"], Unusable)


def test_header_and_key_are_texts_and_of_a_repeated_header_the_last_one_counts() -> None:
    read = {
        "model": {"header": "ce_model"},
        "id": {"key": True},
        "score": {"header": "p"},
        "label": {"header": "y"},
    }
    headers = [[("ce_model", b"old"), ("ce_model", b"007"), ("p", b"0.25"), ("y", b"yes")]]
    row = one(decode({}, read=read, headers=headers, keys=["käse".encode()]))
    assert (row["model"], row["id"], row["score"], row["label"]) == ("007", "käse", 0.25, "yes")


def test_absent_headers_and_keys_read_as_nothing() -> None:
    read = {"score": {"header": "p"}, "id": {"key": True}, "label": {"header": "y"}}
    row = one(decode({"model": "m"}, read=read, headers=[[("y", None)]]))
    assert (row["score"], row["id"], row["label"]) == (None, None, None)


def test_bytes_that_are_no_text_in_a_header_cost_the_value_or_the_event_that_they_identify() -> None:
    read = {"score": {"header": "p"}}
    assert isinstance(one(decode({"model": "m"}, read=read, headers=[[("p", b"\xff")]]))["score"], Unusable)
    letter = only(decode({"model": "m"}, read={"id": {"key": True}}, keys=[b"\xff"]))
    assert (letter.code, letter.field) == ("not utf-8", "key")


def test_a_feature_name_is_one_key_also_with_dots() -> None:
    needs = Needs(features=frozenset({"a.b"}))
    row = one(decode({"model": "m", "features": {"a.b": 1, "a": {"b": 2}}}, needs=needs))
    assert row["features.a.b"] == 1


def test_all_features_are_the_whole_object_beside_those_by_name() -> None:
    needs = Needs(features=frozenset({"amount"}), all_features=True)
    row = one(decode(event(features={"amount": 1, "x": None}), needs=needs))
    assert row["all"] == {"amount": 1, "x": None}
    assert row["features.amount"] == 1


def test_all_features_of_a_flat_record_are_all_that_the_mapping_does_not_read() -> None:
    needs = Needs(frozenset({"score"}), all_features=True)
    flat = {"event_id": "a", "model": "m", "score": 0.5, "label": 1, "amount": 3, "country": "DE"}
    row = one(decode(flat, read={"features": "."}, needs=needs))
    assert row["all"] == {"amount": 3, "country": "DE"}
    assert row["score"] == 0.5


@pytest.mark.parametrize("wrong", [5, "text", [1, 2], True])
def test_features_that_are_no_object_are_unusable_by_name_and_by_all(wrong: Any) -> None:
    needs = Needs(features=frozenset({"amount"}), all_features=True)
    decoded = decode(event(features=wrong), event(features=None), needs=needs)
    assert not decoded.dead_letters
    broken, nothing = rows(decoded)
    assert isinstance(broken["features.amount"], Unusable)
    assert isinstance(broken["all"].get("whatever"), Unusable)
    assert list(broken["all"]) == []
    assert nothing["all"] is None
    assert nothing["features.amount"] is None
    by_name = one(decode(event(features=wrong), needs=Needs(features=frozenset({"amount"}))))
    assert isinstance(by_name["features.amount"], Unusable)


@pytest.mark.parametrize("field", ["prediction", "score", "label", "latency_ms"])
@pytest.mark.parametrize("value", [math.nan, -math.inf, "0.5", [1], {"a": 1}, True, 10**30])
def test_values_stay_as_they_came(field: str, value: Any) -> None:
    row = one(decode(event(**{field: value})))
    assert repr(row[field]) == repr(value)


@pytest.mark.parametrize(
    ("field", "came", "expected"),
    [
        ("id", 17, "17"),
        ("id", 1.5, "1.5"),
        ("id", "", None),
        ("id", 10**30, "1" + "0" * 30),
        ("version", 3, "3"),
        ("version", "", None),
        ("model", 8, "8"),
        ("model", "nul\0model", "nul\0model"),
        ("model", "m" * 1024, "m" * 1024),
    ],
)
def test_identifying_fields_are_texts(field: str, came: Any, expected: str | None) -> None:
    names = {"id": "event_id", "version": "model_version", "model": "model"}
    assert one(decode(event(**{names[field]: came})))[field] == expected


def test_rows_keep_the_order_of_their_records_and_say_which_they_are() -> None:
    decoded = decode(
        event(event_id="a"), b"{", None, event(event_id="b"), event(model=None), event(event_id="c")
    )
    assert decoded.events.record.tolist() == [0, 3, 5]
    assert decoded.events.id == ["a", "b", "c"]
    assert [letter.offset for letter in decoded.dead_letters] == [101, 104]
    assert decoded.tombstones == 1


def test_each_topic_is_read_by_its_own_input_and_rows_stay_in_order() -> None:
    inputs = [
        Input(topics=("a", "b"), read={"score": "p"}),
        Input(topics=("c",), read={"model": {"const": "other"}, "score": "q"}),
    ]
    values = [{"model": "m", "p": 1}, {"q": 2}, {"model": "m", "p": 3}, {"q": 4}, {"p": 5}, {"q": 6}, None]
    records = batch(values, topics=("c", "b", "a", "elsewhere"), source=[1, 0, 2, 0, 2, 3, 0])
    decoded = Decoder(inputs, SCORE).decode(records)
    assert decoded.events.record.tolist() == [0, 1, 2, 3]
    assert decoded.events.fields["score"] == [1, 2, 3, 4]
    assert decoded.events.model == ["m", "other", "m", "other"]
    assert [(letter.topic, letter.offset) for letter in decoded.dead_letters] == [("a", 104)]
    assert (decoded.ignored, decoded.tombstones) == (1, 1)


def test_a_sole_input_reads_its_own_topics_only() -> None:
    """A recording may hold other topics too."""
    decoded = Decoder([Input(topics=("predictions",))], SCORE).decode(batch([event()], topics=("alerts",)))
    assert (len(decoded.events), decoded.ignored) == (0, 1)


def test_an_empty_batch_gives_empty_columns() -> None:
    decoded = decode()
    assert len(decoded.events) == 0
    assert set(decoded.events.fields) == EVERYTHING.fields
    assert (decoded.ignored, decoded.tombstones, list(decoded.dead_letters)) == (0, 0, [])


def test_an_event_without_any_wanted_json_field_must_still_be_a_json_object() -> None:
    read = {"model": {"const": "m"}, "id": None, "version": None, "time": None}
    decoded = decode({}, b"[]", {"a": {"b": 1}}, b'{"a":}', read=read, needs=Needs())
    assert decoded.events.record.tolist() == [0, 2]
    assert [letter.code for letter in decoded.dead_letters] == ["not an object", "not json"]


def test_a_dead_letter_names_coordinates_field_expectation_and_what_came() -> None:
    letter = only(decode(event(model=["a", "b"]), read={"id": "event_id"}))
    assert (letter.topic, letter.partition, letter.offset) == ("predictions", 3, 100)
    assert letter.timestamp_ms == RECORD_S * 1000
    assert (letter.code, letter.field) == ("field wrong", "model")
    assert letter.reason == "model: expected a text or a number, got a list of 2"
    assert letter.payload is None


@pytest.mark.parametrize(
    ("wrong", "told"),
    [(("model", "event_id", "model_version", "timestamp"), "model"), (("event_id", "model_version", "timestamp"),
     "event_id"), (("model_version", "timestamp"), "model_version"), (("timestamp",), "timestamp")],
)  # fmt: skip
def test_of_several_wrong_fields_the_first_is_told(wrong: tuple[str, ...], told: str) -> None:
    assert only(decode(event(**{name: [1] for name in wrong}))).field == told
    if told != "timestamp":
        assert only(decode(event(timestamp=-1, **{told: [1]}))).field == told


def test_reasons_cut_long_values() -> None:
    letter = only(decode(event(timestamp="x" * 5000)))
    assert len(letter.reason) < 200
    assert "(5000 characters)" in letter.reason


@pytest.mark.parametrize(
    ("value", "head"),
    [
        (b"{nonsense", {"head": "{nonsense", "bytes": 9}),
        (b"", {"head": "", "bytes": 0}),
        (b"{" + b"x" * 5000, {"head": "{" + "x" * 4095, "bytes": 5001}),
        (b"{" + "ä".encode() * 3000, {"head": "{" + "ä" * 2047, "bytes": 6001}),
        (b"\xff{", {"head_base64": base64.b64encode(b"\xff{").decode(), "bytes": 2}),
        (b"{" + "ä".encode()[:1], {"head_base64": base64.b64encode(b"{\xc3").decode(), "bytes": 2}),
    ],
)
def test_a_dead_letter_keeps_of_the_payload_what_it_is_told_to(value: bytes, head: dict[str, Any]) -> None:
    assert only(decode(value)).payload is None
    hashed = only(decode(value, payload="hash")).payload
    assert hashed == {"sha256": hashlib.sha256(value).hexdigest(), "bytes": len(value)}
    letter = only(decode(value, payload="head"))
    assert letter.payload == head
    assert json.loads(letter.message("s").value or b"")["payload"] == head
