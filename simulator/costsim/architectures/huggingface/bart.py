"""BART and its kin: encoder-decoders with absolute positions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from costsim.algebra import Number
from costsim.architectures.architecture import Description
from costsim.architectures.encoder_decoder import EncoderDecoder, Writer
from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.layers import FeedForward, MixtureOfExperts, NormStyle, SelfAttention
from costsim.architectures.layers.branches import Branches, residual_layer
from costsim.architectures.layers.cross_attention import CrossAttention
from costsim.architectures.layers.layer import SubLayer
from costsim.architectures.layers.sliding_chunks import SlidingChunks
from costsim.architectures.layers.tables import Table
from costsim.architectures.stacks import Head, Stack, StackLayer, Stem, TextStem

LAYER_NORM = NormStyle(kind="layer")
ENCODER_TOKENS, DECODER_TOKENS = (
    "encoder.embedding.tokens.weight",
    "decoder.embedding.tokens.weight",
)

_IDLE = """
scale_embedding encoder_layerdrop decoder_layerdrop activation_dropout use_prompt prompt_length
prompt_mid_dim normalize_before normalize_embedding add_final_layer_norm add_bias_logits
static_position_embeddings extra_pos_embeddings num_hidden_layers force_bos_token_to_be_generated
gradient_checkpointing init_std classif_dropout classifier_dropout
"""


@dataclass(frozen=True, slots=True)
class Side:
    """The sizes of one stack, encoder or decoder."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    activation: str
    dropout: bool
    attention_dropout: bool

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads

    def attention(self, *, causal: bool, key_bias: bool = True) -> SelfAttention:
        """Return self-attention with biases."""
        return SelfAttention(
            heads=self.heads,
            kv_heads=self.heads,
            head_dim=self.head_dim,
            bias=True,
            key_bias=key_bias,
            output_bias=True,
            causal=causal,
            dropout=self.attention_dropout,
        )

    def cross_attention(
        self, *, key_bias: bool = True, source_width: Number | None = None
    ) -> CrossAttention:
        """Return attention to the encoder's output, with biases."""
        return CrossAttention(
            heads=self.heads,
            kv_heads=self.heads,
            head_dim=self.head_dim,
            key_bias=key_bias,
            source_width=source_width,
            dropout=self.attention_dropout,
        )

    def network(self) -> FeedForward:
        """Return the feed-forward network, with biases."""
        return FeedForward(width=self.feed_forward, bias=True, activation=self.activation)

    def layer(self, *sub_layers: tuple[str, SubLayer], pre_norm: bool) -> Branches:
        """Return a layer of `sub_layers`, each with a layer norm."""
        return residual_layer(*sub_layers, norm=LAYER_NORM, pre_norm=pre_norm, dropout=self.dropout)

    def encoder_layer(self, *, pre_norm: bool, key_bias: bool = True) -> Branches:
        """Return self-attention and network."""
        attention = self.attention(causal=False, key_bias=key_bias)
        return self.layer(("mixer", attention), ("feed_forward", self.network()), pre_norm=pre_norm)

    def decoder_layer(
        self, *, pre_norm: bool, key_bias: bool = True, source_width: Number | None = None
    ) -> Branches:
        """Return self-attention, cross-attention and network."""
        return self.layer(
            ("mixer", self.attention(causal=True, key_bias=key_bias)),
            ("cross", self.cross_attention(key_bias=key_bias, source_width=source_width)),
            ("feed_forward", self.network()),
            pre_norm=pre_norm,
        )


_WRITING = ("ForConditionalGeneration", "MTModel", "ForTextToText", "ForCausalLM")


def begin(config: Config) -> None:
    """Take note of the class that the config names, if it is one that writes."""
    config.allow("is_encoder_decoder")
    if str(config.values.get("architectures")).rstrip("]'\"").endswith(_WRITING):
        config.class_name()


