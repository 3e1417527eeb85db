"""Time of matrix products by shape: tiles, waves, the ramp along k, memory and the launch floor."""

from __future__ import annotations

import numpy as np

from costsim.hardware.kernels import Array, KernelModel, Number, column, soft_maximum

# Output tiles (rows, columns, cuts along k) of which a library picks the fastest for a shape.
TILES: tuple[tuple[int, int, int], ...] = (
    (256, 128, 1),
    (128, 128, 1),
    (64, 128, 1),
    (64, 64, 1),
    (64, 64, 4),
    (64, 64, 16),
)
# Kernels that unpack weights to 16 bits are written for few rows, and have thin tiles besides.
THIN_TILES: tuple[tuple[int, int, int], ...] = (
    (16, 128, 1),
    (16, 128, 4),
    (16, 128, 16),
    (32, 128, 1),
    (32, 128, 4),
)
PARTIAL_SUM_BYTES = 8.0  # of split-k: each output element written and read once in fp32
QUANTIZE_READ_BYTES = 2.0  # activations arrive in 16 bits


def gemm_time_s(
    model: KernelModel,
    m: Number,
    n: Number,
    k: Number,
    dtype: str,
    count: Number = 1,
    gathered: Number | None = None,
) -> Array:
    """Return the time of [m, k] x [k, n] in seconds.

    t = launch + quantize + ((compute)ᵖ + (memory)ᵖ)^(1/p), where compute is the fastest of a few
    tilings: waves of tiles over the compute units, each tile k + fill_k steps long. Every part
    grows with every dimension, so the time does too. It is never below operations / peak nor
    bytes / bandwidth.

    Args:
        model: of the accelerator.
        m: rows (tokens); all dimensions broadcast with each other.
        n: columns.
        k: summed dimension.
        dtype: a key of `costsim.hardware.kernels.FORMATS`.
        count: equal products in one batched launch.
        gathered: elements that the m×k factors are gathered from, where those are fewer: the
            windows of a convolution overlap.

    Raises:
        UnknownNameError: if the format or its peak is unknown.
    """
    m, n, k, count = column(m), column(n), column(k), column(count)
    form, constants = model.format(dtype), model.gemm_constants(dtype)
    peak, bandwidth = model.peak_flops_per_s(dtype), model.bandwidth_bytes_per_s
    units = float(model.compute_units)
    unit_rate = peak * constants.compute_ratio / units
    output = m * n * count

    best: Array | None = None
    full_intensity = TILES[0][0] * TILES[0][1] / (TILES[0][0] + TILES[0][1])
    unpacks = form.weight_bytes < form.activation_bytes and not form.sparse
    tiles: tuple[tuple[float, float, float], ...] = TILES + THIN_TILES if unpacks else TILES
    if constants.register_tile:
        tiles = (*tiles, (constants.register_tile, constants.register_tile, 1))
    for rows, columns, cuts in tiles:
        # 1. Waves: a partial wave costs between its share and a whole one.
        waves = np.ceil(m / rows) * np.ceil(n / columns) * count * (cuts / units)
        waves = (1 - constants.wave_share) * np.maximum(waves, 1.0) + (
            constants.wave_share * np.ceil(waves)
        )
        # 2. Small tiles read more operand for each operation.
        intensity = rows * columns / (rows + columns)
        delivery = intensity / (intensity + constants.tile_half)
        delivery *= (full_intensity + constants.tile_half) / full_intensity
        # 3. Steps along k, with the prologue that no other tile of the unit hides.
        compute_s = waves * (k / cuts + constants.fill_k)
        compute_s = compute_s * (2.0 * rows * columns / (unit_rate * delivery))
        if cuts > 1:
            partial_bytes = output * (PARTIAL_SUM_BYTES * cuts)
            compute_s = compute_s + partial_bytes / (constants.split_ratio * bandwidth)
        best = compute_s if best is None else np.minimum(best, compute_s)
    assert best is not None

    left = m * k * count if gathered is None else column(gathered)
    read = left * form.activation_bytes + n * k * count * form.weight_bytes
    moved = read + output * form.output_bytes
    rate = constants.memory_ratio * bandwidth
    time_s = soft_maximum(constants.overlap_exponent, best, moved / rate)
    if form.quantizes:
        quantized = left * (QUANTIZE_READ_BYTES + form.activation_bytes)
        time_s = time_s + quantized * (constants.quantize_passes / rate)
    roofline_s = np.maximum(2.0 * output * k / peak, moved / bandwidth)
    return constants.launch_s + np.maximum(time_s, roofline_s)
