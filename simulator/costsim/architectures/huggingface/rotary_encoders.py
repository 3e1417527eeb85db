"""Encoders with rotary positions: ModernBERT, EuroBERT, GTE, Nomic, Jina and their kin."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from costsim.algebra import Number
from costsim.architectures.encoder import Encoder
from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.encoders import (
    LAYER_NORM,
    TOKENS,
    Kin,
    assemble,
    is_bare,
    masked_head,
    scores_of,
    shape,
    tables,
    tied,
)
from costsim.architectures.layers import (
    RMS,
    FeedForward,
    HeadNorm,
    NormStyle,
    SelfAttention,
)
from costsim.architectures.layers.branches import Branch, Branches, residual_layer
from costsim.architectures.layers.tables import Table
from costsim.architectures.multimodal import Activated, Chain, Dense, Multimodal, Normalized
from costsim.architectures.stacks import Head, Stack, StackLayer, TextStem, Transform

_FULL, _SLIDING = "full_attention", "sliding_attention"


def _post_norm(config: Config, *, bias: bool, gated: bool) -> Encoder:
    """BERT with rotary positions: GTE, Nomic, Jina."""
    kin = Kin(positions=False)
    found = shape(config)
    head_dim = config.optional_size("head_dim", default=None) or found.head_dim
    config.ignore("max_position_embeddings", "pad_head_dim_to_multiple_of")
    attention = SelfAttention(
        heads=found.heads,
        kv_heads=found.heads,
        head_dim=head_dim,
        bias=bias,
        output_bias=bias,
        rotary=True,
        causal=False,
        dropout=found.attention_dropout,
    )
    network = FeedForward(
        width=found.feed_forward,
        gated=gated,
        bias=bias and not gated,
        down_bias=bias,
        activation=found.activation,
    )
    layer = residual_layer(
        ("mixer", attention),
        ("feed_forward", network),
        norm=LAYER_NORM,
        dropout=found.dropout,
    )
    stem = TextStem(
        vocabulary=found.vocabulary,
        tables=tables(config, kin),
        norm=LAYER_NORM,
        dropout=found.dropout,
    )
    stack = Stack(hidden=found.hidden, stem=stem, layers=((layer, found.layers),))
    return assemble(config, kin, stack, masked_head(found, tied=tied(config)))


def _gte(config: Config) -> Encoder:
    return _post_norm(config, bias=True, gated=True)


def _nomic(config: Config) -> Encoder:
    return _post_norm(config, bias=False, gated=True)


def _jina(config: Config) -> Encoder:
    return _post_norm(config, bias=True, gated=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _PreNorm:
    """What the pre-norm ones have in common with Llama."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    vocabulary: int
    activation: str
    attention_bias: bool
    network_bias: bool


def _sizes(config: Config) -> _PreNorm:
    hidden = config.size("hidden_size")
    heads = config.size("num_attention_heads")
    head_dim = config.optional_size("head_dim", default=None)
    config.require(
        head_dim is not None or hidden % heads == 0,
        "num_attention_heads",
        f"{heads} heads do not divide a width of {hidden}",
    )
    kv_heads = config.optional_size("num_key_value_heads") or heads
    config.require(
        heads % kv_heads == 0, "num_key_value_heads", f"{kv_heads} does not divide {heads} heads"
    )
    config.ignore("max_position_embeddings", "classifier_pooling", "pretraining_tp", "mask_token")
    config.ignore("tie_word_embeddings")
    config.ignore("attention_dropout", "classifier_dropout")
    return _PreNorm(
        hidden=hidden,
        layers=config.layers("num_hidden_layers"),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim or hidden // heads,
        feed_forward=config.size("intermediate_size"),
        vocabulary=config.size("vocab_size"),
        activation=config.text("hidden_act", "hidden_activation"),
        attention_bias=config.flag("attention_bias", default=False),
        network_bias=config.flag("mlp_bias", default=False),
    )


def _layer(
    sizes: _PreNorm,
    norm: NormStyle,
    window: Number | None = None,
    fused: bool = False,
    **switches: Any,
) -> Branches:
    attention = SelfAttention(
        heads=sizes.heads,
        kv_heads=sizes.kv_heads,
        head_dim=sizes.head_dim,
        bias=sizes.attention_bias,
        output_bias=sizes.attention_bias,
        rotary=True,
        causal=False,
        window=window,
        fused_projection=fused,
        **switches,
    )
    network = FeedForward(
        width=sizes.feed_forward,
        gated=True,
        bias=sizes.network_bias,
        activation=sizes.activation,
        fused_gate=fused,
    )
    return residual_layer(("mixer", attention), ("feed_forward", network), norm=norm, pre_norm=True)


