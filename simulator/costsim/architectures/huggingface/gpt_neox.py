"""GPT-NeoX and Pythia: rotary positions, attention and network in parallel, separate head."""

from __future__ import annotations

from costsim.architectures.decoder import decoder
from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.transformer import Transformer


def _gpt_neox(config: Config) -> Transformer:
    hidden = config.size("hidden_size", default=6144)
    heads = config.size("num_attention_heads", default=64)
    config.require(
        hidden % heads == 0, "hidden_size", f"{hidden} does not divide into {heads} heads"
    )
    config.ignore("classifier_dropout")
    attention_bias = config.flag("attention_bias", default=True)
    return decoder(
        layers=config.size("num_hidden_layers", default=44),
        hidden=hidden,
        heads=heads,
        fused_projection=True,
        vocabulary=config.size("vocab_size", default=50432),
        feed_forward=config.size("intermediate_size", default=24576),
        activation=config.text("hidden_act", default="gelu"),
        query_key_value_bias=attention_bias,
        attention_output_bias=attention_bias,
        positions="rotary",
        max_positions=config.size("max_position_embeddings", default=2048),
        tied=config.flag("tie_word_embeddings", default=False),
        parallel=config.flag("use_parallel_residual", default=True),
        dropout=config.rate("hidden_dropout", default=0.0) > 0,
        attention_dropout=config.rate("attention_dropout", default=0.0) > 0,
    )


READERS: dict[str, Reader] = {"gpt_neox": _gpt_neox}
