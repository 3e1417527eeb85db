"""What a row says of its software: graphs, dispatcher, routing, overlap, attention kernels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from costsim.hardware.calibration import class_of
from costsim.hardware.experts import Dispatcher
from costsim.hardware.systems import System
from costsim.training.software import EFFORTS, Effort, Graphs, Software, under_effort
from costsim.validation.runs import Run

Value = TypeVar("Value")

# Words of recipes -> what is captured; the first match counts.
_GRAPHS: tuple[tuple[str, Graphs], ...] = (
    (r"^(none|false|off|no)\b", "none"),
    (r"full|whole|step|iteration|mcore", "step"),
    (r".", "layer"),
)
_DISPATCHERS: tuple[tuple[str, Dispatcher], ...] = (
    (r"hybrid-?ep", "hybridep"),
    (r"deep-?ep", "deepep"),
    (r"all-?to-?all|nccl|rccl", "all_to_all"),
)
# Generations of attention kernels -> their rate over the best of 2025, by class of accelerator:
# FlashAttention-2 reaches half of what later kernels do on Hopper (arXiv 2407.08608), and runs
# without the matrix units of Blackwell's own.
ATTENTION_KERNELS: tuple[tuple[str, dict[str, float]], ...] = (
    (r"fa-?4|flash-?attention-?4", {"all": 1.0}),
    (r"fa-?3|flash-?attention-?3|cudnn|fused|te\b", {"all": 1.0}),
    (r"fa-?2|flash-?attention-?2|flash|sdpa", {"hopper": 0.5, "blackwell": 0.3, "all": 1.0}),
)
_COMPETITIONS = ("time-to-quality", "finetune-from-ckpt")  # tasks of whole MLPerf runs
_EXPERTS_OVERLAP_RATIO = 0.9
"""Of exchanges that a merged forward and backward pass hides: all but the first and last layer's."""


def stated_software(run: Run, software: Software, system: System) -> Software:
    """Return `software` as the row says that it ran; the stack's habit where it says nothing."""
    text = run.text
    software = under_effort(software, _effort(text.get("effort", ""), text.get("task", "")))
    if words := text.get("graphs", "").lower():
        software = replace(software, graphs=_first(_GRAPHS, words) or "layer")
    if (words := text.get("dispatcher", "").lower()) and (kind := _first(_DISPATCHERS, words)):
        software = replace(software, dispatcher=kind)
    if words := text.get("routing", "").lower():
        software = replace(software, routing="natural" if "dropless" in words else "balanced")
    elif _tunes(text.get("task", "").lower()):
        software = replace(software, routing="natural")  # no router is forced on data that counts
    if "a2a_overlap" in text.get("overlap", ""):
        software = replace(software, overlap_experts_ratio=_EXPERTS_OVERLAP_RATIO)
    if (words := text.get("attention_kernel", "").lower()) and (
        rates := _first(ATTENTION_KERNELS, words)
    ):
        name = class_of(system.accelerator.architecture)
        rate = rates.get(name, rates.get(name.removesuffix("-ultra"), rates["all"]))
        software = replace(software, attention_rates={"all": rate})
    return software


def _effort(words: str, task: str) -> Effort:
    """Return how far a run is tuned: as it says, entries of a competition to the last."""
    stated = next((one for one in EFFORTS if one == re.sub(r"[\s-]+", "_", words.lower())), None)
    return stated or ("tuned" if task in _COMPETITIONS else "stack")


def _tunes(task: str) -> bool:
    return task in ("sft", "lora", "qlora")


def _first(table: Sequence[tuple[str, Value]], words: str) -> Value | None:
    return next((value for pattern, value in table if re.search(pattern, words)), None)
