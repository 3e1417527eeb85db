"""Decoders whose code comes with the release: Llama's layers under keys of their own.

Defaults are those of each release's own configuration file. Most differ from Llama in biases and
in how projections share a matrix.
"""

from __future__ import annotations

from typing import Any

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.decoders.stack import (
    AFFINE,
    HIDDEN,
    attention,
    compose,
    network,
)
from costsim.architectures.layers import RMS
from costsim.architectures.multimodal import Multimodal
from costsim.architectures.prediction import predictions
from costsim.architectures.transformer import Transformer


def _chatglm(config: Config) -> Transformer:
    """Read ChatGLM 2 and 3, GLM-4-9B: groups of keys and values, norms in the way of Llama."""
    config.ignore("apply_query_key_layer_scaling", "attention_softmax_in_fp32", "original_rope")
    config.ignore("fp32_residual_connection", "bias_dropout_fusion", "rope_ratio", "pre_seq_len")
    config.ignore("layernorm_epsilon", "prefix_projection", "interleaved_qkv")
    config.ignore("multi_query_group_num", "hidden_dropout", "vocab_size")
    bias = config.flag("add_bias_linear", default=False)
    heads = config.size("num_attention_heads", default=32)
    grouped = config.flag("multi_query_attention", default=False)
    residual = config.flag("apply_residual_connection_post_layernorm", default=False)
    config.require(
        not residual, "apply_residual_connection_post_layernorm", "must be false to be read"
    )
    norm = RMS if config.flag("rmsnorm", default=True) else AFFINE
    return compose(
        config,
        attention(
            config,
            bias=bias or config.flag("add_qkv_bias", default=False),
            output_bias=bias,
            head_dim=config.size("kv_channels", default=128),
            kv_heads=config.size("multi_query_group_num", default=1) if grouped else heads,
            fused_projection=True,
        ),
        network(
            config,
            bias=bias,
            width=config.size("ffn_hidden_size", default=13696),
            fused_gate=True,
        ),
        norm=norm,
        final_norm=norm if config.flag("post_layer_norm", default=True) else None,
        tied=_tied(config, default=False),
        vocabulary=config.size("padded_vocab_size", "vocab_size", default=65024),
    )


def _internlm2(config: Config) -> Transformer:
    bias = config.flag("bias", default=True)
    return _llama(config, attention={"bias": bias, "output_bias": bias, "fused_projection": True})


def _baichuan(config: Config) -> Transformer:
    """Read Baichuan 1 and 2: rotary positions in 7B, ALiBi in 13B, which is of another width."""
    config.ignore("model_max_length", "z_loss_weight", "alibi")
    rotary = config.size(*HIDDEN) < _BAICHUAN_ALIBI
    mixer: dict[str, Any] = {"bias": False, "rotary": rotary, "fused_projection": True}
    config.ignore("num_key_value_heads")
    return _llama(config, attention=mixer)


_BAICHUAN_ALIBI = 5120  # the width of 13B; both sizes bear one model type


def _qwen(config: Config) -> Transformer:
    """Read the first Qwen, whose `intermediate_size` counts both halves of the gated network."""
    config.ignore(
        "bf16", "fp16", "fp32", "onnx_safe", "use_dynamic_ntk", "use_logn_attn", "seq_length"
    )
    config.ignore("use_flash_attn", "softmax_in_fp32", "use_cache_quantization", "use_cache_kernel")
    config.ignore("scale_attn_weights", "emb_dropout_prob", "attn_dropout_prob", "rotary_emb_base")
    bare = config.flag("no_bias", default=True)
    width = config.size("intermediate_size", default=22016)
    return compose(
        config,
        attention(
            config,
            bias=True,
            output_bias=not bare,
            head_dim=config.size("kv_channels", default=128),
            fused_projection=True,
        ),
        network(config, width=max(1, width // 2), bias=not bare),
        tied=_tied(config, default=False),
    )


def _minicpm(config: Config) -> Transformer:
    """Read MiniCPM 1, 2 and 4: Llama with scaled embeddings and residuals."""
    config.ignore("scale_emb", "scale_depth", "dim_model_base", "mup_denominator", "sparse_config")
    return _llama(config, tied=True)


def _mimo(config: Config) -> Multimodal:
    """Read MiMo-7B: Qwen 2's layers; its class builds the modules that predict further tokens."""
    config.ignore("use_mrope", "use_sliding_window", "max_window_layers", "sliding_window")
    bias = config.flag("attention_bias", default=True)
    text = _llama(config, attention={"bias": bias, "output_bias": False})
    modules = config.count("num_nextn_predict_layers", default=0)
    parts = (predictions(text, modules),) if modules else ()
    return Multimodal(text=text, parts=parts)


def _phi3small(config: Config) -> Transformer:
    """Read Phi-3-small: biases everywhere, GeGLU of one matrix, blocks of keys in some layers."""
    for part in ("block_size", "homo_head_pattern", "num_local_blocks", "vert_stride"):
        config.ignore(f"blocksparse_{part}")
    config.ignore("blocksparse_triton_kernel_block_size", "gegelu_limit", "gegelu_pad_to_256")
    config.ignore("mup_attn_multiplier", "mup_embedding_multiplier", "mup_use_scaling")
    config.ignore("mup_width_multiplier", "pad_sequence_to_multiple_of_64", "ff_dim_multiplier")
    config.ignore("reorder_and_upcast_attn", "rope_embedding_base", "rope_position_scale")
    config.ignore("attention_bias", "ffn_dropout_prob", "embedding_dropout_prob")
    period = config.optional_size("dense_attention_every_n_layers", default=2)
    if period != 1:
        config.note("attention that skips blocks of keys is counted in full")
    width = config.optional_size("ff_intermediate_size", default=14336)
    if width is None:
        ratio = config.size("ff_dim_multiplier", default=4)
        width = ratio * config.size(*HIDDEN)
    return compose(
        config,
        attention(config, bias=True, output_bias=True, fused_projection=True),
        network(config, width=width, bias=True, fused_gate=True),
        norm=AFFINE,
        tied=_tied(config, default=True),
    )


def _xverse(config: Config) -> Transformer:
    config.ignore("max_tokenizer_truncation")
    return _llama(config)


def _llama(
    config: Config, *, attention: dict[str, Any] | None = None, tied: bool = False
) -> Transformer:
    """Return Llama's layers with other switches of `attention`."""
    return compose(
        config,
        _attention(config, **(attention or {})),
        network(config),
        tied=_tied(config, default=tied),
    )


_attention = attention


def _tied(config: Config, *, default: bool) -> bool:
    return config.flag("tie_word_embeddings", default=default)


READERS: dict[str, Reader] = {
    "baichuan": _baichuan,
    "chatglm": _chatglm,
    "internlm2": _internlm2,
    "mimo": _mimo,
    "minicpm": _minicpm,
    "phi3small": _phi3small,
    "qwen": _qwen,
    "xverse": _xverse,
}
