"""Towers: what models of several inputs see images with. One function a vision type.

A tower's config stands under `vision_config` of the model; what the text model gets of it is the
matter of the projector, in `vision_language`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from costsim.architectures.huggingface.config import Config
from costsim.architectures.images import PatchStem, patches_of
from costsim.architectures.layers import RMS, FeedForward, HeadNorm, NormStyle, SelfAttention
from costsim.architectures.layers.branches import Branch, Branches
from costsim.architectures.multimodal import (
    LAYER_NORM,
    Activated,
    Chain,
    Dense,
    Normalized,
    Part,
    Step,
    Tensors,
    Tower,
)
from costsim.architectures.stacks import Stack

_MERGED = 16  # merged patches a side of the image that a tower of any resolution is shown

_IDLE = """
layer_norm_eps norm_eps rms_norm_eps attention_dropout hidden_act num_channels projection_dim
vocab_size initializer_factor projector_input_dim projector_output_dim projector_dropout
multi_modal_projector_bias vision_feature_select_strategy vision_output_dim hidden_dropout_prob
projection_dropout layer_scale_init_value use_mean_pooling drop_path_rate window_size
fullatt_block_indexes pos_emb_time deepstack_visual_indexes in_channels dropout hidden_dropout_rate
use_cache model_type rope_parameters use_mask_token tokens_per_second initializer_range
in_chans num_image_with_embedding
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a tower makes of an image: so many vectors, so wide. `merge` is its patch of patches."""

    parts: tuple[Part, ...]
    width: int
    tokens: int
    merge: int = 1


def tower(
    stem: PatchStem,
    *,
    hidden: int,
    layers: int,
    heads: int,
    feed_forward: int,
    kv_heads: int | None = None,
    head_dim: int | None = None,
    gated: bool = False,
    norm: NormStyle = LAYER_NORM,
    bias: bool = True,
    query_key_value_bias: bool | None = None,
    output_bias: bool | None = None,
    network_bias: bool | None = None,
    query_key_norm: HeadNorm | None = None,
    fused: bool = False,
    scaled: bool = False,
    final_norm: NormStyle | None = LAYER_NORM,
    activation: str = "gelu",
    name: str = "vision",
) -> Tower:
    """Return a tower of pre-norm layers; biases are as `bias` says unless said otherwise."""

    def either(given: bool | None) -> bool:
        return bias if given is None else given

    attention = SelfAttention(
        heads=heads,
        kv_heads=kv_heads or heads,
        head_dim=head_dim or hidden // heads,
        bias=either(query_key_value_bias),
        output_bias=either(output_bias),
        fused_projection=fused,
        query_key_norm=query_key_norm,
        causal=False,
    )
    network = FeedForward(
        width=feed_forward, gated=gated, bias=either(network_bias), activation=activation
    )
    scales = hidden if scaled else 0
    layer = Branches(
        branches=(
            Branch(name="mixer", sub_layer=attention, before=norm, scales=scales),
            Branch(name="feed_forward", sub_layer=network, before=norm, scales=scales),
        )
    )
    stack = Stack(hidden=hidden, stem=stem, layers=((layer, layers),), norm=final_norm)
    return Tower(name=name, stack=stack)


def pooled(width: int, tokens: int, feed_forward: int) -> tuple[Chain, Chain]:
    """Return attention of one learned query to all vectors, and the network over its result."""
    keys = Chain(
        name="vision.pooling.keys",
        positions=tokens,
        steps=(Dense(inputs=width, outputs=2 * width),),
    )
    steps: tuple[Step, ...] = (
        Tensors(shapes=((1, 1, width),)),
        Dense(inputs=width, outputs=width),
        Dense(inputs=width, outputs=width),
        Normalized(size=width),
        Dense(inputs=width, outputs=feed_forward),
        Activated(size=feed_forward),
        Dense(inputs=feed_forward, outputs=width),
    )
    return keys, Chain(name="vision.pooling", positions=1, steps=steps)


def merged_by(config: Config, key: str) -> int:
    """Return how many patches a side become one, of a ratio that is its inverse."""
    ratio = config.value(key)
    fits = isinstance(ratio, float) and 1e-3 < ratio <= 1
    config.require(fits, key, "must be a ratio up to 1")
    return round(1 / ratio) if isinstance(ratio, float) and fits else 1


def _pair(config: Config, key: str, default: tuple[int, int]) -> tuple[int, int]:
    """Return a side, or two; `default` is of types whose library default is two."""
    value = config.value(key)
    if value is None or isinstance(value, list):
        sides = config.sizes(key, default)
        config.require(len(sides) == 2, key, "must be one side, or height and width")
        return (sides[0], sides[-1]) if sides else (1, 1)
    side = config.size(key)
    return side, side


@dataclass(frozen=True, slots=True)
class _Sizes:
    hidden: int
    layers: int
    heads: int
    feed_forward: int
    image: tuple[int, int]
    patch: tuple[int, int]
    channels: int
    activation: str

    def options(self, **changes: Any) -> dict[str, Any]:
        return {
            "hidden": self.hidden,
            "layers": self.layers,
            "heads": self.heads,
            "feed_forward": self.feed_forward,
            "activation": self.activation,
            **changes,
        }


def _sizes(config: Config, *, merge: int | None = None) -> _Sizes:
    """Read a tower's keys; with `merge`, an image of any size."""
    config.ignore(*_IDLE.split())
    # Where a tower has an `embed_dim`, its `hidden_size` is what it hands to the text model.
    names = ("embed_dim",) if config.knows("embed_dim") else ("width", "hidden_size")
    hidden = config.size(*names)
    heads = config.size("num_attention_heads", "num_heads", "heads")
    config.require(
        hidden % heads == 0 or config.knows("head_dim"),
        "num_attention_heads",
        f"{heads} heads do not divide a width of {hidden}",
    )
    patch = _pair(config, "patch_size", (14, 14))
    if config.knows("intermediate_size"):
        feed_forward = config.size("intermediate_size")
    else:
        ratio = config.values.get("mlp_ratio", config.value("mlp_ratio"))
        feed_forward = _widened(config, hidden, ratio)
    if merge is None:
        image = _pair(config, "image_size", (448, 448))
    else:
        image = (_MERGED * merge * patch[0], _MERGED * merge * patch[1])
    return _Sizes(
        hidden=hidden,
        layers=config.layers("num_hidden_layers", "depth", "layers"),
        heads=heads,
        feed_forward=feed_forward,
        image=image,
        patch=patch,
        channels=config.size("num_channels", "in_channels", "in_chans", default=3),
        activation=config.text("hidden_act", default="gelu"),
    )


