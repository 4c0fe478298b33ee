"""Lanes: what waits is found, set, and leaves in order; a restart changes nothing; memory and state stay small."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

from streamwatch.errors import StateDamaged
from streamwatch.fields import Unusable
from streamwatch.lane import CHUNK, Gone, Lane
from streamwatch.packed import UNUSABLE, loaded, packed
from streamwatch.state import pack

COLUMNS = ("score", "country")


def hashes(*keys: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    return np.array([(key * 0x9E3779B97F4A7C15) % 2**64 for key in keys], dtype=np.uint64)


def rows(gone: Gone) -> list[tuple[Any, ...]]:
    columns = [gone.columns[name] for name in COLUMNS]
    slots = [None if math.isnan(slot) else slot for slot in gone.slot.tolist()]
    return list(zip(gone.stream_s.tolist(), *columns, slots, strict=True))


class Plain:
    """A lane as a list of rows."""

    def __init__(self) -> None:
        self.rows: list[list[Any]] = []  # key, stream_s, score, country, slot

    def find(self, key: int) -> int | None:
        return next((at for at, row in enumerate(self.rows) if row[0] == key), None)


@pytest.mark.parametrize(("seed", "most"), [(1, 3), (2, 40), (3, 700)])
def test_a_lane_is_a_list_of_rows_whatever_restarts_come(seed, most):
    draw = random.Random(seed)
    lane, plain, state = Lane("w", COLUMNS), Plain(), {}
    key, now_s = 0, 0.0
    for _ in range(300 if most < 700 else 40):
        now_s += draw.random() * 3
        match draw.randrange(4):
            case 0 | 1:
                n = draw.randint(1, most)
                new = list(range(key, key + n))
                key += n
                scores = [draw.choice([None, 0.5, draw.random()]) for _ in new]
                countries = [draw.choice(["DE", "AT", None, [1], float("nan")]) for _ in new]
                lane.append(hashes(*new), np.full(n, now_s), {"score": scores, "country": countries})
                usable = [c if c in ("DE", "AT", None) else UNUSABLE for c in countries]
                plain.rows += [[k, now_s, s, c, None] for k, s, c in zip(new, scores, usable, strict=True)]
            case 2:
                asked = [draw.randrange(max(1, key + 5)) for _ in range(draw.randint(1, most))]
                seqs = lane.find(hashes(*asked))
                found = [plain.find(one) for one in asked]
                assert [seq >= 0 for seq in seqs.tolist()] == [at is not None for at in found]
                mine = np.array([seq for seq in seqs.tolist() if seq >= 0], dtype=np.int64)
                places = [at for at in found if at is not None]
                values = [float(draw.randrange(9)) for _ in places]
                assert lane.stream_s(mine).tolist() == [plain.rows[at][1] for at in places]
                lane.set(mine, np.array(values), np.full(len(mine), now_s))
                for at, value in zip(places, values, strict=True):
                    plain.rows[at][4] = value
                assert rows(lane.columns(mine)) == [tuple(plain.rows[at][1:]) for at in places]
            case 3:
                until_s = now_s - draw.random() * 60
                count = lane.due(until_s + 7.0, 7.0)
                assert count == sum(row[1] + 7.0 <= until_s + 7.0 for row in plain.rows)
                assert lane.arrivals(count).tolist() == [row[1] for row in plain.rows[:count]]
                assert rows(lane.pop(count)) == [tuple(row[1:]) for row in plain.rows[:count]]
                del plain.rows[:count]
        if draw.random() < 0.5:
            for name, value in lane.changes().items():
                if value is None:
                    del state[name]
                else:
                    state[name] = value
            if draw.random() < 0.5:
                lane = Lane("w", COLUMNS)
                lane.load(state)
        assert len(lane) == len(plain.rows)


def test_small_commits_become_few_records_and_all_go_with_their_rows():
    lane, state = Lane("w", COLUMNS), {}
    written = 0
    for i in range(2000):
        lane.append(hashes(i), np.array([float(i)]), {"score": [0.5], "country": ["DE"]})
        if i >= 500:
            lane.set(lane.find(hashes(i - 500)), np.array([1.0]), np.array([float(i)]))
        changed = lane.changes()
        written += sum(len(value) for value in changed.values() if value)
        state.update(changed)
        state = {key: value for key, value in state.items() if value is not None}
    assert len(state) < 40
    assert written < 2000 * 1500
    assert lane.pop(lane.due(5000.0, 0.0)).slot.tolist() == pytest.approx(
        [1.0] * 1500 + [math.nan] * 500, nan_ok=True
    )
    state.update(lane.changes())
    assert [key for key, value in state.items() if value is not None] == ["w"]


def test_a_row_that_has_gone_is_not_found_and_its_hash_may_come_again():
    lane = Lane("w", COLUMNS)
    columns = {"score": [1.0], "country": [None]}
    lane.append(hashes(1), np.array([1.0]), columns)
    lane.pop(1)
    assert lane.find(hashes(1)).tolist() == [-1]
    lane.append(hashes(1), np.array([2.0]), columns)
    assert lane.find(hashes(1)).tolist() == [1]


def test_what_was_set_last_counts_after_a_merge_and_a_restart():
    """The note of the first slot is older than the chunk that the merge wrote anew."""
    lane, state = Lane("w", COLUMNS), {}
    one = {"score": [1.0], "country": [None]}
    lane.append(hashes(1), np.array([1.0]), one)
    state.update(lane.changes())
    lane.set(np.array([0]), np.array([1.0]), np.array([1.0]))
    state.update(lane.changes())
    lane.append(hashes(2), np.array([2.0]), one)  # merges with the chunk before
    lane.set(np.array([0]), np.array([2.0]), np.array([2.0]))
    state.update(lane.changes())
    again = Lane("w", COLUMNS)
    again.load({key: value for key, value in state.items() if value is not None})
    assert again.slots(np.array([0])).tolist() == [2.0]


@pytest.mark.parametrize("harm", ["chunk missing", "head wrong", "short column"])
def test_damaged_state_is_refused(harm):
    lane = Lane("w", COLUMNS)
    n = CHUNK * 2
    lane.append(hashes(*range(n)), np.zeros(n), {"score": [1.0] * n, "country": ["DE"] * n})
    state = {key: value for key, value in lane.changes().items() if value is not None}
    if harm == "chunk missing":
        del state["w:chunk:0"]
    elif harm == "head wrong":
        state["w"] = pack("lane", {"columns": COLUMNS, "first": 0, "next": n + 1, "notes": 0})
    else:
        state["w:chunk:0"] = pack("chunk", {"first": 0, "hashes": b"12345678", "stream_s": b"", "slot": b"",
                                            "slot_s": b"", "columns": {}})  # fmt: skip
    with pytest.raises(StateDamaged, match="state of w"):
        Lane("w", COLUMNS).load(state)


PACKED = [
    [],
    [1, 2.5, None, True],
    ["a", "b", None, "a"],
    [1, "1", True],
    [2**60, 1],
    [2**200, 1],
    [None, None],
]


@pytest.mark.parametrize("values", PACKED, ids=[str(n) for n in range(len(PACKED))])
def test_packed_values_come_back_and_survive_being_written(values):
    column = packed(values)
    expected = [UNUSABLE if isinstance(value, int) and value > 2**64 else value for value in values]
    assert column.listed(0, len(values)) == expected
    assert loaded(column.dump()).listed(0, len(values)) == expected
    assert [type(v) is str for v in column.listed(0, len(values))] == [type(v) is str for v in expected]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1], {"a": 1}, Unusable("field wrong", "x")])
def test_what_names_no_value_comes_back_as_unusable(value):
    assert packed([value, "a"]).listed(0, 2) == [UNUSABLE, "a"]
    assert packed([value, 1.0]).listed(0, 2) == [UNUSABLE, 1.0]
