"""Decoders whose attention and network stand side by side: GPT-J, CodeGen, Phi, Falcon."""

from __future__ import annotations

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.decoders.stack import (
    AFFINE,
    HEADS,
    attention,
    compose,
    dropped,
    network,
)
from costsim.architectures.layers import HeadNorm
from costsim.architectures.transformer import Transformer


def _gptj(config: Config) -> Transformer:
    """Read GPT-J and CodeGen: biases in the network and the head, not in attention."""
    fused = config.text("model_type", default="") == "codegen"
    return compose(
        config,
        attention(config, bias=False, fused_projection=fused),
        network(config, gated=False, bias=True),
        norm=AFFINE,
        head_bias=True,
        parallel=True,
        shared_norm=True,
        dropout=dropped(config, "resid_pdrop", "embd_pdrop"),
    )


def _phi(config: Config) -> Transformer:
    heads = HeadNorm(style=AFFINE) if config.flag("qk_layernorm") else None
    return compose(
        config,
        attention(config, bias=True, query_key_norm=heads),
        network(config, gated=False, bias=True),
        norm=AFFINE,
        head_bias=True,
        parallel=True,
        shared_norm=True,
        dropout=dropped(config, "resid_pdrop", "embd_pdrop"),
    )


def _falcon(config: Config) -> Transformer:
    """Read Falcon in its generations.

    RW models have ALiBi, biases and sub-layers in sequence; the 7B one key and value and one norm
    for both sub-layers; the 40B and 180B groups of keys and values and a norm for each.
    """
    new = config.flag("new_decoder_architecture")
    heads = config.size(*HEADS)
    if new:
        groups = config.optional_size("num_kv_heads", "n_head_kv") or heads
    else:
        groups = 1 if config.flag("multi_query") else heads
    parallel = config.flag("parallel_attn")
    norms = config.optional_size("num_ln_in_parallel_attn") or (2 if new else 1)
    config.ignore("num_kv_heads", "n_head_kv", "n_embed")
    bias = config.flag("bias")
    mixer = attention(
        config,
        bias=bias,
        kv_heads=groups,
        fused_projection=True,
        rotary=not config.flag("alibi"),
        cached_for_each_head=new,
    )
    return compose(
        config,
        mixer,
        network(config, gated=False, bias=bias),
        norm=AFFINE,
        parallel=parallel or new,
        shared_norm=(parallel or new) and norms == 1,
        dropout=dropped(config, "hidden_dropout"),
    )


READERS: dict[str, Reader] = {
    "codegen": _gptj,
    "falcon": _falcon,
    "gptj": _gptj,
    "phi": _phi,
}
