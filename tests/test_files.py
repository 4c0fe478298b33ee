"""Recorded and bare files: every form that is read, every error with its place, memory and order."""

from __future__ import annotations

import gzip
import io
import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamwatch.errors import OperatorError
from streamwatch.records import Batch, Commit, Message, Source
from streamwatch.transports import recording
from streamwatch.transports.base import Opened
from streamwatch.transports.files import File, FilesTransport
from streamwatch.transports.memory import MemoryTransport, Record
from streamwatch.transports.order import CONTROL, PREDICTIONS, Merge
from streamwatch.transports.recorded import parse, record_line
from streamwatch.transports.recording import Recording

Row = tuple[Source, int, int, bytes | None]


def read(transport: FilesTransport | MemoryTransport, batches: int = 10_000) -> list[Row]:
    found: list[Row] = []
    for _ in range(batches):
        if transport.finished:
            break
        for happening in transport.poll(10.0):
            if isinstance(happening, Batch):
                found += [
                    (happening.sources[source], int(offset), int(time_ms), value)
                    for source, offset, time_ms, value in zip(
                        happening.source,
                        happening.offset,
                        happening.timestamp_ms,
                        happening.value,
                        strict=True,
                    )
                ]
    return found


def values(*files: File | Path, **options: object) -> list[bytes | None]:
    return [value for *_, value in read(FilesTransport(files, **options))]  # type: ignore[arg-type]


def events(*files: Path, **options: object) -> list[object]:
    return [json.loads(value or b"null") for value in values(*files, **options)]


def write(path: Path, content: bytes | str) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


def recorded(partition: int, offset: int, time_ms: int = 0, topic: str = "p", value: bytes = b"{}") -> bytes:
    return record_line(Source(topic, partition), offset, time_ms, None, value)


# ---- the recorded form

texts = st.one_of(st.none(), st.binary(max_size=8), st.text(max_size=8).map(str.encode))
jsons = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=4)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=7), inner, max_size=3),
    max_leaves=6,
).map(lambda value: json.dumps(value).encode())
oddities = st.sampled_from(
    [
        b'{"base64": "AA=="}',
        b'{ "base64" : "x"}',
        b'{"base64": "AA==", "n": 1}',
        b'{"a": 1} ',
        b'{"a":\n1}',
        b'{"a": "\xff"}',
        b'{"a": NaN}',
        b'{"a": 1',
        b"null",
        b'"text"',
        b" null",
        b"\xef\xbb\xbf{}",
        b"{" * 5000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b"\r\n",
    ]
)


@settings(max_examples=120, deadline=None)
@given(
    key=texts,
    value=st.one_of(texts, jsons, oddities),
    headers=st.lists(st.tuples(st.text(max_size=5), texts), max_size=3),
    offset=st.integers(0, 2**62),
    time_ms=st.integers(-1, 2**62),
)
def test_reading_a_recorded_line_gives_the_bytes_that_were_written(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]], offset: int, time_ms: int
) -> None:
    line = record_line(Source("tö", 3), offset, time_ms, key, value, headers)
    assert line.count(b"\n") == 1
    ((source, columns),) = parse(line, Path("x"), 1).items()
    assert source == Source("tö", 3)
    assert (columns.key, columns.value, columns.headers) == ([key], [value], [headers])
    assert (columns.offsets, columns.timestamps_ms) == ([offset], [time_ms])


def test_a_json_value_stands_for_itself_and_other_fields_are_ignored(tmp_path: Path) -> None:
    line = b'{"x": 1, "value": {"a" : [1.0,2]}, "topic":"p","partition":0,"offset":4,"timestamp":-1}\r\n'
    path = write(tmp_path / "r.jsonl", line)
    assert read(FilesTransport([path])) == [(Source("p", 0), 4, -1, b'{"a" : [1.0,2]}')]


