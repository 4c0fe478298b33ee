"""msgspec and the standard library behind it give the same columns; a batch gives what its records give alone."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamwatch.decode import Decoder, Input
from streamwatch.errors import SenderError
from streamwatch.events import Needs
from streamwatch.fields import Fields, Path
from tests.decoding import EVERYTHING, batch, event, rows

PATHS: tuple[Path, ...] = (
    ("a",), ("b", "c"), ("b", "d", "e"), ("f",), ("f", "a"), ("g", 'q"'), ("g", "ä"), ("", ""),
)  # fmt: skip
NAMES = st.sampled_from(["a", "b", "c", "d", "e", "f", "g", 'q"', "ä", "", "z"])
TEXTS = st.one_of(st.text(max_size=6), st.sampled_from(["\ud800", "\U0001f600", "\0", "1", "NaN"]))
NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([0.1, 1e22, 5e-324, 2.2250738585072014e-308, 10**400, -0.0, 2**64, -(2**63) - 1]),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=12,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=6)


def through(fields: Fields, parsed: Any, paths: tuple[Path, ...] = PATHS) -> str:
    """All columns of one record as text: types count, and NaN equals NaN."""
    return repr([fields.column([parsed], path) for path in paths])


def same(value: bytes, paths: tuple[Path, ...] = PATHS) -> bool:
    """Whether msgspec took the record; if so, the other path must have given the same."""
    fields = Fields(paths)
    try:
        fast = fields._fast(value)
    except (ValueError, RecursionError):
        (parsed,), wrong = fields.rows([value])
        assert wrong or through(fields, parsed, paths) == through(fields, fields.slow(value), paths)
        return False
    assert through(fields, fast, paths) == through(fields, fields.slow(value), paths)
    return True


@settings(deadline=None)  # the machine may be busy
@given(OBJECTS, st.booleans())
@example({"b": None, "g": {}}, True)
def test_both_paths_give_the_same_columns(value: dict[str, Any], ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    same(text.encode("utf-8", "surrogatepass"))
    same(text.encode("utf-8", "surrogatepass"), ((),))


@settings(deadline=None)  # the machine may be busy
@given(st.lists(OBJECTS, min_size=2, max_size=3))
def test_both_paths_take_the_last_of_repeated_names(values: list[dict[str, Any]]) -> None:
    inner = ",".join(json.dumps(value)[1:-1] for value in values if value)
    same(f"{{{inner}}}".encode())


@settings(deadline=None)  # the machine may be busy
@given(OBJECTS, st.randoms(use_true_random=False))
def test_both_paths_agree_on_damaged_bytes(value: dict[str, Any], rng: random.Random) -> None:
    damaged = bytearray(json.dumps(value).encode())
    for _ in range(rng.randint(1, 2)):
        damaged[rng.randrange(len(damaged))] = rng.choice(b'\x00\x1f "\\{}[]:,0.eE+-Nu\x7f\x80\xc3\xed\xff')
    same(bytes(damaged))


def test_msgspec_takes_what_is_common() -> None:
    """Otherwise the equality above could hold because everything goes the slow way."""
    for value in ({}, {"a": 1, "b": {"c": 2}, "x": [1]}, {"f": {"a": [1]}, "g": {"ä": 1}}, {"b": None}):
        assert same(json.dumps(value).encode(), PATHS[:5])
    for value in (b'{"x":NaN}', b'{"b":5}', b'{"x":"\\ud800"}', b'{"a":1e999}'):
        assert not same(value, PATHS[:5])


@pytest.mark.parametrize("digits", [4299, 4300, 4301])
@pytest.mark.parametrize("sign", ["", "-"])
def test_both_paths_agree_around_the_longest_integer(digits: int, sign: str) -> None:
    same(f'{{"a":{sign}{"7" * digits}}}'.encode())
    same(f'{{"a":{sign}{"7" * digits},"x":NaN}}'.encode())


def test_what_the_standard_library_refuses_too_is_told() -> None:
    with pytest.raises(SenderError) as caught:
        Fields(PATHS).slow(b"{")
    assert caught.value.code == "not json"


FRAGMENTS = st.one_of(
    st.none(),
    st.binary(max_size=12),
    st.fixed_dictionaries(
        {},
        optional={
            "event_id": VALUES,
            "model": st.one_of(st.sampled_from(["a", "b", 7]), VALUES),
            "model_version": VALUES,
            "timestamp": st.one_of(
                st.sampled_from(["2026-09-21T10:00:00Z", "1970-01-01T00:00:00.5Z"]), VALUES
            ),
            "score": VALUES,
            "label": VALUES,
            "features": st.one_of(st.dictionaries(st.sampled_from(["amount", "country"]), VALUES), VALUES),
        },
    ).map(lambda given: json.dumps({"model": "m"} | given).encode()),
    st.just(json.dumps(event()).encode()),
)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(FRAGMENTS, max_size=12), st.integers(1, 11), st.booleans())
def test_a_batch_gives_what_any_split_of_it_gives(
    values: list[bytes | None], size: int, all_of: bool
) -> None:
    needs = EVERYTHING | Needs(all_features=all_of)
    decoder = Decoder([Input(topics=("a",)), Input(topics=("b",), read={"model": {"const": "m"}})], needs)
    source = [len(value or b"") % 3 for value in values]
    whole = batch(values, topics=("a", "b", "c"), source=source)
    together = decoder.decode(whole)
    parts = [
        (start, decoder.decode(whole.rows(start, start + size))) for start in range(0, len(values), size)
    ]
    seen = [repr(row | {"record": row["record"] + start}) for start, part in parts for row in rows(part)]
    assert [repr(row) for row in rows(together)] == seen
    assert list(together.dead_letters) == [letter for _, part in parts for letter in part.dead_letters]
    assert together.ignored == sum(part.ignored for _, part in parts)
    assert together.tombstones == sum(part.tombstones for _, part in parts)
    counted = len(together.events) + len(together.dead_letters) + together.ignored + together.tombstones
    assert counted == len(values)
