"""Mamba, Falcon-Mamba and Mamba-2 (Codestral): state spaces alone."""

from __future__ import annotations

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.decoders.stack import LAYERS
from costsim.architectures.huggingface.hybrids.stacking import (
    alone,
    stacked,
    state_space_dual,
    step_rank,
)
from costsim.architectures.layers.state_space import StateSpace
from costsim.architectures.transformer import Transformer


def _mamba(config: Config) -> Transformer:
    hidden = config.size("hidden_size")
    config.ignore("intermediate_size", "mixer_rms_eps")
    mixer = StateSpace(
        width=config.size("expand") * hidden,
        state_size=config.size("state_size"),
        rank=step_rank(config, "time_step_rank", hidden),
        kernel=config.size("conv_kernel"),
        bias=config.flag("use_bias"),
        convolution_bias=config.flag("use_conv_bias"),
        # Falcon-Mamba normalizes step, B and C, without weights.
        inner_norms=config.knows("mixer_rms_eps"),
        inner_norm_weights=False,
    )
    return stacked(config, [alone("mixer", mixer)] * config.layers(*LAYERS))


def _mamba2(config: Config) -> Transformer:
    hidden, heads = config.size("hidden_size"), config.size("num_heads")
    head_dim, expand = config.size("head_dim"), config.size("expand")
    config.require(
        heads * head_dim == expand * hidden,
        "num_heads",
        f"{heads} heads of {head_dim} are not `expand` ({expand}) times {hidden}",
    )
    config.ignore("intermediate_size", "time_step_rank", "rms_norm", "norm_before_gate")
    mixer = state_space_dual(
        config,
        heads=heads,
        head_dim=head_dim,
        state="state_size",
        groups="n_groups",
        kernel="conv_kernel",
        chunk="chunk_size",
        bias=config.flag("use_bias"),
        convolution_bias=config.flag("use_conv_bias"),
    )
    return stacked(config, [alone("mixer", mixer)] * config.layers(*LAYERS))


READERS: dict[str, Reader] = {"mamba": _mamba, "falcon_mamba": _mamba, "mamba2": _mamba2}
