"""Replays in Python: the same loop, the same alerts."""

from __future__ import annotations

import math
from typing import Any

import pandas
import pytest

import streamwatch
from streamwatch.errors import ConfigError, OperatorError
from streamwatch.times import epoch_s
from streamwatch.transports.memory import Record
from tests.build import batches, config, life, monitor
from tests.talk import silence
from tests.test_engine import everything, run


def test_a_replay_says_what_the_engine_says_whatever_the_batch_size():
    events = life(1500)
    expected, _ = run(everything(), batches(events, [1500]))
    for size in (1, 333):
        records = [
            Record("predictions", event, timestamp_ms=int(event["timestamp"] * 1000)) for event in events
        ]
        replayed = streamwatch.replay(everything(), records, batch_size=size)
        assert [alert.message().value for alert in replayed.alerts] == expected
        assert replayed.total.events == 1500


def test_bare_events_are_of_the_only_input_topic_and_bad_ones_are_not_silent():
    watched = config(monitor("score", "score"))
    replayed = streamwatch.replay(watched, [{"model": "a", "timestamp": 1.0, "score": 0.5}, {"score": 0.5}])
    assert replayed.total.events == 1
    (letter,) = replayed.dead_letters
    assert (letter["topic"], letter["offset"], letter["field"]) == ("predictions", 1, "model")


def test_records_of_topics_that_nobody_reads_are_refused():
    with pytest.raises(OperatorError, match="a record of topic 'other': the config's inputs are predictions"):
        streamwatch.replay(config(monitor("score", "score")), [Record("other", {})])


def test_bare_events_of_several_inputs_are_refused():
    two = config(monitor("score", "score"), inputs=[{"topics": ["a", "b"]}])
    with pytest.raises(OperatorError, match="2 input topics"):
        streamwatch.replay(two, [{"model": "a"}])


def test_a_command_has_its_place_among_bare_events_by_its_time():
    """They have none but their own, which then counts as their records'."""
    events = life(1500)
    watched = config(monitor("score", "score"))

    def fired(*command: Record) -> dict[float, bool]:
        alerts = streamwatch.replay(watched, [*command, *events]).alerts
        return {epoch_s(alert.time): alert.silenced for alert in alerts if alert.type.endswith("firing")}

    at = sorted(fired())  # without what a silence itself makes the service say
    silences = silence("s", 0, 30 * 86_400, "model=*").message().value
    between_s = (at[0] + at[1]) / 2
    silenced = fired(Record(watched.control_topic, silences, timestamp_ms=int(between_s * 1000)))
    assert {time_s: silenced[time_s] for time_s in at} == {time_s: time_s > between_s for time_s in at}


def test_what_is_no_event_is_refused_with_its_place():
    with pytest.raises(OperatorError, match=r"event 1: expected a mapping .* got 5"):
        streamwatch.replay(config(monitor("score", "score")), [{"model": "a"}, 5])


def test_replay_is_found_by_completion():
    assert "replay" in dir(streamwatch)


# Notebooks


class Frame:
    """What a pandas DataFrame is to us."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows
        self.columns = list(dict.fromkeys(name for row in rows for name in row))

    def to_dict(self, orient: str) -> list[dict[str, Any]]:
        assert orient == "records"
        return [{name: row.get(name, math.nan) for name in self.columns} for row in self._rows]


def flat(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As the rows of a table: a column for each feature, NaN where there is none."""
    rows = []
    for event in events:
        row = {name: value for name, value in event.items() if name != "features" and value is not None}
        row |= {
            f"features.{name}": v for name, v in event["features"].items() if isinstance(v, int | float | str)
        }
        rows.append(row)
    return rows


def test_a_table_says_what_its_rows_as_events_say():
    """Dotted columns are names inside an object, NaN is absent."""
    rows = flat(life(600))
    said = streamwatch.replay(everything(), Frame(rows))
    nested = [
        {
            **{name: value for name, value in row.items() if "." not in name},
            "features": {
                name.removeprefix("features."): value
                for name, value in row.items()
                if "." in name and value == value
            },
        }
        for row in rows
    ]
    nested = [{name: value for name, value in row.items() if value == value} for row in nested]
    assert said.alerts == streamwatch.replay(everything(), nested).alerts
    assert len(said.alerts) > 3


def test_a_real_dataframe_with_times_and_missing_values_is_read():
    rows = flat(life(600))
    frame = pandas.DataFrame(rows)
    frame["timestamp"] = pandas.to_datetime(frame["timestamp"], unit="s", utc=True)
    frame["model"] = frame["model"].astype("category")
    frame["label"] = frame["label"].astype("Int64")
    said, expected = streamwatch.replay(everything(), frame), streamwatch.replay(everything(), Frame(rows))
    assert [(a.state, a.data.summary) for a in said.alerts] == [
        (a.state, a.data.summary) for a in expected.alerts
    ]


def test_a_table_without_a_column_that_every_event_needs_is_refused_with_those_it_has():
    watched = config(monitor("score", "score"))
    with pytest.raises(
        OperatorError, match=r"no column 'model'.*its columns: Model, timestamp; is it Model\?"
    ):
        streamwatch.replay(watched, Frame([{"Model": "a", "timestamp": 1.0}]))
    with pytest.raises(OperatorError, match=r"no column 'timestamp'.*reset_index\(\)"):
        streamwatch.replay(watched, Frame([{"model": "a", "score": 1.0}]))
    with pytest.raises(OperatorError, match=r"none of the DataFrame's 2 rows is an event; the first: .*time"):
        streamwatch.replay(watched, Frame([{"model": "a", "timestamp": "May"}] * 2))
    with pytest.raises(
        OperatorError, match=r"the DataFrame: column 'a' holds values and column 'a\.b' needs it"
    ):
        streamwatch.replay(watched, Frame([{"a": 1, "a.b": 2, "model": "m", "timestamp": 1.0}]))


def test_a_config_may_be_a_dict_and_its_problems_are_told_as_those_of_a_file():
    given = {
        "service": "watch",
        "inputs": [{"topics": ["predictions"]}],
        "monitors": [{"name": "score", "signal": "score", "detector": {"adwin": {"delta": 0.01}}}],
    }
    events = [{"model": "a", "timestamp": 1.0 + i, "score": 0.2 if i < 500 else 0.8} for i in range(1000)]
    replayed = streamwatch.replay(given, events)
    assert [alert.data.monitor for alert in replayed.alerts] == ["score"]
    assert repr(replayed).splitlines()[0] == "1,000 events, 0 dead letters, 1 alerts"
    with pytest.raises(ConfigError) as caught:
        streamwatch.replay({**given, "input": []}, events)
    assert str(caught.value) == "the config: unknown key `input` (did you mean inputs?)"
