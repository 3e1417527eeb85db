"""Griffin (RecurrentGemma): linear recurrences, local attention in every third layer."""

from __future__ import annotations

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.decoders.stack import LAYERS, attention, network
from costsim.architectures.huggingface.hybrids.stacking import stacked, whole
from costsim.architectures.layers import RMS, Layer, Mixer
from costsim.architectures.layers.linear_recurrence import LinearRecurrence
from costsim.architectures.transformer import Transformer

_RECURRENT, _ATTENTION = "recurrent", "attention"


def _griffin(config: Config) -> Transformer:
    config.ignore("logits_soft_cap", "w_init_variance_scale", "final_w_init_variance_scale")
    config.ignore("embeddings_scale_by_sqrt_dim", "max_position_embeddings")
    hidden, heads = config.size("hidden_size"), config.size("num_attention_heads")
    width = config.optional_size("lru_width") or hidden
    whole(config, "num_attention_heads", width, heads)
    mixers: dict[str, Mixer] = {
        _RECURRENT: LinearRecurrence(width=width, heads=heads, kernel=config.size("conv1d_width")),
        _ATTENTION: attention(
            config,
            head_dim=config.optional_size(
                "head_dim", default=whole(config, "num_attention_heads", hidden, heads)
            ),
            output_bias=True,
            window=config.optional_size("attention_window_size", "sliding_window"),
        ),
    }
    # The library halves what is written.
    fed = network(config, width=max(1, config.size("intermediate_size") // 2), bias=True)
    period = config.names("block_types", (_RECURRENT, _ATTENTION))
    period = period or (_RECURRENT, _RECURRENT, _ATTENTION)
    layers = [
        Layer(mixer=mixers[period[index % len(period)]], feed_forward=fed, norm=RMS)
        for index in range(config.layers(*LAYERS))
    ]
    return stacked(config, layers)


READERS: dict[str, Reader] = {"recurrent_gemma": _griffin}
