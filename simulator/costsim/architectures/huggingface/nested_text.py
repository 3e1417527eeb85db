"""Text models that come only inside a model of several inputs; mostly those of the same name."""

from __future__ import annotations

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.decoders.stack import (
    FULL,
    SLIDING,
    attention,
    compose,
    mixed,
    mixture,
    network,
    windowed,
    windows,
)
from costsim.architectures.layers import HeadNorm
from costsim.architectures.layers.conditioned import Conditioned
from costsim.architectures.transformer import Transformer


def _tied(config: Config) -> bool:
    """Return whether the head is tied; null leaves it to the whole model."""
    value = config.value("tie_word_embeddings")
    return False if value is None else config.flag("tie_word_embeddings")


def _qwen2(config: Config) -> Transformer:
    used = config.flag("use_sliding_window")
    spared = config.count("max_window_layers") if config.value("max_window_layers") else 0
    seen = windows(config, lambda index: SLIDING if used and index >= spared else FULL)
    mixer = attention(config, bias=True, output_bias=False)
    mixers = windowed(mixer, seen if used else (None,) * len(seen))
    return compose(config, mixers, network(config), tied=_tied(config))


def _qwen3(config: Config) -> Transformer:
    mixer = attention(config, query_key_norm=HeadNorm())
    return compose(config, mixer, network(config), tied=_tied(config))


def _qwen3_moe(config: Config) -> Transformer:
    dense = config.indices("mlp_only_layers")
    step = config.size("decoder_sparse_step")
    config.ignore("sliding_window")
    networks = mixed(
        config,
        lambda index: index not in dense and (index + 1) % step == 0,
        network(config),
        mixture(config, shared=False),
    )
    mixer = attention(config, query_key_norm=HeadNorm())
    return compose(config, mixer, networks, tied=_tied(config))


def _glm(config: Config) -> Transformer:
    """GLM's layers with norms of the sub-layers' outputs too; biases of queries, keys, values."""
    biased = config.text("model_type") == "glm4v_text"
    return compose(
        config,
        attention(config, bias=biased, output_bias=False),
        network(config, fused_gate=True),
        mixer_output_norm=True,
        feed_forward_output_norm=True,
        tied=_tied(config),
    )


def _glm_moe(config: Config) -> Transformer:
    """Read GLM-4.5V's text model: GLM-4.5 without norms of queries and keys."""
    first = config.count("first_k_dense_replace")
    mixer = attention(config, output_bias=False)
    fed = mixed(config, lambda index: index >= first, network(config), mixture(config))
    return compose(config, mixer, fed, tied=_tied(config))


def _plain(config: Config) -> Transformer:
    bias = config.flag("use_bias") if config.knows("use_bias") else False
    return compose(
        config, attention(config, bias=bias), network(config, bias=bias), tied=_tied(config)
    )


_DELAY_RANK = 32  # of the network over the delay, in the library's code


def _voxtral_realtime(config: Config) -> Transformer:
    """Mistral's layers, but what networks read is scaled by how far the text lags the sound."""
    mixers = windowed(attention(config), windows(config))
    delayed = Conditioned(inner=network(config), rank=_DELAY_RANK)
    return compose(config, mixers, delayed, tied=_tied(config))


READERS: dict[str, Reader] = {
    "qwen2_vl_text": _qwen2,
    "qwen2_5_vl_text": _qwen2,
    "qwen2_5_omni_text": _qwen2,
    "qwen3_vl_text": _qwen3,
    "qwen3_vl_moe_text": _qwen3_moe,
    "glm4v_text": _glm,
    "glm_ocr_text": _glm,
    "glm4v_moe_text": _glm_moe,
    "paddleocr_vl_text": _plain,
    "granite_docling_text": _plain,
    "voxtral_realtime_text": _voxtral_realtime,
}
