"""From a sample of any shape to a config that is accepted, reads every good record and says its doubts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from streamwatch import configfile
from streamwatch.config import Config
from streamwatch.offline.findings import Findings, find_in_file
from streamwatch.offline.replay import replay
from streamwatch.offline.starter import Starter
from streamwatch.transports.memory import Record
from streamwatch.transports.recorded import record_line
from tests.shapes import SHAPES, Shape


def recorded(path: Path, records: Sequence[Record]) -> Path:
    """The records as a file in the recorded form."""
    offsets: dict[int, int] = {}
    lines = []
    for record in records:
        offset = offsets[record.partition] = offsets.get(record.partition, -1) + 1
        value = (
            record.value
            if record.value is None or isinstance(record.value, bytes)
            else json.dumps(record.value)
        )
        body = value.encode() if isinstance(value, str) else value
        headers = [(name, text.encode() if isinstance(text, str) else text) for name, text in record.headers]
        key = record.key.encode() if isinstance(record.key, str) else record.key
        lines.append(record_line(record.source, offset, record.timestamp_ms, key, body, headers))
    path.write_bytes(b"".join(lines))
    return path


def found_in(folder: Path, records: Sequence[Record]) -> Findings:
    return find_in_file(recorded(folder / "records.jsonl", records))


def written(found: Findings) -> str:
    kafka = ["bootstrap_servers: localhost:9092"]
    return Starter(found.look, found.proposal, found.models, found.suggestions, kafka, "watch.yaml").text()


def loaded(folder: Path, text: str) -> Config:
    path = folder / "watch.yaml"
    path.write_text(text)
    config = configfile.read([path], {})
    assert not config.warnings
    return config.config


@pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])
def test_a_config_made_from_a_sample_is_accepted_and_reads_every_good_record(
    shape: Shape, tmp_path: Path
) -> None:
    records = shape.records()
    text = written(found_in(tmp_path, records))
    config = loaded(tmp_path, text)
    done = replay(config, records)
    assert done.dead_letters == ()
    assert done.total.events == len(records)
    read = config.inputs[0].read.model_dump(mode="json")
    assert {name: read[name] for name in shape.read} == shape.read
    signals = [str(monitor.signal) for monitor in config.monitors]
    assert set(shape.signals) <= set(signals)
    assert not set(shape.never) & set(signals)
    doubts = [line for line in text.splitlines() if line.lstrip().startswith("# ? ")]
    for words in shape.doubts:
        assert any(words in doubt for doubt in doubts), (words, doubts)
    models = {name: spec.model_dump(exclude_unset=True) for name, spec in config.models.items()}
    assert not shape.models or models == shape.models
    blind = [alert for alert in done.alerts if alert.type.endswith("blind")]
    assert blind == [], "a monitor that was suggested cannot see"
