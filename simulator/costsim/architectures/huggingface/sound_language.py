"""Language models that hear with towers other than Whisper's."""

from __future__ import annotations

from costsim.algebra import Number
from costsim.architectures.huggingface.bart import side
from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.vision_language import text_model
from costsim.architectures.layers import RMS, FeedForward, SelfAttention
from costsim.architectures.layers.branches import Branch, Branches
from costsim.architectures.layers.convolution_module import ConvolutionModule
from costsim.architectures.layers.cross_attention import CrossAttention
from costsim.architectures.layers.layer import SubLayer
from costsim.architectures.layers.tables import Table
from costsim.architectures.multimodal import (
    LAYER_NORM,
    Activated,
    Chain,
    Dense,
    Multimodal,
    Normalized,
    Part,
    Tower,
)
from costsim.architectures.sound import Filter, QueryStem, SoundStem, SpectrogramStem
from costsim.architectures.stacks import Stack, StackLayer

FRAMES = 3000  # of 10 ms in 30 s of sound, the length that Whisper made customary
SAMPLES = 720_000  # of 1/24,000 s in 30 s

_IDLE = """
has_lora_adapter projector_hidden_act acoustic_tokenizer_chunk_size use_cache hidden_size
audio_length_per_tok token_classification_bias encoder_hidden_layers cat_hidden_layers
default_num_delay_tokens
"""
_TOWER_IDLE = """
model_type dropout attention_dropout activation_dropout scale_embedding encoder_layerdrop n_window
n_window_infer max_position_embeddings vocab_size hidden_act rms_norm_eps sliding_window use_cache
activation_function rope_parameters layer_scale_init_value initializer_range vae_std bias
pad_mode causal hidden_dropout_prob attention_probs_dropout_prob use_qformer_text_input
layer_norm_eps chunk_size_feed_forward norm_eps
"""


def _begin(config: Config) -> None:
    config.ignore(*_IDLE.split())


