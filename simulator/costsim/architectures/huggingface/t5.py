"""T5 and its kin: encoder-decoders whose scores are shifted by the distance of positions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby

from costsim.algebra import Number
from costsim.architectures.encoder import Encoder
from costsim.architectures.encoder_decoder import EncoderDecoder
from costsim.architectures.huggingface.bart import begin
from costsim.architectures.huggingface.config import KNOWN_FUNCTIONS, Config, Reader
from costsim.architectures.layers import RMS, FeedForward, MixtureOfExperts, SelfAttention
from costsim.architectures.layers.branches import Branches, residual_layer
from costsim.architectures.layers.cross_attention import CrossAttention
from costsim.architectures.layers.layer import SubLayer
from costsim.architectures.layers.tables import Table
from costsim.architectures.stacks import Head, Stack, StackLayer, TextStem

_TOKENS = "encoder.embedding.tokens.weight"
_IDLE = """
relative_attention_max_distance initializer_factor scale_decoder_outputs is_gated_act
tie_word_embeddings n_positions dense_act_fn layer_norm_epsilon classifier_dropout output_past
"""


@dataclass(frozen=True, slots=True)
class _Sizes:
    hidden: int
    heads: int
    head_dim: int
    buckets: int
    vocabulary: int
    layers: int
    decoder_layers: int
    network: FeedForward
    dropout: bool

    @property
    def distances(self) -> Table:
        """What the distance of two positions adds to their score, a number for each head."""
        return Table("distances", self.buckets, self.heads, pairs=True)

    def attention(self, *, causal: bool) -> SelfAttention:
        return SelfAttention(
            heads=self.heads,
            kv_heads=self.heads,
            head_dim=self.head_dim,
            causal=causal,
            dropout=self.dropout,
        )

    def layer(self, network: SubLayer, *, decodes: bool, own_distances: bool) -> Branches:
        """Return a layer of the encoder, or of the decoder, which looks at the encoder too."""
        mixers: tuple[tuple[str, SubLayer], ...] = (("mixer", self.attention(causal=decodes)),)
        if decodes:
            cross = CrossAttention(
                heads=self.heads,
                kv_heads=self.heads,
                head_dim=self.head_dim,
                query_bias=False,
                key_bias=False,
                value_bias=False,
                output_bias=False,
                dropout=self.dropout,
            )
            mixers = (*mixers, ("cross", cross))
        found = residual_layer(
            *mixers, ("feed_forward", network), norm=RMS, pre_norm=True, dropout=self.dropout
        )
        if not own_distances:
            return found
        mixer, *rest = found.branches
        return replace(found, branches=(replace(mixer, table=self.distances), *rest))


def _sizes(config: Config, *, kind: str | None = None) -> _Sizes:
    begin(config)
    config.ignore(*_IDLE.split())
    layers = config.layers("num_layers")
    kind = kind or config.text("feed_forward_proj")
    gated, _, activation = kind.rpartition("gated-")
    if (activation or gated) not in KNOWN_FUNCTIONS:
        hint = "one such as `relu` or `gated-gelu`"
        config.problem("feed_forward_proj", f"`{kind[:40]}` is no function that is known", hint)
    dropout = config.rate("dropout_rate") > 0
    network = FeedForward(
        width=config.size("d_ff"),
        gated=kind.startswith("gated-"),
        activation="gelu_new" if kind == "gated-gelu" else activation or gated,
    )
    return _Sizes(
        hidden=config.size("d_model"),
        heads=config.size("num_heads"),
        head_dim=config.size("d_kv"),
        buckets=config.size("relative_attention_num_buckets"),
        vocabulary=config.size("vocab_size"),
        layers=layers,
        decoder_layers=config.optional_size("num_decoder_layers") or layers,
        network=network,
        dropout=dropout,
    )


def _encoding(
    sizes: _Sizes, layers: tuple[tuple[StackLayer, Number], ...], own_distances: bool
) -> Stack:
    tables = () if own_distances else (sizes.distances,)
    return Stack(
        hidden=sizes.hidden,
        stem=TextStem(vocabulary=sizes.vocabulary, tables=tables, dropout=sizes.dropout),
        layers=layers,
        norm=RMS,
    )


def _assemble(
    sizes: _Sizes,
    encoder: tuple[tuple[StackLayer, Number], ...],
    decoder: tuple[tuple[StackLayer, Number], ...],
    *,
    own_distances: bool = False,
) -> EncoderDecoder:
    tables = () if own_distances else (sizes.distances,)
    return EncoderDecoder(
        encoder=_encoding(sizes, encoder, own_distances),
        decoder=Stack(
            hidden=sizes.hidden,
            stem=TextStem(
                vocabulary=sizes.vocabulary,
                tables=tables,
                tied_to=_TOKENS,
                dropout=sizes.dropout,
            ),
            layers=decoder,
            norm=RMS,
        ),
        head=Head(vocabulary=sizes.vocabulary, tied_to=_TOKENS),
    )


def _dense(config: Config, *, own_distances: bool = False) -> EncoderDecoder | Encoder:
    sizes = _sizes(config)
    encoder = sizes.layer(sizes.network, decodes=False, own_distances=own_distances)
    if config.class_name().endswith("EncoderModel"):
        config.ignore("num_decoder_layers")
        return Encoder(stack=_encoding(sizes, ((encoder, sizes.layers),), own_distances))
    decoder = sizes.layer(sizes.network, decodes=True, own_distances=own_distances)
    return _assemble(
        sizes,
        ((encoder, sizes.layers),),
        ((decoder, sizes.decoder_layers),),
        own_distances=own_distances,
    )


def _umt5(config: Config) -> EncoderDecoder | Encoder:
    return _dense(config, own_distances=True)


def _switch(config: Config) -> EncoderDecoder:
    """Every few layers has experts in place of its network; a token passes one of them."""
    sizes = _sizes(config, kind="relu")
    config.ignore("feed_forward_proj")
    config.ignore("expert_capacity", "router_dtype", "router_jitter_noise", "router_z_loss_coef")
    config.ignore("router_aux_loss_coef", "output_router_logits", "add_router_probs")
    config.ignore("router_ignore_padding_tokens", "router_type", "num_selected_experts")
    config.ignore("batch_prioritized_routing", "encoder_sparse_step", "decoder_sparse_step")
    experts = MixtureOfExperts(
        width=config.size("d_ff"),
        experts=config.size("num_experts"),
        top_k=1,
        gated=False,
        router_bias=config.flag("router_bias"),
    )

    def runs(which: str, layers: int) -> tuple[tuple[StackLayer, Number], ...]:
        sparse = config.count(f"num_sparse_{which}_layers")
        step = layers // sparse if sparse else 0
        found: list[tuple[StackLayer, Number]] = []
        for mixed, run in groupby(step > 0 and index % step == 1 % step for index in range(layers)):
            network = experts if mixed else sizes.network
            layer = sizes.layer(network, decodes=which == "decoder", own_distances=False)
            found.append((layer, sum(1 for _ in run)))
        return tuple(found)

    return _assemble(sizes, runs("encoder", sizes.layers), runs("decoder", sizes.decoder_layers))


READERS: dict[str, Reader] = {
    "t5": _dense,
    "mt5": _dense,
    "umt5": _umt5,
    "switch_transformers": _switch,
}
