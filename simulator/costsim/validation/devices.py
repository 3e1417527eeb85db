"""The device of a row: its catalog id, or what its `hardware` column calls it."""

from __future__ import annotations

import re
from functools import lru_cache

from costsim.errors import CostsimError
from costsim.hardware.accelerators import Accelerator
from costsim.hardware.catalog import accelerator_ids, load_accelerator
from costsim.validation.runs import Run

_CAPACITY = re.compile(r"-?\d+gb$")


def device_of(run: Run) -> Accelerator | str:
    """Return the device of a row, or why there is none.

    A row without `accelerator_id` is on the device that `hardware` names ("cpu-i9-10940x",
    "rtx-a5000-24gb"), if the catalog has exactly one of that name, maker and capacity aside.
    """
    name, words = run.text.get("accelerator_id", ""), run.text.get("hardware", "")
    if name:
        try:
            device = load_accelerator(name)
        except CostsimError as error:
            return error.problems[0].message
        if words and (other := _named(words)) is not None and other.id != device.id:
            text = f"hardware `{words[:60]}`, taken as {device.id}"
            run.account.note("unused", text, column="hardware")
        return device
    if not words:
        return "`accelerator_id` and `hardware` are both empty"
    found = _named(words)
    return found or f"`accelerator_id` is empty, and the catalog has no one `{words[:60]}`"


@lru_cache(maxsize=256)
def _named(words: str) -> Accelerator | None:
    try:
        return load_accelerator(words)
    except CostsimError:
        pass
    bare = _squeezed(words)
    short = _squeezed(_CAPACITY.sub("", words.lower()))
    ids = accelerator_ids()
    for wanted in (bare, short):
        matching = [name for name in ids if _squeezed(name).endswith(wanted)]
        if wanted and len(matching) == 1:
            return load_accelerator(matching[0])
    return None


def _squeezed(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
