"""Zamba: state spaces, and now and then a transformer block whose weights many layers share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.decoders.stack import attention, network
from costsim.architectures.huggingface.hybrids.stacking import (
    HYBRID,
    LINEAR,
    layer_kinds,
    stacked,
    state_space_dual,
    step_rank,
    whole,
)
from costsim.architectures.layers import RMS, FeedForward, Mixer
from costsim.architectures.layers.branches import Branch, Branches
from costsim.architectures.layers.shared_transformer import SharedTransformer
from costsim.architectures.layers.state_space import StateSpace
from costsim.architectures.transformer import Transformer

_MIXED = (LINEAR, HYBRID)


def _zamba(config: Config) -> Transformer:
    hidden, heads = config.size("hidden_size"), config.size("n_mamba_heads")
    width = config.size("mamba_expand") * hidden
    whole(config, "n_mamba_heads", width, heads)
    period, offset = config.size("attn_layer_period"), config.count("attn_layer_offset")

    def usual(index: int) -> str:
        # The first hybrid is the third layer; the pattern starts after it.
        hybrid = index == 2 or (index > 2 and (index - 3) % period == offset)
        return HYBRID if hybrid else LINEAR

    mixer = StateSpace(
        width=width,
        state_size=config.size("mamba_d_state"),
        rank=step_rank(config, "mamba_dt_rank", hidden),
        kernel=config.size("mamba_d_conv"),
        blocks=heads,
        bias=config.flag("mamba_proj_bias"),
        convolution_bias=config.flag("mamba_conv_bias"),
    )
    found = layer_kinds(config, "layers_block_type", "layer_types", choices=_MIXED, otherwise=usual)
    return _stacked(config, found, mixer, network(config), blocks=1)


def _zamba2(config: Config) -> Transformer:
    config.ignore("hybrid_layer_ids", "kv_channels", "num_query_groups", "use_long_context")
    config.ignore("mamba_headdim", "ffn_hidden_size")
    hidden, heads = config.size("hidden_size"), config.size("n_mamba_heads")
    mixer = state_space_dual(
        config,
        heads=heads,
        head_dim=whole(config, "n_mamba_heads", config.size("mamba_expand") * hidden, heads),
        state="mamba_d_state",
        groups="mamba_ngroups",
        kernel="mamba_d_conv",
        chunk="chunk_size",
        bias=config.flag("add_bias_linear"),
        convolution_bias=config.flag("use_conv_bias"),
    )
    fed = network(config, bias=config.flag("add_bias_linear"), fused_gate=True)
    found = layer_kinds(
        config, "layers_block_type", "layer_types", choices=_MIXED, otherwise=_usual_zamba2
    )
    return _stacked(
        config,
        found,
        mixer,
        fed,
        blocks=config.size("num_mem_blocks"),
        rotary=config.flag("use_mem_rope"),
        adapter_rank=config.size("adapter_rank"),
        attention_adapters=config.flag("use_shared_attention_adapter"),
    )


def _usual_zamba2(index: int) -> str:
    return HYBRID if index in (6, 12, 18, 24, 30, 36, 42, 47, 51) else LINEAR


def _stacked(
    config: Config,
    found: Sequence[str],
    mixer: Mixer,
    fed: FeedForward,
    *,
    blocks: int,
    rotary: bool = False,
    **adapters: Any,
) -> Transformer:
    """Return the stack of layers, in which `blocks` shared blocks take turns."""
    config.ignore("attention_hidden_size")
    doubled, heads = 2 * config.size("hidden_size"), config.size("num_attention_heads")
    head_dim = config.optional_size("attention_head_dim", "head_dim") or whole(
        config, "num_attention_heads", doubled, heads
    )
    attends = attention(config, bias=False, rotary=rotary, head_dim=head_dim)
    recurrent = Branch(name="mixer", sub_layer=mixer, before=RMS)
    layers: list[Branches] = []
    hybrids = 0
    for kind in found:
        if kind != HYBRID:
            layers.append(Branches(branches=(recurrent,)))
            continue
        shared = SharedTransformer(
            attention=attends,
            feed_forward=fed,
            norm=RMS,
            reused=hybrids >= blocks,
            **adapters,
        )
        hybrids += 1
        layers.append(Branches(branches=(Branch(name="shared", sub_layer=shared), recurrent)))
    return stacked(config, layers)


READERS: dict[str, Reader] = {"zamba": _zamba, "zamba2": _zamba2}