def _runs(config: Config, layers: int, default: tuple[str, ...]) -> list[tuple[str, int]]:
    """Return runs of layers of one type, from bottom to top."""
    types = config.names("layer_types", (_FULL, _SLIDING)) or default
    config.require(
        len(types) == layers,
        "layer_types",
        f"names {len(types)} layers, `num_hidden_layers` says {layers}",
    )
    return [(kind, sum(1 for _ in run)) for kind, run in groupby(types)]


def _eurobert(config: Config) -> Encoder:
    sizes = _sizes(config)
    stack = Stack(
        hidden=sizes.hidden,
        stem=TextStem(vocabulary=sizes.vocabulary),
        layers=((_layer(sizes, RMS), sizes.layers),),
        norm=RMS,
    )
    head = Head(
        vocabulary=sizes.vocabulary,
        bias=sizes.network_bias,
        tied_to=TOKENS if tied(config) else None,
    )
    return Encoder(stack=stack, head=None if is_bare(config) else head)


def _esmc(config: Config) -> Encoder:
    sizes = _sizes(config)
    whole = HeadNorm(style=NormStyle(bias=False), whole=True)
    stack = Stack(
        hidden=sizes.hidden,
        stem=TextStem(vocabulary=sizes.vocabulary),
        layers=((_layer(sizes, LAYER_NORM, query_key_norm=whole), sizes.layers),),
        norm=NormStyle(bias=False),
    )
    head = Head(
        vocabulary=sizes.vocabulary,
        transform=Transform(outputs=sizes.hidden, norm=LAYER_NORM),
        bias=True,
    )
    return Encoder(stack=stack, head=None if is_bare(config) else head)


def _modernbert_stack(config: Config) -> tuple[Stack, NormStyle]:
    """Return ModernBERT's stack: windows in most layers, no norm before the first."""
    sizes = _sizes(config)
    norm = NormStyle(bias=config.flag("norm_bias"))
    window = config.size("local_attention", "sliding_window")
    every = config.size("global_attn_every_n_layers", default=3)
    config.ignore("norm_eps", "embedding_dropout", "mlp_dropout", "sparse_prediction")
    config.ignore("sparse_pred_ignore_index", "initializer_cutoff_factor", "layer_norm_eps")
    config.ignore("reference_compile", "repad_logits_with_grad", "deterministic_flash_attn")
    config.ignore("global_rope_theta", "local_rope_theta")
    default = tuple(_SLIDING if index % every else _FULL for index in range(sizes.layers))
    layers: list[tuple[StackLayer, Number]] = []
    for kind, count in _runs(config, sizes.layers, default):
        layer = _layer(sizes, norm, window if kind == _SLIDING else None, fused=True)
        if not layers:
            mixer, network = layer.branches
            first = replace(mixer, before=None)
            layers.append((replace(layer, branches=(first, network)), 1))
            count -= 1
        if count:
            layers.append((layer, count))
    stem = TextStem(vocabulary=sizes.vocabulary, norm=norm)
    return Stack(hidden=sizes.hidden, stem=stem, layers=tuple(layers), norm=norm), norm


def modernbert(config: Config) -> Encoder:
    """Return ModernBERT, bare or with its head."""
    stack, norm = _modernbert_stack(config)
    vocabulary = config.size("vocab_size")
    transform = Transform(
        outputs=stack.hidden,
        bias=config.flag("classifier_bias"),
        activation=config.text("classifier_activation"),
        norm=norm,
    )
    head = Head(
        vocabulary=vocabulary,
        transform=transform,
        bias=config.flag("decoder_bias"),
        tied_to=TOKENS if tied(config) else None,
    )
    scores = scores_of(config, Kin(), stack.hidden)
    if scores is not None:  # of labels, after the same transform
        head = Head(vocabulary=scores.outputs, transform=transform, bias=True)
    return Encoder(stack=stack, head=None if is_bare(config) else head)