def test_blank_lines_a_byte_order_mark_and_a_missing_last_newline_are_fine(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + recorded(0, 1) + b"\n  \n" + recorded(0, 2).rstrip()
    assert len(values(write(tmp_path / "r.jsonl", content))) == 2


GOOD = recorded(0, 0).decode()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"topic": "p"', "not a recorded record"),
        ("[1]", "not a recorded record"),
        ('{"topic":"p","partition":0,"offset":1,"value":null}', "required field `timestamp`"),
        ('{"topic":"p","partition":0,"offset":"1","timestamp":0,"value":null}', r"`\$\.offset`"),
        ('{"topic":"p","partition":-1,"offset":1,"timestamp":0,"value":null}', r"`\$\.partition`"),
        ('{"topic":"p","partition":0,"offset":1,"timestamp":-2,"value":null}', r"`\$\.timestamp`"),
        ('{"topic":"p","partition":0,"offset":1,"timestamp":0,"value":null,"key":5}', r"`\$\.key`"),
        (
            '{"topic":"p","partition":0,"offset":1,"timestamp":0,"value":null,"headers":{"a":1}}',
            r"`\$\.headers`",
        ),
        ('{"topic":"p","partition":0,"offset":1,"timestamp":0,"value":{"base64":"?"}}', "base64"),
        ('{"topic":"p","partition":0,"offset":1,"timestamp":0,"value":"\\ud800"}', "not a recorded record"),
    ],
)
def test_a_wrong_line_in_a_recorded_file_is_an_error_with_file_and_line(
    tmp_path: Path, line: str, says: str
) -> None:
    path = write(tmp_path / "r.jsonl", GOOD + "\n" + line + "\n")
    with pytest.raises(OperatorError, match=says) as caught:
        values(path)
    assert f"{path}:3: " in str(caught.value)
    assert "expected" in str(caught.value).lower()


@pytest.mark.parametrize(
    "content", [recorded(0, 1).rstrip() + recorded(0, 2), recorded(0, 1).replace(b",", b",\n")]
)
def test_two_records_on_a_line_or_one_on_two_are_an_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(OperatorError, match=":2: not a recorded record"):
        values(write(tmp_path / "r.jsonl", recorded(0, 0) + content))


@pytest.mark.parametrize("offset", [5, 4])
def test_offsets_that_do_not_rise_are_an_error_with_file_and_line(tmp_path: Path, offset: int) -> None:
    path = write(tmp_path / "r.jsonl", recorded(0, 5) + recorded(1, 0) + recorded(0, offset))
    with pytest.raises(OperatorError, match=f":3: offset {offset} of p/0 comes after offset 5"):
        values(path)


def test_offsets_that_do_not_rise_are_found_over_blocks_and_on_every_try(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", b"".join(recorded(0, offset) for offset in [0, 1, 2, 3, 3]))
    small = Recording([path], block_bytes=1)
    for _ in range(2):
        with pytest.raises(OperatorError, match=":5: "):
            small.scan(time.monotonic() + 10.0)


def test_the_same_records_in_two_files_are_an_error_that_names_both(tmp_path: Path) -> None:
    one = write(tmp_path / "one.jsonl", recorded(0, 1) + recorded(0, 5))
    two = write(tmp_path / "two.jsonl", recorded(0, 5) + recorded(0, 9))
    with pytest.raises(OperatorError, match="overlap") as caught:
        values(two, one)
    assert "one.jsonl" in str(caught.value)
    assert "two.jsonl" in str(caught.value)


def test_nothing_is_given_before_every_line_was_checked(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", recorded(0, 0) + b"broken\n")
    transport = FilesTransport([path])
    for _ in range(2):
        with pytest.raises(OperatorError, match=":2: "):
            transport.poll()


# ---- several files and partitions: any layout, any block size, the same order

LOGS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 6)), max_size=40
)  # (partition, timestamp), in the order of arrival


