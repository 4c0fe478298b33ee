"""Contender: the loop that a good engineer writes in an afternoon with kafka-python and River, batched.

No transactions, no state: what it has not committed is read again after a crash, by detectors that start from nothing.

    python -m tests.bench.loop_kafka_python SERVERS TOPIC NAME COUNT CASE
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from typing import Any

from kafka import KafkaConsumer, KafkaProducer
from river.drift import ADWIN

from tests.bench.stopwatch import Measured, Stopwatch, tell


def main(servers: str, topic: str, name: str, count: int, wide: bool) -> Measured:
    consumer = KafkaConsumer(
        topic, bootstrap_servers=servers, group_id=name, auto_offset_reset="earliest", enable_auto_commit=True
    )
    producer = KafkaProducer(bootstrap_servers=servers, linger_ms=5)
    detectors: dict[tuple[str, str], Any] = defaultdict(ADWIN)
    seen = alerts = 0
    watch = Stopwatch()
    while seen < count:
        polled = consumer.poll(timeout_ms=500, max_records=5000)
        if polled:
            watch.begin()
        for records in polled.values():
            for record in records:
                event = json.loads(record.value)
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
                        producer.send(f"{name}-alerts", json.dumps(alert).encode())
                        alerts += 1
            seen += len(records)
    producer.flush()
    consumer.commit()
    watch.lap()
    consumer.close()
    producer.close()
    return watch.measured(seen, alerts)


if __name__ == "__main__":
    tell(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5] == "wide"))
