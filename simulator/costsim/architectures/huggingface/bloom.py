"""BLOOM: ALiBi instead of position embeddings, a norm after the token embedding."""

from __future__ import annotations

from costsim.architectures.decoder import decoder
from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.transformer import Transformer


def _bloom(config: Config) -> Transformer:
    # The library lets `n_embed`, of the first published configs, override `hidden_size`.
    hidden = config.size("n_embed", "hidden_size", default=64)
    config.ignore("hidden_size")
    heads = config.size("n_head", "num_attention_heads", default=8)
    config.require(
        hidden % heads == 0, "hidden_size", f"{hidden} does not divide into {heads} heads"
    )
    config.ignore("apply_residual_connection_post_layernorm", "attention_softmax_in_fp32")
    config.ignore("bias_dropout_fusion", "masked_softmax_fusion", "offset_alibi", "pretraining_tp")
    config.ignore("skip_bias_add", "skip_bias_add_qkv", "slow_but_exact", "seq_length")
    return decoder(
        layers=config.size("n_layer", "num_hidden_layers", default=2),
        hidden=hidden,
        heads=heads,
        fused_projection=True,
        vocabulary=config.size("vocab_size", default=250880),
        positions="alibi",
        tied=config.flag("tie_word_embeddings", default=True),
        embedding_norm=True,
        dropout=config.rate("hidden_dropout", default=0.0) > 0,
        attention_dropout=config.rate("attention_dropout", default=0.0) > 0,
    )


READERS: dict[str, Reader] = {"bloom": _bloom}
