"""Contender: the same hand-written loop with confluent-kafka (librdkafka) and River, batched.

python -m tests.bench.loop_confluent SERVERS TOPIC NAME COUNT CASE
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from typing import Any

from confluent_kafka import Consumer, Producer
from river.drift import ADWIN

from tests.bench.stopwatch import Measured, Stopwatch, tell


def main(servers: str, topic: str, name: str, count: int, wide: bool) -> Measured:
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": name,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": True,
        }
    )
    consumer.subscribe([topic])
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 5})
    detectors: dict[tuple[str, str], Any] = defaultdict(ADWIN)
    seen = alerts = 0
    watch = Stopwatch()
    while seen < count:
        messages = consumer.consume(5000, timeout=0.5)
        if messages:
            watch.begin()
        for message in messages:
            if message.error():
                raise RuntimeError(message.error())
            event = json.loads(message.value() or b"")
            values = {"amount": event["features"]["amount"]}
            if wide:
                values["f00"] = event["features"]["f00"]
            else:
                values["score"] = event["score"]
                values["error"] = int(event["prediction"] != event["label"])
                values["latency"] = event["latency_ms"]
            for monitor, value in values.items():
                detector = detectors[event["model"], monitor]
                detector.update(value)
                if detector.drift_detected:
                    alert = {"model": event["model"], "monitor": monitor, "event_id": event["event_id"]}
                    producer.produce(f"{name}-alerts", json.dumps(alert).encode())
                    alerts += 1
            seen += 1
        producer.poll(0)
    producer.flush()
    consumer.commit(asynchronous=False)
    watch.lap()
    consumer.close()
    return watch.measured(seen, alerts)


if __name__ == "__main__":
    tell(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5] == "wide"))
