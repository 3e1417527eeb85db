"""Recomputation: which activations are made again in the backward pass instead of kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

Recompute: TypeAlias = Literal[
    "none",
    "elementwise",
    "selective",
    "save_products",
    "save_half_products",
    "save_weight_products",
    "feed_forward",
    "save_qkv",
    "full",
]

RECOMPUTE: tuple[Recompute, ...] = get_args(Recompute)
"""Modes in the order of the numbers that stand for them in columns.

none: all is kept.
elementwise: norms and activation functions are made again (Megatron-Core's `--recompute-modules
    layernorm moe_act`).
selective: what attention makes inside (`core_attn`; Korthikanti et al. 2022, arXiv 2205.05198).
save_products: all but the results of products and of attention (MaxText's `minimal_with_context`;
    PyTorch's selective activation checkpointing that saves `mm` and attention).
save_half_products: as `save_products`, but for every second product with a weight (torchtitan's
    SelectiveAC; eager code keeps results of the others even where nothing reads them again).
save_weight_products: all but the results of products with weights, attention too (MaxText's
    `minimal`, JAX's `dots_with_no_batch_dims_saveable`).
feed_forward: the feed-forward network or the mixture, from its input (`--recompute-modules mlp`,
    `moe`).
save_qkv: all but the projections to queries, keys and values (MaxText's `save_qkv_proj`).
full: each layer from its input.
"""

SEARCHED: tuple[Recompute, ...] = ("none", "selective", "full")
"""Modes that a search considers where none is named."""

RECOMPUTE_NAMES: Mapping[str, str] = {
    "elementwise": "element-wise recompute",
    "selective": "selective recompute",
    "save_products": "recompute all but products",
    "save_weight_products": "recompute all but products of weights",
    "feed_forward": "feed-forward recompute",
    "save_qkv": "recompute all but QKV",
    "save_half_products": "recompute all but half of the products",
    "full": "full recompute",
}
"""Modes as reports name them."""
