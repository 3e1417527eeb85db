"""Speech: Whisper and Speech2Text, which write what they hear; wav2vec 2.0 and its kin."""

from __future__ import annotations

from dataclasses import replace

from costsim.architectures.encoder import Encoder
from costsim.architectures.encoder_decoder import EncoderDecoder
from costsim.architectures.huggingface.bart import (
    DECODER_TOKENS,
    LAYER_NORM,
    begin,
    side,
    stacks_of,
)
from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.encoders import is_bare
from costsim.architectures.layers import FeedForward, SelfAttention
from costsim.architectures.layers.branches import Branches, residual_layer
from costsim.architectures.layers.gated_distances import GatedDistances
from costsim.architectures.layers.tables import Table
from costsim.architectures.sound import Filter, SoundStem
from costsim.architectures.stacks import Head, Stack, StackLayer, TextStem

_IDLE = """
scale_embedding encoder_layerdrop decoder_layerdrop activation_dropout median_filter_width
use_weighted_layer_sum classifier_proj_size num_hidden_layers begin_suppress_tokens
apply_spec_augment mask_time_length mask_time_min_masks mask_feature_length
mask_feature_min_masks layerdrop feat_proj_dropout feat_quantizer_dropout final_dropout
feat_extract_dropout ctc_loss_reduction ctc_zero_infinity contrastive_logits_temperature
codevector_dim diversity_loss_weight num_codevector_groups num_codevectors_per_group num_negatives
proj_codevector_dim tdnn_dim tdnn_dilation tdnn_kernel xvector_output_dim num_clusters
output_hidden_size adapter_kernel_size adapter_stride num_adapter_layers num_ctc_classes
replace_prob feature_grad_mult gradient_checkpointing sampling_rate max_bucket_distance
lm_head max_ctc_classes adapter_attn_dim
"""


SECOND = 16_000  # samples


def _whisper(config: Config) -> EncoderDecoder:
    begin(config)
    config.ignore(*_IDLE.split(), "mask_time_prob", "mask_feature_prob")
    encoder, decoder = side(config, "encoder"), side(config, "decoder")
    heard, written = config.size("max_source_positions"), config.size("max_target_positions")
    vocabulary = config.size("vocab_size")
    filters = (
        Filter(outputs=encoder.hidden, kernel=3, padded=2),
        Filter(outputs=encoder.hidden, kernel=3, stride=2, padded=2),
    )
    stems = (
        SoundStem(
            channels=config.size("num_mel_bins"),
            filters=filters,
            table=Table("positions", heard, shared=True),
            dropout=encoder.dropout,
        ),
        TextStem(
            vocabulary=vocabulary,
            tables=(Table("positions", written, shared=True),),
            dropout=decoder.dropout,
        ),
    )
    first, second = stacks_of(encoder, decoder, stems, key_bias=False)
    tied = config.flag("tie_word_embeddings", default=True)
    return EncoderDecoder(
        encoder=first,
        decoder=second,
        head=Head(vocabulary=vocabulary, tied_to=DECODER_TOKENS if tied else None),
        source_tokens=2 * heard,
        context_limit=written,
    )


def _speech_to_text(config: Config) -> EncoderDecoder:
    begin(config)
    config.ignore(*_IDLE.split())
    encoder, decoder = side(config, "encoder"), side(config, "decoder")
    heard, written = config.size("max_source_positions"), config.size("max_target_positions")
    vocabulary, middle = config.size("vocab_size"), config.size("conv_channels")
    kernels = config.sizes("conv_kernel_sizes", (5, 5))
    count = config.size("num_conv_layers")
    config.require(
        len(kernels) == count,
        "conv_kernel_sizes",
        f"has {len(kernels)} kernels, `num_conv_layers` says {count}",
    )
    filters = tuple(
        Filter(
            outputs=middle if index < count - 1 else 2 * encoder.hidden,
            kernel=kernel,
            stride=2,
            padded=kernel // 2 * 2,
            gated=True,
        )
        for index, kernel in enumerate(kernels)
    )
    bands = config.size("input_feat_per_channel") * config.size("input_channels")
    stems = (
        SoundStem(channels=bands, filters=filters, dropout=encoder.dropout),
        TextStem(vocabulary=vocabulary, dropout=decoder.dropout),
    )
    first, second = stacks_of(encoder, decoder, stems)
    tied = config.flag("tie_word_embeddings", default=True)
    return EncoderDecoder(
        encoder=first,
        decoder=second,
        head=Head(vocabulary=vocabulary, tied_to=DECODER_TOKENS if tied else None),
        source_tokens=2 * heard,
        context_limit=written,
    )


