"""OPT: GPT-like; the 350M model normalizes after adding and projects a narrower embedding."""

from __future__ import annotations

from costsim.architectures.decoder import decoder
from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.transformer import Transformer

_POSITION_OFFSET = 2  # unused rows at the start of the learned table, as in fairseq


def _opt(config: Config) -> Transformer:
    hidden = config.size("hidden_size", "d_model", default=768)
    heads = config.size("num_attention_heads", default=12)
    config.require(
        hidden % heads == 0, "hidden_size", f"{hidden} does not divide into {heads} heads"
    )
    width = config.optional_size("word_embed_proj_dim") or hidden
    pre_norm = config.flag("do_layer_norm_before", default=True)
    removed = config.flag("_remove_final_layer_norm", default=False)
    affine = config.flag("layer_norm_elementwise_affine", default=True)
    positions = config.size("max_position_embeddings", default=2048)
    config.ignore("layerdrop", "activation_dropout")
    return decoder(
        layers=config.size("num_hidden_layers", default=12),
        hidden=hidden,
        heads=heads,
        vocabulary=config.size("vocab_size", default=50272),
        feed_forward=config.size("ffn_dim", default=3072),
        activation=config.text("activation_function", default="relu"),
        bias=config.flag("enable_bias", default=True),
        norm_weight=affine,
        norm_bias=affine,
        max_positions=positions,
        position_rows=positions + _POSITION_OFFSET,
        tied=config.flag("tie_word_embeddings", default=True),
        post_norm=not pre_norm,
        embedding_width=None if width == hidden else width,
        final_norm=pre_norm and not removed,
        dropout=config.rate("dropout", default=0.1) > 0,
        attention_dropout=config.rate("attention_dropout", default=0.0) > 0,
    )


READERS: dict[str, Reader] = {"opt": _opt}
