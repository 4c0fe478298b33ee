"""Engine state to bytes and back: versioned, checksummed, plain data.

Layout: magic "SWST", format version (2 bytes, big endian), a msgpack map, and 16 bytes of BLAKE2b over all before.
The checksum is looked at before anything is parsed, so damaged bytes never reach a detector. Reading runs no code.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from typing import Any

import msgspec

from streamwatch import __version__
from streamwatch.errors import StateDamaged, StateForeign

MAGIC = b"SWST"
FORMAT = 1
_HEAD = struct.Struct(">4sH")
_SUM = 16


def pack(kind: str, content: Mapping[str, Any]) -> bytes:
    """`kind` says what the content is ("key", "mark"); `unpack` wants the same."""
    body = msgspec.msgpack.encode({"kind": kind, "by": __version__, "content": content})
    head = _HEAD.pack(MAGIC, FORMAT)
    return head + body + _checksum(head + body)


def unpack(kind: str, data: bytes, where: str) -> dict[str, Any]:
    """The content. `where` names the place in errors. StateDamaged: the bytes are not what was written.
    StateForeign: whole, but of another kind or of a newer format."""
    if len(data) < _HEAD.size + _SUM:
        raise StateDamaged(
            f"state {where}: {len(data)} bytes are too few to be state; restore the topic from a copy"
        )
    head, body, checksum = data[: _HEAD.size], data[_HEAD.size : -_SUM], data[-_SUM:]
    magic, version = _HEAD.unpack(head)
    if magic != MAGIC:
        raise StateForeign(f"state {where}: not written by streamwatch (starts with {data[:4]!r})")
    if _checksum(head + body) != checksum:
        raise StateDamaged(
            f"state {where}: checksum does not match its {len(data)} bytes: damaged or cut off"
        )
    if version > FORMAT:
        raise StateForeign(
            f"state {where}: format {version} is newer than this version reads ({FORMAT}): upgrade streamwatch"
        )
    try:
        whole = msgspec.msgpack.decode(body)
        found, content = whole["kind"], whole["content"]
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise StateDamaged(
            f"state {where}: checksum is right but the content is not readable: {error}"
        ) from error
    if found != kind or not isinstance(content, dict):
        raise StateForeign(f"state {where}: expected {kind!r} state, found {found!r}")
    return content


def _checksum(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_SUM).digest()