@settings(max_examples=80, deadline=None)
@given(
    log=LOGS,
    layout=st.sampled_from(["arrival", "by partition", "file per partition", "rotated"]),
    packed=st.booleans(),
    block=st.sampled_from([1, 150, 400, 1 << 20]),
    most_waiting=st.sampled_from([0, 3, 20_000]),
    resume=st.integers(0, 40),
    batch_size=st.sampled_from([1, 3, 1000]),
)
def test_however_records_lie_in_files_they_come_in_the_order_of_the_task(
    tmp_path_factory: pytest.TempPathFactory,
    log: list[tuple[int, int]],
    layout: str,
    packed: bool,
    block: int,
    most_waiting: int,
    resume: int,
    batch_size: int,
) -> None:
    records = [Record("p", b"%d" % n, None, time_ms, part) for n, (part, time_ms) in enumerate(log)]
    order = read(MemoryTransport(records))
    folder = tmp_path_factory.mktemp("layout")
    paths = lay_out(folder, records, layout, ".jsonl.gz" if packed else ".jsonl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "MOST_WAITING", most_waiting)
        transport = FilesTransport(paths, batch_size=batch_size)
        transport._feed = Recording(paths, block)
        assert read(transport) == order
        done, total = transport.bytes_read()
        assert done == total == 2 * sum(path.stat().st_size for path in paths)
        transport.commit(Commit(0, {source: offset + 1 for source, offset, *_ in order[:resume]}))
        transport.close()
        assert read(transport) == order[resume:]
        transport.close()


def lay_out(folder: Path, records: Sequence[Record], layout: str, ending: str) -> list[Path]:
    offsets: dict[int, int] = {}
    lines: list[tuple[int, bytes]] = []
    for record in records:
        offset = offsets[record.partition] = offsets.get(record.partition, -1) + 1
        assert isinstance(record.value, bytes)
        lines.append(
            (record.partition, recorded(record.partition, offset, record.timestamp_ms, "p", record.value))
        )
    files: list[list[bytes]]
    if layout == "arrival":
        files = [[line for _, line in lines]]
    elif layout == "by partition":
        files = [[line for _, line in sorted(lines, key=lambda entry: entry[0])]]
    elif layout == "file per partition":
        files = [[line for part, line in lines if part == wanted] for wanted in range(3)]
    else:
        half = len(lines) // 2
        files = [[line for _, line in lines[half:]], [line for _, line in lines[:half]]]
    return [
        write(folder / f"{number}{ending}", b"".join(content))
        for number, content in enumerate(files)
        if content
    ]


def test_a_recording_written_one_partition_after_the_other_does_not_wait_in_memory(tmp_path: Path) -> None:
    each = 5_000
    content = b"".join(recorded(part, n, n) for part in range(4) for n in range(each))
    path = write(tmp_path / "r.jsonl", content)
    most, got = waiting(Recording([path], block_bytes=4_096))
    assert got == 4 * each
    assert most < 400, "about one block of 4 KiB for each partition"


def test_a_partition_far_behind_in_time_does_not_pile_up_while_the_others_are_read(tmp_path: Path) -> None:
    each = 4_000
    content = b"".join(recorded(0, n, n) + recorded(1, n, 10**6 + n) for n in range(each))
    path = write(tmp_path / "r.jsonl", content)
    feed = Recording([path], block_bytes=4_096)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "MOST_WAITING", 200)
        most, got = waiting(feed)
    assert got == 2 * each
    assert most < 400


def waiting(feed: Recording) -> tuple[int, int]:
    """How many records waited at most, and how many there were."""
    feed.scan(time.monotonic() + 60.0)
    feed.open(feed.first_offsets)
    merge = Merge(0, feed.first_offsets)
    most, got = 0, 0
    while True:
        feed.fill(merge)
        most = max(most, sum(merge.buffered(source) for source in merge.sources))
        batch = merge.take(1_000, feed.ended())
        if batch is None:
            return most, got
        got += len(batch)


