"""Inkling: attention and experts with short convolutions, biases by distance, no rotation."""

from __future__ import annotations

from dataclasses import replace

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.decoders.stack import mixture, network, sparse
from costsim.architectures.huggingface.hybrids.stacking import layer_kinds, stacked
from costsim.architectures.layers import RMS, FeedForward, HeadNorm, SubLayer
from costsim.architectures.layers.branches import Branch, Branches
from costsim.architectures.layers.convolved import Convolved, ConvolvedAttention
from costsim.architectures.transformer import Transformer

_LOCAL, _GLOBAL = "hybrid_sliding", "hybrid"


def _inkling(config: Config) -> Transformer:
    config.ignore("log_scaling_n_floor", "log_scaling_alpha", "logits_mup_width_multiplier")
    config.ignore("embedding_multiplier", "rms_norm_eps_moe_gate", "number_of_conv_states")
    config.ignore("num_mtp_layers", "chain_hidden_post_norm", "mtp_hidden_states_first")
    config.ignore("mtp_local_layer_ids", "unpadded_vocab_size", "shared_expert_sink")
    hidden, kernel = (
        config.size("hidden_size"),
        config.size("conv_kernel_size", "sconv_kernel_size"),
    )
    local = set(config.indices("local_layer_ids"))
    given = config.present("local_layer_ids")

    def usual(index: int) -> str:
        return _LOCAL if (index in local if given else (index + 1) % 6) else _GLOBAL

    mixers = {_LOCAL: _attention(config, kernel, "swa_"), _GLOBAL: _attention(config, kernel, "")}
    first = config.count("dense_mlp_idx", default=0)
    dense, routed = _networks(config)
    found = layer_kinds(config, "layer_types", choices=(_LOCAL, _GLOBAL), otherwise=usual)
    layers = [
        Branches(
            branches=(
                _branch("mixer", mixers[kind], hidden, kernel),
                _branch("feed_forward", routed if is_routed else dense, hidden, kernel, True),
            )
        )
        for kind, is_routed in zip(
            found, sparse(config, lambda index: index >= first), strict=False
        )
    ]
    return stacked(config, layers, embedding_norm=RMS)


def _branch(
    name: str, sub_layer: SubLayer, hidden: int, kernel: int, scaled: bool = False
) -> Branch:
    convolved = Convolved(
        sub_layer=sub_layer, name=name, hidden=hidden, kernel=kernel, scaled=scaled
    )
    return Branch(name=name, sub_layer=convolved, before=RMS)


def _attention(config: Config, kernel: int, prefix: str) -> ConvolvedAttention:
    heads = config.size(f"{prefix}num_attention_heads")
    groups = config.size(f"{prefix}num_key_value_heads")
    config.require(
        heads % groups == 0,
        f"{prefix}num_key_value_heads",
        f"{groups} does not divide {heads} heads",
    )
    window = config.size("sliding_window_size", "sliding_window") if prefix else None
    return ConvolvedAttention(
        heads=heads,
        kv_heads=groups,
        head_dim=config.size(f"{prefix}head_dim"),
        query_key_norm=HeadNorm(),
        window=window,
        dropout=config.rate("attention_dropout") > 0,
        kernel=kernel,
        profiles=config.size("d_rel"),
        extent=window or config.size("rel_extent"),
    )


def _networks(config: Config) -> tuple[FeedForward, SubLayer]:
    """Return the dense network and the experts; the router scores the shared ones too."""
    width, inner = config.size("intermediate_size"), config.size("moe_intermediate_size")
    if config.present(
        "dense_intermediate_size"
    ):  # as published: `intermediate_size` is an expert's
        width, inner = config.size("dense_intermediate_size"), width
    routed = mixture(config, width=inner)
    shared = config.count("n_shared_experts")
    if shared:
        routed = replace(routed, shared_gate=True, shared_gates=shared)
    return network(config, width=width), routed


READERS: dict[str, Reader] = {"inkling_text": _inkling}
