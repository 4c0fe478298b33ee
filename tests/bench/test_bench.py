"""The benchmark's parts run, and its contenders do the same work: a comparison of speeds means nothing otherwise."""

from __future__ import annotations

import json

import pytest

from tests.bench import buckets
from tests.bench.events import MODELS, MONITORS, SIZE, drift_at, events, preload
from tests.bench.stopwatch import Measured
from tests.bench.throughput import CONTENDERS, Contender, per_cpu_second, per_second, ratio
from tests.conftest import SharedBroker
from tests.topics import create_topic, read_committed

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


def test_the_benchmark_of_buckets_reads_all_events_with_and_without_them() -> None:
    parts = buckets.told(400, 8)
    assert sum(map(len, parts)) == 400
    assert all(buckets.cost_us(buckets.watched(every), parts) > 0 for every in (None, "1m"))


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


def test_a_ratio_compares_within_a_round_and_is_the_median_of_the_rounds() -> None:
    rounds = [
        {"ours": Measured(100, 0, seconds, 1.0), "theirs": Measured(100, 0, theirs, 3.0)}
        for seconds, theirs in ((1.0, 2.0), (10.0, 15.0), (4.0, 4.0))
    ]
    assert ratio(rounds, "ours", "theirs", per_second) == 1.5
    assert ratio(rounds, "ours", "theirs", per_cpu_second) == 3.0


def test_a_contender_that_fails_is_told_with_its_log(broker: SharedBroker, unique: str) -> None:
    create_topic(broker.bootstrap_servers, unique)
    failing = Contender("loop_kafka_python", broker.bootstrap_servers, unique, unique, "many")  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match=r"(?s)loop_kafka_python ended with 1.*ValueError.*many"):
        failing.measured()
