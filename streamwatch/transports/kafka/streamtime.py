"""How far a service's stream is: of its state topic no more is read than the last marks."""

from __future__ import annotations

from streamwatch.config import Config
from streamwatch.engine import Engine
from streamwatch.records import Source
from streamwatch.transports.kafka.bystander import bystander, partitions
from streamwatch.transports.kafka.restore import refuse_foreign
from streamwatch.transports.kafka.state_topic import MARK_KEY, Fold

STEP = 500  # a mark ends each commit, so one is among the last records


def stream_times_s(config: Config) -> dict[int, float]:
    """By task; without those that have read no event yet. StartRefused: no right to read the state topic. StateError as
    when the service restores it."""
    topic = config.state_topic
    places = partitions(config.kafka, {topic: ("Read",)})[topic]
    folds: dict[Source, Fold] = {}
    with bystander(config.kafka) as reader:
        written = [place for place, (first, stop) in reader.bounds(places).items() if first < stop]
        for step in reader.newest(written, STEP):
            for record in step:
                place = Source(record.topic, record.partition)
                if record.key == MARK_KEY and place not in folds:
                    folds[place] = fold = Fold(*place)
                    fold.take(record.offset, record.key, record.value)
            if len(folds) == len(written):
                break
    found: dict[int, float] = {}
    for place, fold in folds.items():
        assert fold.mark is not None
        refuse_foreign(
            fold.mark, config, place.partition, len(places), f"{fold.place} offset {fold.mark_offset}"
        )
        _, mark, _ = fold.state()
        if (stream_s := Engine.restore(config, place.partition, {}, mark).stream_time_s) is not None:
            found[place.partition] = stream_s
    return found
