"""The local cache of the Hugging Face hub: a release as it was downloaded, without the network."""

from __future__ import annotations

import os
import re
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


def cache_folder() -> Path:
    """Return where the hub's libraries keep what they downloaded, by their own variables."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return Path(os.environ[variable]).expanduser()
    home = os.environ.get("HF_HOME")
    if home:
        return Path(home).expanduser() / "hub"
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "huggingface" / "hub"


def snapshot_of(name: str) -> Path | None:
    """Return the folder of a release `owner/name` in the cache; None where it is not there.

    The snapshot is the one that `refs/main` names, else the newest.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        return None
    folder = cache_folder() / f"models--{name.replace('/', '--')}"
    if not folder.is_dir():
        return None
    reference = folder / "refs" / "main"
    if reference.is_file():
        commit = reference.read_text(encoding="utf-8", errors="replace")[:100].strip()
        if _COMMIT.fullmatch(commit) and (folder / "snapshots" / commit).is_dir():
            return folder / "snapshots" / commit
    snapshots = [path for path in (folder / "snapshots").glob("*") if path.is_dir()]
    return max(snapshots, key=lambda path: path.stat().st_mtime, default=None)
