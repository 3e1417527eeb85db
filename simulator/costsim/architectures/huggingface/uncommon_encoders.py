"""Encoders that mix positions in a way of their own, or have parts that others have not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby

from costsim.algebra import Number
from costsim.architectures.architecture import Description
from costsim.architectures.encoder import Encoder
from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.encoders import (
    LAYER_NORM,
    TOKENS,
    Kin,
    Shape,
    assemble,
    bert_like,
    encoder_layer,
    is_bare,
    masked_head,
    shape,
    tables,
    tied,
    with_network,
)
from costsim.architectures.layers import FeedForward, SelfAttention
from costsim.architectures.layers.bottleneck import Bottleneck
from costsim.architectures.layers.branches import Branch, Branches, residual_layer
from costsim.architectures.layers.fourier import Fourier
from costsim.architectures.layers.grouped_channels import GroupedAttention, GroupedNetwork
from costsim.architectures.layers.landmark_attention import LandmarkAttention
from costsim.architectures.layers.layer import SubLayer
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.layers.shifted_attention import ShiftedAttention, Shortened
from costsim.architectures.layers.sliding_chunks import SlidingChunks
from costsim.architectures.layers.span_attention import SpanAttention
from costsim.architectures.layers.tables import Table
from costsim.architectures.multimodal import (
    Activated,
    Chain,
    Dense,
    Multimodal,
    Normalized,
    Tensors,
)
from costsim.architectures.stacks import Head, Stack, StackLayer, TextStem, Transform


def _always(layer: StackLayer) -> Callable[[Config, Shape], StackLayer]:
    return lambda config, found: layer


def _mpnet(config: Config) -> Encoder:
    buckets = config.size("relative_attention_num_buckets")
    heads = config.size("num_attention_heads")
    distances = Table("distances", buckets, heads, pairs=True)
    return bert_like(config, Kin(types=False), distances)


def _fnet(config: Config) -> Encoder:
    """A projection follows the embeddings; the pooler is there for masked models too."""
    config.ignore("use_tpu_fourier_optimizations", "tpu_short_seq_length")
    kin = Kin(pooled_head=True)
    found = _without_heads(config)
    stem = TextStem(
        vocabulary=found.vocabulary,
        tables=tables(config, kin),
        norm=LAYER_NORM,
        projected=True,
        dropout=found.dropout,
    )
    layers = ((with_network(Fourier(), found), found.layers),)
    stack = Stack(hidden=found.hidden, stem=stem, layers=layers)
    return assemble(config, kin, stack, masked_head(found, tied=tied(config)))


def _without_heads(config: Config) -> Shape:
    config.ignore("attention_probs_dropout_prob")
    return Shape(
        vocabulary=config.size("vocab_size"),
        hidden=config.size("hidden_size"),
        layers=config.layers("num_hidden_layers"),
        heads=1,
        feed_forward=config.size("intermediate_size"),
        activation=config.text("hidden_act"),
        dropout=config.rate("hidden_dropout_prob", default=0.1) > 0,
        attention_dropout=False,
    )


def _squeezebert(config: Config) -> Encoder:
    kin = Kin(pooled_head=True)
    found = shape(config)
    width = config.size("embedding_size")
    config.require(
        width == found.hidden, "embedding_size", f"{width} is not the `hidden_size` {found.hidden}"
    )
    groups = {
        key: config.size(key)
        for key in ("q_groups", "k_groups", "v_groups", "post_attention_groups")
    }
    up, down = config.size("intermediate_groups"), config.size("output_groups")
    attention = GroupedAttention(
        heads=found.heads,
        head_dim=found.head_dim,
        query_groups=groups["q_groups"],
        key_groups=groups["k_groups"],
        value_groups=groups["v_groups"],
        output_groups=groups["post_attention_groups"],
        dropout=found.attention_dropout,
    )
    network = GroupedNetwork(
        width=found.feed_forward, up_groups=up, down_groups=down, activation=found.activation
    )
    layer = residual_layer(
        ("mixer", attention), ("feed_forward", network), norm=LAYER_NORM, dropout=found.dropout
    )
    return bert_like(config, kin, layer=_always(layer))


def _convbert(config: Config) -> Encoder:
    found = shape(config)
    width = config.size("embedding_size")
    ratio = config.size("head_ratio")
    heads = max(1, found.heads // ratio)
    config.require(config.size("num_groups") == 1, "num_groups", "must be 1")
    config.require(
        found.hidden % (2 * heads) == 0, "head_ratio", "leaves heads that do not divide the width"
    )
    mixer = SpanAttention(
        heads=heads,
        head_dim=found.hidden // heads // 2,
        kernel=config.size("conv_kernel_size"),
        dropout=found.attention_dropout,
    )
    kin = Kin(pooler=False)
    stem = TextStem(
        vocabulary=found.vocabulary,
        embedding_width=width,
        tables=tables(config, kin),
        norm=LAYER_NORM,
        projected=width != found.hidden,
        dropout=found.dropout,
    )
    stack = Stack(
        hidden=found.hidden, stem=stem, layers=((with_network(mixer, found), found.layers),)
    )
    transform = Transform(outputs=width, norm=LAYER_NORM)
    head = Head(
        vocabulary=found.vocabulary,
        transform=transform,
        bias=True,
        tied_to=TOKENS if tied(config) else None,
    )
    return assemble(config, kin, stack, head)


def _nystromformer(config: Config) -> Encoder:
    found = shape(config)
    kernel = config.optional_size("conv_kernel_size")
    config.ignore("inv_coeff_init_option")
    mixer = LandmarkAttention(
        heads=found.heads,
        head_dim=found.head_dim,
        landmarks=config.size("num_landmarks"),
        segment=config.size("segment_means_seq_len"),
        kernel=kernel,
        dropout=found.attention_dropout,
    )
    layer = with_network(mixer, found)
    return bert_like(config, Kin(offset=2, pooler=False), layer=_always(layer))


def _funnel(config: Config) -> Encoder:
    """Blocks of layers, each over half as many positions; then a few over all of them again."""
    hidden, heads = config.size("d_model"), config.size("n_head")
    head_dim, vocabulary = config.size("d_head"), config.size("vocab_size")
    sizes = config.sizes("block_sizes", (4, 4, 4))
    repeats = config.sizes("block_repeats", (1,) * len(sizes))
    config.ignore("pooling_type", "separate_cls", "truncate_seq", "activation_dropout")
    config.ignore("initializer_std", "classifier_dropout")
    kind = config.text("attention_type")
    config.require(kind == "relative_shift", "attention_type", f"{kind} is not supported")
    config.require(config.flag("pool_q_only"), "pool_q_only", "must be true")
    config.require(set(repeats) == {1}, "block_repeats", "must be 1 for every block")
    dropout = config.rate("hidden_dropout", default=0.1) > 0
    mixer = ShiftedAttention(
        heads=heads,
        head_dim=head_dim,
        dropout=config.rate("attention_dropout", default=0.1) > 0,
    )
    network = FeedForward(
        width=config.size("d_inner"), bias=True, activation=config.text("hidden_act")
    )
    layer = residual_layer(
        ("mixer", mixer), ("feed_forward", network), norm=LAYER_NORM, dropout=dropout
    )
    layers: list[tuple[StackLayer, Number]] = []
    for index, size in enumerate(sizes):
        if index:
            layers.append((Shortened(layer=layer, times=index, shortens=True), 1))
            size -= 1
        if size:
            layers.append((Shortened(layer=layer, times=index), size))
    layers.append((layer, config.layers("num_decoder_layers")))
    stem = TextStem(vocabulary=vocabulary, norm=LAYER_NORM, dropout=dropout)
    stack = Stack(hidden=hidden, stem=stem, layers=tuple(layers))
    head = Head(vocabulary=vocabulary, bias=True, tied_to=TOKENS if tied(config) else None)
    return Encoder(stack=stack, head=None if is_bare(config) else head)


def _xlm(config: Config) -> Encoder:
    hidden, heads = config.size("emb_dim"), config.size("n_heads")
    vocabulary, layers = config.size("vocab_size", "n_words"), config.layers("n_layers")
    config.require(hidden % heads == 0, "n_heads", f"{heads} do not divide {hidden}")
    config.require(not config.flag("asm"), "asm", "must be false")
    config.require(not config.flag("causal"), "causal", "must be false")
    config.ignore("lang_id", "mask_index", "bos_index", "eos_index", "pad_index", "unk_index")
    config.ignore("is_encoder", "sinusoidal_embeddings", "start_n_top", "end_n_top")
    config.ignore("embed_init_std", "layerdrop", "pre_norm", "lang2id", "id2lang", "summary_type")
    config.ignore("summary_use_proj", "summary_activation", "summary_proj_to_labels")
    config.ignore("summary_first_dropout", "use_lang_emb", "max_vocab", "min_count")
    dropout = config.rate("dropout", default=0.1) > 0
    attention = SelfAttention(
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        bias=True,
        output_bias=True,
        causal=False,
        dropout=config.rate("attention_dropout", default=0.1) > 0,
    )
    function = "gelu" if config.flag("gelu_activation") else "relu"
    network = FeedForward(width=4 * hidden, bias=True, activation=function)
    found = [Table("positions", config.size("max_position_embeddings"), shared=True)]
    languages = config.size("n_langs")
    if languages > 1 and config.flag("use_lang_emb"):
        found.append(Table("languages", languages))
    layer = residual_layer(
        ("mixer", attention), ("feed_forward", network), norm=LAYER_NORM, dropout=dropout
    )
    stem = TextStem(vocabulary=vocabulary, tables=tuple(found), norm=LAYER_NORM, dropout=dropout)
    stack = Stack(hidden=hidden, stem=stem, layers=((layer, layers),))
    head = Head(vocabulary=vocabulary, bias=True, tied_to=TOKENS if tied(config) else None)
    return Encoder(stack=stack, head=None if is_bare(config) else head)


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOf:
    """One of `count` equal networks, which one the input's language says."""

    network: FeedForward
    count: Number

    def build(self, x: Tensor) -> Tensor:
        """Record the one, and the weights of the others."""
        before = len(x.recorder.operators)
        output = self.network.build(x)
        own = x.recorder.operators[before:]
        each = sum(weight.elements for one in own for weight in one.weights())
        x.within(self.network.name).learned("others", (self.count - 1, each), elements=0)
        return output


