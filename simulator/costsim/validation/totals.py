"""Time of a model known only by its totals: multiply-adds, activations and parameters.

    t = step + products + activations + weights
    products    = 2 · macs · batch · (3 if training) / (compute_ratio · peak)
    activations = bytes · activations · batch · activation_passes · layout / bandwidth
    weights     = 4 · parameters · weight_passes / bandwidth

Eager frameworks run a kernel at a time, of which each is bound either by products or by memory: so
the terms add. What totals do not tell (groups of convolutions, fused kernels, widths of layers) is
what such an estimate errs by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from costsim.hardware.accelerators import Accelerator
from costsim.training.samples import vision_calibration

Column: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Mode: TypeAlias = Literal["infer", "train"]

_MASTER_BYTES = 4  # weights are kept in fp32, and cast where products are of 16 bits
_TRAINING_PRODUCTS = 3  # forward, and backward by inputs and by weights


@dataclass(frozen=True, slots=True)
class Rates:
    """How a kind of device runs whole models in one mode, from `calibration/vision.yaml`.

    Attributes:
        compute_ratio: rate of products over the peak of their format.
        activation_passes: how often outputs of products are moved through memory in all: written,
            normalized, activated, added, read; in training also backward.
        weight_passes: how often weights are moved: read, cast or reordered, updated.
        channels_last_ratio: passes over activations where channels lie together in memory (NHWC),
            relative to planes (NCHW).
        step_s: what a step takes beside: the host's launches, the optimizer's small kernels.
    """

    compute_ratio: float
    activation_passes: float
    weight_passes: float
    channels_last_ratio: float
    step_s: float


@dataclass(frozen=True, slots=True)
class Totals:
    """Columns of models of one device and mode: counts of one sample, and the batch."""

    macs: Column
    activations: Column
    parameters: Column
    batch: Column
    channels_last: Column  # 1 or 0


@dataclass(frozen=True, slots=True)
class Typical:
    """What totals of image models have in common: medians over several hundred.

    Attributes:
        macs_per_weight_pixel: multiply-adds over parameters times pixels of an image.
        macs_per_activation: multiply-adds over outputs of products.
    """

    macs_per_weight_pixel: float
    macs_per_activation: float


def is_processor(accelerator: Accelerator) -> bool:
    """Return whether a device is a CPU."""
    return accelerator.form_factor == "CPU"


def rates(accelerator: Accelerator, mode: Mode, *, compiled: bool = False) -> Rates:
    """Return the rates of the kind of device that `accelerator` is.

    Compilers (`torch.compile`) fuse what lies between products, and launch from compiled code; on
    processors all that was measured is compiled.
    """
    kind = "processor" if is_processor(accelerator) else "accelerator"
    kind += "_compiled" if compiled and kind == "accelerator" else ""
    return Rates(**vision_calibration()["totals"][kind][mode])


def typical_ratios() -> Typical:
    """Return the calibrated ratios."""
    return Typical(**vision_calibration()["typical"])


def step_time_s(
    accelerator: Accelerator,
    dtype: str,
    mode: Mode,
    totals: Totals,
    used: Rates | None = None,
    *,
    compiled: bool = False,
) -> Column:
    """Return the seconds of a step of `totals.batch` samples.

    Args:
        accelerator: the device.
        dtype: format of products, of which the device has a peak.
        mode: a forward pass, or training by momentum.
        totals: columns of models.
        used: rates to take instead of the calibrated ones.
        compiled: whether operations are fused by a compiler, or run one after another.

    Raises:
        UnknownNameError: if the device has no peak of `dtype`.
    """
    used = used or rates(accelerator, mode, compiled=compiled)
    products = 2 * totals.macs * totals.batch * (_TRAINING_PRODUCTS if mode == "train" else 1)
    size = 4 if dtype in ("fp32", "tf32") else 2
    layout = np.where(totals.channels_last > 0, used.channels_last_ratio, 1.0)
    moved = size * totals.activations * totals.batch * used.activation_passes * layout
    moved = moved + _MASTER_BYTES * totals.parameters * used.weight_passes
    return (
        used.step_s
        + products / (accelerator.peak_flops_per_s(dtype) * used.compute_ratio)
        + moved / accelerator.memory_bandwidth_bytes_per_s
    )
