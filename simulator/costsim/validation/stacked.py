"""What a row says of its software's stack: states, layers, loss, and which memory was measured."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, cast

from costsim.architectures.architecture import Architecture
from costsim.compression.steps import AdaptStep, QuantizeStep
from costsim.stacks import (
    Meter,
    Stack,
    beside_adapters,
    load_stack,
    recompute_of,
    stack_for,
    under_recipe,
)
from costsim.stacks.stack import adapter_reads
from costsim.training.evaluate import evaluate
from costsim.training.job import Job
from costsim.training.offload import OFFLOADED, Offload
from costsim.training.recompute import Recompute
from costsim.training.strategy import Strategies, Strategy
from costsim.validation.runs import Run
from costsim.validation.stated import meter_of as stated_meter
from costsim.validation.stated import parts_of
from costsim.validation.words import meaning

_DTYPE = "bf16"
_USUAL_RANK = 16
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
    if frozen:
        stack = beside_adapters(stack, base, _stored(run))
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
    kept = (
        "id",
        "name",
        "release",
        "source",
        "layers",
        "loss",
        "loss_chunks",
        "attention",
        "known",
    )
    if other.units == "fsdp":
        kept += ("update",)
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
    if taken == frozenset({"parameters", "activations"}):
        taken = OFFLOADED["everything"]
    return next(name for name, of in OFFLOADED.items() if of == taken)  # pyright: ignore


def spoken_number(words: str, pattern: str) -> float | None:
    """Return the number that `pattern` catches in words, such as `teacher 14B`."""
    found = re.search(pattern, words, re.I)
    return float(found[1]) if found else None


def adapted_model(run: Run, model: Architecture, stack: Stack, assumed: list[str]) -> Architecture:
    """Return `model` frozen, stored as the row says, with its adapters."""
    storage = _stored(run)
    if storage:
        model = QuantizeStep(kind="quantize", format=storage, matrices="layers").apply(
            model, _DTYPE
        )
    rank, targets = run.number.get("adapter_rank"), parts_of(run, "adapter_targets")
    if rank is None:
        assumed.append(f"adapter_rank {_USUAL_RANK}")
    if not targets:
        targets = stack.adapter_targets
        assumed.append(f"adapter_targets {' '.join(targets)}")
    words = run.text.get("method", "")
    copied = tuple(
        name for word, name in (("embedding", "embed_tokens"), ("head", "lm_head")) if word in words
    )
    step = AdaptStep(
        kind="adapt",
        rank=int(rank or _USUAL_RANK),
        targets=targets,
        modules_to_save=copied,
        magnitudes="dora" in words,
        reads=adapter_reads(stack),
    )
    return step.apply(model, _DTYPE)


def _stored(run: Run) -> str:
    return run.text.get("storage_format", "") or _packed(run)


def _packed(run: Run) -> str:
    """Return the storage format that words of the precision name: `nf4 base`, `gptq 4-bit`."""
    words = run.text.get("precision", "").lower()
    found = re.search(r"\b(nf4|gptq|awq|int8)\b", words)
    named = {"gptq": "gptq-int4", "awq": "awq-int4"}
    return named.get(found[1], found[1]) if found else ""


@dataclass(frozen=True, slots=True)
class Held:
    """A job as its stack holds it, and which memory was measured."""

    job: Job
    meter: Meter

    def bytes_of(self, strategy: Strategy) -> float:
        """Return bytes of a device at the peak, as the meter sees them."""
        memory = evaluate(self.job, Strategies.of([strategy])).memory
        return float(memory.metered_bytes(self.meter, self.job).max())


_MEGATRON = frozenset({"nemo", "megatron-core"})
_OWN_STATES = _MEGATRON | {"fsdp", "deepspeed"}
"""Profiles of software that differs in states, layers and loss from one framework to the next."""


def held_of(run: Run, job: Job) -> Held | None:
    """Return a row's job as its stack holds it; None of software before 2023 and of XLA.

    Software that nobody knows is taken for plain PyTorch, unless it divides layers.
    """
    words = run.text.get("framework", "")
    known = stack_for(words)
    if known.profile not in _OWN_STATES or job.counts == "samples":
        return None
    if not known.known and (not words or _divides(run)):
        return None
    if known.profile in _MEGATRON and known.profile != job.software.name:
        return None  # of another generation
    stack, assumed = stack_of(run, frozen=job.frozen), list[str]()
    if run.text.get("task", "pretrain") == "pretrain":
        stack = under_recipe(stack, run.text.get("model", ""))
    if re.search(r"\bpure\b", run.text.get("precision", "").lower()) and not job.frozen:
        pure: dict[str, Any] = dict.fromkeys((*_STATES, "reduced"), _DTYPE)
        stack = replace(stack, master="none", autocast=False, **pure)
    model = job.model
    if job.frozen:
        model = adapted_model(run, model, stack, assumed)
    return Held(replace(job, model=model, stack=stack), printed_meter(run))


def _divides(run: Run) -> bool:
    """Return whether layers are divided, as only software like Megatron does."""
    return any(run.number.get(axis, 1) > 1 for axis in ("tp", "pp", "ep"))


def usual_recompute(run: Run, *, adapters: bool) -> tuple[Recompute, ...]:
    """Return the mode that a framework's own recipes ask for; none where they recompute nothing."""
    stack = stack_for(run.text.get("framework", ""))
    mode = recompute_of(stack, adapters=adapters) if stack.known else "none"
    return () if mode == "none" else (cast("Recompute", mode),)


def printed_meter(run: Run) -> Meter:
    """Return which memory a training row measured; left out, the one that its framework prints."""
    return stated_meter(run) or stack_for(run.text.get("framework", "")).prints