def _xmod(config: Config) -> Encoder:
    found = shape(config)
    pre_norm = config.flag("pre_norm")
    reused = config.flag("adapter_reuse_layer_norm")
    own = config.flag("adapter_layer_norm")
    factor = config.size("adapter_reduction_factor")
    languages = config.value("languages")
    count = len(config.values["languages"]) if isinstance(languages, list) else 1
    config.ignore("ln_before_adapter", "default_language")
    config.require(own or reused, "adapter_reuse_layer_norm", "must be true")
    width = found.hidden // factor
    adapter: SubLayer = OneOf(
        network=FeedForward(width=width, bias=True, activation=found.activation, name="adapter"),
        count=count,
    )
    layer = encoder_layer(found, pre_norm=pre_norm)
    assert isinstance(layer, Branches)
    branch = Branch(name="adapter", sub_layer=adapter, before=LAYER_NORM if own else None)
    layer = replace(layer, branches=(*layer.branches, branch))
    return bert_like(config, Kin(pre_norm=pre_norm), layer=_always(layer))


def _esm(config: Config) -> Description:
    """Proteins. Contacts of amino acids are read off all heads of all layers, on request."""
    found = replace(shape(config), activation="gelu")
    config.ignore("token_dropout", "is_folding_model", "esmfold_config", "vocab_list", "rope_theta")
    config.ignore("emb_layer_norm_before", "mask_token_id")
    rotary = config.text("position_embedding_type") == "rotary"
    positions = config.size("max_position_embeddings")
    before = config.values.get("emb_layer_norm_before") is True
    stem = TextStem(
        vocabulary=found.vocabulary,
        tables=() if rotary else (Table("positions", positions, shared=True),),
        norm=LAYER_NORM if before else None,
        dropout=found.dropout,
    )
    layer = encoder_layer(found, pre_norm=True, rotary=rotary)
    stack = Stack(hidden=found.hidden, stem=stem, layers=((layer, found.layers),), norm=LAYER_NORM)
    encoder = assemble(config, Kin(), stack, masked_head(found, tied=tied(config)))
    pairs = found.layers * found.heads
    contacts = Chain(name="contacts", positions=1, steps=(Dense(inputs=pairs, outputs=1),))
    return Multimodal(text=encoder, parts=(contacts,))