def wave_filters(config: Config) -> tuple[Filter, ...]:
    """Return the filters that read a wave."""
    outputs = config.sizes("conv_dim", (512,) * 7)
    kernels = config.sizes("conv_kernel", (10, 3, 3, 3, 3, 2, 2))
    strides = config.sizes("conv_stride", (5, 2, 2, 2, 2, 2, 2))
    config.ignore("num_feat_extract_layers")
    same = len(outputs) == len(kernels) == len(strides)
    config.require(same, "conv_kernel", "`conv_dim`, `conv_kernel`, `conv_stride` differ in length")
    norm = config.text("feat_extract_norm") if config.knows("feat_extract_norm") else "layer"
    bias = config.flag("conv_bias")
    activation = config.text("feat_extract_activation", default="gelu")
    found = tuple(
        Filter(
            outputs=output,
            kernel=kernel,
            stride=stride,
            bias=bias,
            activation=activation,
            norm="layer" if norm == "layer" else "group" if index == 0 else None,
        )
        for index, (output, kernel, stride) in enumerate(
            zip(outputs, kernels, strides, strict=False)
        )
    )
    length = SECOND
    for one in found:
        length = one.length(length)
    config.require(length > 0, "conv_kernel", "is too wide for a second of sound")
    return found


def _wave_encoder(config: Config) -> Encoder:
    config.ignore(*_IDLE.split(), "tie_word_embeddings")
    hidden, heads = config.size("hidden_size"), config.size("num_attention_heads")
    config.require(
        hidden % heads == 0,
        "num_attention_heads",
        f"{heads} heads do not divide a width of {hidden}",
    )
    for key in ("add_adapter", "conv_pos_batch_norm"):
        config.ignore(key)
        config.require(config.values.get(key) in (None, False), key, "is not supported")
    stable = config.flag("do_stable_layer_norm", default=False)
    dropout = config.rate("hidden_dropout", default=0.1) > 0
    groups = config.size("num_conv_pos_embedding_groups")
    taps = config.size("num_conv_pos_embeddings")
    around = Filter(
        outputs=hidden, kernel=taps, padded=taps // 2 * 2, groups=groups, weight_norm=True
    )
    masks = [config.rate("mask_time_prob"), config.rate("mask_feature_prob")]
    stem = SoundStem(
        channels=1,
        filters=wave_filters(config),
        projected=True,
        projection_norm=config.flag("feat_proj_layer_norm", default=True),
        around=(around,),
        norm=None if stable else LAYER_NORM,
        mask=hidden if max(masks) > 0 else 0,
        dropout=dropout,
    )
    attention = SelfAttention(
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        bias=True,
        output_bias=True,
        causal=False,
        dropout=config.rate("attention_dropout", default=0.1) > 0,
    )
    network = FeedForward(
        width=config.size("intermediate_size"), bias=True, activation=config.text("hidden_act")
    )
    layer = residual_layer(
        ("mixer", attention),
        ("feed_forward", network),
        norm=LAYER_NORM,
        pre_norm=stable,
        dropout=dropout,
    )
    stack = Stack(
        hidden=hidden,
        stem=stem,
        layers=((layer, config.layers("num_hidden_layers")),),
        norm=LAYER_NORM if stable else None,
    )
    head = Head(vocabulary=config.size("vocab_size"), bias=True)
    return Encoder(stack=stack, head=None if is_bare(config) else head)


def _stem(encoder: Encoder) -> SoundStem:
    stem = encoder.stack.stem
    assert isinstance(stem, SoundStem)
    return stem


def _data2vec(config: Config) -> Encoder:
    """Several small filters for relative positions, in place of a large one."""
    taps = config.size("conv_pos_kernel_size")
    encoder = _wave_encoder(config)
    stem = _stem(encoder)
    around = replace(
        stem.around[0], kernel=taps, padded=taps // 2 * 2, weight_norm=False, norm="bare"
    )
    number: int = config.size("num_conv_pos_embeddings")
    stem = replace(stem, around=(around,) * number)
    return replace(encoder, stack=replace(encoder.stack, stem=stem))


def _wavlm(config: Config) -> Encoder:
    """Distances shift the scores, by a table that stands in the first layer alone."""
    buckets = config.size("num_buckets")
    config.ignore("max_bucket_distance")
    encoder = _wave_encoder(config)

    def shifted(layer: StackLayer, *, first: bool) -> StackLayer:
        if not isinstance(layer, Branches):
            return layer
        mixer, *rest = layer.branches
        content = mixer.sub_layer
        if not isinstance(content, SelfAttention):
            return layer
        table = Table("distances", buckets, content.heads, pairs=True) if first else None
        gated = replace(mixer, sub_layer=GatedDistances(content=content), table=table)
        return replace(layer, branches=(gated, *rest))

    (layer, _), *_ = encoder.stack.layers
    count = config.layers("num_hidden_layers")
    runs = ((shifted(layer, first=True), 1), (shifted(layer, first=False), count - 1))
    layers = tuple((one, times) for one, times in runs if times)
    return replace(encoder, stack=replace(encoder.stack, layers=layers))


READERS: dict[str, Reader] = {
    "whisper": _whisper,
    "speech_to_text": _speech_to_text,
    "wav2vec2": _wave_encoder,
    "hubert": _wave_encoder,
    "unispeech": _wave_encoder,
    "unispeech-sat": _wave_encoder,
    "data2vec-audio": _data2vec,
    "wavlm": _wavlm,
}
