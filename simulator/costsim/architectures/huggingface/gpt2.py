"""GPT-2: learned positions, layer norms before each sub-layer, biases everywhere, tied head."""

from __future__ import annotations

from costsim.architectures.decoder import decoder
from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.transformer import Transformer


def _gpt2(config: Config) -> Transformer:
    hidden = config.size("n_embd", "hidden_size", default=768)
    heads = config.size("n_head", "num_attention_heads", default=12)
    config.require(hidden % heads == 0, "n_embd", f"{hidden} does not divide into {heads} heads")
    config.ignore("n_ctx", "scale_attn_weights", "scale_attn_by_inverse_layer_idx")
    config.ignore("reorder_and_upcast_attn", "summary_type", "summary_use_proj")
    config.ignore("summary_activation", "summary_proj_to_labels", "summary_first_dropout")
    residual_dropout = config.rate("resid_pdrop", default=0.1)
    embedding_dropout = config.rate("embd_pdrop", default=0.1)
    return decoder(
        layers=config.size("n_layer", "num_hidden_layers", default=12),
        hidden=hidden,
        heads=heads,
        fused_projection=True,
        float32_softmax=False,
        vocabulary=config.size("vocab_size", default=50257),
        feed_forward=config.optional_size("n_inner"),
        activation=config.text("activation_function", default="gelu_new"),
        max_positions=config.size("n_positions", "max_position_embeddings", default=1024),
        tied=config.flag("tie_word_embeddings", default=True),
        dropout=max(residual_dropout, embedding_dropout) > 0,
        attention_dropout=config.rate("attn_pdrop", default=0.1) > 0,
    )


READERS: dict[str, Reader] = {"gpt2": _gpt2, "gpt-sw3": _gpt2}
