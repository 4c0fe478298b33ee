"""The mapping of fields as config: what is accepted, and how it tells what is wrong."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from streamwatch.mapping import Input, Place, Read, split

READS: list[dict[str, Any]] = [
    {},
    {"id": "request_id", "model": {"header": "ce_model"}, "score": "out.p", "features": "in"},
    {"model": {"const": "fraud"}, "id": {"key": True}, "time": {"record_time": True}, "latency_ms": None},
    {"label": {"path": "status", "map": {"CHARGEBACK": 1, "REVERSED": 0, "OPEN": None}}},
    {"score": {"path": "probs", "pick": 1}, "prediction": {"path": "probs", "pick": "argmax"}},
    {"model": {"topic": True, "map": {"a": "b"}}, "features": "."},
    {"id": r"a\.b", "score": {"path": "x"}},
]
WRONG: list[tuple[dict[str, Any], tuple[str, ...], str]] = [
    ({"id": 3}, ("id",), "expected a dotted path such as out.score, {path: ...}, {const: ...}"),
    ({"id": []}, ("id",), "got []"),
    ({"id": {}}, ("id",), "expected exactly one of path, const, header, key, record_time, topic, got none"),
    ({"id": {"path": "a", "const": 1}}, ("id",), "got path and const"),
    ({"label": {"map": {"a": 1}}}, ("label",), "got none of them"),
    ({"id": {"paht": "a"}}, ("id", "paht"), "not permitted"),
    ({"key": "a"}, ("key",), "not permitted"),
    ({"model": None}, ("model",), "every event needs a model"),
    ({"id": ""}, ("id", "path"), "at least 1 character"),
    ({"id": "a..b"}, ("id", "path"), "expected names joined by dots"),
    ({"id": ".a"}, ("id", "path"), "expected names joined by dots"),
    ({"id": "a."}, ("id", "path"), "expected names joined by dots"),
    ({"id": r"a\b"}, ("id", "path"), "expected names joined by dots"),
    ({"id": "."}, ("id",), "only features can be the record itself"),
    ({"id": {"key": False}}, ("id", "key"), "should be True"),
    (
        {"score": {"path": "p", "pick": -1}},
        ("score", "pick"),
        "expected an index from 0, max or argmax, got -1",
    ),
    ({"score": {"path": "p", "pick": True}}, ("score", "pick"), "expected an index from 0, max or argmax"),
    ({"score": {"path": "p", "pick": "best"}}, ("score", "pick"), "got 'best'"),
    (
        {"id": {"path": "p", "pick": 0}},
        ("id",),
        "pick works for prediction, score, label, latency_ms, not for id",
    ),
    ({"id": {"path": "p", "map": {"a": 1}}}, ("id",), "a map makes no sense for id"),
    ({"time": {"path": "p", "map": {"a": 1}}}, ("time",), "a map makes no sense for time"),
    ({"label": {"path": "p", "map": {}}}, ("label", "map"), "at least 1 item"),
    ({"label": {"path": "p", "map": ["a"]}}, ("label", "map"), "valid dictionary"),
    ({"score": {"record_time": True}}, ("score",), "record_time is a time; score cannot be read from it"),
    ({"features": {"header": "x"}}, ("features",), "features are read from an object in the record"),
    ({"features": {"path": "x", "pick": 1}}, ("features",), "features are read from an object in the record"),
    ({"time": {"const": "soon"}}, ("time",), "expected RFC 3339 or epoch seconds or milliseconds"),
    ({"model": {"const": True}}, ("model",), "expected a text or a number as constant model, got True"),
    ({"model": {"const": ""}}, ("model",), "expected a text or a number as constant model"),
]


@pytest.mark.parametrize(("read", "loc", "text"), WRONG)
def test_a_wrong_mapping_says_where_and_what_is_accepted(read: Any, loc: tuple[str, ...], text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Read.model_validate(read)
    (error,) = caught.value.errors()
    assert error["loc"] == loc
    assert text in error["msg"]


@pytest.mark.parametrize("read", READS)
def test_a_mapping_survives_being_written_and_read_again(read: dict[str, Any]) -> None:
    first = Read.model_validate(read)
    written = json.loads(json.dumps(first.model_dump(mode="json")))
    assert Read.model_validate(written) == first
    assert {name: written[name] for name in read if read[name] != {"path": "x"}} == {
        name: value for name, value in read.items() if value != {"path": "x"}
    }


def test_a_mapping_can_be_made_of_places() -> None:
    assert Read(model=Place(path="name"), id=Place(key=True)) == Read.model_validate(
        {"model": "name", "id": {"key": True}}
    )


def test_the_printed_schema_accepts_what_the_config_accepts_and_refuses_unknown_forms() -> None:
    schema = Input.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    for read in READS:
        assert check.is_valid({"topics": ["a"], "read": read}), read
    for read in (
        {"id": 3},
        {"id": {}},
        {"id": {"paht": "a"}},
        {"id": {"path": "a", "const": 1}},
        {"model": None},
    ):
        assert not check.is_valid({"topics": ["a"], "read": read}), read


def test_the_defaults_are_the_names_of_the_contract() -> None:
    assert Read().model_dump(mode="json") == {
        "id": "event_id", "model": "model", "version": "model_version", "time": "timestamp",
        "prediction": "prediction", "score": "score", "features": "features", "label": "label",
        "latency_ms": "latency_ms",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["a", "a.b", "a\\b", ".", "\\.", "ä ö", "a\\\\.b"])
def test_any_name_can_be_written_as_a_path(name: str) -> None:
    escaped = name.replace("\\", "\\\\").replace(".", "\\.")
    assert split(escaped) == (name,)
    assert split(f"x.{escaped}.y") == ("x", name, "y")
