"""Entries: one for each row and quantity, with what was predicted and what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from costsim.validation.runs import Run

Status = Literal["scored", "predicted", "unsupported"]

UNITS = {
    "step_time_s": "s",
    "memory_gb_per_gpu": "GB",
    "kv_memory_gib_per_device": "GiB",
    "kv_tokens": "tokens",
    "gpu_hours": "h",
    "energy_mwh": "MWh",
    "ttft_ms": "ms",
    "ttft_p99_ms": "ms",
    "tpot_ms": "ms",
    "output_tokens_per_s": "tokens/s",
    "samples_per_s": "samples/s",
    "latency_s": "s",
    "energy_j_per_sample": "J",
    "power_w_per_device": "W",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A quantity of a row. `status` says whether it is predicted, and whether it was measured too.

    `reason` says why it is unsupported; of predictions, what was assumed where the row is silent,
    and what of the row is in doubt.
    """

    run: Run
    quantity: str
    predicted: float | None
    low: float | None
    high: float | None
    measured: float | None
    reason: str

    @property
    def unit(self) -> str:
        return UNITS[self.quantity]

    @property
    def status(self) -> Status:
        if self.predicted is None:
            return "unsupported"
        return "predicted" if self.measured is None else "scored"
