"""Messages as JSON lines: what an offline run writes where a service would write to a topic."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import BinaryIO

from streamwatch.errors import OperatorError
from streamwatch.records import Message


def write(stream: BinaryIO, messages: Sequence[Message]) -> None:
    """Flushed when it returns. OperatorError if it cannot be written, BrokenPipeError if nobody reads it any more."""
    try:
        stream.write(b"".join([(message.value or b"null") + b"\n" for message in messages]))
        stream.flush()
    except BrokenPipeError:
        raise  # whoever read it has gone: for the command to end quietly
    except OSError as exc:
        name = "the output"
        with suppress(AttributeError):
            name = str(stream.name)
        raise OperatorError(f"{name}: cannot be written: {exc.strerror or exc}") from exc
