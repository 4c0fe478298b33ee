"""The benchmark's parts run, and its contenders do the same work: a comparison of speeds means nothing otherwise."""

from __future__ import annotations

import json

import pytest

from tests.bench.events import MODELS, MONITORS, SIZE, drift_at, events, preload
from tests.bench.stopwatch import Measured
from tests.bench.throughput import CONTENDERS, Contender, ratios
from tests.conftest import SharedBroker
from tests.topics import read_committed

COUNT = 2_000


def test_events_have_the_promised_size_and_models_and_are_the_same_in_every_run() -> None:
    first, again = list(events(COUNT)), list(events(COUNT))
    assert first == again
    assert {len(event.value or b"") for event in first} == {SIZE}
    assert {json.loads(event.value or b"")["model"] for event in first} == set(MODELS)
    times = [event.timestamp_ms or 0 for event in first]
    assert times == sorted(times)


def test_all_contenders_find_the_same_drifts_at_the_same_events(broker: SharedBroker, unique: str) -> None:
    """On one partition, where all read in the same order: every model drifts in all four numbers."""
    pytest.importorskip("confluent_kafka", reason="the extra `bench` is not installed")
    servers = broker.bootstrap_servers
    preload(servers, unique, COUNT, partitions=1)
    running = {
        name: Contender(module, servers, unique, f"{unique}-{module.replace('_', '-')}", COUNT)
        for name, module in CONTENDERS.items()
    }
    measured = {name: contender.measured() for name, contender in running.items()}
    assert {each.events for each in measured.values()} == {COUNT}
    found = {
        name: first_drifts(servers, f"{unique}-{module.replace('_', '-')}-alerts", measured[name].alerts)
        for name, module in CONTENDERS.items()
    }
    first = found["kafka-python loop"]
    assert found == dict.fromkeys(found, first)
    assert set(first) == {(model, monitor) for model in MODELS for monitor in MONITORS}
    position = {event.key.decode(): at for at, event in enumerate(events(COUNT)) if event.key}
    assert all(position[at] >= drift_at(COUNT, MODELS.index(model)) for (model, _), at in first.items())


def first_drifts(servers: str, topic: str, at_least: int) -> dict[tuple[str, str], str]:
    """By model and monitor: the id of the event at which it was first found."""
    found: dict[tuple[str, str], str] = {}
    for record in read_committed(servers, topic, at_least):
        alert = json.loads(record.value)
        if "specversion" in alert:
            alert = alert["data"]
            alert["event_id"] = alert["evidence"][0]["sample_ids"][-1]
        found.setdefault((alert["model"], alert["monitor"]), alert["event_id"])
    return found


def test_a_ratio_compares_speeds_within_one_round() -> None:
    rounds = [
        {"ours": Measured(100, 0, 1.0, 0.5), "theirs": Measured(100, 0, 2.0, 0.5)},
        {"ours": Measured(100, 0, 4.0, 0.5), "theirs": Measured(100, 0, 6.0, 0.5)},
    ]
    assert ratios(rounds, "ours", "theirs") == [2.0, 1.5]
