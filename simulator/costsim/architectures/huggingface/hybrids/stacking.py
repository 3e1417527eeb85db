"""What configs of hybrids have in common: which layer is of which kind, and their stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from costsim.algebra import ceil_div
from costsim.architectures.huggingface.config import Config
from costsim.architectures.huggingface.decoders.stack import FULL, HIDDEN, POSITIONS, kinds
from costsim.architectures.layers import RMS, NormStyle, SubLayer
from costsim.architectures.layers.branches import Branch, Branches
from costsim.architectures.layers.recording import in_runs
from costsim.architectures.layers.state_space_dual import StateSpaceDual
from costsim.architectures.transformer import DecoderLayer, Transformer

LINEAR, HYBRID = "linear_attention", "hybrid"

_OLDER: Mapping[str, str] = {"mamba": LINEAR, "attention": FULL}
"""Kinds of layers by the names that they had before transformers 5."""

_IDLE = """
rescale_prenorm_residual residual_in_fp32 time_step_limit time_step_min time_step_max
time_step_floor time_step_scale time_step_init_scheme use_mambapy use_falcon_mambapy
use_associative_scan use_mamba_kernels use_mem_eff_path num_logits_to_keep output_router_logits
router_aux_loss_coef z_loss_coefficient hidden_act hidden_mamba_act mamba_hidden_act norm_eps
"""  # initialization, fallbacks, losses


def layer_kinds(
    config: Config,
    *keys: str,
    choices: tuple[str, ...] = (FULL, LINEAR),
    otherwise: Callable[[int], str] = lambda index: LINEAR,
) -> tuple[str, ...]:
    """Return the kind of every layer: as the first of `keys` lists it, or as `otherwise` says."""
    config.ignore(*keys)
    key = next((key for key in keys if config.present(key)), keys[0])
    older = tuple(name for name, kind in _OLDER.items() if kind in choices)
    named = kinds(config, key, (*choices, *older), otherwise)
    return tuple(_OLDER.get(name, name) for name in named)


def whole(config: Config, key: str, size: int, parts: int) -> int:
    """Return the width of each of `parts` equal parts of `size`; it is a problem if it is none."""
    config.require(size % parts == 0, key, f"is {parts}, which does not divide {size}")
    return max(1, size // parts)


def step_rank(config: Config, key: str, hidden: int) -> int:
    """Return the rank of a state space's step: written, or a sixteenth of the width if "auto"."""
    if config.value(key) == "auto":
        return ceil_div(hidden, 16)
    return config.size(key)


def state_space_dual(
    config: Config,
    *,
    heads: int,
    head_dim: int,
    state: str,
    groups: str,
    kernel: str,
    chunk: str,
    bias: bool,
    convolution_bias: bool,
    output_bias: bool | None = None,
    gated_norm: bool = True,
) -> StateSpaceDual:
    """Return the mixer of Mamba-2, of the keys that its sizes stand under."""
    shared = config.size(groups)
    config.require(heads % shared == 0, groups, f"is {shared}, which does not divide {heads} heads")
    return StateSpaceDual(
        heads=heads,
        head_dim=head_dim,
        state_size=config.size(state),
        groups=shared,
        kernel=config.size(kernel),
        chunk=config.size(chunk),
        bias=bias,
        output_bias=bias if output_bias is None else output_bias,
        convolution_bias=convolution_bias,
        gated_norm=gated_norm,
    )


def alone(name: str, sub_layer: SubLayer, norm: NormStyle = RMS) -> Branches:
    """Return a layer of one sub-layer with a norm before it."""
    return Branches(branches=(Branch(name=name, sub_layer=sub_layer, before=norm),))


def stacked(
    config: Config,
    layers: Sequence[DecoderLayer],
    *,
    norm: NormStyle = RMS,
    embedding_norm: NormStyle | None = None,
    tied: str = "tie_word_embeddings",
) -> Transformer:
    """Return the decoder of `layers`, from bottom to top."""
    config.ignore(*_IDLE.split())
    limits = (*POSITIONS, "model_max_length", "context_length")
    limited = any(config.knows(key) for key in limits)
    return Transformer(
        vocabulary=config.size("vocab_size"),
        hidden=config.size(*HIDDEN),
        layers=in_runs(layers),
        embedding_norm=embedding_norm,
        final_norm=norm,
        tied=config.knows("tie_word_embeddings") and config.flag(tied, "tie_word_embeddings"),
        context_limit=config.optional_size(*limits) if limited else None,
    )
