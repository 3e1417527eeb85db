"""Time of the products of routed experts on one rank, from sorting tokens to combining outputs."""

from __future__ import annotations

import numpy as np

from costsim.errors import UnknownNameError
from costsim.hardware.calibration import GroupedConstants
from costsim.hardware.kernels import Array, KernelModel, Number, column, soft_maximum

GROUPED: dict[str, tuple[str, ...]] = {
    "mxfp8": ("fp8_block",),
    "mxfp4": ("nvfp4",),
    "fp16": ("bf16",),
    "tf32": ("bf16",),
    "fp32": ("bf16",),
    "int8": ("fp8",),
    "w8a16": ("w4a16",),
    "w6a16": ("w4a16",),
    "w5a16": ("w4a16",),
    "w4a16_k": ("w4a16",),
    "w4a16_g32": ("w4a16",),
    "w5a16_g32": ("w4a16",),
    "w3a16": ("w4a16",),
    "bf16_2:4": ("bf16",),
    "fp8_2:4": ("fp8",),
    "int8_2:4": ("fp8",),
}
# Tokens of the busiest of n expert-parallel ranks over the mean, each doubling of n: routing by the
# power law (exponent 1.2) of the measured tables costs 1.28 at 2 ranks, 1.67 at 8, 2.15 at 32.
POWER_LAW_SKEW_PER_DOUBLING = 0.22


def power_law_imbalance(expert_ranks: Number) -> Array:
    """Return the load of the busiest rank over the mean when routing follows a power law."""
    return 1.0 + POWER_LAW_SKEW_PER_DOUBLING * np.log2(column(expert_ranks))


def touched_experts(tokens: Number, experts: Number, top_k: Number, expert_ranks: Number) -> Array:
    """Return how many experts of one rank get at least one token when routing is even."""
    experts = column(experts)
    missed = (1.0 - column(top_k) / experts) ** column(tokens)
    return experts / column(expert_ranks) * (1.0 - missed)


# Mean of the largest of n standard normal draws, n = 2^k (Harter 1961): 0.564 of 2, 1.423 of 8.
_LARGEST_OF = (0.0, 0.564, 1.029, 1.423, 1.766, 2.070, 2.343, 2.590, 2.815)


def largest_of(draws: Number) -> Array:
    """Return how far over the mean the largest of `draws` normal values lies, in deviations."""
    doublings = np.log2(np.maximum(column(draws), 1.0))
    return np.interp(doublings, np.arange(len(_LARGEST_OF)), _LARGEST_OF)


def busiest_touched(tokens: Number, experts: Number, top_k: Number, expert_ranks: Number) -> Array:
    """Return how many experts of the rank with most of them get a token, under even routing.

    All ranks wait for that one. Each of its m experts is touched with the same chance q, so that a
    rank has m·q ± √(m·q·(1 - q)) of them, and the busiest that much more, but never all twice.
    """
    held = column(experts) / column(expert_ranks)
    mean = touched_experts(tokens, experts, top_k, expert_ranks)
    share = mean / held
    spread = np.sqrt(held * share * (1.0 - share))
    return np.minimum(mean + largest_of(expert_ranks) * spread, held)


def busiest_rows(tokens: Number, top_k: Number, expert_ranks: Number) -> Array:
    """Return the rows of the rank that most tokens choose over the mean, under even routing."""
    mean = column(tokens) * column(top_k) / column(expert_ranks)
    spread = np.sqrt(mean * (1.0 - 1.0 / column(expert_ranks)))
    return (mean + largest_of(expert_ranks) * spread) / mean


def grouped_gemm_time_s(
    model: KernelModel,
    tokens: Number,
    experts: Number,
    top_k: Number,
    expert_ranks: Number,
    hidden: Number,
    intermediate: Number,
    dtype: str,
    imbalance: Number = 1.0,
    resident_tokens: Number | None = None,
    *,
    gated: bool = True,
    touched: Number | None = None,
) -> Array:
    """Return the time of the routed experts of one rank in seconds, traffic between ranks apart.

    t = launch + touched · expert + ((compute)ᵖ + (memory)ᵖ)^(1/p). Memory is the weights of the
    experts touched, the rows that they work on, and the tokens sorted among experts.

    Args:
        model: of the accelerator.
        tokens: routed together, over all ranks that share the experts; all dimensions broadcast.
        experts: that tokens choose from; experts / expert_ranks of them are here.
        top_k: experts a token.
        expert_ranks: ranks among which the experts are divided.
        hidden: width of a token.
        intermediate: width of an expert on this rank (its share under tensor parallelism).
        dtype: a key of `costsim.hardware.kernels.FORMATS`.
        imbalance: tokens here over the mean of all ranks; see `power_law_imbalance`.
        resident_tokens: whose vectors are on this rank: all of them (None) where ranks gather the
            tokens before routing, those received where an all-to-all dispatches them.
        gated: whether an expert has three matrices or two.
        touched: experts here that get a token; the mean over all ranks if not given.

    Raises:
        UnknownNameError: if the format or its peak is unknown.
    """
    form, constants = model.format(dtype), grouped_constants(model, dtype)
    peak, bandwidth = model.peak_flops_per_s(dtype), model.bandwidth_bytes_per_s
    routed = column(tokens) * column(top_k) / column(expert_ranks) * column(imbalance)
    if touched is None:
        touched = touched_experts(tokens, experts, top_k, expert_ranks)
    touched = column(touched)
    weights = column(hidden) * column(intermediate) * (3.0 if gated else 2.0)

    flops = 2.0 * routed * weights
    width = column(hidden) * 2.0  # a token in 16 bits
    resident = column(tokens if resident_tokens is None else resident_tokens)
    expert_bytes = touched * weights * form.weight_bytes
    # 1. Rows that experts work on; 2. tokens and, in kernels that sort all choices, every choice.
    row_bytes = routed * (width + column(intermediate) * 2.0) * constants.token_passes
    choice_passes = constants.resident_passes + column(top_k) * constants.slot_passes
    moved = expert_bytes + row_bytes + resident * width * choice_passes
    compute_s = flops / (constants.compute_ratio * peak)
    memory_s = moved / (constants.memory_ratio * bandwidth)
    time_s = soft_maximum(constants.overlap_exponent, compute_s, memory_s)
    time_s = np.maximum(time_s, np.maximum(flops / peak, expert_bytes / bandwidth))
    return constants.launch_s + touched * constants.expert_s + time_s


def grouped_constants(model: KernelModel, dtype: str) -> GroupedConstants:
    """Return the constants of routed experts in `dtype`, or of the nearest format measured.

    Raises:
        UnknownNameError: if no class measured any like it.
    """
    for name in (dtype, *GROUPED.get(dtype, ())):
        if name in model.grouped:
            return model.grouped[name]
    raise UnknownNameError(
        f"no constants for routed experts in `{dtype}`",
        hint="known: " + ", ".join(f"`{name}`" for name in model.grouped),
    )
