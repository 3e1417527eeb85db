"""Time of convolutions: an implicit matrix product, or for groups of channels a direct kernel."""

from __future__ import annotations

import numpy as np

from costsim.hardware.gemm import gemm_time_s
from costsim.hardware.kernels import Array, KernelModel, Number, column
from costsim.hardware.streaming import streaming_time_s

_VECTOR = "fp32"  # direct kernels multiply on the vector units, whatever the format of the maps


def convolution_time_s(
    model: KernelModel,
    m: Number,
    n: Number,
    k: Number,
    dtype: str,
    count: Number,
    gathered: Number,
    elements: Number,
) -> Array:
    """Return the time of a convolution in seconds.

    An implicit product gathers its m×k factor window by window and runs as [m, k] x [k, n] does.
    Few channels a group leave matrix units idle, so libraries also have direct kernels, bound by
    memory or by the vector units: t = max(streaming, operations / vector rate). The faster counts.

    Args:
        model: of the accelerator.
        m: output positions; all dimensions broadcast with each other.
        n: output channels of a group.
        k: input channels of a group times positions of the window.
        dtype: a key of `costsim.hardware.kernels.FORMATS`.
        count: groups.
        gathered: elements of the tensor that windows are gathered from.
        elements: of input, weight and output, each once.

    Raises:
        UnknownNameError: if the format or its peak is unknown.
    """
    groups = column(count)
    implicit_s = gemm_time_s(model, m, n, k, dtype, count, gathered)
    vector_flops_per_s = model.accelerator.peaks_flops_per_s.get(_VECTOR)
    if vector_flops_per_s is None or np.all(groups == 1):
        return implicit_s
    operations = 2.0 * column(m) * column(n) * column(k) * groups
    moved = column(elements) * model.format(dtype).activation_bytes
    direct_s = np.maximum(streaming_time_s(model, moved), operations / vector_flops_per_s)
    return np.where(groups > 1, np.minimum(implicit_s, direct_s), implicit_s)
