"""Lines of a runs file as they are read, and where in them a cell stands."""

from __future__ import annotations

import csv
import io

from costsim.errors import Location


class Lines:
    """Passes lines on and keeps those of the row at hand, so that a cell's place can be found."""

    def __init__(self, text: str, file: str, row_characters: int) -> None:
        self.file = file
        self._lines = io.StringIO(text, newline="")
        self._most = row_characters
        self._kept: list[str] = []
        self._size = 0
        self.line = 1
        """Where the row at hand starts."""

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._kept.append(line)
        self._size += len(line)
        if self._size > self._most:
            raise csv.Error(f"a row of more than {self._most:,} characters")
        if "\0" in line:
            raise csv.Error("it holds a NUL character")
        return line

    def next_row(self) -> None:
        """Forget the row at hand: another follows."""
        self.line += len(self._kept)
        self._kept, self._size = [], 0

    def here(self) -> Location:
        """Return the place of the line that was read last."""
        line = self._kept[-1] if self._kept else ""
        return Location(self.file, self.line + max(len(self._kept) - 1, 0), line.find("\0") + 1)

    def place(self, cell: int) -> Location:
        """Return where cell `cell` of the row at hand starts."""
        row, column, quoted, count = 0, 1, False, 0
        for row, line in enumerate(self._kept):
            for index, character in enumerate(line):
                if count == cell and (index == 0 or (line[index - 1] == "," and not quoted)):
                    return Location(self.file, self.line + row, index + 1)
                if character == '"':
                    quoted = not quoted
                elif character == "," and not quoted:
                    count += 1
                    column = index + 2
        return Location(self.file, self.line + row, column)
