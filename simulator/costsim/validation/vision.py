"""Predictions of vision runs: throughput of models known by their totals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from costsim.hardware.accelerators import Accelerator
from costsim.validation.devices import device_of
from costsim.validation.runs import Run
from costsim.validation.totals import (
    Mode,
    Totals,
    Typical,
    is_processor,
    step_time_s,
    typical_ratios,
)

_MEGA, _GIGA = 1e6, 1e9


@dataclass(frozen=True, slots=True)
class Counts:
    """Totals of one sample of a row's model; `assumed` says how they were found, if not stated.

    `typical` ones are of models as large, not of this one.
    """

    macs: float
    activations: float
    parameters: float
    assumed: str = ""
    typical: bool = False


@dataclass(frozen=True, slots=True)
class VisionRun:
    """A row as `step_time_s` takes it."""

    accelerator: Accelerator
    mode: Mode
    dtype: str
    batch: float
    channels_last: bool
    counts: Counts
    compiled: bool = False

    @property
    def regime(self) -> str:
        """Which residuals tell how far its estimate errs."""
        if self.counts.typical:
            return "typical"
        kind = "processor" if is_processor(self.accelerator) else "accelerator"
        kind += "_compiled" if self.compiled and kind == "accelerator" else ""
        return f"{kind}_{self.mode}"


def vision_runs(runs: Sequence[Run]) -> list[VisionRun | str]:
    """Return every row as it is estimated, or why it cannot be."""
    twins = _twins(runs)
    return [run.fault or _vision_run(run, twins) for run in runs]


def times_s(rows: Sequence[VisionRun]) -> list[float]:
    """Return the seconds of a step of every row, rows of one kind evaluated together."""
    found = [0.0] * len(rows)
    alike: dict[tuple[str, str, Mode, bool], list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        alike[row.accelerator.id, row.dtype, row.mode, row.compiled].append(index)
    for (_, dtype, mode, compiled), indices in alike.items():
        members = [rows[index] for index in indices]
        device, totals = members[0].accelerator, totals_of(members)
        times = step_time_s(device, dtype, mode, totals, compiled=compiled)
        for index, time_s in zip(indices, times, strict=True):
            found[index] = float(time_s)
    return found


def totals_of(rows: Sequence[VisionRun]) -> Totals:
    """Return the columns of rows."""
    return Totals(
        np.array([row.counts.macs for row in rows]),
        np.array([row.counts.activations for row in rows]),
        np.array([row.counts.parameters for row in rows]),
        np.array([row.batch for row in rows]),
        np.array([float(row.channels_last) for row in rows]),
    )


def _vision_run(run: Run, twins: Mapping[tuple[float, float], Counts]) -> VisionRun | str:
    device = device_of(run)
    if isinstance(device, str):
        return device
    mode = _mode(run.text.get("mode", ""))
    if mode is None:
        return f"mode `{run.text.get('mode', '')[:40]}` is neither `infer` nor `train`"
    if "batch" not in run.number:
        return "`batch` is empty"
    dtype = _dtype(run.text.get("precision", ""), device)
    if dtype is None:
        return f"no rate is known of `{run.text.get('precision', '')[:40]}` on {device.name}"
    counts = _counts(run, twins)
    if isinstance(counts, str):
        return counts
    layout = run.text.get("layout", "").lower()
    last = layout in ("nhwc", "channels_last", "channels-last")
    compiled = run.text.get("dynamo", "").lower() in ("true", "1", "yes")
    return VisionRun(device, mode, dtype, run.number["batch"], last, counts, compiled)


def _mode(word: str) -> Mode | None:
    if word.lower().startswith("infer"):
        return "infer"
    return "train" if word.lower().startswith("train") else None


def _dtype(words: str, device: Accelerator) -> str | None:
    """Return the format of products: the one that is said, or its next of kin that runs there."""
    words = words.lower()
    if not words or "16" in words or words == "amp":
        wanted = ("bf16", "fp16") if "bf16" in words else ("fp16", "bf16")
    else:
        wanted = ("tf32",) if "tf32" in words else ("fp32",) if "32" in words else ()
    if wanted and is_processor(device):
        wanted = (*wanted, "fp32")  # a CPU without narrow products widens them
    return next((name for name in wanted if name in device.peaks_flops_per_s), None)


def _twins(runs: Sequence[Run]) -> dict[tuple[float, float], Counts]:
    """Return the totals that rows state, by what tells a model: its parameters and image."""
    found: dict[tuple[float, float], Counts] = {}
    for run in runs:
        stated = _stated(run)
        if stated is not None:
            key = (run.number["params_M"], run.number.get("img_size", 0.0))
            found.setdefault(key, stated)
    return found


def _stated(run: Run) -> Counts | None:
    number = run.number
    if not all(number.get(name) for name in ("gmacs", "macts", "params_M")):
        return None
    return Counts(number["gmacs"] * _GIGA, number["macts"] * _MEGA, number["params_M"] * _MEGA)


def _counts(run: Run, twins: Mapping[tuple[float, float], Counts]) -> Counts | str:
    """Return the totals of a row: stated, of a model as large in the same file, or typical."""
    stated = _stated(run)
    if stated is not None:
        return stated
    number = run.number
    if not number.get("params_M"):
        return "`params_M` is empty, and so is `gmacs` or `macts`"
    parameters, side = number["params_M"], number.get("img_size", 0.0)
    twin = twins.get((parameters, side))
    if twin is not None:
        assumed = "totals of the row with as many parameters and as large an image"
        return Counts(twin.macs, twin.activations, twin.parameters, assumed)
    if not side:
        return "`img_size` is empty, and so is `gmacs` or `macts`"
    typical = typical_counts(parameters * _MEGA, side, typical_ratios())
    macs = number.get("gmacs", 0.0) * _GIGA or typical.macs
    activations = number.get("macts", 0.0) * _MEGA or typical.activations * macs / typical.macs
    return replace(typical, macs=macs, activations=activations)


def typical_counts(parameters: float, side: float, ratios: Typical) -> Counts:
    """Return the totals of a typical model.

    Args:
        parameters: how many it has.
        side: of its square image, in pixels.
        ratios: what models have in common.
    """
    macs = parameters * side**2 * ratios.macs_per_weight_pixel
    assumed = "totals of a typical model with as many parameters and as large an image"
    return Counts(macs, macs / ratios.macs_per_activation, parameters, assumed, typical=True)