def _widened(config: Config, width: int, ratio: object) -> int:
    """Return the width of a network that is so many times as wide as the stream."""
    fits = isinstance(ratio, int | float) and 0 < ratio <= _MAX_RATIO
    config.require(fits, "mlp_ratio", f"must be a number up to {_MAX_RATIO}")
    return max(1, int(width * ratio)) if isinstance(ratio, int | float) and fits else width


_MAX_RATIO = 1000  # beyond which a ratio is a slip of the pen


def _siglip(config: Config, *, head: bool | None = None, post_norm: bool = True) -> Seen:
    sizes = _sizes(config)
    tokens = patches_of(sizes.image, sizes.patch)
    stem = PatchStem(
        image=sizes.image, patch=sizes.patch, channels=sizes.channels, positions=tokens
    )
    norm = LAYER_NORM if post_norm else None
    parts: tuple[Part, ...] = (tower(stem, **sizes.options(), final_norm=norm),)
    with_head = config.flag("vision_use_head") if head is None else head
    if with_head:
        parts = (*parts, *pooled(sizes.hidden, tokens, sizes.feed_forward))
    return Seen(parts=parts, width=sizes.hidden, tokens=tokens)


def _plain(config: Config) -> Seen:
    """SigLIP without its pooling head: Idefics, SmolVLM."""
    config.ignore("vision_use_head")
    return _siglip(config, head=False)


def _clip(config: Config) -> Seen:
    sizes = _sizes(config)
    tokens = patches_of(sizes.image, sizes.patch)
    stem = PatchStem(
        image=sizes.image,
        patch=sizes.patch,
        channels=sizes.channels,
        bias=False,
        class_tokens=1,
        positions=tokens + 1,
        norm=LAYER_NORM,
    )
    parts = (tower(stem, **sizes.options()),)
    return Seen(parts=parts, width=sizes.hidden, tokens=tokens)


