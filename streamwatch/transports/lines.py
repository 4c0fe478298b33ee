"""Files of lines, plain or .gz, read block by block; what the system refuses becomes an error that names the file."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from streamwatch.errors import OperatorError


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Errors of reading this file as OperatorError."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
        raise OperatorError(f"{path}: damaged or cut off, expected a whole gzip file ({exc})") from exc
    except OSError as exc:
        raise OperatorError(f"{path}: cannot be read: {exc.strerror or exc}") from exc


class Lines:
    """One file being read. `done` and `size` are bytes of the file as it lies on the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with readable(path):
            self._file = path.open("rb")
            self.size = path.stat().st_size
        self.packed = path.suffix == ".gz"
        self.stream: io.BufferedReader = (
            io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=self._file)))
            if self.packed
            else self._file
        )

    @property
    def done(self) -> int:
        return min(self._file.tell(), self.size)

    @property
    def place(self) -> int:
        """Bytes read so far, unpacked."""
        return self.stream.tell()

    def block(self, size: int) -> bytes:
        """Whole lines, together at least `size` bytes; empty at the end of the file."""
        with readable(self.path):
            data = self.stream.read(size)
            return data + self.stream.readline() if data and data[-1:] != b"\n" else data

    def at(self, start: int, length: int) -> bytes:
        """Bytes at a place (of the unpacked file). Going back in a .gz means unpacking it again from its start."""
        with readable(self.path):
            self.stream.seek(start)
            return self.stream.read(length)

    def close(self) -> None:
        self.stream.close()
        self._file.close()


def plain_name(path: Path) -> str:
    """The file's name without .gz and the ending of its form."""
    name = path.name.removesuffix(".gz")
    return Path(name).stem if Path(name).suffix in (".jsonl", ".ndjson", ".json", ".csv") else name
