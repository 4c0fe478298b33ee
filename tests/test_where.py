"""Which events a monitor reads."""

from __future__ import annotations

from typing import Any

import jsonschema
import numpy as np
import pytest
from pydantic import ValidationError

from streamwatch.events import Events, Needs
from streamwatch.where import Where

NAN = float("nan")


def rows(where: dict[str, Any], **features: list[Any]) -> list[bool]:
    n = len(next(iter(features.values())))
    nobody: list[str | None] = [None] * n
    events = Events(np.arange(n), np.arange(n) * 1.0, nobody, ["m"] * n, nobody, {}, features)
    return Where.model_validate(where).rows(events).tolist()


COUNTRIES = ["DE", "AT", None, "", 1, [1], NAN]
AMOUNTS = [99.9, 100, 500.0, 501, None, "200", NAN, [200], float("inf"), 10**400]


@pytest.mark.parametrize(
    ("condition", "column", "match"),
    [
        ("DE", COUNTRIES, "1000000"),
        ("", COUNTRIES, "0001000"),
        (["DE", "AT"], COUNTRIES, "1100000"),
        (1, COUNTRIES, "0000100"),
        ({"not": "DE"}, COUNTRIES, "0111111"),
        ({"not": ["DE", "AT"]}, COUNTRIES, "0011111"),
        (1, [1, 1.0, "1", True, 2], "11100"),
        ("1", [1, 1.0, "1", True, 2], "11100"),
        (True, [1, True, "true", False], "0110"),
        ({"not": 1}, [1, True, None], "011"),
        ({"min": 100}, AMOUNTS, "0111000000"),
        ({"max": 500}, AMOUNTS, "1110000000"),
        ({"min": 100, "max": 500}, AMOUNTS, "0110000000"),
        ({"min": 100, "max": 100}, AMOUNTS, "0100000000"),
    ],
)
def test_a_condition_matches_these_rows_together_and_each_alone(
    condition: Any, column: Any, match: str
) -> None:
    wanted = [digit == "1" for digit in match]
    assert rows({"x": condition}, x=column) == wanted
    assert [rows({"x": condition}, x=[value])[0] for value in column] == wanted


def test_all_conditions_must_hold() -> None:
    where = {"country": "DE", "amount": {"min": 10}}
    assert rows(where, country=["DE", "DE", "AT"], amount=[10, 9, 10]) == [True, False, False]


def test_it_needs_the_features_that_it_names() -> None:
    needs = Where.model_validate({"country": "DE", "amount": {"min": 10}}).needs()
    assert needs == Needs(features=frozenset({"country", "amount"}))


@pytest.mark.parametrize(
    ("where", "place", "says"),
    [
        ({}, (), "at least 1 item"),
        ([1], (), "valid dictionary"),
        (
            {"a": None},
            ("a",),
            "expected a value, a list of values, {min: 1, max: 2} or {not: 1}, got nothing",
        ),
        ({"a": NAN}, ("a", "value"), "expected a text, a number, true or false, got nan"),
        ({"a": ["x", None]}, ("a", "list", 1), "expected a text, a number, true or false, got None"),
        ({"a": []}, ("a", "list"), "at least 1 item"),
        ({"a": {}}, ("a", "range"), "expected min, max or both"),
        ({"a": {"mni": 3}}, ("a", "range", "mni"), "Extra inputs"),
        ({"a": {"min": "x"}}, ("a", "range", "min"), "valid number"),
        ({"a": {"min": NAN}}, ("a", "range", "min"), "finite number"),
        ({"a": {"min": 5, "max": 3}}, ("a", "range"), "min 5 is above max 3: no number matches"),
        (
            {"a": {"not": None}},
            ("a", "not", "not", "value"),
            "expected a text, a number, true or false, got None",
        ),
        ({"a": {"not": "x", "min": 2}}, ("a", "not", "min"), "Extra inputs"),
    ],
)
def test_a_wrong_condition_says_where_and_what(where: Any, place: tuple[Any, ...], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Where.model_validate(where)
    (error,) = caught.value.errors()
    assert error["loc"] == place
    assert says in error["msg"]


@pytest.mark.parametrize(
    "condition", ["DE", 1, 0.5, True, ["DE", 1], {"min": 1}, {"min": 1, "max": 2}, {"not": ["x"]}]
)
def test_it_is_written_as_it_was_read(condition: Any) -> None:
    where = Where.model_validate({"a": condition})
    plain = where.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert plain == {"a": condition}
    jsonschema.validate(plain, Where.model_json_schema())
