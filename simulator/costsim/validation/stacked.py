"""What a row says of its software's stack: states, layers, loss, and which memory was measured."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from costsim.stacks import Stack, load_stack, stack_for
from costsim.training.offload import OFFLOADED, Offload
from costsim.validation.runs import Run
from costsim.validation.stated import Meter, parts_of
from costsim.validation.words import meaning

_STATES = ("weights", "gradients", "moments")


def stack_of(run: Run, *, frozen: bool) -> Stack:
    """Return the stack of a row: its framework's, with the choices that the row states.

    Sharding by another library brings that one's states: DeepSpeed's under ZeRO, FSDP's shards. A
    framework that nobody knows is noted.
    """
    words = run.text.get("framework", "")
    stack = stack_for(words)
    if not stack.known:
        run.account.note("unknown", f"framework `{words[:60]}`", column="framework")
    sharding = run.text.get("zero_or_fsdp", "").lower()
    if "zero" in sharding and stack.units == "fsdp":
        stack = _with_states(stack, load_stack("deepspeed"))
    elif "fsdp" in sharding and stack.buckets == "copies":
        stack = _with_states(stack, load_stack("accelerate-fsdp"))
    changes: dict[str, Any] = {}
    base = "fp32" if run.text.get("base_dtype", "") == "fp32" else "bf16"
    if frozen:  # a base that is not trained stays in the format it is loaded in
        changes |= dict.fromkeys(_STATES, base)
        changes["autocast"] = stack.autocast and base == "fp32"
    states = meaning(run, "states")
    if states is not None and not frozen:
        changes |= dict.fromkeys(_STATES, states)
        changes |= {"master": "none", "autocast": states == "fp32" and stack.units != "fsdp"}
    for column, field in (("loss", "loss"), ("attention", "attention")):
        said = meaning(run, column)
        if said:
            changes[field] = said
    return replace(stack, **changes)


def _with_states(stack: Stack, other: Stack) -> Stack:
    kept = ("id", "name", "release", "source", "layers", "loss", "loss_chunks", "attention", "known")
    return replace(other, **{name: getattr(stack, name) for name in kept})


def meter_of(run: Run, column: str) -> Meter:
    """Return which memory a row measured; where it does not say, the device's as a whole.

    That is what nvidia-smi shows, and people read.
    """
    words = run.text.get(column, "").lower()
    if re.search(r"\ballocated\b", words):
        return "allocated"
    return "reserved" if re.search(r"\breserved\b", words) else "total"


def offload_of(run: Run) -> Offload:
    """Return what the host's memory keeps."""
    if not run.text.get("offload"):
        return "none"
    known = ("parameters", "optimizer", "activations")
    parts = {part.lower().rstrip("s") for part in parts_of(run, "offload")}
    taken = frozenset(name for name in known if name.rstrip("s") in parts)
    if taken == {"parameters", "activations"}:
        taken = OFFLOADED["everything"]
    return next(name for name, of in OFFLOADED.items() if of == taken)  # pyright: ignore


def spoken_number(words: str, pattern: str) -> float | None:
    """Return the number that `pattern` catches in words, such as `teacher 14B`."""
    found = re.search(pattern, words, re.I)
    return float(found[1]) if found else None