def _luke(config: Config) -> Description:
    """Words, and entities beside them, which a text without any leaves idle."""
    found = shape(config)
    entities, width = config.size("entity_vocab_size"), config.size("entity_emb_size")
    positions, types = config.size("max_position_embeddings"), config.count("type_vocab_size")
    hidden = found.hidden
    encoder = bert_like(config, Kin(pooled_head=True), tie=False)
    tables_ = Chain(
        name="entities",
        positions=1,
        steps=(
            Tensors(shapes=((entities, width), (positions, hidden), (types, hidden)), lookup=True),
            *((Dense(inputs=width, outputs=hidden, bias=False),) if width != hidden else ()),
            Normalized(size=hidden),
        ),
    )
    parts = [tables_]
    if config.flag("use_entity_aware_attention"):
        queries = Dense(inputs=hidden, outputs=3 * found.layers * hidden)
        parts.append(Chain(name="entities.queries", positions=1, steps=(queries,)))
    if not is_bare(config):
        steps = (
            Dense(inputs=hidden, outputs=width),
            Activated(size=width),
            Normalized(size=width),
            Tensors(shapes=((entities,),)),
        )
        parts.append(Chain(name="entities.head", positions=1, steps=steps))
    return Multimodal(text=encoder, parts=tuple(parts))


