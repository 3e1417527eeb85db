"""The short form of a decoder: the numbers and choices that most models are described by.

What a field of a model's YAML means, and what it is when left out, is said here once: the record is
the signature in Python and, with its types made strict (`spec`), the schema of the YAML.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

from costsim.algebra import Number, exact_div
from costsim.architectures.adaptive import AdaptiveDecoder
from costsim.architectures.decoder_parts import (
    PARTS,
    Complaint,
    ExpertsSpec,
    LatentSpec,
    StateSpaceSpec,
)
from costsim.architectures.layers import (
    FeedForward,
    HeadNorm,
    LatentSelfAttention,
    Layer,
    Mixer,
    MixtureOfExperts,
    NormStyle,
    SelfAttention,
    SubLayer,
)
from costsim.architectures.layers.branches import Branch, Branches
from costsim.architectures.layers.recording import in_runs
from costsim.architectures.layers.relative_attention import RelativeAttention
from costsim.architectures.transformer import DecoderLayer, Transformer

Positions: TypeAlias = Literal["learned", "rotary", "alibi", "relative", "none"]

WindowRuns: TypeAlias = Sequence[tuple[Number | None, Number]]
"""Runs of layers from bottom to top: (window or None for full attention, how many layers)."""

Pairs: TypeAlias = Sequence[tuple[Number, Number]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderSpec:
    """A decoder-only transformer."""

    layers: Number
    """Number of layers."""
    hidden: Number
    """Width of the residual stream."""
    heads: Number
    """Query heads."""
    vocabulary: Number
    """Rows of the token embedding, padding included."""
    feed_forward: Number | None = None
    """Inner width of the feed-forward network; left out, 4 × hidden."""
    kv_heads: Number | None = None
    """Key and value heads; left out, as many as `heads`."""
    head_dim: Number | None = None
    """Width of a head; left out, hidden / heads."""
    gated: bool = False
    """Whether the network multiplies two projections up, as SwiGLU does; left out, no."""
    activation: str = "gelu"
    """Activation function of the network; left out, gelu."""
    bias: bool = True
    """Whether linear layers and layer norms have biases; left out, yes."""
    query_key_value_bias: bool | None = None
    """Whether the projections to queries, keys and values have; left out, as `bias`."""
    attention_output_bias: bool | None = None
    """Whether the projection back from attention has; left out, as `bias`."""
    norm: Literal["layer", "rms"] = "layer"
    """Layer or RMS normalization; left out, layer."""
    norm_weight: bool = True
    """Whether norms have weights; left out, yes."""
    norm_bias: bool | None = None
    """Whether layer norms have biases; left out, as `bias`."""
    query_key_norm: bool = False
    """Whether each head's queries and keys are normalized; left out, no."""
    fused_projection: bool = False
    """Whether one matrix projects to queries, keys and values; left out, no."""
    fused_gate: bool = False
    """Whether one matrix holds a gated network's two projections up; left out, no."""
    float32_softmax: bool = True
    """Whether attention's softmax is in fp32 whatever the compute format; left out, yes."""
    positions: Positions = "learned"
    """How positions enter; left out, learned. Relative ones are Transformer-XL's."""
    max_positions: Number | None = None
    """Longest sequence that the model is made for."""
    position_rows: Number | None = None
    """Rows of a learned position table where they are not `max_positions`."""
    tied: bool = True
    """Whether the head shares the token embedding's weight; left out, yes."""
    head_bias: bool = False
    """Whether the head has a bias; left out, no."""
    parallel: bool = False
    """Whether attention and network read the same stream side by side; left out, no."""
    shared_norm: bool = False
    """Whether they then read the same norm of it; left out, no."""
    post_norm: bool = False
    """Whether norms follow the additions; left out, no."""
    window: Number | None = None
    """How many positions back attention sees, in every layer; left out, all."""
    window_runs: WindowRuns | None = None
    """The same where layers differ: runs of [window or null, layers] from bottom to top."""
    memory: Number | None = None
    """How many positions of the segment before attention sees too, with relative positions."""
    clusters: Pairs | None = None
    """Of an adaptive softmax, [words, width of their embedding], the frequent words first."""
    embedding_width: Number | None = None
    """Width of a narrower token embedding that is projected to `hidden`."""
    embedding_norm: bool = False
    """Whether a norm follows the embedding; left out, no."""
    final_norm: bool = True
    """Whether a norm precedes the head; left out, yes."""
    dropout: bool = False
    """Whether it is trained with dropout; left out, no."""
    attention_dropout: bool | None = None
    """Whether attention is trained with dropout; left out, as `dropout`."""
    experts: ExpertsSpec | None = None
    """A mixture of experts in the place of the network; left out, none."""
    latent: LatentSpec | None = None
    """Latent attention, as in DeepSeek-V2 and later; left out, none."""
    state_space: StateSpaceSpec | None = None
    """State spaces in the place of attention, in all layers or in most; left out, none."""

    def problems(self) -> Iterator[Complaint]:
        """Yield what contradicts."""
        hidden, heads, layers = self.hidden, self.heads, self.layers
        groups = _either(self.kv_heads, heads)
        learned = self.positions == "learned"
        runs, clusters = self.window_runs, self.clusters
        rules = (
            (
                self.head_dim is not None or self.latent is not None or hidden % heads == 0,
                "heads",
                f"`hidden` {hidden} does not divide into {heads} `heads`",
                "give `head_dim` if heads are not hidden / heads wide",
            ),
            (
                heads % groups == 0,
                "kv_heads",
                f"{heads} `heads` do not divide into {groups} `kv_heads`",
                None,
            ),
            (
                not learned or self.max_positions is not None,
                "positions",
                "learned `positions` need `max_positions`",
                "or say `positions: rotary`, `alibi` or `none`",
            ),
            (
                learned or self.position_rows is None,
                "position_rows",
                "only learned `positions` have `position_rows`",
                None,
            ),
            (
                self.norm != "rms" or not self.norm_bias,
                "norm_bias",
                "an RMS norm has no bias",
                None,
            ),
            (
                self.parallel or not self.shared_norm,
                "shared_norm",
                "`shared_norm` holds for `parallel` layers only",
                None,
            ),
            (
                not (self.parallel and self.post_norm),
                "post_norm",
                "`parallel` layers normalize before, not after",
                None,
            ),
            (
                self.gated or not self.fused_gate,
                "fused_gate",
                "`fused_gate` holds for `gated` networks only",
                None,
            ),
            (
                runs is None or sum(count for _, count in runs) == layers,
                "window_runs",
                f"`window_runs` do not add up to {layers} `layers`",
                None,
            ),
            (
                runs is None or self.window is None,
                "window",
                "give `window` or `window_runs`, not both",
                None,
            ),
            (
                clusters is None or sum(words for words, _ in clusters) == self.vocabulary,
                "clusters",
                f"`clusters` do not add up to the {self.vocabulary} words of the `vocabulary`",
                None,
            ),
            (
                clusters is None or self.tied,
                "clusters",
                "embedding and head in `clusters` share their weights: leave `tied` true",
                None,
            ),
            (
                self.memory is None or self.positions == "relative",
                "memory",
                "only relative `positions` reach into a `memory`",
                None,
            ),
            (
                self.latent is None or (self.kv_heads is None and self.head_dim is None),
                "latent",
                "latent attention has neither `kv_heads` nor `head_dim`: `latent` says its widths",
                None,
            ),
        )
        for holds, field, message, hint in rules:
            if not holds:
                yield field, message, hint

    def composed(self) -> Transformer:
        """Return the decoder."""
        style = self.norms
        learned = self.positions == "learned"
        rows = _either(self.position_rows, self.max_positions or 0) if learned else 0
        of_words = Transformer
        if self.clusters is not None:
            clusters = tuple((words, width) for words, width in self.clusters)
            of_words = partial(AdaptiveDecoder, clusters=clusters)
        return of_words(
            vocabulary=self.vocabulary,
            hidden=self.hidden,
            layers=self._runs(),
            positions=rows,
            embedding_width=self.embedding_width,
            embedding_norm=style if self.embedding_norm else None,
            final_norm=style if self.final_norm else None,
            tied=self.tied,
            head_bias=self.head_bias,
            dropout=self.dropout,
            context_limit=self.max_positions,
        )

    @property
    def norms(self) -> NormStyle:
        """How it normalizes."""
        bias = _either(self.norm_bias, self.bias)
        return NormStyle(kind=self.norm, weight=self.norm_weight, bias=bias)

    def _runs(self) -> tuple[tuple[DecoderLayer, Number], ...]:
        """Return runs of layers: as many as there are windows, or one by one where kinds differ."""
        experts, states = self.experts, self.state_space
        runs: WindowRuns = self.window_runs or ((self.window, self.layers),)
        uniform = experts is None or (experts.first == 0 and experts.every == 1)
        if uniform and (states is None or not states.attention_every):
            routed, scanned = experts is not None, states is not None
            return tuple((self._layer(seen, routed, scanned), count) for seen, count in runs)
        windows = [seen for seen, count in runs for _ in range(count)]
        every, first = (experts.every, experts.first) if experts is not None else (1, 0)
        attends = 0 if states is None else states.attention_every
        return in_runs(
            self._layer(
                seen,
                experts is not None and at >= first and (at + 1 - first) % every == 0,
                states is not None and (not attends or (at + 1) % attends > 0),
            )
            for at, seen in enumerate(windows)
        )

    def _layer(self, window: Number | None, routed: bool, scanned: bool) -> DecoderLayer:
        """Return a layer: with experts where it is `routed`, with a state space where `scanned`."""
        states = self.state_space if scanned else None
        mixer = self._attention(window) if states is None else states.mixer(self.hidden)
        if states is not None and not states.network:
            return Branches(branches=(Branch(name="mixer", sub_layer=mixer, before=self.norms),))
        return Layer(
            mixer=mixer,
            feed_forward=self._network(routed),
            norm=self.norms,
            parallel=self.parallel,
            shared_norm=self.shared_norm,
            post_norm=self.post_norm,
            dropout=self.dropout,
        )

    def _attention(self, window: Number | None) -> Mixer:
        heads, latent = self.heads, self.latent
        dropout = _either(self.attention_dropout, self.dropout)
        if latent is not None:
            return LatentSelfAttention(
                heads=heads,
                latent_dim=latent.latent_dim,
                query_latent_dim=latent.query_latent_dim,
                key_dim=latent.key_dim,
                rotary_dim=latent.rotary_dim,
                value_dim=latent.value_dim,
                bias=_either(self.query_key_value_bias, self.bias),
                window=window,
                dropout=dropout,
            )
        mixer = SelfAttention
        if self.positions == "relative":
            mixer = partial(RelativeAttention, memory=self.memory or 0)
        return mixer(
            heads=heads,
            kv_heads=_either(self.kv_heads, heads),
            head_dim=exact_div(self.hidden, heads) if self.head_dim is None else self.head_dim,
            bias=_either(self.query_key_value_bias, self.bias),
            output_bias=_either(self.attention_output_bias, self.bias),
            fused_projection=self.fused_projection,
            float32_softmax=self.float32_softmax,
            rotary=self.positions == "rotary",
            query_key_norm=HeadNorm() if self.query_key_norm else None,
            window=window,
            dropout=dropout,
        )

    def _network(self, routed: bool) -> SubLayer:
        network = FeedForward(
            width=_either(self.feed_forward, 4 * self.hidden),
            gated=self.gated,
            bias=self.bias,
            activation=self.activation,
            fused_gate=self.fused_gate,
        )
        experts = self.experts
        if experts is None or not routed:
            return network
        shared = None
        if experts.shared_width is not None:
            shared = FeedForward(
                width=experts.shared_width,
                gated=self.gated,
                bias=self.bias,
                activation=self.activation,
                name="feed_forward.shared",
            )
        return MixtureOfExperts(
            width=_either(experts.width, network.width),
            experts=experts.count,
            top_k=experts.top_k,
            gated=self.gated,
            bias=self.bias,
            correction=experts.correction,
            shared=shared,
            shared_gate=experts.shared_gate,
        )


def described(fields: Mapping[str, Any]) -> DecoderSpec:
    """Return the short form of `fields`, whose parts may be mappings."""
    made = dict(fields)
    for name, record in PARTS.items():
        if isinstance(made.get(name), Mapping):
            made[name] = record(**made[name])
    return DecoderSpec(**made)


def decoder(**fields: Any) -> Transformer:
    """Compose a decoder-only transformer of the fields of `DecoderSpec`."""
    return described(fields).composed()


def _either(given: Number | None, otherwise: Number) -> Number:
    return otherwise if given is None else given