def _llama4(config: Config) -> Seen:
    """A ViT, then four patches of one, through a network of its own."""
    sizes = _sizes(config)
    tokens = patches_of(sizes.image, sizes.patch)
    ratio = config.value("pixel_shuffle_ratio")
    config.require(
        isinstance(ratio, float) and 0 < ratio <= 1, "pixel_shuffle_ratio", "is no ratio"
    )
    merge = max(round(1 / ratio), 1) if isinstance(ratio, float) and ratio > 0 else 1
    width = config.size("projector_input_dim")
    output = config.size("projector_output_dim")
    stem = PatchStem(
        image=sizes.image,
        patch=sizes.patch,
        channels=sizes.channels,
        bias=False,
        class_tokens=1,
        positions=tokens + 1,
        added=True,
        norm=LAYER_NORM,
    )
    adapter = Chain(
        name="vision.adapter",
        positions=tokens // merge**2,
        steps=(
            Dense(inputs=sizes.feed_forward, outputs=width, bias=False),
            Activated(size=width),
            Dense(inputs=width, outputs=output, bias=False),
            Activated(size=output),
        ),
    )
    parts = (tower(stem, **sizes.options()), adapter)
    return Seen(parts=parts, width=config.size("vision_output_dim"), tokens=tokens // merge**2)


def _qwen(
    config: Config,
    *,
    norm: NormStyle = LAYER_NORM,
    gated: bool = False,
    patch_bias: bool = False,
    positions: int = 0,
    deep: bool = False,
    rooted: bool = False,
) -> Seen:
    """Qwen-VL: patches of two frames; four of them merge, and layers of it may be read too."""
    merge = config.size("spatial_merge_size")
    sizes = _sizes(config, merge=merge)
    width = config.size("hidden_size" if rooted else "out_hidden_size")
    kv_heads = config.size("num_key_value_heads") if config.knows("num_key_value_heads") else None
    stem = PatchStem(
        image=sizes.image,
        patch=sizes.patch,
        channels=sizes.channels,
        frames=config.size("temporal_patch_size"),
        bias=patch_bias,
        positions=positions,
    )
    seen = tower(
        stem,
        **sizes.options(),
        kv_heads=kv_heads,
        norm=norm,
        gated=gated,
        fused=True,
        final_norm=None,
    )
    merged = merge**2 * sizes.hidden
    network: tuple[Step, ...] = (
        Dense(inputs=merged, outputs=merged),
        Activated(size=merged),
        Dense(inputs=merged, outputs=width),
    )
    tokens = patches_of(sizes.image, sizes.patch) // merge**2
    merger = Chain(
        name="vision.merger",
        positions=tokens,
        steps=(Normalized(size=sizes.hidden, style=norm), *network),
    )
    parts: tuple[Part, ...] = (seen, merger)
    if deep:
        read = config.sizes("deepstack_visual_indexes", (8, 16, 24))
        parts = (
            *parts,
            *(
                Chain(
                    name=f"vision.merger.{index}",
                    positions=tokens,
                    steps=(Normalized(size=merged), *network),
                )
                for index in read
            ),
        )
    return Seen(parts=parts, width=width, tokens=tokens)


def _qwen2(config: Config) -> Seen:
    return _qwen(config, rooted=True)


def _qwen25(config: Config) -> Seen:
    return _qwen(config, norm=RMS, gated=True)


def _qwen3(config: Config) -> Seen:
    positions = config.size("num_position_embeddings")
    return _qwen(config, patch_bias=True, positions=positions, deep=True)


def _qwen35(config: Config) -> Seen:
    positions = config.size("num_position_embeddings")
    return _qwen(config, patch_bias=True, positions=positions)


def _glm(config: Config, *, positions: bool, query_key_norm: bool) -> Seen:
    """GLM-V: a gated ViT, a strided convolution that merges, a gated network over it."""
    sizes = _sizes(config)
    merge = config.size("spatial_merge_size")
    width, bias = config.size("out_hidden_size"), config.flag("attention_bias")
    tokens = patches_of(sizes.image, sizes.patch)
    stem = PatchStem(
        image=sizes.image,
        patch=sizes.patch,
        channels=sizes.channels,
        frames=config.size("temporal_patch_size"),
        positions=tokens if positions else 0,
        norm=RMS if positions else None,
    )
    # Where there is a table of positions, the tower's inner width is that of its output.
    inner = width if positions else sizes.feed_forward
    seen = tower(
        stem,
        **sizes.options(feed_forward=inner),
        norm=RMS,
        gated=True,
        bias=bias,
        output_bias=bias and not positions,
        network_bias=bias and not positions,
        query_key_norm=HeadNorm() if query_key_norm else None,
        fused=True,
        final_norm=RMS,
    )
    merger_width = config.size("intermediate_size") if positions else 3 * width
    merger = Chain(
        name="vision.merger",
        positions=tokens // merge**2,
        steps=(
            Dense(inputs=merge**2 * sizes.hidden, outputs=width),
            Dense(inputs=width, outputs=width, bias=False),
            Normalized(size=width),
            Dense(inputs=width, outputs=2 * merger_width, bias=False),
            Activated(size=merger_width, function="silu"),
            Dense(inputs=merger_width, outputs=width, bias=False),
        ),
    )
    return Seen(parts=(seen, merger), width=width, tokens=tokens // merge**2)


def _glm4v(config: Config) -> Seen:
    return _glm(config, positions=True, query_key_norm=False)


def _glm_ocr(config: Config) -> Seen:
    return _glm(config, positions=False, query_key_norm=True)


def _internvl(config: Config) -> Seen:
    sizes = _sizes(config)
    tokens = patches_of(sizes.image, sizes.patch)
    absolute = config.flag("use_absolute_position_embeddings")
    rms = config.text("norm_type", default="layer_norm") == "rms_norm"
    norm = RMS if rms else LAYER_NORM
    normed = config.flag("use_qk_norm", default=False)
    config.ignore("use_mask_token")
    stem = PatchStem(
        image=sizes.image,
        patch=sizes.patch,
        channels=sizes.channels,
        class_tokens=1,
        positions=tokens + 1 if absolute else 0,
        added=True,
    )
    seen = tower(
        stem,
        **sizes.options(),
        norm=norm,
        query_key_value_bias=config.flag("attention_bias"),
        query_key_norm=HeadNorm(style=RMS, whole=True) if normed else None,
        scaled=True,
        final_norm=None if config.flag("use_mean_pooling", default=True) else LAYER_NORM,
    )
    return Seen(parts=(seen,), width=sizes.hidden, tokens=tokens)


def _kimi(config: Config) -> Seen:
    sizes = _sizes(config, merge=config.sizes("merge_kernel_size", (2, 2))[0])
    rows = config.size("pos_emb_height") * config.size("pos_emb_width")
    stem = PatchStem(
        image=sizes.image,
        patch=sizes.patch,
        channels=sizes.channels,
        positions=rows,
        added=True,
    )
    tokens = patches_of(sizes.image, sizes.patch)
    parts = (tower(stem, **sizes.options()),)
    return Seen(parts=parts, width=sizes.hidden, tokens=tokens, merge=2)


def _moonvit(config: Config) -> Seen:
    """Kimi-VL's tower as it was released: the positions' table has keys of other names."""
    config.ignore("pos_emb_interpolation_mode", "attn_implementation", "video_attn_type")
    sizes = _sizes(config, merge=config.sizes("merge_kernel_size", (2, 2))[0])
    rows = config.size("init_pos_emb_height", default=64)
    rows *= config.size("init_pos_emb_width", default=64)
    stem = PatchStem(
        image=sizes.image,
        patch=sizes.patch,
        channels=sizes.channels,
        positions=rows,
        added=True,
    )
    seen = tower(stem, **sizes.options(), fused=True)
    tokens = patches_of(sizes.image, sizes.patch)
    return Seen(parts=(seen,), width=sizes.hidden, tokens=tokens, merge=2)


def _siglip2(config: Config) -> Seen:
    """SigLIP 2 for images of any shape: patches are multiplied with a matrix, positions scaled."""
    sizes = _sizes(config, merge=1)
    config.ignore("image_size", "vision_use_head")
    tokens = config.size("num_patches")
    stem = PatchStem(
        image=sizes.image, patch=sizes.patch, channels=sizes.channels, positions=tokens
    )
    parts: tuple[Part, ...] = (tower(stem, **sizes.options()),)
    # The class that reads text takes the whole tower, the pooling that it does without included.
    parts = (*parts, *pooled(sizes.hidden, tokens, sizes.feed_forward))
    return Seen(parts=parts, width=sizes.hidden, tokens=tokens)


def _pixtral(config: Config) -> Seen:
    sizes = _sizes(config)
    head_dim = config.optional_size("head_dim")
    stem = PatchStem(
        image=sizes.image, patch=sizes.patch, channels=sizes.channels, bias=False, norm=RMS
    )
    seen = tower(
        stem,
        **sizes.options(),
        head_dim=head_dim,
        gated=True,
        norm=RMS,
        bias=False,
        final_norm=None,
    )
    return Seen(parts=(seen,), width=sizes.hidden, tokens=patches_of(sizes.image, sizes.patch))


def _minimax(config: Config) -> Seen:
    sizes = _sizes(config)
    config.ignore("img_token_compression_config", "vision_segment_max_frames")
    merge = config.size("spatial_merge_size")
    stem = PatchStem(
        image=sizes.image,
        patch=sizes.patch,
        channels=sizes.channels,
        frames=config.size("temporal_patch_size"),
        bias=False,
        norm=LAYER_NORM,
    )
    parts = (tower(stem, **sizes.options(), final_norm=None),)
    tokens = patches_of(sizes.image, sizes.patch)
    return Seen(parts=parts, width=sizes.hidden, tokens=tokens, merge=merge)


def _step(config: Config) -> Seen:
    """Step's ViT with scaled sums, and two strided convolutions that halve the sides of its map."""
    sizes = _sizes(config)
    config.ignore("ls_init_value", "intermediate_size")
    ratio = config.values.get("mlp_ratio", config.value("mlp_ratio"))
    sizes = replace(sizes, feed_forward=_widened(config, sizes.hidden, ratio))
    tokens = patches_of(sizes.image, sizes.patch)
    stem = PatchStem(
        image=sizes.image,
        patch=sizes.patch,
        channels=sizes.channels,
        bias=False,
        positions=config.size("max_position_embeddings"),
        norm=LAYER_NORM,
    )
    seen = tower(stem, **sizes.options(), scaled=True, final_norm=None)
    hidden = sizes.hidden
    halved = [
        Chain(
            name=f"vision.downsample.{index}",
            positions=tokens // 4 ** (index + 1),
            steps=(Dense(inputs=_TAPS * 2**index * hidden, outputs=2 ** (index + 1) * hidden),),
        )
        for index in range(2)
    ]
    return Seen(parts=(seen, *halved), width=4 * hidden, tokens=tokens // 16)


_TAPS = 9  # of a convolution of three by three


def _video_llama(config: Config) -> Seen:
    """SigLIP of any resolution: no table of positions."""
    sizes = _sizes(config, merge=2)
    stem = PatchStem(image=sizes.image, patch=sizes.patch, channels=sizes.channels)
    parts = (tower(stem, **sizes.options()),)
    return Seen(
        parts=parts, width=sizes.hidden, tokens=patches_of(sizes.image, sizes.patch), merge=2
    )


def _janus(config: Config) -> Seen:
    config.ignore("attention_bias", "use_qk_norm", "depth", "num_image_tokens", "mlp_ratio")
    return _siglip(config, head=False)


def _merging_siglip(config: Config) -> Seen:
    merge = config.size("spatial_merge_size")
    return replace(_siglip(config, head=False), merge=merge)


def _gemma4(config: Config) -> Seen:
    """Gemma 4's ViT: patches of any image, two tables of positions, norms around sub-layers."""
    config.ignore("use_clipped_linears", "standardize", "default_output_length", "global_head_dim")
    config.ignore("hidden_activation", "max_position_embeddings", "attention_bias")
    config.ignore("image_seq_length", "video_seq_length")
    pool = config.size("pooling_kernel_size")
    sizes = _sizes(config, merge=pool)
    heads = config.optional_size("num_key_value_heads") or sizes.heads
    attention = SelfAttention(
        heads=sizes.heads,
        kv_heads=heads,
        head_dim=config.optional_size("head_dim") or sizes.hidden // sizes.heads,
        rotary=True,
        query_key_norm=HeadNorm(),
        causal=False,
    )
    network = FeedForward(width=sizes.feed_forward, gated=True, activation="gelu_pytorch_tanh")
    layer = Branches(
        branches=(
            Branch(name="mixer", sub_layer=attention, before=RMS, after=RMS),
            Branch(name="feed_forward", sub_layer=network, before=RMS, after=RMS),
        )
    )
    stem = PatchStem(
        image=sizes.image,
        patch=sizes.patch,
        channels=sizes.channels,
        bias=False,
        positions=2 * config.size("position_embedding_size"),
        added=True,
    )
    stack = Stack(hidden=sizes.hidden, stem=stem, layers=((layer, sizes.layers),))
    tokens = patches_of(sizes.image, sizes.patch) // pool**2
    return Seen(parts=(Tower(name="vision", stack=stack),), width=sizes.hidden, tokens=tokens)


def _intern_vit(config: Config) -> Seen:
    """InternViT as it was released: its config says which norms and biases it has."""
    config.ignore("qkv_bias", "qk_normalization", "norm_type", "use_flash_attn", "drop_path_rate")
    config.ignore("num_channels", "initializer_factor", "layer_norm_eps", "dropout")
    sizes = _sizes(config)
    norm = RMS if config.text("norm_type", default="rms_norm") == "rms_norm" else LAYER_NORM
    tokens = patches_of(sizes.image, sizes.patch)
    stem = PatchStem(
        image=sizes.image,
        patch=sizes.patch,
        channels=sizes.channels,
        class_tokens=1,
        positions=tokens + 1,
        added=True,
    )
    normed = config.flag("qk_normalization", default=True)
    seen = tower(
        stem,
        **sizes.options(),
        norm=norm,
        query_key_value_bias=config.flag("qkv_bias", default=False),
        query_key_norm=HeadNorm(style=RMS, whole=True) if normed else None,
        fused=True,
        scaled=True,
        final_norm=None,
    )
    return Seen(parts=(seen,), width=sizes.hidden, tokens=tokens)


def siglip_large(
    config: Config,
    *,
    width: int,
    layers: int,
    heads: int,
    patch: int,
    image: int,
    ratio: object,
) -> Seen:
    """Return SigLIP's tower with its pooling, as timm builds it: queries, keys, values in one."""
    inner = _widened(config, width, ratio)
    tokens = patches_of((image, image), (patch, patch))
    stem = PatchStem(image=(image, image), patch=(patch, patch), positions=tokens, added=True)
    seen = tower(stem, hidden=width, layers=layers, heads=heads, feed_forward=inner, fused=True)
    parts = (seen, *pooled(width, tokens, inner))
    return Seen(parts=parts, width=width, tokens=tokens)


def clip_large() -> Seen:
    """Return CLIP's large tower for images of 336 × 336, which others build on without saying."""
    tokens = patches_of((336, 336), (14, 14))
    stem = PatchStem(
        image=(336, 336),
        patch=(14, 14),
        bias=False,
        class_tokens=1,
        positions=tokens + 1,
        norm=LAYER_NORM,
    )
    seen = tower(stem, hidden=1024, layers=24, heads=16, feed_forward=4096, activation="quick_gelu")
    return Seen(parts=(seen,), width=1024, tokens=tokens)


Viewer: TypeAlias = Callable[[Config], Seen]

TOWERS: Mapping[str, Viewer] = {
    "siglip_vision_model": _siglip,
    "clip_vision_model": _clip,
    "idefics2_vision": _plain,
    "idefics3_vision": _plain,
    "smolvlm_vision": _plain,
    "llama4_vision_model": _llama4,
    "qwen2_vl_vision": _qwen2,
    "qwen2_5_vl_vision": _qwen25,
    "qwen2_5_omni_vision_encoder": _qwen25,
    "exaone4_5_vision": _qwen25,
    "qwen3_vl_vision": _qwen3,
    "qwen3_vl_moe_vision": _qwen3,
    "qwen3_5_vision": _qwen35,
    "qwen3_5_moe_vision": _qwen35,
    "gemma4_vision": _gemma4,
    "glm4v_vision": _glm4v,
    "glm4v_moe_vision": _glm4v,
    "glm_ocr_vision": _glm_ocr,
    "siglip2_vision_model": _siglip2,
    "moonvit": _moonvit,
    "intern_vit_6b": _intern_vit,
    "internvl_vision": _internvl,
    "qianfan_ocr_vision": _internvl,
    "kimi_k25_vision": _kimi,
    "pixtral": _pixtral,
    "minimax_m3_vl_vision": _minimax,
    "step3p5_vision": _step,
    "video_llama_3_vision": _video_llama,
    "janus_vision_model": _janus,
    "paddleocr_vl_vision": _merging_siglip,
}
"""Reader by the `model_type` under `vision_config`."""
