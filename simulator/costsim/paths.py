"""What lies at a path that someone wrote: names that no file can have are the names of nothing.

`Path.exists` and its kin raise for a name that is too long for the file system or holds a NUL,
which is as much "no such file" as any other name.
"""

from __future__ import annotations

from pathlib import Path


def exists(path: str | Path) -> bool:
    """Return whether anything lies at `path`."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def is_file(path: str | Path) -> bool:
    """Return whether a regular file lies at `path`."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: str | Path) -> bool:
    """Return whether a folder lies at `path`."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False
