"""Jamba: state spaces, attention in every eighth layer, experts in every second."""

from __future__ import annotations

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.decoders.stack import (
    FULL,
    attention,
    mixture,
    network,
)
from costsim.architectures.huggingface.hybrids.stacking import (
    LINEAR,
    layer_kinds,
    stacked,
    step_rank,
)
from costsim.architectures.layers import RMS, Layer, Mixer
from costsim.architectures.layers.state_space import StateSpace
from costsim.architectures.transformer import Transformer


def _jamba(config: Config) -> Transformer:
    hidden = config.size("hidden_size")
    state_space = StateSpace(
        width=config.size("mamba_expand") * hidden,
        state_size=config.size("mamba_d_state"),
        rank=step_rank(config, "mamba_dt_rank", hidden),
        kernel=config.size("mamba_d_conv"),
        bias=config.flag("mamba_proj_bias"),
        convolution_bias=config.flag("mamba_conv_bias"),
        inner_norms=True,
    )
    attends, attends_at = _pattern(config, "attn_layer")
    routed, routed_at = _pattern(config, "expert_layer")
    found = layer_kinds(
        config,
        "layers_block_type",
        "layer_types",
        otherwise=lambda index: FULL if index % attends == attends_at else LINEAR,
    )
    mixers: dict[str, Mixer] = {FULL: attention(config, rotary=False), LINEAR: state_space}
    dense = network(config)
    experts = dense if config.size("num_experts") == 1 else mixture(config, shared=False)
    layers = [
        Layer(
            mixer=mixers[kind],
            feed_forward=experts if index % routed == routed_at else dense,
            norm=RMS,
        )
        for index, kind in enumerate(found)
    ]
    return stacked(config, layers)


def _pattern(config: Config, prefix: str) -> tuple[int, int]:
    """Return a period of layers and which of each period is meant."""
    period, offset = config.size(f"{prefix}_period"), config.count(f"{prefix}_offset")
    config.require(offset < period, f"{prefix}_offset", f"is {offset}, not below {period}")
    return period, offset


READERS: dict[str, Reader] = {"jamba": _jamba}
