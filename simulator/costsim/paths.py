"""What lies at a path that someone wrote: names that no file can have are the names of nothing.

`Path.exists` and its kin raise for a name that is too long for the file system or holds a NUL,
which is as much "no such file" as any other name.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import zlib
from pathlib import Path

_HERE = f"{zlib.crc32(platform.node().encode()):08x}"  # another machine may share the folder


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


def unfinished(target: Path) -> Path:
    """Return the name that `target` has while it is written, for a rename once it is whole.

    What killed processes of this machine left of it under such names is removed.
    """
    own = re.compile(rf"\.{re.escape(target.name)}\.{_HERE}-(\d+)\.tmp")
    with contextlib.suppress(OSError):
        for path in target.parent.iterdir():
            found = own.fullmatch(path.name)
            if found and not _runs(int(found[1])):
                path.unlink(missing_ok=True)
    return target.with_name(f".{target.name}.{_HERE}-{os.getpid()}.tmp")


def _runs(process: int) -> bool:
    """Return whether a process runs; where that cannot be asked without harm, yes."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