def _ultrabert_stack(config: Config) -> Stack:
    """Return UltraBERT's stack: windows in two layers of three."""
    sizes = _sizes(config)
    window = config.size("sliding_window")
    default = tuple(_FULL if index % 3 == 2 else _SLIDING for index in range(sizes.layers))
    layers = tuple(
        (_layer(sizes, RMS, window if kind == _SLIDING else None), count)
        for kind, count in _runs(config, sizes.layers, default)
    )
    stem = TextStem(vocabulary=sizes.vocabulary)
    return Stack(hidden=sizes.hidden, stem=stem, layers=layers, norm=RMS)


def _ultrabert_head(config: Config, stack: Stack, tied_to: str | None) -> Head:
    """Return its head: down to a narrower width and up again, then the scores."""
    width = config.size("prediction_head_size")
    return Head(
        vocabulary=config.size("vocab_size"),
        transform=Transform(outputs=width, bias=False),
        rank=stack.hidden,
        tied_to=tied_to,
    )


def ultrabert(config: Config) -> Encoder:
    """Return UltraBERT, bare or with its head."""
    stack = _ultrabert_stack(config)
    head = _ultrabert_head(config, stack, TOKENS if tied(config) else None)
    return Encoder(stack=stack, head=None if is_bare(config) else head)


def _neomme(config: Config) -> Multimodal:
    """Factorized embeddings, gated attention, and tokens that add to two layers' values."""
    hidden, heads = config.size("hidden_size"), config.size("num_attention_heads")
    layers, kv_heads = config.layers("num_hidden_layers"), config.size("num_key_value_heads")
    head_dim, rank = config.size("head_dim"), config.size("embedding_rank")
    vocabulary, patch = config.size("vocab_size"), config.size("patch_size")
    bias = config.flag("attention_bias")
    bare = NormStyle(kind="rms", weight=False, bias=False)
    window = config.size("sliding_window")
    config.ignore("max_position_embeddings", "attention_dropout", "embedding_dim", "norm_eps")
    config.ignore(
        "tie_word_embeddings",
        "residual_multiplier",
        "per_layer_config",
        "document_token_id",
        "image_token_id",
    )

    def layer(seen: Number | None) -> Branches:
        attention = SelfAttention(
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            bias=bias,
            output_bias=bias,
            rotary=True,
            query_key_norm=HeadNorm(style=bare),
            gate="values",
            causal=False,
            window=seen,
        )
        network = FeedForward(
            width=config.size("intermediate_size"),
            bias=config.flag("mlp_bias"),
            activation=config.text("hidden_act"),
        )
        # One weight a head of what it takes from its own position, two of the stream and its start.
        return Branches(
            branches=(
                Branch(name="mixer", sub_layer=attention, before=bare, scales=heads + 2),
                Branch(name="feed_forward", sub_layer=network, before=bare),
            )
        )

    default = tuple(_SLIDING if index % 6 != 5 else _FULL for index in range(layers))
    stem = TextStem(
        vocabulary=vocabulary,
        embedding_width=rank,
        tables=(Table("values", vocabulary, kv_heads * head_dim),),
        projection_bias=False,
        norm=bare,
        norm_last=True,
    )
    stack = Stack(
        hidden=hidden,
        stem=stem,
        layers=tuple(
            (layer(window if kind == _SLIDING else None), count)
            for kind, count in _runs(config, layers, default)
        ),
        norm=bare,
    )
    head = Head(
        vocabulary=vocabulary,
        rank=rank,
        rank_tied_to="embedding.project.weight",
        tied_to=TOKENS,
    )
    pixels, inner = 3 * patch**2, 2 * hidden
    patches = Chain(
        name="patches",
        positions=1,
        steps=(
            Normalized(size=pixels),
            Dense(inputs=pixels, outputs=inner, bias=False),
            Activated(size=inner),
            Dense(inputs=inner, outputs=hidden),
        ),
    )
    encoder = Encoder(stack=stack, head=None if is_bare(config) else head)
    return Multimodal(text=encoder, parts=(patches,))


READERS: dict[str, Reader] = {
    "gte": _gte,
    "nomic_bert": _nomic,
    "jina_embeddings_v3": _jina,
    "eurobert": _eurobert,
    "esmc": _esmc,
    "modernbert": modernbert,
    "ultrabert": ultrabert,
    "neomme": _neomme,
}
