"""Parts of diffusers pipelines by their `_class_name`, and `model_index.json` that lists them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, cast

from costsim.architectures.files.described import Described, beside, fail

_FLUX_TEXT, _SD3_TEXT = 512, 77 + 77  # tokens of a prompt, as the pipelines pad them
_DENOISERS = ("transformer", "unet", "prior")
Values: TypeAlias = Mapping[str, Any]


class _Keys:
    """The keys of a part, and which of them were read."""

    def __init__(self, values: Values, file: str) -> None:
        self.values, self.file = values, file

    def count(self, key: str, default: int | None = None) -> int:
        value = self.values.get(key, default)
        value = default if value is None else value
        if type(value) is not int or not 1 <= value <= 10**9:
            raise fail(self.file, f"`{key}` must be a positive whole number, is {str(value)[:40]}")
        return value

    def counts(self, key: str, default: list[int], length: int | None = None) -> tuple[int, ...]:
        value: Any = self.values.get(key, default)
        listed = cast("list[Any]", value) if isinstance(value, list) else [value] * (length or 1)
        if any(type(one) is not int or not 1 <= one <= 10**9 for one in listed):
            raise fail(self.file, f"`{key}` must be positive whole numbers")
        if (length is not None and len(listed) != length) or len(listed) > 64:
            raise fail(
                self.file, f"`{key}` must have {length or 'fewer'} values, has {len(listed)}"
            )
        return tuple(listed)

    def kinds(self, key: str, default: list[str]) -> tuple[str, ...]:
        value: Any = self.values.get(key, default)
        return tuple(str(one) for one in cast("list[Any]", value)) if value else ()

    def plain(self, **expected: tuple[Any, ...]) -> None:
        """Refuse values that this reader does not describe."""
        for key, allowed in expected.items():
            if self.values.get(key, allowed[0]) not in allowed:
                said = str(self.values[key])[:60]
                raise fail(self.file, f"`{key}` {said}: such models are not supported yet")


def _unet(keys: _Keys) -> dict[str, Any]:
    widths = keys.counts("block_out_channels", [320, 640, 1280, 1280])
    stages = len(widths)
    down = keys.kinds("down_block_types", ["CrossAttnDownBlock2D"] * (stages - 1) + ["DownBlock2D"])
    known = ("CrossAttnDownBlock2D", "DownBlock2D")
    wrong = next((kind for kind in down if kind not in known), None)
    if wrong is not None or len(down) != stages:
        raise fail(keys.file, f"`down_block_types` {str(wrong)[:40]}: not supported yet")
    keys.plain(
        encoder_hid_dim=(None,),
        class_embed_type=(None,),
        num_class_embeds=(None,),
        addition_embed_type=(None, "text_time"),
        resnet_time_scale_shift=("default",),
        only_cross_attention=(False,),
        dual_cross_attention=(False,),
        mid_block_type=("UNetMidBlock2DCrossAttn",),
    )
    layers = keys.counts("transformer_layers_per_block", [1] * stages, stages)
    # What diffusers calls the width of a head is, in all releases, the number of heads.
    key = "num_attention_heads" if keys.values.get("num_attention_heads") else "attention_head_dim"
    heads = keys.counts(key, [8] * stages, stages)
    transformers = tuple(
        count if kind.startswith("Cross") else 0 for kind, count in zip(down, layers, strict=True)
    )
    found: dict[str, Any] = {
        "family": "unet",
        "widths": widths,
        "depth": keys.count("layers_per_block", 2),
        "channels": keys.count("in_channels", 4),
        "transformers": transformers,
        "middle_transformers": layers[-1],
        "heads": heads,
        "context_width": keys.count("cross_attention_dim", 1280),
        "linear_projection": bool(keys.values.get("use_linear_projection", False)),
        "image": (8 * keys.count("sample_size", 64),) * 2,
    }
    if keys.values.get("addition_embed_type") == "text_time":
        found["added_width"] = keys.count("projection_class_embeddings_input_dim")
    return found


def _autoencoder(keys: _Keys) -> dict[str, Any]:
    widths = keys.counts("block_out_channels", [64])
    for key, kind in (("down_block_types", "Down"), ("up_block_types", "Up")):
        known = f"{kind}EncoderBlock2D" if kind == "Down" else f"{kind}DecoderBlock2D"
        if any(found != known for found in keys.kinds(key, [known])):
            raise fail(keys.file, f"`{key}` other than {known}: not supported yet")
    keys.plain(mid_block_add_attention=(True,))
    quantized = {keys.values.get(f"use_{part}quant_conv", True) for part in ("", "post_")}
    if len(quantized) > 1:
        raise fail(
            keys.file, "`use_quant_conv` and `use_post_quant_conv` differ: not supported yet"
        )
    return {
        "family": "autoencoder",
        "widths": widths,
        "depth": keys.count("layers_per_block", 1),
        "channels": keys.count("in_channels", 3),
        "latent_channels": keys.count("latent_channels", 4),
        "quantization": quantized == {True},
        "image": (keys.count("sample_size", 512),) * 2,
    }


def _flux(keys: _Keys) -> dict[str, Any]:
    heads, width = keys.count("num_attention_heads", 24), keys.count("attention_head_dim", 128)
    packed = keys.count("in_channels", 64)
    patch = 2 if keys.count("patch_size", 1) == 1 else keys.count("patch_size")
    if packed % patch**2:
        raise fail(keys.file, f"`in_channels` {packed} are no patches of {patch} × {patch}")
    keys.plain(out_channels=(None, packed))
    return {
        "family": "mmdit",
        "layers": keys.count("num_layers", 19),
        "joint_layers": keys.count("num_single_layers", 38),
        "hidden": heads * width,
        "heads": heads,
        "channels": packed // patch**2,
        "patch": patch,
        "context_width": keys.count("joint_attention_dim", 4096),
        "pooled_width": keys.count("pooled_projection_dim", 768),
        "guidance": bool(keys.values.get("guidance_embeds", False)),
        "query_key_norm": True,
        "text_tokens": _FLUX_TEXT,
    }


def _sd3(keys: _Keys) -> dict[str, Any]:
    heads, width = keys.count("num_attention_heads", 18), keys.count("attention_head_dim", 64)
    keys.plain(dual_attention_layers=((), [], None), qk_norm=(None, "rms_norm"))
    inner = keys.count("caption_projection_dim", heads * width)
    if inner != heads * width:
        raise fail(keys.file, f"`caption_projection_dim` {inner} is not {heads} heads of {width}")
    return {
        "family": "mmdit",
        "layers": keys.count("num_layers", 18),
        "hidden": heads * width,
        "heads": heads,
        "channels": keys.count("in_channels", 16),
        "patch": keys.count("patch_size", 2),
        "context_width": keys.count("joint_attention_dim", 4096),
        "pooled_width": keys.count("pooled_projection_dim", 2048),
        "query_key_norm": keys.values.get("qk_norm") is not None,
        "text_tokens": _SD3_TEXT,
        "text_ends": True,
        "image": (8 * keys.count("sample_size", 128),) * 2,
    }


def _dit(keys: _Keys) -> dict[str, Any]:
    heads, width = keys.count("num_attention_heads", 16), keys.count("attention_head_dim", 72)
    keys.plain(norm_type=("ada_norm_zero",), num_embeds_ada_norm=(1000, None))
    channels = keys.count("in_channels", 4)
    return {
        "family": "dit",
        "layers": keys.count("num_layers", 28),
        "hidden": heads * width,
        "heads": heads,
        "channels": channels,
        "patch": keys.count("patch_size", 2),
        "embeds_in_layers": True,
        "predicts_variance": keys.count("out_channels", 2 * channels) == 2 * channels,
        "image": (8 * keys.count("sample_size", 32),) * 2,
    }


def _hunyuan(keys: _Keys) -> dict[str, Any]:
    heads, width = keys.count("num_attention_heads", 16), keys.count("attention_head_dim", 88)
    hidden, ratio = keys.count("hidden_size", heads * width), keys.values.get("mlp_ratio", 4.0)
    if hidden != heads * width or not isinstance(ratio, int | float) or not 0 < ratio < 100:
        raise fail(keys.file, f"{heads} heads of {width} and `mlp_ratio` make no layer of {hidden}")
    keys.plain(use_style_cond_and_image_meta_size=(True,), norm_type=("layer_norm",))
    return {
        "family": "hunyuan-dit",
        "layers": keys.count("num_layers", 40),
        "hidden": hidden,
        "heads": heads,
        "feed_forward": int(hidden * ratio),
        "channels": keys.count("in_channels", 4),
        "patch": keys.count("patch_size", 2),
        "context_width": keys.count("cross_attention_dim", 1024),
        "long_width": keys.count("cross_attention_dim_t5", 2048),
        "pooled_width": keys.count("pooled_projection_dim", 1024),
        "text_tokens": keys.count("text_len", 77),
        "long_tokens": keys.count("text_len_t5", 256),
        "predicts_variance": bool(keys.values.get("learn_sigma", True)),
        "image": (8 * keys.count("sample_size", 128),) * 2,
    }


PARTS: Mapping[str, Callable[[_Keys], dict[str, Any]]] = {
    "UNet2DConditionModel": _unet,
    "AutoencoderKL": _autoencoder,
    "FluxTransformer2DModel": _flux,
    "SD3Transformer2DModel": _sd3,
    "DiTTransformer2DModel": _dit,
    "HunyuanDiT2DModel": _hunyuan,
    "Transformer2DModel": _dit,
}
"""Reader by `_class_name`."""


def read_part(values: Values, file: str) -> Described:
    """Return the net that a part's config describes.

    Raises:
        SpecError: for a class that is not read, or values that make none.
    """
    name = str(values.get("_class_name"))
    if name not in PARTS:
        raise fail(
            file,
            f"a part of the class `{name[:60]}` is not supported",
            f"supported: {', '.join(PARTS)}, and text encoders of transformers",
        )
    return Described(fields={"vision": PARTS[name](_Keys(values, file))})


def denoiser_of(values: Values, path: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the config.json of what a pipeline repeats, and notes on its other parts.

    Raises:
        SpecError: if there is none, or its config is missing.
    """
    parts = {
        key: cast("list[Any]", value)
        for key, value in values.items()
        if isinstance(value, list) and len(cast("list[Any]", value)) == 2 and value[0]
    }
    chosen = next((name for name in _DENOISERS if name in parts), None)
    if chosen is None:
        raise fail(path, "the pipeline has no denoiser (`transformer` or `unet`)")
    config = beside(path.parent, chosen) / "config.json"
    if not config.is_file():
        raise fail(
            path,
            f"its denoiser's config.json is missing: {config}",
            "give the whole folder, or the config.json of a part",
        )
    others = [
        name
        for name in parts
        if name != chosen and (beside(path.parent, name) / "config.json").is_file()
    ]
    folder = path.parent
    said = ", ".join(f"{folder / name}" for name in others)
    notes = (f"the pipeline's {chosen}; its other parts are models of their own: {said}",)
    return config, notes if others else ()
