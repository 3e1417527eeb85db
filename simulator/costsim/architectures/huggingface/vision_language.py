"""Models that see or hear beside what they read: a tower, a projector, a text model.

FLOPs, caches and times are of the text alone unless a workload says how many images there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, TypeAlias

from costsim.architectures.architecture import Description
from costsim.architectures.encoder import Encoder
from costsim.architectures.huggingface.bart import Side, side
from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.encoders import TOKENS
from costsim.architectures.huggingface.nested_text import READERS as NESTED
from costsim.architectures.huggingface.rotary_encoders import modernbert, ultrabert
from costsim.architectures.huggingface.towers import TOWERS, Seen, merged_by
from costsim.architectures.layers import RMS, NormStyle
from costsim.architectures.layers.tables import Table
from costsim.architectures.multimodal import (
    LAYER_NORM,
    Activated,
    Chain,
    Dense,
    Multimodal,
    Normalized,
    Part,
    Step,
    Tensors,
    Tower,
)
from costsim.architectures.sound import Filter, SoundStem
from costsim.architectures.stacks import Head, Stack

_IDLE = """
image_seq_length video_seq_length vision_feature_layer vision_feature_select_strategy
projector_hidden_act image_grid_pinpoints vision_aspect_ratio mm_tokens_per_image downsample_factor
downsample_ratio image_token_index video_token_index audio_token_index boi_token_index
eoi_token_index ignore_index projection_layer_norm_eps projection_hidden_size hidden_size
vocab_size initializer_factor rope_scaling image_text_hidden_size use_image_newline_parameter
seconds_per_chunk position_id_per_seconds user_token_id num_image_tokens scale_factor
audio_token_id image_token_id video_token_id vision_start_token_id vision_end_token_id
projector_layernorm_eps adapter_layer_norm_eps merged_hidden_size use_cache
"""

Projector: TypeAlias = Callable[[Config, Seen, int], tuple[Step, ...]]
"""Steps that turn a tower's vectors into the text model's, of the width given last."""


def text_model(config: Config, *keys: str) -> tuple[Description, int]:
    """Return the text model under the first of `keys`, tied as the whole model says; its width."""
    from costsim.architectures.huggingface import READERS  # whose table lists this file too

    part = _text_config(config, *keys)
    part.ignore("num_image_tokens")
    model_type = str(part.values.get("model_type"))
    reader = NESTED.get(model_type) or READERS.get(model_type)
    if reader is None:
        part.ignore(*part.values)
        part.unsupported("model_type", f"{model_type!r} is not supported as the text model")
        return Multimodal(text=_Nothing(), parts=()), 1
    text = reader(part)
    if config.knows("tie_word_embeddings") and is_dataclass(text) and hasattr(text, "tied"):
        changes: dict[str, Any] = {"tied": config.flag("tie_word_embeddings")}
        text = replace(text, **changes)
    hidden: int = getattr(text, "hidden", 1)
    return text, hidden


_FLAT: Mapping[str, str] = {
    "qwen2_vl": "qwen2_vl_text",
    "qwen2_5_vl": "qwen2_5_vl_text",
    "step3p7": "step3p5",
    "phi3_v": "phi3",
}
"""Types whose published files have the text model's keys beside `vision_config`."""


def _text_config(config: Config, *keys: str) -> Config:
    """Return the text model's config: under the first of `keys` that is written, or beside them."""
    model_type = str(config.values.get("model_type"))
    written = any(config.present(key) for key in keys)
    if not written and config.values.get("hidden_size") is not None:
        if model_type in _FLAT:
            return config.flat(keys[0], _FLAT[model_type])
        config.problem("hidden_size", f"stands beside the parts, and there is no `{keys[0]}`")
    part = config.nested(*keys)
    if written:
        config.ignore(*part.values)  # copies beside the parts, which the library passes over
    return part


@dataclass(frozen=True, slots=True)
class _Nothing:
    """What stands for a text model that was not understood, until that is told."""

    context_limit: None = None

    def blocks(self, workload: object) -> tuple[()]:
        return ()

    def cache(self, batch: object, tokens: object) -> tuple[()]:
        return ()


def _seen(config: Config) -> Seen:
    """Return what the tower under `vision_config` makes of an image."""
    part = config.nested("vision_config")
    model_type = str(part.values.get("model_type"))
    if model_type not in TOWERS:
        part.ignore(*part.values)
        part.unsupported("model_type", f"{model_type!r} is not supported as a tower")
        return Seen(parts=(), width=1, tokens=1)
    return TOWERS[model_type](part)


