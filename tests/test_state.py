"""State bytes load only when they are whole, ours and known."""

from __future__ import annotations

import struct

import pytest

from streamwatch import state
from streamwatch.errors import StateDamaged, StateError, StateForeign
from streamwatch.state import pack, unpack

CONTENT = {"a": 1, "b": [1.5, None, "x"], "c": {"d": b"\x00\xff"}}


def test_what_was_packed_comes_back():
    assert unpack("key", pack("key", CONTENT), "here") == CONTENT


def test_every_truncation_is_our_error_and_names_the_place():
    data = pack("key", CONTENT)
    for length in range(len(data)):
        with pytest.raises(StateError, match="state here"):
            unpack("key", data[:length], "here")


def test_every_flipped_bit_is_our_error():
    data = pack("key", CONTENT)
    for at in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            with pytest.raises(StateError):
                unpack("key", bytes(damaged), "here")


def test_bytes_after_the_end_are_damage():
    with pytest.raises(StateDamaged):
        unpack("key", pack("key", CONTENT) + b"\x00", "here")


def test_a_newer_format_says_what_to_do(monkeypatch):
    monkeypatch.setattr(state, "FORMAT", state.FORMAT + 1)
    newer = pack("key", CONTENT)
    monkeypatch.undo()
    with pytest.raises(StateForeign, match="upgrade streamwatch"):
        unpack("key", newer, "here")


def test_another_kind_is_foreign():
    with pytest.raises(StateForeign, match="expected 'mark' state, found 'key'"):
        unpack("mark", pack("key", CONTENT), "here")


@pytest.mark.parametrize(
    "data", [b"", b"\x80\x04\x95" + b"." * 40, b'{"json": true, "and": "long enough to be looked at"}']
)
def test_foreign_bytes_are_refused(data):
    with pytest.raises(StateError):
        unpack("key", data, "here")


def test_a_whole_checksum_over_unreadable_content_is_damage():
    body = struct.pack(">4sH", state.MAGIC, state.FORMAT) + b"\xc1"
    with pytest.raises(StateDamaged, match="not readable"):
        unpack("key", body + state._checksum(body), "here")
