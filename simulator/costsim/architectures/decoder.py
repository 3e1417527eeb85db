"""The short form of a decoder: the dozen numbers and choices that most models are described by.

What a field of a model's YAML means, and what it is when left out, is said here once; readers of
other descriptions (`huggingface`) end in the same function.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, TypeAlias

from costsim.algebra import Number, exact_div
from costsim.architectures.adaptive import AdaptiveDecoder
from costsim.architectures.layers import FeedForward, HeadNorm, Layer, NormStyle, SelfAttention
from costsim.architectures.layers.relative_attention import RelativeAttention
from costsim.architectures.transformer import Transformer

Positions: TypeAlias = Literal["learned", "rotary", "alibi", "relative", "none"]

WindowRuns: TypeAlias = tuple[tuple[Number | None, Number], ...]
"""Runs of layers from bottom to top: (window or None for full attention, how many layers)."""


def decoder(
    *,
    layers: Number,
    hidden: Number,
    heads: Number,
    vocabulary: Number,
    feed_forward: Number | None = None,
    kv_heads: Number | None = None,
    head_dim: Number | None = None,
    gated: bool = False,
    activation: str = "gelu",
    bias: bool = True,
    query_key_value_bias: bool | None = None,
    attention_output_bias: bool | None = None,
    norm: Literal["layer", "rms"] = "layer",
    norm_weight: bool = True,
    norm_bias: bool | None = None,
    query_key_norm: bool = False,
    fused_projection: bool = False,
    fused_gate: bool = False,
    float32_softmax: bool = True,
    positions: Positions = "learned",
    max_positions: Number | None = None,
    position_rows: Number | None = None,
    tied: bool = True,
    head_bias: bool = False,
    parallel: bool = False,
    shared_norm: bool = False,
    post_norm: bool = False,
    window: Number | None = None,
    window_runs: WindowRuns | None = None,
    memory: Number | None = None,
    clusters: Sequence[tuple[Number, Number]] | None = None,
    embedding_width: Number | None = None,
    embedding_norm: bool = False,
    final_norm: bool = True,
    dropout: bool = False,
    attention_dropout: bool | None = None,
) -> Transformer:
    """Compose a decoder-only transformer.

    Args:
        layers: number of layers.
        hidden: width of the residual stream.
        heads: query heads.
        vocabulary: rows of the token embedding, padding included.
        feed_forward: inner width of the feed-forward network; 4 × hidden if not given.
        kv_heads: key and value heads; as many as `heads` if not given.
        head_dim: width of a head; hidden / heads if not given.
        gated: whether the network multiplies two projections up (SwiGLU, GeGLU).
        activation: the network's activation function.
        bias: whether linear layers (not the head) and layer norms have biases.
        query_key_value_bias: of the projections to queries, keys and values; `bias` if not given.
        attention_output_bias: of the projection back; `bias` if not given.
        norm: layer normalization or RMS normalization (which has no bias).
        norm_weight: whether norms have weights.
        norm_bias: whether layer norms have biases; `bias` if not given.
        query_key_norm: whether each head's queries and keys are normalized.
        fused_projection: whether one matrix projects to queries, keys and values.
        fused_gate: whether one matrix holds a gated network's two projections up.
        float32_softmax: whether attention's softmax is in fp32 whatever the compute format.
        positions: how positions enter. `learned` ones are a table; `relative` ones (Transformer-XL)
            a projection in every layer; the others have no parameters.
        max_positions: longest sequence that the model is made for.
        position_rows: rows of the learned table, where they are not `max_positions`.
        tied: whether the head shares the token embedding's weight.
        head_bias: whether the head has a bias.
        parallel: whether attention and feed-forward read the same stream.
        shared_norm: whether they then read the same norm of it.
        post_norm: whether norms follow the additions instead of preceding the sub-layers.
        window: how many positions back attention sees, in every layer.
        window_runs: the same where layers differ; then `window` is not read.
        memory: positions of the segment before that attention sees too; of relative positions.
        clusters: (words, width of their embedding) of an adaptive softmax, the frequent first.
        embedding_width: width of a narrower token embedding that is projected to `hidden`.
        embedding_norm: whether a norm follows the embedding.
        final_norm: whether a norm precedes the head.
        dropout: whether embeddings and residual branches are trained with dropout.
        attention_dropout: whether attention is; `dropout` if not given.
    """
    style = NormStyle(kind=norm, weight=norm_weight, bias=_either(norm_bias, bias))
    network = FeedForward(
        width=_either(feed_forward, 4 * hidden),
        gated=gated,
        bias=bias,
        activation=activation,
        fused_gate=fused_gate,
    )

    mixer = SelfAttention
    if positions == "relative":
        mixer = partial(RelativeAttention, memory=memory or 0)

    def layer(window: Number | None) -> Layer:
        attention = mixer(
            heads=heads,
            kv_heads=_either(kv_heads, heads),
            head_dim=exact_div(hidden, heads) if head_dim is None else head_dim,
            bias=_either(query_key_value_bias, bias),
            output_bias=_either(attention_output_bias, bias),
            fused_projection=fused_projection,
            float32_softmax=float32_softmax,
            rotary=positions == "rotary",
            query_key_norm=HeadNorm() if query_key_norm else None,
            window=window,
            dropout=_either(attention_dropout, dropout),
        )
        return Layer(
            mixer=attention,
            feed_forward=network,
            norm=style,
            parallel=parallel,
            shared_norm=shared_norm,
            post_norm=post_norm,
            dropout=dropout,
        )

    learned = _either(position_rows, max_positions) if positions == "learned" else None
    of_words = Transformer
    if clusters is not None:
        of_words = partial(AdaptiveDecoder, clusters=tuple((n, width) for n, width in clusters))
    return of_words(
        vocabulary=vocabulary,
        hidden=hidden,
        layers=tuple((layer(seen), count) for seen, count in window_runs or ((window, layers),)),
        positions=0 if learned is None else learned,
        embedding_width=embedding_width,
        embedding_norm=style if embedding_norm else None,
        final_norm=style if final_norm else None,
        tied=tied,
        head_bias=head_bias,
        dropout=dropout,
        context_limit=max_positions,
    )


def _either(given: Number | None, otherwise: Number) -> Number:
    return otherwise if given is None else given
