"""The journal of a study that runs: rows in point order, so that killing it loses and doubles none.

A header line with the study's digest, then frames: a line `start count bytes crc`, and that many
bytes of rows. A frame that is cut short or does not follow the one before ends the journal.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from costsim.errors import Location, SpecError

try:
    import fcntl
except ImportError:  # not on Windows: nothing keeps two runs apart there
    fcntl = None


class Journal:
    """Rows of the first `done` points of a study, on disk."""

    def __init__(self, path: Path, digest: str, *, restart: bool = False) -> None:
        """Open the journal at `path`, or begin one.

        Raises:
            SpecError: if it is another study's, or another run is writing it.
        """
        self.path, self.done = path, 0
        self._file: BinaryIO = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
        try:
            self._lock()
            header = self._file.readline()
            if restart or not header.endswith(b"\n"):
                self._file.seek(0)
                self._file.truncate()
                self._write(json.dumps({"costsim_sweep": 1, "study": digest}).encode() + b"\n")
            elif _digest(header) != digest:
                raise SpecError(
                    "holds the results of another study, or of another version of costsim",
                    location=Location(str(path)),
                    hint="`--restart` discards them; `-o` with another name keeps them",
                )
            self._body = end = self._file.tell()
            for count, _ in self._frames():
                end = self._file.tell()
                self.done += count
            self._file.seek(end)
            self._file.truncate()
        except BaseException:
            self._file.close()
            raise

    def append(self, start: int, count: int, rows: bytes) -> None:
        """Add the rows of the points that come next; they are on disk when this returns."""
        assert start == self.done
        self._file.seek(0, os.SEEK_END)
        self._write(b"%d %d %d %08x\n" % (start, count, len(rows), zlib.crc32(rows)) + rows)
        self.done += count

    def lines(self) -> Iterator[bytes]:
        """Yield the row of every point, in order."""
        for _, rows in self._frames():
            place = self._file.tell()
            yield from rows.splitlines()
            self._file.seek(place)

    def remove(self) -> None:
        """Delete the file; rows can still be read until the journal is closed."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        self._file.seek(self._body)
        expected = 0
        while True:
            told = self._file.readline(200).split()
            try:
                start, count, length, crc = (*map(int, told[:3]), int(told[3], 16))
            except (ValueError, IndexError):
                return
            rows = self._file.read(length)
            if start != expected or len(rows) != length or zlib.crc32(rows) != crc:
                return
            expected += count
            yield count, rows

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self._file.flush()
        os.fsync(self._file.fileno())

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SpecError(
                "another run is writing these results", location=Location(str(self.path))
            ) from None


def _digest(header: bytes) -> str | None:
    try:
        return json.loads(header)["study"]
    except (ValueError, KeyError, TypeError):
        return None
