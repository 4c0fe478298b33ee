"""Hostile records at random among good ones, through the running service: it goes on, and every good one counts."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

from streamwatch.state import unpack
from streamwatch.transports.base import Opened
from streamwatch.transports.kafka.transport import KafkaTransport
from tests.build import config, monitor
from tests.conftest import SharedBroker
from tests.decoding import RECORD_S
from tests.kafka.loop import run_until
from tests.test_decode_hostile import TABLE, Dead, raw
from tests.topics import Written, create_topic, produce, read_committed

COUNT = 50_000
PARTITIONS = 4
LARGE = 100_000


def records(draw: random.Random) -> Iterator[tuple[Written, Dead | None]]:
    """Each with why it is a dead letter, if it is to be one. All of the table's large ones are among them."""
    large = [name for name, (value, _) in TABLE.items() if value is not None and len(value) >= LARGE]
    small = [name for name in TABLE if name not in large]
    places = dict(zip(draw.sample(range(COUNT), len(large)), large, strict=True))
    for number in range(COUNT):
        name = places.get(number) or (draw.choice(small) if draw.random() < 0.5 else "good")
        value, expected = TABLE.get(name, (raw(event_id=f"e{number}", model="good"), None))
        key = b"k" if value is None else None
        written = Written(value, key, draw.randrange(PARTITIONS), int(RECORD_S * 1000))
        yield written, expected if isinstance(expected, Dead) else None


def test_hostile_records_at_random_among_good_ones(broker: SharedBroker, unique: str) -> None:
    """Every good record is counted, every bad one is a dead letter with its coordinates and its reason."""
    servers = broker.bootstrap_servers
    topic = create_topic(
        servers, f"{unique}-in", PARTITIONS, max_message_bytes="20000000", message_timestamp_after_max_ms=str(2**62)
    )  # fmt: skip
    given = list(records(random.Random(20261124)))
    # Compressed, else the large ones take most of the time; one that is not is read in a fetch of its own.
    settings = {"max_request_size": 20_000_000}
    large = [Written(raw(b'"x":"' + b"x" * 8_000_000 + b'",', model="good"), None, 0, int(RECORD_S * 1000))]
    places = produce(servers, topic, large, **settings)
    places += produce(servers, topic, [record for record, _ in given], compression_type="lz4", **settings)

    watched = config(
        monitor("score", "score"), monitor("amounts", "feature:amount", by=[["country"]]),
        service=unique, kafka={"bootstrap_servers": servers}, inputs=[{"topics": [topic]}], start="earliest",
    )  # fmt: skip
    total = run_until(watched, len(places))

    dead = {place: dead for place, (_, dead) in zip(places[1:], given, strict=True) if dead is not None}
    assert (total.records, total.failures) == (len(places), 0)
    assert (total.dead_letters, total.tombstones, total.ignored) == (len(dead), 0, 0)
    assert total.events == len(places) - len(dead)
    assert counted(KafkaTransport(watched), "good") == 1 + sum(
        b'"model": "good"' in (record.value or b"") for record, _ in given
    )
    letters = [json.loads(record.value) for record in read_committed(servers, f"{unique}-dead-letters")]
    assert len(letters) == len(dead)
    for letter in letters:
        expected = dead.pop((letter["partition"], letter["offset"]))
        assert (letter["topic"], letter["code"], letter["field"]) == (topic, expected.code, expected.field)
        assert expected.reason in letter["reason"]
    assert not dead


def counted(transport: KafkaTransport, model: str) -> int:
    """The events of the model that the restored state has seen."""
    try:
        while True:
            for happening in transport.poll(0.25):
                if isinstance(happening, Opened):
                    name = f'stream:["{model}",null,[]]'
                    return int(unpack("key", happening.state[name], name)["trail"]["n"])
    finally:
        transport.close()