def test_the_first_pass_gives_way_so_that_a_replay_can_be_stopped(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", b"".join(recorded(0, n) for n in range(100)))
    transport = FilesTransport([path])
    transport._feed = Recording([path], block_bytes=1)
    assert list(transport.poll(0.0)) == []
    assert not transport.finished
    assert not transport.progress().ready
    done, total = transport.bytes_read()
    assert 0 < done < total
    polls = 0
    while not transport.poll(0.0):
        polls += 1
    assert polls >= 90


# ---- bare events


def test_a_bare_file_is_one_partition_with_its_lines_as_offsets(tmp_path: Path) -> None:
    path = write(tmp_path / "fraud.jsonl.gz", b'{"a":1}\n\n{"a":2}\r\nbroken\n{"a":3}')
    assert read(FilesTransport([path])) == [
        (Source("fraud", 0), 0, -1, b'{"a":1}'),
        (Source("fraud", 0), 2, -1, b'{"a":2}\r'),
        (Source("fraud", 0), 3, -1, b"broken"),
        (Source("fraud", 0), 4, -1, b'{"a":3}'),
    ]


def test_offsets_of_a_bare_file_go_on_over_its_blocks(tmp_path: Path) -> None:
    line = b'{"text": "' + b"x" * 1_000 + b'"}\n'
    path = write(tmp_path / "p.jsonl", line * 1_000)
    assert [offset for _, offset, *_ in read(FilesTransport([path]))] == list(range(1_000))


def test_bare_files_are_read_as_the_sole_topic_or_as_the_one_they_are_named_after(tmp_path: Path) -> None:
    one, two = write(tmp_path / "labels.jsonl", "{}\n"), write(tmp_path / "p.csv.gz", "a\n1\n")
    assert {source for source, *_ in read(FilesTransport([one, two], topics=["t"]))} == {
        Source("t", 0),
        Source("t", 1),
    }
    named = read(FilesTransport([one, two], topics=["p", "labels"]))
    assert [source for source, *_ in named] == [Source("labels", 0), Source("p", 0)]
    given = read(FilesTransport([File(one, "x")], topics=["p", "labels"]))
    assert [source for source, *_ in given] == [Source("x", 0)]


def test_a_bare_file_of_no_known_topic_is_an_error_that_lists_them(tmp_path: Path) -> None:
    path = write(tmp_path / "export.jsonl", "{}\n")
    with pytest.raises(OperatorError, match=r"export\.jsonl: .* p, labels, such as p\.jsonl"):
        values(path, topics=["p", "labels"])


def test_a_bare_file_of_commands_is_refused_for_it_has_no_place_among_the_events(tmp_path: Path) -> None:
    path = write(tmp_path / "s-control.jsonl", "{}\n")
    with pytest.raises(OperatorError, match=r"s-control\.jsonl: the commands .* expected the recorded form"):
        values(path, topics=["p"], kinds={"s-control": CONTROL, "p": PREDICTIONS})


def test_bare_files_follow_each_other_or_are_merged_by_the_times_of_their_events(tmp_path: Path) -> None:
    one = write(tmp_path / "one.jsonl", "3\n5\n")
    two = write(tmp_path / "two.jsonl", "4\n1\n6\n")
    assert values(one, two, topics=["p"]) == [b"3", b"5", b"4", b"1", b"6"]
    merged = FilesTransport([one, two], topics=["p"], time_ms=lambda topic, value: int(value))
    assert [(time_ms, value) for _, _, time_ms, value in read(merged)] == [
        (3, b"3"),
        (4, b"4"),
        (1, b"1"),
        (5, b"5"),
        (6, b"6"),
    ]


@pytest.mark.parametrize("name", ["p.jsonl", "p.csv.gz"])
def test_a_bare_file_goes_on_from_the_last_commit(tmp_path: Path, name: str) -> None:
    transport = FilesTransport([write(tmp_path / name, "1\n2\n\n3\n4\n5\n")], batch_size=2)
    everything = read(transport)
    for source, offset, *_ in everything:
        transport.commit(Commit(0, {source: offset + 1}))
        transport.close()
        assert read(transport) == [row for row in everything if row[1] > offset]


def test_recorded_and_bare_files_together_are_refused(tmp_path: Path) -> None:
    one, two = write(tmp_path / "r.jsonl", recorded(0, 0)), write(tmp_path / "b.jsonl", "{}\n")
    with pytest.raises(OperatorError, match=r"r\.jsonl is recorded .*b\.jsonl holds bare"):
        values(one, two)


def test_the_first_line_that_is_an_object_says_which_form_a_file_has(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", b"broken\n" + recorded(0, 0))
    with pytest.raises(OperatorError, match=r"r\.jsonl:1: not a recorded record"):
        values(path)


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_files_without_records_are_finished_at_once(tmp_path: Path, content: str) -> None:
    transport = FilesTransport([write(tmp_path / "p.jsonl", content), write(tmp_path / "q.csv", content)])
    (first,) = transport.poll()
    assert isinstance(first, Opened)
    assert transport.finished


# ---- CSV


def test_csv_cells_become_numbers_booleans_text_or_nothing(tmp_path: Path) -> None:
    head = "a,b,c,d,e,f,g,h,i"
    path = write(tmp_path / "p.csv", f"{head}\n12,-0.5,1e3,true,False,,007,NaN,x\n")
    assert events(path) == [
        {"a": 12, "b": -0.5, "c": 1000.0, "d": True, "e": False, "g": "007", "h": "NaN", "i": "x"}
    ]


def test_csv_numbers_keep_every_digit(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", "a,b\n12345678901234567890123,0.10000000000000000555\n")
    assert values(path) == [b'{"a":12345678901234567890123,"b":0.10000000000000000555}']


def test_csv_columns_with_dots_make_objects_and_others_stay_at_the_top(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", "id,features.amount,features.geo.country,a\\.b,,x..y\n1,2.5,DE,3,4,5\n")
    assert events(path) == [
        {"id": 1, "features": {"amount": 2.5, "geo": {"country": "DE"}}, "a.b": 3, "": 4, "x..y": 5}
    ]


def test_csv_columns_that_identify_can_stay_text(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", "version,n\n1.10,1.10\n")
    assert values(path, as_text=["version"]) == [b'{"version":"1.10","n":1.10}']


def test_csv_quotes_line_breaks_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv.gz", '\ufeffa,b\r\n"x, ""y""","1\n2"\r\n\r\n3,ä\r\n')
    transport = FilesTransport([path])
    assert [(offset, json.loads(value or b"")) for _, offset, _, value in read(transport)] == [
        (0, {"a": 'x, "y"', "b": "1\n2"}),
        (2, {"a": 3, "b": "ä"}),
    ]


def test_a_long_csv_gives_every_row_once(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", "n\n" + "".join(f"{n}\n" for n in range(4_500)))
    assert events(path) == [{"n": n} for n in range(4_500)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a,b\n1,2\n\n3\n", ":4: expected 2 cells as in the header, got 1"),
        (b"a,b\n1,2,3\n", ":2: expected 2 cells as in the header, got 3"),
        (b"a;b\n1;2\n", ":1: expected columns separated by commas, got 'a;b'"),
        (b"a,b,a\n1,2,3\n", ":1: column 'a' is there twice"),
        (b"a.x,a\n1,2\n", ":1: column 'a' holds values and column 'a.x' needs it to be an object"),
        (b'a\n"x\n', ": not CSV: unexpected end of data"),
        (b"a\nx\n\xff\n", "expected UTF-8"),
    ],
)
def test_a_csv_that_cannot_be_read_is_an_error_with_its_place(
    tmp_path: Path, content: bytes, says: str
) -> None:
    path = write(tmp_path / "p.csv", content)
    with pytest.raises(OperatorError) as caught:
        values(path)
    assert str(caught.value).startswith(str(path))
    assert says in str(caught.value)


# ---- files that the system cannot give, and output that it does not take


@pytest.mark.parametrize("name", ["missing.jsonl", "missing.csv", "folder.jsonl"])
def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(OperatorError, match=f"{name}: cannot be read: "):
        values(tmp_path / name)


@pytest.mark.parametrize(
    "content", [b"no gzip at all", gzip.compress(recorded(0, 0), mtime=0)[:-12]], ids=["foreign", "cut off"]
)
def test_a_damaged_gz_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(OperatorError, match=r"r\.jsonl\.gz: damaged or cut off"):
        values(path)


class Full(io.BytesIO):
    name = "alerts.jsonl"

    def write(self, data: object) -> int:
        raise OSError(28, "No space left on device")


class Gone(io.BytesIO):
    def write(self, data: object) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_output_that_cannot_be_written_is_an_error_and_is_not_committed(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", "{}\n")
    commit = Commit(0, {Source("p", 0): 1}, [Message(None, b"{}")], state={"a": b"1"})
    for stream, error, says in (
        (Full(), OperatorError, r"alerts\.jsonl: cannot be written: No space"),
        (Gone(), BrokenPipeError, "Broken pipe"),
    ):
        transport = FilesTransport([path], alerts=stream)
        read(transport)
        with pytest.raises(error, match=says):
            transport.commit(commit)
        assert transport.offsets == {}
        assert transport.state == {}


def test_alerts_are_one_json_object_per_line_in_the_order_of_commits(tmp_path: Path) -> None:
    out, dead = io.BytesIO(), io.BytesIO()
    transport = FilesTransport([write(tmp_path / "p.jsonl", "{}\n")], alerts=out, dead_letters=dead)
    read(transport)
    transport.commit(Commit(0, {}, [Message(None, b'{"n":1}'), Message(None, b'{"n":2}')]))
    transport.commit(Commit(0, {}, [Message(None, b'{"n":3}')], [Message(None, b'{"d":1}')]))
    transport.close()
    assert out.getvalue() == b'{"n":1}\n{"n":2}\n{"n":3}\n'
    assert dead.getvalue() == b'{"d":1}\n'


def test_what_is_committed_is_readable_at_once(tmp_path: Path) -> None:
    with (tmp_path / "out.jsonl").open("wb") as out:
        transport = FilesTransport([write(tmp_path / "p.jsonl", "{}\n")], alerts=out)
        read(transport)
        transport.commit(Commit(0, {}, [Message(None, b"{}")]))
        assert (tmp_path / "out.jsonl").read_bytes() == b"{}\n"
