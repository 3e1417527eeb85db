"""Decoders after GPT-2: layer norms, one projection up, mostly biases everywhere."""

from __future__ import annotations

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.decoders.stack import (
    AFFINE,
    HEADS,
    HIDDEN,
    POSITIONS,
    attention,
    compose,
    dropped,
    network,
)
from costsim.architectures.layers import HeadNorm, NormStyle
from costsim.architectures.transformer import Transformer

_POSITION_OFFSET = 2  # unused rows at the start of the learned table, as in fairseq


def _openai(config: Config) -> Transformer:
    """Read the first GPT: norms after the additions, none at the end."""
    return compose(
        config,
        attention(config, bias=True, fused_projection=True, rotary=False, float32_softmax=False),
        network(config, gated=False, bias=True),
        norm=AFFINE,
        positions=config.size(*POSITIONS),
        final_norm=None,
        post_norm=True,
        dropout=dropped(config, "resid_pdrop", "embd_pdrop"),
    )


def _ctrl(config: Config) -> Transformer:
    """Read CTRL: fixed positions, a head with a bias."""
    return compose(
        config,
        attention(config, bias=True, rotary=False, float32_softmax=False),
        network(config, gated=False, bias=True, activation="relu"),
        norm=AFFINE,
        head_bias=True,
        dropout=dropped(config, "resid_pdrop", "embd_pdrop"),
    )


def _gpt_bigcode(config: Config) -> Transformer:
    """Read SantaCoder and StarCoder: one key and value for all heads."""
    groups = 1 if config.flag("multi_query") else config.size(*HEADS)
    return compose(
        config,
        attention(config, bias=True, kv_heads=groups, fused_projection=True, rotary=False),
        network(config, gated=False, bias=True),
        norm=AFFINE,
        positions=config.size(*POSITIONS),
        dropout=dropped(config, "resid_pdrop", "embd_pdrop"),
    )


def _gpt_neo(config: Config) -> Transformer:
    """Read GPT-Neo, whose local layers mask what they neither skip nor forget."""
    config.ignore("attention_types", "attention_layers", "window_size")
    return compose(
        config,
        attention(config, bias=False, output_bias=True, rotary=False),
        network(config, gated=False, bias=True),
        norm=AFFINE,
        positions=config.size(*POSITIONS),
        dropout=dropped(config, "resid_dropout", "embed_dropout"),
    )


def _mpt(config: Config) -> Transformer:
    """Read MPT: ALiBi, no biases, not even of norms."""
    config.ignore("attn_config", "learned_pos_emb", "init_device", "no_bias", "verbose")
    config.ignore("embedding_fraction", "norm_type")
    width = config.size("expansion_ratio") * config.size(*HIDDEN)
    return compose(
        config,
        attention(config, bias=False, fused_projection=True, rotary=False),
        network(config, gated=False, bias=False, width=width, activation="gelu"),
        norm=NormStyle(bias=False),
        dropout=dropped(config, "resid_pdrop", "emb_pdrop"),
    )


def _fairseq(config: Config) -> Transformer:
    """Read XGLM, whose positions are fixed, and BioGPT, whose are learned."""
    learned = config.text("model_type", default="") == "biogpt"
    return compose(
        config,
        attention(config, bias=True, rotary=False),
        network(config, gated=False, bias=True),
        norm=AFFINE,
        positions=config.size(*POSITIONS) + _POSITION_OFFSET if learned else 0,
        dropout=dropped(config, "dropout", "hidden_dropout_prob"),
    )


def _persimmon(config: Config) -> Transformer:
    heads = HeadNorm(style=AFFINE) if config.flag("qk_layernorm") else None
    return compose(
        config,
        attention(config, bias=True, fused_projection=True, query_key_norm=heads),
        network(config, gated=False, bias=True),
        norm=AFFINE,
        dropout=dropped(config, "hidden_dropout"),
    )


READERS: dict[str, Reader] = {
    "biogpt": _fairseq,
    "ctrl": _ctrl,
    "gpt_bigcode": _gpt_bigcode,
    "gpt_neo": _gpt_neo,
    "mpt": _mpt,
    "openai-gpt": _openai,
    "persimmon": _persimmon,
    "xglm": _fairseq,
}
