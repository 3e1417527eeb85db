"""Time of kernels bound by memory: element-wise, normalization, embedding, softmax, optimizer."""

from __future__ import annotations

from typing import Literal

import numpy as np

from costsim.hardware.kernels import Array, KernelModel, Number, column

Kind = Literal["elementwise", "activation", "normalization", "rotary", "embedding", "softmax"]


def streaming_time_s(
    model: KernelModel, bytes: Number, kernels: Number = 1, kind: Kind = "elementwise"
) -> Array:
    """Return the time of `kernels` launches that together move `bytes`, in seconds.

    t = kernels · launch + bytes · ((1/memory rate)ᵖ + (1/issue rate)ᵖ)^(1/p): the launch is the
    whole of the ramp at small sizes. Nothing moved takes no time.

    Args:
        model: of the accelerator.
        bytes: read and written once each, by the operator's own count; broadcast with `kernels`.
        kernels: launches.
        kind: what the kernels do; "elementwise" (bound by memory alone) also for copies, gradient
            accumulation, optimizer updates and normalization that keeps a row in registers.
    """
    moved, kernels = column(bytes), column(kernels)
    constants = model.streaming
    seconds_per_byte = 1.0 / (model.bandwidth_bytes_per_s * constants.memory_ratio)
    if kind != "elementwise":
        per_clock: float = getattr(constants, f"{kind}_per_clock")
        issue = 1.0 / (per_clock * model.clock_hz * model.compute_units)
        exponent = constants.overlap_exponent
        seconds_per_byte = (seconds_per_byte**exponent + issue**exponent) ** (1.0 / exponent)
    launch_s = np.where(moved > 0, kernels * constants.launch_s, 0.0)
    return launch_s + moved * seconds_per_byte