def _conformer(config: Config) -> tuple[Part, ...]:
    """Return Granite's conformer, which reads two frames at once, and its head of characters."""
    config.ignore(*_TOWER_IDLE.split())
    hidden, heads = config.size("hidden_dim"), config.size("num_heads")
    head_dim = config.optional_size("dim_head") or max(1, hidden // heads)
    reach, outputs = config.size("max_pos_emb"), config.size("output_dim")
    inner = config.size("feedforward_mult") * hidden

    def network(name: str) -> Branch:
        network = FeedForward(width=inner, bias=True, activation="silu", name=name)
        return Branch(name=name, sub_layer=network, before=LAYER_NORM)

    mixer = SelfAttention(
        heads=heads,
        kv_heads=heads,
        head_dim=head_dim,
        output_bias=True,
        causal=False,
        window=config.size("context_size"),
    )
    table = Table("distances", 2 * reach + 1, head_dim, whole=True)
    convolution = ConvolutionModule(
        channels=config.size("conv_expansion_factor") * hidden,
        kernel=config.size("conv_kernel_size"),
    )
    last = network("second")
    layer = Branches(
        branches=(
            network("first"),
            Branch(name="mixer", sub_layer=mixer, before=LAYER_NORM, table=table),
            Branch(name="convolution", sub_layer=convolution, before=LAYER_NORM),
            Branch(name="second", sub_layer=last.sub_layer, before=LAYER_NORM, behind=LAYER_NORM),
        )
    )
    frames = FRAMES // 2
    stem = SoundStem(channels=config.size("input_dim"), filters=(), projected=True, frames=frames)
    stack = Stack(hidden=hidden, stem=stem, layers=((layer, config.layers("num_layers")),))
    middle = Chain(
        name="audio.characters",
        positions=frames,
        steps=(
            Dense(inputs=hidden, outputs=outputs),
            Dense(inputs=outputs, outputs=hidden),
        ),
    )
    return (Tower(name="audio", stack=stack), middle)


def query_former(config: Config, queries: int, seen: Number) -> tuple[Tower, int]:
    """Return the tower of a few learned queries that look at `seen` vectors, and its width."""
    config.ignore(*_TOWER_IDLE.split())
    hidden, heads = config.size("hidden_size"), config.size("num_attention_heads")
    layers, often = config.layers("num_hidden_layers"), config.size("cross_attention_frequency")
    config.require(hidden % heads == 0, "num_attention_heads", "does not divide `hidden_size`")
    head_dim = max(1, hidden // heads)
    mixer = SelfAttention(
        heads=heads, kv_heads=heads, head_dim=head_dim, bias=True, output_bias=True, causal=False
    )
    cross = CrossAttention(
        heads=heads,
        kv_heads=heads,
        head_dim=head_dim,
        source_width=config.size("encoder_hidden_size"),
    )
    network = FeedForward(width=config.size("intermediate_size"), bias=True)

    def layer(*sub_layers: tuple[str, SubLayer]) -> StackLayer:
        return Branches(
            branches=tuple(
                Branch(name=name, sub_layer=one, behind=LAYER_NORM) for name, one in sub_layers
            )
        )

    plain = layer(("mixer", mixer), ("feed_forward", network))
    looking = layer(("mixer", mixer), ("cross", cross), ("feed_forward", network))
    stem = QueryStem(queries=queries, seen=seen, norm=LAYER_NORM)
    runs = tuple((plain if index % often else looking, 1) for index in range(layers))
    return Tower(name="queries", stack=Stack(hidden=hidden, stem=stem, layers=runs)), hidden


def _granite(config: Config) -> Multimodal:
    _begin(config)
    text, hidden = text_model(config, "text_config")
    heard = _conformer(config.nested("encoder_config"))
    window, rate = config.size("window_size"), config.size("downsample_rate")
    queries = max(1, window // rate)
    former, width = query_former(config.nested("projector_config"), queries, window)
    projector = Chain(
        name="projector", positions=queries, steps=(Dense(inputs=width, outputs=hidden),)
    )
    return Multimodal(text=text, parts=(*heard, former, projector))


def _qwen3_asr(config: Config) -> Multimodal:
    _begin(config)
    text, _ = text_model(config, "text_config")
    part = config.nested("audio_config")
    part.ignore(*_TOWER_IDLE.split())
    found = side(part, "encoder")
    channels, output = part.size("downsample_hidden_size"), part.size("output_dim")
    stem = SpectrogramStem(bands=part.size("num_mel_bins"), frames=FRAMES, channels=(channels,) * 3)
    layer = found.encoder_layer(pre_norm=True)
    stack = Stack(hidden=found.hidden, stem=stem, layers=((layer, found.layers),), norm=LAYER_NORM)
    projector = Chain(
        name="projector",
        positions=FRAMES // 8,
        steps=(
            Dense(inputs=found.hidden, outputs=found.hidden),
            Activated(size=found.hidden),
            Dense(inputs=found.hidden, outputs=output),
        ),
    )
    return Multimodal(text=text, parts=(Tower(name="audio", stack=stack), projector))


def _voxtral_realtime(config: Config) -> Multimodal:
    _begin(config)
    text, hidden = text_model(config, "text_config")
    part = config.nested("audio_config")
    part.ignore(*_TOWER_IDLE.split())
    width, heads = part.size("hidden_size"), part.size("num_attention_heads")
    merge = config.size("downsample_factor")
    attention = SelfAttention(
        heads=heads,
        kv_heads=heads,
        head_dim=part.size("head_dim"),
        bias=True,
        key_bias=False,
        output_bias=True,
        rotary=True,
        window=part.optional_size("sliding_window"),
    )
    network = FeedForward(
        width=part.size("intermediate_size"), gated=True, down_bias=True, activation="silu"
    )
    layer = Branches(
        branches=(
            Branch(name="mixer", sub_layer=attention, before=RMS),
            Branch(name="feed_forward", sub_layer=network, before=RMS),
        )
    )
    stem = SoundStem(
        channels=part.size("num_mel_bins"),
        filters=(
            Filter(outputs=width, kernel=3, padded=2),
            Filter(outputs=width, kernel=3, stride=2, padded=2),
        ),
        frames=FRAMES,
    )
    stack = Stack(
        hidden=width, stem=stem, layers=((layer, part.layers("num_hidden_layers")),), norm=RMS
    )
    projector = Chain(
        name="projector",
        positions=FRAMES // 2 // merge,
        steps=(
            Dense(inputs=merge * width, outputs=hidden, bias=False),
            Activated(size=hidden),
            Dense(inputs=hidden, outputs=hidden, bias=False),
        ),
    )
    return Multimodal(text=text, parts=(Tower(name="audio", stack=stack), projector))


def _tokenizer(config: Config, name: str) -> tuple[tuple[Part, ...], int]:
    """Return VibeVoice's encoder of waves: stages of filters, each over fewer positions."""
    config.ignore(*_TOWER_IDLE.split())
    channels, width = config.size("channels"), config.size("num_filters")
    kernel, expansion = config.size("kernel_size"), config.size("ffn_expansion")
    ratios = config.sizes("downsampling_ratios", (2, 2, 4, 5, 5, 8))
    depths = config.sizes("depths", (3, 3, 3, 3, 3, 3, 8))
    config.require(
        len(depths) == len(ratios) + 1, "depths", "must be one more than `downsampling_ratios`"
    )
    parts: list[Part] = []
    length = SAMPLES
    for index, (ratio, depth) in enumerate(zip((1, *ratios), depths, strict=False)):
        if index:
            channels, width = width, 2 * width
        taps = kernel if index == 0 else 2 * ratio
        filter_ = Filter(outputs=width, kernel=taps, stride=ratio, padded=taps - ratio)
        mixer = Filter(outputs=width, kernel=kernel, padded=kernel - 1, groups=width)
        network = FeedForward(width=expansion * width, bias=True)
        layer = Branches(
            branches=(
                Branch(name="mixer", sub_layer=mixer, before=RMS, scales=width),
                Branch(name="feed_forward", sub_layer=network, before=RMS, scales=width),
            )
        )
        stem = SoundStem(channels=channels, filters=(filter_,), frames=length)
        stack = Stack(hidden=width, stem=stem, layers=((layer, depth),))
        parts.append(Tower(name=f"{name}.{index}", stack=stack))
        length //= ratio
    output = config.size("hidden_size")
    head = SoundStem(
        channels=width,
        filters=(Filter(outputs=output, kernel=kernel, padded=kernel - 1),),
        frames=length,
    )
    parts.append(Tower(name=f"{name}.head", stack=Stack(hidden=output, stem=head, layers=())))
    return tuple(parts), output


def _vibevoice(config: Config) -> Multimodal:
    _begin(config)
    text, hidden = text_model(config, "text_config")
    parts: list[Part] = []
    for name in ("acoustic", "semantic"):
        heard, width = _tokenizer(config.nested(f"{name}_tokenizer_encoder_config"), name)
        steps = (
            Dense(inputs=width, outputs=hidden),
            Normalized(size=hidden, style=RMS),
            Dense(inputs=hidden, outputs=hidden),
        )
        parts.extend((*heard, Chain(name=f"projector.{name}", positions=225, steps=steps)))
    return Multimodal(text=text, parts=tuple(parts))


READERS: dict[str, Reader] = {
    "granite_speech": _granite,
    "qwen3_asr": _qwen3_asr,
    "voxtral_realtime": _voxtral_realtime,
    "vibevoice_asr": _vibevoice,
}
