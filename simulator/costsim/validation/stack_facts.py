"""What a row says of its software: graphs, dispatcher, routing, overlap, attention kernels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from costsim.hardware.calibration import class_of
from costsim.hardware.systems import System
from costsim.training.software import EFFORTS, Effort, Software, under_effort
from costsim.validation.runs import Run
from costsim.validation.stated import dispatcher_of, graphs_of, parts_of, routing_of
from costsim.validation.words import noted

Value = TypeVar("Value")

# Generations of attention kernels -> their rate over the best of 2025, by class of accelerator:
# FlashAttention-2 reaches half of what later kernels do on Hopper (arXiv 2407.08608), and runs
# without the matrix units of Blackwell's own.
ATTENTION_KERNELS: tuple[tuple[str, dict[str, float]], ...] = (
    (r"fa-?4|flash-?attention-?4", {"all": 1.0}),
    (r"fa-?3|flash-?attention-?3|cudnn|fused|te\b", {"all": 1.0}),
    (r"fa-?2|flash-?attention-?2|flash|sdpa", {"hopper": 0.5, "blackwell": 0.3, "all": 1.0}),
)
_FOLLOWED = ("delay_wgrad", "megatron_fsdp")  # said by other columns, or part of what overlaps
# Products of experts with activation and casts in one kernel (Megatron-Bridge 26.06: cuDNN's
# grouped products, operators fused by Transformer Engine).
_FUSING = ("fused_grouped_mlp", "te_op_fuser")
_TUNING = ("sft", "lora", "qlora")
_COMPETITIONS = ("time-to-quality", "finetune-from-ckpt")  # tasks of whole MLPerf runs
_EXPERTS_OVERLAP_RATIO = 0.9
"""Of exchanges that a merged forward and backward pass hides: all but the outermost layers'."""


def stated_software(run: Run, software: Software, system: System) -> Software:
    """Return `software` as the row says that it ran; the stack's habit where it says nothing."""
    text = run.text
    software = under_effort(
        software, _effort(text.get("effort") or noted(run, "effort"), text.get("task", ""))
    )
    if graphs := graphs_of(run):
        software = replace(software, graphs=graphs)
    if dispatcher := dispatcher_of(run):
        software = replace(software, dispatcher=dispatcher)
    if routing := routing_of(run):
        software = replace(software, routing="natural" if routing == "dropless" else "balanced")
    elif fine_tunes(run):
        software = replace(software, routing="natural")  # no router is forced on data that counts
    for part in parts_of(run, "overlap"):
        if "a2a_overlap" in part:
            software = replace(software, overlap_experts_ratio=_EXPERTS_OVERLAP_RATIO)
        elif any(word in part for word in _FUSING):
            software = replace(software, fuses_experts=True)
        elif part not in _FOLLOWED:
            run.account.note("unused", f"overlap `{part[:60]}`", column="overlap")
    if words := text.get("attention_kernel", "").lower():
        rates = _first(ATTENTION_KERNELS, words)
        if rates is None:
            run.account.note(
                "unknown", f"attention_kernel `{words[:60]}`", column="attention_kernel"
            )
            return software
        name = class_of(system.accelerator.architecture)
        rate = rates.get(name, rates.get(name.removesuffix("-ultra"), rates["all"]))
        software = replace(software, attention_rates={"all": rate})
    return software


def fine_tunes(run: Run) -> bool:
    """Return whether a trained model goes on with few documents of one kind."""
    return run.text.get("task", "") in _TUNING


def _effort(words: str, task: str) -> Effort:
    """Return how far a run is tuned: as it says, entries of a competition to the last."""
    said = re.sub(r"[\s-]+", "_", words.lower())
    for effort in EFFORTS:
        if effort == said:
            return effort
    return "tuned" if task in _COMPETITIONS else "stack"


def _first(table: Sequence[tuple[str, Value]], words: str) -> Value | None:
    return next((value for pattern, value in table if re.search(pattern, words)), None)
