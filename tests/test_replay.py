"""Replays in Python: the same loop, the same alerts."""

from __future__ import annotations

import pytest

import streamwatch
from streamwatch.errors import OperatorError
from streamwatch.transports.memory import Record
from tests.build import batches, config, life, monitor
from tests.test_engine import everything, run


def test_a_replay_says_what_the_engine_says_whatever_the_batch_size():
    events = life(1500)
    expected, _ = run(everything(), batches(events, [1500]))
    for size in (1, 333, 4000):
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


def test_what_is_no_event_is_refused_with_its_place():
    with pytest.raises(OperatorError, match=r"event 1: expected a mapping .* got 5"):
        streamwatch.replay(config(monitor("score", "score")), [{"model": "a"}, 5])


def test_replay_is_found_by_completion():
    assert "replay" in dir(streamwatch)