def _of(projector: Projector, *, towers: int = 1, extra: int = 0) -> Reader:
    """Return a reader of text model, tower and projector.

    Several `towers` are alike; `extra` vectors as wide as the text model's mark rows of patches.
    """

    def read(config: Config) -> Multimodal:
        config.ignore(*_IDLE.split())
        text, hidden = text_model(config, "text_config", "llm_config")
        seen = _seen(config)
        steps = projector(config, seen, hidden)
        parts = seen.parts * towers
        if steps:
            # Projectors that merge patches have fewer vectors to work on.
            first = next((step.inputs for step in steps if isinstance(step, Dense)), seen.width)
            merged = max(1, first // max(1, seen.width))
            parts = (*parts, Chain(name="projector", positions=seen.tokens // merged, steps=steps))
        if extra:
            shapes = ((extra, hidden),)
            steps = (Tensors(shapes=shapes),)
            parts = (*parts, Chain(name="separators", positions=1, steps=steps))
        return Multimodal(text=text, parts=parts)

    return read


def _none(config: Config, seen: Seen, hidden: int) -> tuple[Step, ...]:
    return ()


def _two(
    inputs: int, hidden: int, *, norm: bool = False, inner: int | None = None, bias: bool = True
) -> tuple[Step, ...]:
    """Return dense, activation, dense, after an optional norm."""
    middle = hidden if inner is None else inner
    network: tuple[Step, ...] = (
        Dense(inputs=inputs, outputs=middle, bias=bias),
        Activated(size=middle),
        Dense(inputs=middle, outputs=hidden, bias=bias),
    )
    return (Normalized(size=inputs), *network) if norm else network


def _gemma(config: Config, seen: Seen, hidden: int) -> tuple[Step, ...]:
    return (
        Normalized(size=seen.width, style=RMS),
        Dense(inputs=seen.width, outputs=hidden, bias=False),
    )


def _paligemma(config: Config, seen: Seen, hidden: int) -> tuple[Step, ...]:
    return (Dense(inputs=seen.width, outputs=config.size("projection_dim")),)


def _bare(config: Config, seen: Seen, hidden: int) -> tuple[Step, ...]:
    return (Dense(inputs=seen.width, outputs=hidden, bias=False),)


def _linear(config: Config, seen: Seen, hidden: int) -> tuple[Step, ...]:
    return (Dense(inputs=seen.width, outputs=hidden),)


def _layers_read(config: Config, default: int) -> int:
    """Return from how many of the tower's layers a projector reads, side by side."""
    layers: Any = config.values.get("vision_feature_layer", [0] * default)
    return len(layers) if isinstance(layers, list) else 1  # pyright: ignore[reportUnknownArgumentType]


def _llava(config: Config, seen: Seen, hidden: int) -> tuple[Step, ...]:
    bias = config.flag("multimodal_projector_bias")
    return _two(_layers_read(config, 1) * seen.width, hidden, bias=bias)


def _vipllava(config: Config, seen: Seen, hidden: int) -> tuple[Step, ...]:
    return _two(_layers_read(config, 5) * seen.width, hidden, norm=True)


def _plain_two(config: Config, seen: Seen, hidden: int) -> tuple[Step, ...]:
    return _two(seen.width, hidden)


def _cohere(config: Config, seen: Seen, hidden: int) -> tuple[Step, ...]:
    inner = config.size("alignment_intermediate_size")
    merge = config.size("downsample_factor")
    return (
        Dense(inputs=merge**2 * seen.width, outputs=inner),
        Activated(size=inner, function="silu"),
        Dense(inputs=inner // 2, outputs=hidden),
    )


def _internvl(config: Config, seen: Seen, hidden: int) -> tuple[Step, ...]:
    merge = merged_by(config, "downsample_ratio")
    return _two(merge**2 * seen.width, hidden, norm=True)


def _merged(config: Config, seen: Seen, hidden: int) -> tuple[Step, ...]:
    """Norm of each patch, then dense over several and dense to the text: Kimi, PaddleOCR."""
    inputs = 4 * seen.width
    return (Normalized(size=seen.width), *_two(inputs, hidden, inner=inputs))


def _lfm2(config: Config, seen: Seen, hidden: int) -> tuple[Step, ...]:
    inputs = config.size("downsample_factor") ** 2 * seen.width
    inner, bias = config.size("projector_hidden_size"), config.flag("projector_bias")
    config.ignore("do_image_splitting", "encoder_patch_size", "max_image_tokens")
    config.ignore("max_num_patches", "max_pixels_tolerance", "max_tiles", "min_image_tokens")
    config.ignore("min_tiles", "tile_size", "use_image_special_tokens", "use_thumbnail")
    norm = config.flag("projector_use_layernorm")
    return _two(inputs, hidden, norm=norm, inner=inner, bias=bias)


def _mistral(config: Config, seen: Seen, hidden: int) -> tuple[Step, ...]:
    merge = config.size("spatial_merge_size")
    bias = config.flag("multimodal_projector_bias")
    return (
        Normalized(size=seen.width, style=RMS),
        Dense(inputs=merge**2 * seen.width, outputs=seen.width, bias=False),
        *_two(seen.width, hidden, bias=bias),
    )


def _shuffled(config: Config, seen: Seen, hidden: int) -> tuple[Step, ...]:
    merge = config.size("scale_factor")
    return (Dense(inputs=merge**2 * seen.width, outputs=hidden, bias=False),)


def _minimax(config: Config, seen: Seen, hidden: int) -> tuple[Step, ...]:
    inner = config.size("projector_hidden_size")
    config.ignore("img_token_compression_config")
    return (
        *_two(seen.width, hidden, inner=inner),
        *_two(seen.merge**2 * hidden, hidden, inner=inner),
    )


def sound_tower(found: Side, stem: SoundStem, *, name: str = "audio") -> Tower:
    """Return Whisper's encoder as a tower."""
    layer = found.encoder_layer(pre_norm=True, key_bias=False)
    stack = Stack(hidden=found.hidden, stem=stem, layers=((layer, found.layers),), norm=LAYER_NORM)
    return Tower(name=name, stack=stack)


@dataclass(frozen=True, slots=True)
class _Heard:
    parts: tuple[Part, ...]
    width: int
    tokens: int


def _heard(config: Config) -> _Heard:
    """Return what Whisper's encoder under `audio_config` makes of 30 s of sound."""
    part = config.nested("audio_config")
    part.ignore("scale_embedding", "encoder_layerdrop", "layerdrop", "activation_dropout")
    part.ignore("vocab_size", "model_type", "n_window", "num_hidden_layers", "output_dim")
    if part.knows("d_model"):
        found = side(part, "encoder")
    else:
        hidden, heads = part.size("hidden_size"), part.size("num_attention_heads")
        found = Side(
            hidden=hidden,
            layers=part.layers("num_hidden_layers"),
            heads=heads,
            feed_forward=part.size("intermediate_size"),
            activation=part.text("activation_function"),
            dropout=False,
            attention_dropout=False,
        )
        part.ignore("dropout", "attention_dropout")
    positions = part.size("max_source_positions")
    table = part.values.get("model_type") != "qwen2_5_omni_audio_encoder"
    stem = SoundStem(
        channels=part.size("num_mel_bins"),
        filters=(
            Filter(outputs=found.hidden, kernel=3, padded=2),
            Filter(outputs=found.hidden, kernel=3, stride=2, padded=2),
        ),
        table=Table("positions", positions, shared=True) if table else None,
        frames=2 * positions,
    )
    parts: tuple[Part, ...] = (sound_tower(found, stem),)
    if not table:
        output = part.size("output_dim")
        steps: tuple[Step, ...] = (
            Tensors(shapes=((2, output),), lookup=True),
            Dense(inputs=found.hidden, outputs=output),
        )
        parts = (*parts, Chain(name="audio.projection", positions=positions // 2, steps=steps))
    return _Heard(parts, found.hidden, positions)


def _hears(projector: Projector, *, sees: bool = False) -> Reader:
    def read(config: Config) -> Multimodal:
        config.ignore(*_IDLE.split())
        text, hidden = text_model(config, "text_config")
        heard = _heard(config)
        seen = Seen(parts=heard.parts, width=heard.width, tokens=heard.tokens)
        steps = projector(config, seen, hidden)
        parts = heard.parts
        if steps:
            parts = (*parts, Chain(name="projector", positions=heard.tokens // 2, steps=steps))
        if sees:
            parts = (*parts, *_seen(config).parts)
        return Multimodal(text=text, parts=parts)

    return read


def _voxtral(config: Config, seen: Seen, hidden: int) -> tuple[Step, ...]:
    inputs = config.nested("audio_config").size("intermediate_size")
    return _two(inputs, hidden, bias=False)


def _gemma4(config: Config) -> Multimodal:
    """Read Gemma 4, which may see, hear, both or neither."""
    config.ignore(*_IDLE.split(), "vision_soft_tokens_per_image", "eoa_token_index")
    text, hidden = text_model(config, "text_config")
    parts: list[Part] = []
    if config.present("vision_config"):
        seen = _seen(config)
        steps: tuple[Step, ...] = (
            Normalized(size=seen.width, style=NormStyle(kind="rms", weight=False)),
            Dense(inputs=seen.width, outputs=hidden, bias=False),
        )
        parts += [*seen.parts, Chain(name="projector", positions=seen.tokens, steps=steps)]
    if config.present("audio_config"):
        config.unsupported("audio_config", "says that the model hears, which is not supported yet")
        config.nested("audio_config").ignore(*config.nested("audio_config").values)
    return Multimodal(text=text, parts=tuple(parts))


def _bert_of(
    config: Config, read: Callable[[Config], Encoder], *, norm: NormStyle | None
) -> Multimodal:
    """Return an encoder that sees; scores are taken as the whole model's config says."""
    name = config.class_name()
    config.ignore(
        *_IDLE.split(), "classifier_pooling", "classifier_bias", "initializer_cutoff_factor"
    )
    config.ignore("classifier_dropout")
    encoder = read(config.nested("text_config"))
    seen = _seen(config)
    merge, hidden = config.size("pixel_shuffle_factor"), encoder.stack.hidden
    head = encoder.head
    if isinstance(head, Head):
        head = replace(head, tied_to=TOKENS if config.flag("tie_word_embeddings") else None)
    if name.endswith("Model"):
        head = None
    steps: tuple[Step, ...] = (
        Dense(inputs=merge**2 * seen.width, outputs=hidden, bias=False),
        *((Normalized(size=hidden, style=norm),) if norm else ()),
    )
    positions = max(1, seen.tokens // merge**2)
    projector = Chain(name="projector", positions=positions, steps=steps)
    return Multimodal(text=replace(encoder, head=head), parts=(*seen.parts, projector))


def _modernvbert(config: Config) -> Multimodal:
    return _bert_of(config, modernbert, norm=None)


def _ultravbert(config: Config) -> Multimodal:
    return _bert_of(config, ultrabert, norm=RMS)


def _fuyu(config: Config) -> Multimodal:
    """Patches are projected straight to the text model's width: there is no tower."""
    config.ignore(*_IDLE.split(), "model_max_length")
    text, hidden = text_model(config, "text_config")
    patch, channels = config.size("patch_size"), config.size("num_channels")
    tokens = max(1, (config.size("image_size") // patch) ** 2)
    steps = (Dense(inputs=channels * patch**2, outputs=hidden),)
    return Multimodal(text=text, parts=(Chain(name="patches", positions=tokens, steps=steps),))


READERS: dict[str, Reader] = {
    "gemma3": _of(_gemma),
    "shieldgemma2": _of(_gemma),
    "gemma4": _gemma4,
    "gemma4_unified": _gemma4,
    "paligemma": _of(_paligemma),
    "llama4": _of(_bare),
    "llava": _of(_llava),
    "llava_next": _of(_llava, extra=1),
    "llava_next_video": _of(_llava, extra=1),
    "llava_onevision": _of(_llava, extra=1),
    "video_llava": _of(_llava, towers=2),
    "vipllava": _of(_vipllava),
    "cohere2_vision": _of(_cohere),
    "deepseek_vl": _of(_plain_two),
    "internvl": _of(_internvl),
    "qianfan_ocr": _of(_internvl),
    "kimi_k25": _of(_merged),
    "paddleocr_vl": _of(_merged),
    "mistral3": _of(_mistral),
    "mistral_large4": _of(_mistral),
    "idefics3": _of(_shuffled),
    "smolvlm": _of(_shuffled),
    "minimax_m3_vl": _of(_minimax),
    "step3p7": _of(_bare),
    "video_llama_3": _of(_plain_two),
    "hyperclovax_vision_v2": _of(_linear),
    "qwen2_vl": _of(_none),
    "qwen2_5_vl": _of(_none),
    "qwen3_vl": _of(_none),
    "qwen3_vl_moe": _of(_none),
    "qwen3_5": _of(_none),
    "qwen3_5_moe": _of(_none),
    "cosmos3_omni": _of(_none),
    "exaone4_5": _of(_none),
    "glm4v": _of(_none),
    "glm46v": _of(_none),
    "glm4v_moe": _of(_none),
    "kimi_vl": _of(_merged),
    "lfm2_vl": _of(_lfm2),
    "glmga": _of(_none),
    "glm_ocr": _of(_none),
    "fuyu": _fuyu,
    "modernvbert": _modernvbert,
    "ultravbert": _ultravbert,
    "qwen2_audio": _hears(_linear),
    "voxtral": _hears(_voxtral),
    "qwen2_5_omni_thinker": _hears(_none, sees=True),
}