def side(config: Config, which: Literal["encoder", "decoder"]) -> Side:
    """Return the sizes of one stack."""
    hidden = config.size("d_model", "hidden_size")
    key = f"{which}_attention_heads"
    heads = config.size(key, f"num_{which}_attention_heads")
    config.require(hidden % heads == 0, key, f"{heads} heads do not divide a width of {hidden}")
    return Side(
        hidden=hidden,
        layers=config.layers(f"{which}_layers", f"num_{which}_layers"),
        heads=heads,
        feed_forward=config.size(f"{which}_ffn_dim"),
        activation=config.text("activation_function"),
        dropout=config.rate("dropout", default=0.1) > 0,
        attention_dropout=config.rate("attention_dropout", default=0.0) > 0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Kin:
    """Where one member of the family departs from BART.

    `positions` are rows of a table, or None where they are computed; `offset` counts rows of it
    that no position uses.
    """

    positions: bool = True
    offset: int = 0
    pre_norm: bool = False
    embedding_norm: bool = False
    final_norm: bool = False


def _family(config: Config, kin: Kin) -> EncoderDecoder:
    begin(config)
    config.ignore(*_IDLE.split())
    encoder, decoder = side(config, "encoder"), side(config, "decoder")
    vocabulary = config.size("vocab_size")
    written = config.optional_size("decoder_vocab_size", default=None) or vocabulary
    shared = config.flag("share_encoder_decoder_embeddings", default=True)
    config.require(
        not shared or written == vocabulary,
        "decoder_vocab_size",
        f"is {written}, though one table of {vocabulary} serves both sides",
    )
    tied = config.flag("tie_word_embeddings", default=True)
    positions = config.size("max_position_embeddings")
    norm = LAYER_NORM if kin.embedding_norm else None
    tables = (Table("positions", positions + kin.offset, shared=True),) if kin.positions else ()

    def stem(entries: int, tied_to: str | None, dropout: bool) -> TextStem:
        return TextStem(
            vocabulary=entries, tables=tables, norm=norm, tied_to=tied_to, dropout=dropout
        )

    final = LAYER_NORM if kin.final_norm else None
    table = ENCODER_TOKENS if shared else DECODER_TOKENS
    return EncoderDecoder(
        encoder=Stack(
            hidden=encoder.hidden,
            stem=stem(vocabulary, None, encoder.dropout),
            layers=((encoder.encoder_layer(pre_norm=kin.pre_norm), encoder.layers),),
            norm=final,
        ),
        decoder=Stack(
            hidden=decoder.hidden,
            stem=stem(written, ENCODER_TOKENS if shared else None, decoder.dropout),
            layers=((decoder.decoder_layer(pre_norm=kin.pre_norm), decoder.layers),),
            norm=final,
        ),
        head=Head(vocabulary=written, tied_to=table if tied else None),
        context_limit=positions,
    )


_SPEECH = ("speech_", "t2u_", "vocoder_", "adaptor_", "unit_", "num_adapter", "variance_")
_SPEECH_KEYS = """
add_adapter char_vocab_size conv_depthwise_kernel_size feature_projection_input_dim lang_embed_dim
leaky_relu_slope left_max_position_embeddings right_max_position_embeddings
position_embeddings_type resblock_dilation_sizes resblock_kernel_sizes sampling_rate spkr_embed_dim
upsample_initial_channel upsample_kernel_sizes upsample_rates var_pred_dropout
max_source_positions max_new_tokens use_text_encoder num_conv_pos_embeddings
num_conv_pos_embedding_groups rotary_embedding_base
"""


def _seamless(config: Config) -> EncoderDecoder:
    """The translator of texts; the parts that hear and speak are other classes."""
    name = config.class_name() or "ForTextToText"
    config.require(
        name.endswith("ForTextToText"), "architectures", f"{name} is not supported, text to text is"
    )
    ours = [key for key in config.values if key.startswith(_SPEECH)]
    config.ignore(*ours, *_SPEECH_KEYS.split())
    return _family(config, Kin(positions=False, pre_norm=True, final_norm=True))


def _nllb_moe(config: Config) -> EncoderDecoder:
    """Every few layers has experts in place of its network; a token passes two of them."""
    config.ignore("expert_capacity", "router_dtype", "router_z_loss_coef", "router_aux_loss_coef")
    config.ignore("batch_prioritized_routing", "second_expert_policy", "output_router_logits")
    config.ignore("normalize_router_prob_before_dropping", "router_ignore_padding_tokens")
    config.ignore("moe_eval_capacity_token_fraction", "moe_token_dropout")
    dense = _family(config, Kin(positions=False, pre_norm=True, final_norm=True))
    experts, bias = config.size("num_experts"), config.flag("router_bias")

    def mixed(stack: Stack, which: Literal["encoder", "decoder"]) -> Stack:
        sizes, step = side(config, which), config.count(f"{which}_sparse_step")
        mixture = MixtureOfExperts(
            width=sizes.feed_forward,
            experts=experts,
            top_k=2,
            gated=False,
            bias=True,
            router_bias=bias,
        )
        (layer, count), *_ = stack.layers
        assert isinstance(layer, Branches)
        *mixers, network = layer.branches
        sparse = replace(layer, branches=(*mixers, replace(network, sub_layer=mixture)))
        runs = groupby(bool(step) and (index + 1) % step == 0 for index in range(count))
        return replace(
            stack,
            layers=tuple(
                (sparse if routed else layer, sum(1 for _ in run)) for routed, run in runs
            ),
        )

    return replace(
        dense, encoder=mixed(dense.encoder, "encoder"), decoder=mixed(dense.decoder, "decoder")
    )


def _led(config: Config) -> EncoderDecoder:
    """The encoder sees windows, computed in chunks; its table of positions is a longer one."""
    encoder = side(config, "encoder")
    windows = config.sizes("attention_window", (512,))
    windows = windows * encoder.layers if len(windows) == 1 else windows
    config.require(
        len(windows) == encoder.layers,
        "attention_window",
        f"names {len(windows)} layers, `encoder_layers` says {encoder.layers}",
    )
    begin(config)
    config.ignore(*_IDLE.split())
    vocabulary, decoder = config.size("vocab_size"), side(config, "decoder")
    read = config.size("max_encoder_position_embeddings")
    written = config.size("max_decoder_position_embeddings")
    layers = tuple(
        (
            encoder.layer(
                (
                    "mixer",
                    SlidingChunks(heads=encoder.heads, head_dim=encoder.head_dim, window=window),
                ),
                ("feed_forward", encoder.network()),
                pre_norm=False,
            ),
            sum(1 for _ in run),
        )
        for window, run in groupby(windows)
    )

    def stem(positions: int, tied_to: str | None) -> TextStem:
        tables = (Table("positions", positions, shared=True),)
        return TextStem(
            vocabulary=vocabulary,
            tables=tables,
            norm=LAYER_NORM,
            tied_to=tied_to,
            dropout=encoder.dropout,
        )

    tied = config.flag("tie_word_embeddings", default=True)
    return EncoderDecoder(
        encoder=Stack(hidden=encoder.hidden, stem=stem(read, None), layers=layers),
        decoder=Stack(
            hidden=decoder.hidden,
            stem=stem(written, ENCODER_TOKENS),
            layers=((decoder.decoder_layer(pre_norm=False), decoder.layers),),
        ),
        head=Head(vocabulary=vocabulary, tied_to=ENCODER_TOKENS if tied else None),
        context_limit=written,
    )


def writer(whole: EncoderDecoder, table: str) -> Writer:
    """Return the decoder by itself: it looks at nothing, and has its table of tokens to itself."""

    def alone(layer: StackLayer) -> StackLayer:
        if not isinstance(layer, Branches):
            return layer
        idle = (replace(one, idle=one.name == "cross") for one in layer.branches)
        return replace(layer, branches=tuple(idle))

    stack = whole.decoder
    stem = stack.stem
    if isinstance(stem, TextStem):
        stem = replace(stem, tied_to=None)
    layers = tuple((alone(layer), count) for layer, count in stack.layers)
    head = replace(whole.head, tied_to=None if whole.head.tied_to is None else table)
    return Writer(
        decoder=replace(stack, stem=stem, layers=layers),
        head=head,
        context_limit=whole.context_limit,
    )


def _of(kin: Kin) -> Reader:
    def read(config: Config) -> Description:
        whole = _family(config, kin)
        if config.class_name().endswith("ForCausalLM"):
            return writer(whole, DECODER_TOKENS)
        return whole

    return read


def _trocr(config: Config) -> Writer:
    """A decoder alone, made to look at what a tower sees; `cross_attention_hidden_size` wide."""
    config.class_name()
    config.ignore(*_IDLE.split(), "layernorm_embedding", "use_learned_position_embeddings")
    found = side(config, "decoder")
    vocabulary = config.size("vocab_size")
    positions = config.size("max_position_embeddings")
    learned = config.flag("use_learned_position_embeddings")
    source = config.optional_size("cross_attention_hidden_size", default=None)
    layer = found.decoder_layer(pre_norm=False, source_width=source)
    layer = replace(
        layer, branches=tuple(replace(one, idle=one.name == "cross") for one in layer.branches)
    )
    stem = TextStem(
        vocabulary=vocabulary,
        tables=(Table("positions", positions + 2, shared=True),) if learned else (),
        norm=LAYER_NORM if config.flag("layernorm_embedding") else None,
        dropout=found.dropout,
    )
    tied = config.flag("tie_word_embeddings", default=True)
    return Writer(
        decoder=Stack(hidden=found.hidden, stem=stem, layers=((layer, found.layers),)),
        head=Head(vocabulary=vocabulary, tied_to=DECODER_TOKENS if tied else None),
        context_limit=positions,
    )


def _fsmt(config: Config) -> EncoderDecoder:
    """Two vocabularies."""
    begin(config)
    config.ignore(*_IDLE.split(), "langs", "decoder")
    encoder, decoder = side(config, "encoder"), side(config, "decoder")
    positions = config.size("max_position_embeddings")
    # Sinusoids that are kept as parameters: two more rows for padding.
    tables = (Table("positions", positions + 2, shared=True),)
    read, written = config.size("src_vocab_size"), config.size("tgt_vocab_size")
    return EncoderDecoder(
        encoder=Stack(
            hidden=encoder.hidden,
            stem=TextStem(vocabulary=read, tables=tables, dropout=encoder.dropout),
            layers=((encoder.encoder_layer(pre_norm=False), encoder.layers),),
        ),
        decoder=Stack(
            hidden=decoder.hidden,
            stem=TextStem(vocabulary=written, tables=tables, dropout=decoder.dropout),
            layers=((decoder.decoder_layer(pre_norm=False), decoder.layers),),
        ),
        head=Head(
            vocabulary=written,
            tied_to=DECODER_TOKENS if config.flag("tie_word_embeddings") else None,
        ),
        context_limit=positions,
    )


def stacks_of(
    encoder: Side, decoder: Side, stems: tuple[Stem, Stem], *, key_bias: bool = True
) -> tuple[Stack, Stack]:
    """Return pre-norm stacks, each ended by a norm."""
    return (
        Stack(
            hidden=encoder.hidden,
            stem=stems[0],
            layers=((encoder.encoder_layer(pre_norm=True, key_bias=key_bias), encoder.layers),),
            norm=LAYER_NORM,
        ),
        Stack(
            hidden=decoder.hidden,
            stem=stems[1],
            layers=((decoder.decoder_layer(pre_norm=True, key_bias=key_bias), decoder.layers),),
            norm=LAYER_NORM,
        ),
    )


_BART = Kin(offset=2, embedding_norm=True)
_PRE_NORM = Kin(pre_norm=True, final_norm=True)

READERS: dict[str, Reader] = {
    "bart": _of(_BART),
    "plbart": _of(_BART),
    "mvp": _of(_BART),
    "mbart": _of(Kin(offset=2, embedding_norm=True, pre_norm=True, final_norm=True)),
    "m2m_100": _of(Kin(positions=False, pre_norm=True, final_norm=True)),
    "marian": _of(Kin()),
    "pegasus": _of(_PRE_NORM),
    "blenderbot": _of(_PRE_NORM),
    "blenderbot-small": _of(Kin(embedding_norm=True)),
    "fsmt": _fsmt,
    "nllb-moe": _nllb_moe,
    "led": _led,
    "trocr": _trocr,
    "seamless_m4t": _seamless,
    "seamless_m4t_v2": _seamless,
}
