"""What a sample shows: rules of fields, keys, models in partitions, names of roles, and what is kept to itself."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from streamwatch.errors import OperatorError
from streamwatch.offline import roles
from streamwatch.offline.asdata import as_data
from streamwatch.offline.described import keys, lie, told
from streamwatch.offline.fieldprofile import field_of
from streamwatch.offline.findings import Findings, find_in_file, nothing_to_read
from streamwatch.offline.models import Guessed, guess_task
from streamwatch.transports.memory import Record
from streamwatch.transports.sample import Limits, sample_file
from tests.test_starter import found_in, written

NOW_S = 1_790_000_000.0


def bare(folder: Path, *events: Mapping[str, Any], name: str = "scored.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


def text(found: Findings) -> str:
    return "\n".join(part if isinstance(part, str) else str(part.rows) for part in told(found, NOW_S))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, None, math.nan, 2.5], {"missing": 2, "distinct": 2, "whole": False}),
        ([0.0, 1, 0.5], {"unit": True, "number": True}),
        ([0.0, 1.5], {"unit": False}),
        (["a", "b", 3], {"text": False, "named": True}),
        (["a", True], {"named": False}),
        ([True, False], {"boolean": True, "number": False}),
        (["2026-01-01T00:00:00Z"], {"time": "RFC 3339"}),
        (["2026-01-01 00:00:00"], {"time": "RFC 3339 without zone"}),
        (["2026-01-01T00:00:00+02:00"], {"time": "RFC 3339"}),
        ([1_790_000_000], {"time": "s"}),
        ([1_790_000_000_123], {"time": "ms"}),
        (["1790000000123"], {"time": "ms", "numeric_text": True}),
        ([1_790_000_000_123_456], {"time": "us"}),
        ([1_790_000_000_123_456_789], {"time": "ns"}),
        ([17], {"time": None}),
        (["soon"], {"time": None, "json": None}),
        (['{"a": 1}', '{"b": 2}'], {"json": ("a", "b")}),
        (["[1]"], {"json": ()}),
        (["{not json"], {"json": None}),
        ([10**400], {"quantiles": None, "distinct": 1}),
        ([{"a": 1}], {"scalar": False}),
        ([], {"present": 0, "scalar": False, "categorical": False}),
    ],
)
def test_a_field_is_described_by_its_values(values: Sequence[Any], expected: Mapping[str, Any]) -> None:
    field = field_of("a.b", values, max(len(values), 1))
    assert {name: getattr(field, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("values", "numbers", "probabilities"),
    [
        ([[0.2, 0.8], [0.5, 0.5]], True, True),
        ([[0.2, 0.9]], True, False),
        ([[1.0]], True, False),
        ([[[0.2, 0.8]]], False, False),
        ([["a"]], False, False),
        ([[]], False, False),
    ],
)
def test_a_list_is_probabilities_only_when_they_are_together_1(
    values: Any, numbers: bool, probabilities: bool
) -> None:
    vectors = field_of("p", values, len(values)).vectors
    assert vectors is not None
    assert (vectors.numbers, vectors.probabilities) == (numbers, probabilities)


def common(values: Sequence[Any]) -> list[str]:
    return [value for value, _ in field_of("f", values, len(values)).common]


def test_values_of_texts_are_kept_only_where_few_short_ones_repeat() -> None:
    assert common(["DE"] * 6 + ["AT"] * 5) == ["DE", "AT"]
    assert common(["DE"] * 9 + ["a customer"]) == ["DE"]  # what comes once may be about one
    assert common(["DE", "AT"] * 2) == []
    assert common([f"name {i}" for i in range(100)]) == []
    assert common(["x" * 61] * 100) == []
    assert common(["bob@example.org"] * 100) == []
    assert common(["DE" for _ in range(99)] + ["0151 2345678"]) == []


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("id", "requestId"), ("id", "meta.request-id"), ("model", "model.name"), ("version", "modelVersion"),
        ("time", "eventTimestamp"), ("time", "scoredAt"), ("prediction", "yPred"), ("score", "fraud_score"),
        ("label", "groundTruth"), ("latency_ms", "total_latency_ms"), ("features", "Inputs"),
    ],
)  # fmt: skip
def test_a_name_fits_a_role_however_people_write_it(role: str, name: str) -> None:
    assert roles.rank(role, name) is not None
    assert roles.rank(role, "something") is None


@pytest.mark.parametrize(
    ("predictions", "labels", "expected"),
    [
        ([0, 1], [], ("binary", 1)),
        ([-1, 1], [], ("binary", 1)),
        ([True], [], ("binary", 1)),
        ([1, 2] * 10, [], ("binary", 2)),
        ([0, 1, 2] * 5, [], ("multiclass", None)),
        ([0, 1, 2], [], ("regression", None)),
        ([0.5, 7], [], ("regression", None)),
        ([1000, 2000, 3000] * 9, [], ("regression", None)),
        (["yes", "no"], [], ("binary", "yes")),
        (["b", "a", "a"], [], ("binary", "b")),
        (["a", "b", "c"], [], ("multiclass", None)),
        ([], ["good", "bad"], ("binary", "bad")),
        ([], [], ("binary", 1)),
    ],
)
def test_a_task_is_guessed_from_what_is_predicted(
    predictions: Any, labels: Any, expected: tuple[str, Any]
) -> None:
    guessed = guess_task(predictions, labels, [])
    assert (guessed.task, guessed.positive) == expected


def test_a_guess_that_values_do_not_settle_says_so() -> None:
    assert guess_task([0, 1], [], []) == Guessed("binary", 1)
    assert "positive" in guess_task(["b", "a"], [], []).doubt
    assert "no predictions" in guess_task([], [], []).doubt


def test_keys_and_models_are_told_by_how_they_lie_in_partitions(tmp_path: Path) -> None:
    def records(key: str | None, spread: bool) -> list[Record]:
        events = [{"model": "ab"[i % 2], "id": i, "score": 0.5} for i in range(40)]
        return [
            Record("p", event, key and key.format(**event), 1000, i // 2 % 2 if spread else i % 2)
            for i, event in enumerate(events)
        ]

    by_model = found_in(tmp_path, records("{model}", spread=False))
    assert (by_model.key_is, by_model.look.keys.one_partition, by_model.scattered) == ("model", True, [])
    assert "can be cut by partition" in lie(by_model)
    by_id = found_in(tmp_path, records("{id}", spread=True))
    assert (by_id.key_is, len(by_id.scattered)) == ("id", 2)
    assert "a, b in several partitions" in lie(by_id)
    mixed = found_in(tmp_path, records("{model}", spread=True))
    assert "some in several partitions" in keys(mixed)
    assert keys(found_in(tmp_path, records(None, spread=True))) == "none"


def test_what_is_no_event_is_counted_by_its_reason(tmp_path: Path) -> None:
    good = [Record("p", {"model": "m", "score": 0.5, "id": i}, None, 1000) for i in range(20)]
    bad: list[bytes | None] = [b"{", b"[1]", b"", None, b"\0\0\0\0\1avro", b"\xff{}"]
    found = found_in(tmp_path, [*good, *(Record("p", value, None, 1000) for value in bad)])
    look = found.look
    assert (look.objects, look.tombstones, look.registry) == (20, 1, 1)
    assert look.unreadable == {"not json": 2, "not an object": 1, "empty": 1, "not utf-8": 1}
    assert (found.events, sum(found.dead.values())) == (20, 5)
    assert "5 not json" not in text(found)
    assert "2 not json (8%)" in text(found)


def test_the_same_is_told_as_data(tmp_path: Path) -> None:
    records = [Record("p", {"model": "m", "score": i / 50, "id": i}, None, 1000 * i) for i in range(50)]
    data = json.loads(json.dumps(as_data(found_in(tmp_path, records), NOW_S)))
    assert (data["topic"], data["events"], data["read"]["score"]) == ("p", 50, "score")
    assert data["records"] == {"json_objects": 50, "tombstones": 0, "unreadable": {}}
    assert (data["first_s"], data["last_s"], data["records_per_s"]) == (0.0, 49.0, 1.0)
    (score,) = [field for field in data["fields"] if field["name"] == "score"]
    assert (score["probably"], score["types"], score["quantiles"]["0.5"]) == (["score"], {"number": 50}, 0.49)
    assert data["models"] == [
        {"model": "m", "events": 50, "versions": [{"version": None, "events": 50}], "partitions": [0],
         "task": "binary", "positive": 1}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "words"),
    [(b"\0\0\0\0\7avro", "schema registry"), (None, "all are tombstones"), (b"<xml/>", "not json")],
)
def test_where_no_record_is_json_it_is_said_what_they_are(
    value: bytes | None, words: str, tmp_path: Path
) -> None:
    found = found_in(tmp_path, [Record("p", value, None, 1000)] * 1)
    refused = nothing_to_read(found.look)
    assert refused is not None
    assert words in str(refused)
    assert text(found)


def test_nothing_of_a_customer_is_in_what_is_printed_or_written(tmp_path: Path) -> None:
    """What differs from record to record, or looks like an address or account, stays out of look, --json and init."""
    records = [
        Record(
            "p",
            {"id": f"SECRET-{i}", "timestamp": 1_790_000_000 + i, "model": "m", "score": 0.5, "prediction": i % 2,
             "features": {"name": f"SECRET {i}", "mail": "SECRET@example.org", "account": 7_700_000_000_000 + i,
                          "note": None if i else "SECRET", "inner": {"x": f"SECRET{i}"}, "list": [f"SECRET{i}"],
                          "json": json.dumps({"a": f"SECRET{i}"})}},
            f"SECRET{i}", 1_790_000_000_000, headers=[("trace", f"SECRET{i}")],
        )
        for i in range(60)
    ]  # fmt: skip
    records.append(Record("p", b"SECRET no json", None, 1_790_000_000_000))
    found = found_in(tmp_path, records)
    for said in (text(found), json.dumps(as_data(found, NOW_S)), written(found)):
        assert "SECRET" not in said
        assert "77000000" not in said
    assert "'features.account', 'integer', '', '60', 'not shown'" in text(found)


def test_a_file_is_sampled_from_its_beginning_within_its_limits(tmp_path: Path) -> None:
    path = bare(tmp_path, *({"model": "m", "score": 0.5, "n": i} for i in range(9000)))
    whole = sample_file(path)
    assert (len(whole.records), whole.taken, whole.topic) == (9000, "all of it", "scored")
    assert (whole.partitions[0].held, whole.partitions[0].end) == (9000, 9000)
    part = sample_file(path, limits=Limits(records=100))
    assert (len(part.records), part.taken) == (100, "the first 100 records")
    assert (part.partitions[0].held, part.partitions[0].end) == (None, None)


def test_names_in_a_csv_stay_text(tmp_path: Path) -> None:
    """Version 1.10 is not 1.1."""
    path = tmp_path / "scored.csv"
    path.write_text("id,model_version,score\n" + "".join(f"{i},1.10,0.{i}\n" for i in range(20)))
    (model,) = find_in_file(path).models
    assert model.versions == {"1.10": 20}


def test_a_recording_of_several_topics_asks_which(tmp_path: Path) -> None:
    records = [Record(topic, {"model": topic, "score": 0.5}, None, 1000) for topic in ("a", "b")]
    with pytest.raises(OperatorError, match=r"of which topic\? Expected --topic with one of a, b$"):
        found_in(tmp_path, records)
    found = find_in_file(tmp_path / "records.jsonl", "b")
    assert [model.name for model in found.models] == ["b"]
    with pytest.raises(OperatorError, match="got 'c'"):
        find_in_file(tmp_path / "records.jsonl", "c")


def test_events_without_any_time_get_one_that_a_file_can_be_replayed_with(tmp_path: Path) -> None:
    path = bare(tmp_path, *({"model": "m", "score": 0.5} for _ in range(9)))
    found = find_in_file(path)
    assert found.events == 9
    assert found.proposal.read["time"].place == {"const": "2000-01-01T00:00:00Z"}
    assert "time: {record_time: true}" in written(found)


def test_fields_without_end_are_cut_and_it_is_said(tmp_path: Path) -> None:
    path = bare(tmp_path, *({"model": "m", f"customer {i}": 1} for i in range(600)))
    found = find_in_file(path)
    assert found.look.cut
    assert len(found.look.fields) == 500
    assert "only the first 500 fields" in text(found)


def test_what_is_no_feature_is_left_out_of_the_monitor_of_all(tmp_path: Path) -> None:
    path = bare(tmp_path, *(
        {"timestamp": 1_790_000_000 + i, "data": {"score": 0.5, "amount": i / 7, "account_no": 10**7 + i,
         "seen_at": 1_790_000_000 + i, "mixed": i if i % 3 else "none", "gone": math.nan if i % 2 else 1.5}}
        for i in range(200)
    ))  # fmt: skip
    found = find_in_file(path)
    (features,) = [one for one in found.suggestions if one.signal == "feature"]
    assert features.extra["except"] == ["account_no", "gone", "mixed", "score", "seen_at"]
    (missing,) = [one for one in found.suggestions if one.signal == "missing"]
    assert missing.extra["except"] == ["score"]


def test_monitors_of_names_that_look_alike_have_names_of_their_own(tmp_path: Path) -> None:
    path = bare(tmp_path, *({"model": "m", "features": {"a b": "x", "a-b": "x"} | ({} if i else {"a b": "y"})}
                            for i in range(50)))  # fmt: skip
    found = find_in_file(path)
    assert [one.name for one in found.suggestions] == ["features-missing", "a-b-x"]
    path = bare(
        tmp_path, *({"model": "m", "features": {"a b": "xy"[i % 2], "a-b": "xy"[i % 2]}} for i in range(50))
    )
    assert [one.name for one in find_in_file(path).suggestions] == ["features-missing", "a-b-x", "a-b-x-2"]