def _mobilebert(config: Config) -> Description:
    hidden, inner = config.size("hidden_size"), config.size("intra_bottleneck_size")
    width, heads = config.size("embedding_size"), config.size("num_attention_heads")
    vocabulary = config.size("vocab_size")
    config.ignore("true_hidden_size", "normalization_type", "use_bottleneck")
    config.ignore("classifier_activation", "classifier_dropout", "attention_probs_dropout_prob")
    config.ignore("hidden_dropout_prob")
    config.require(
        config.values.get("use_bottleneck", True) is True, "use_bottleneck", "must be true"
    )
    narrow = config.flag("use_bottleneck_attention")
    shared = config.flag("key_query_shared_bottleneck")
    layer = Bottleneck(
        heads=heads,
        inner=inner,
        width=config.size("intermediate_size"),
        networks=config.size("num_feedforward_networks"),
        queries="narrow" if narrow else "own" if shared else "wide",
        activation=config.text("hidden_act"),
    )
    neighbours = 3 if config.flag("trigram_input") else 1
    stem = TextStem(
        vocabulary=vocabulary,
        embedding_width=neighbours * width,
        token_width=width,
        tables=tuple(replace(table, columns=hidden) for table in tables(config, Kin())),
        norm=LAYER_NORM,
        norm_last=True,
        projected=neighbours > 1 or width != hidden,
    )
    stack = Stack(hidden=hidden, stem=stem, layers=((layer, config.layers("num_hidden_layers")),))
    transform = Transform(outputs=hidden, activation=config.text("hidden_act"), norm=LAYER_NORM)
    head = Head(
        vocabulary=vocabulary,
        transform=transform,
        bias=True,
        tied_to=TOKENS if tied(config) else None,
    )
    encoder = assemble(config, Kin(), stack, head)
    if encoder.head is not head or width == hidden:
        return encoder
    # Scores are taken with the table of tokens and, for the rest of the width, a matrix.
    rest = Chain(
        name="head.rest", positions=1, steps=(Tensors(shapes=((vocabulary, hidden - width),)),)
    )
    return Multimodal(text=encoder, parts=(rest,))


def chunk_windows(config: Config, layers: int) -> tuple[int, ...]:
    """Return the window of each layer; one number is that of all."""
    found = config.sizes("attention_window", (512,))
    found = found * layers if len(found) == 1 else found
    config.require(
        len(found) == layers, "attention_window", f"names {len(found)} layers of {layers}"
    )
    return found


def _longformer(config: Config) -> Encoder:
    found = shape(config)
    config.ignore("onnx_export", "sep_token_id")
    windows = chunk_windows(config, found.layers)
    runs = [(window, sum(1 for _ in run)) for window, run in groupby(windows)]
    layers = tuple(
        (
            with_network(
                SlidingChunks(heads=found.heads, head_dim=found.head_dim, window=window), found
            ),
            count,
        )
        for window, count in runs
    )
    encoder = bert_like(config, Kin(), layer=lambda config, found: layers[0][0])
    return replace(encoder, stack=replace(encoder.stack, layers=layers))


READERS: dict[str, Reader] = {
    "mpnet": _mpnet,
    "fnet": _fnet,
    "squeezebert": _squeezebert,
    "convbert": _convbert,
    "nystromformer": _nystromformer,
    "funnel": _funnel,
    "xlm": _xlm,
    "flaubert": _xlm,
    "xmod": _xmod,
    "esm": _esm,
    "luke": _luke,
    "mobilebert": _mobilebert,
    "longformer": _longformer,
}
