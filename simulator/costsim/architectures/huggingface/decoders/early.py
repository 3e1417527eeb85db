"""The decoders that others descend from: GPT-2, OPT, BLOOM, GPT-NeoX; Llama and its nearest kin."""

from __future__ import annotations

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.decoders.stack import (
    AFFINE,
    FULL,
    HEADS,
    HIDDEN,
    SLIDING,
    attention,
    compose,
    dropped,
    every,
    kinds,
    network,
    windowed,
    windows,
)
from costsim.architectures.layers import HeadNorm, NormStyle, SelfAttention
from costsim.architectures.transformer import Transformer

_POSITION_OFFSET = 2  # unused rows at the start of OPT's learned table, as in fairseq


def _whole(config: Config, mixer: SelfAttention) -> SelfAttention:
    """Return `mixer`, whose heads the library refuses to round where no width of theirs is given.

    `n_embed`, of the first published configs of BLOOM, overrides `hidden_size`.
    """
    hidden, heads = config.size("n_embed", *HIDDEN), config.size(*HEADS)
    given = config.knows("head_dim") and config.value("head_dim") is not None
    key = next((key for key in ("n_embed", *HIDDEN) if key in config.values), HIDDEN[0])
    end = ", and there is no `head_dim`" if config.knows("head_dim") else ""
    message = f"{hidden} does not divide into {heads} heads{end}"
    config.require(given or hidden % heads == 0, key, message)
    return mixer


def _gpt2(config: Config) -> Transformer:
    """Read GPT-2: learned positions, layer norms before each sub-layer, biases everywhere."""
    config.ignore("scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn")
    return compose(
        config,
        _whole(
            config,
            attention(
                config, bias=True, rotary=False, fused_projection=True, float32_softmax=False
            ),
        ),
        network(config, gated=False, bias=True),
        norm=AFFINE,
        positions=config.size("n_positions", "max_position_embeddings"),
        dropout=dropped(config, "resid_pdrop", "embd_pdrop"),
    )


def _opt(config: Config) -> Transformer:
    """Read OPT; the 350M model normalizes after adding and projects a narrower embedding."""
    bias, affine = config.flag("enable_bias"), config.flag("layer_norm_elementwise_affine")
    pre_norm, removed = config.flag("do_layer_norm_before"), config.flag("_remove_final_layer_norm")
    width = config.optional_size("word_embed_proj_dim")
    return compose(
        config,
        _whole(config, attention(config, bias=bias, rotary=False)),
        network(config, gated=False, bias=bias),
        norm=NormStyle(weight=affine, bias=affine),
        positions=config.size("max_position_embeddings") + _POSITION_OFFSET,
        embedding_width=None if width == config.size(*HIDDEN) else width,
        final_norm=pre_norm and not removed,
        post_norm=not pre_norm,
        dropout=dropped(config, "dropout"),
    )


def _bloom(config: Config) -> Transformer:
    """Read BLOOM: ALiBi instead of position embeddings, a norm after the token embedding."""
    config.ignore("apply_residual_connection_post_layernorm", "bias_dropout_fusion")
    config.ignore("masked_softmax_fusion", "offset_alibi", "skip_bias_add", "skip_bias_add_qkv")
    config.ignore("slow_but_exact", "seq_length")
    hidden = config.size("n_embed", *HIDDEN)
    return compose(
        config,
        _whole(
            config,
            attention(config, hidden=hidden, bias=True, rotary=False, fused_projection=True),
        ),
        network(config, gated=False, bias=True, width=4 * hidden, activation="gelu"),
        norm=AFFINE,
        hidden=hidden,
        embedding_norm=AFFINE,
        dropout=dropped(config, "hidden_dropout"),
    )


def _gpt_neox(config: Config) -> Transformer:
    """Read GPT-NeoX and Pythia: rotary positions, attention and network in parallel."""
    return compose(
        config,
        _whole(config, attention(config, fused_projection=True)),
        network(config, gated=False, bias=True),
        norm=AFFINE,
        parallel=config.flag("use_parallel_residual"),
        dropout=dropped(config, "hidden_dropout"),
    )


def _llama(config: Config) -> Transformer:
    """Read Llama: rotary positions, RMS norms, gated networks, grouped keys and values."""
    kinds(config, "layer_types", (FULL, SLIDING), every(1))  # of which all see all
    return compose(config, _whole(config, attention(config)), network(config))


def _mistral(config: Config) -> Transformer:
    """Read Mistral, every layer of which sees a window where there is one."""
    mixer = _whole(config, attention(config))
    return compose(config, windowed(mixer, windows(config)), network(config))


def _qwen2(config: Config) -> Transformer:
    return _qwen(config, _whole(config, attention(config, bias=True, output_bias=False)))


def _qwen3(config: Config) -> Transformer:
    return _qwen(config, _whole(config, attention(config, query_key_norm=HeadNorm())))


def _qwen(config: Config, mixer: SelfAttention) -> Transformer:
    """Read Qwen 2 and 3, whose window is off by default and spares the first layers."""
    if not config.flag("use_sliding_window"):
        config.ignore("sliding_window", "max_window_layers", "layer_types")
        return compose(config, mixer, network(config))
    full = config.count("max_window_layers")
    seen = windows(config, lambda index: FULL if index < full else SLIDING)
    return compose(config, windowed(mixer, seen), network(config))


READERS: dict[str, Reader] = {
    "gpt2": _gpt2,
    "gpt-sw3": _gpt2,
    "opt": _opt,
    "bloom": _bloom,
    "gpt_neox": _gpt_neox,
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
}
