"""ViT and its kin: patches through equal transformer layers."""

from __future__ import annotations

from typing import Any

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.vision.common import classes, image, number
from costsim.architectures.vision.vit import VisionTransformer


def vision_transformer(
    config: Config, *, head: int, patch: int = 16, **switches: Any
) -> VisionTransformer:
    """Read the keys that the family shares; `switches` are what one member does."""
    hidden = config.size("hidden_size", default=768)
    heads = config.size("num_attention_heads", default=12)
    config.require(
        hidden % heads == 0, "hidden_size", f"{hidden} does not divide into {heads} heads"
    )
    size = image(config)
    side = config.size("patch_size", default=patch)
    config.require(
        min(size) >= side, "patch_size", f"{side} is larger than `image_size` {min(size)}"
    )
    if "width" not in switches:
        switches["width"] = config.size("intermediate_size", default=4 * hidden)
    return VisionTransformer(
        image=size,
        channels=config.size("num_channels", default=3),
        classes=head,
        patch=side,
        layers=config.size("num_hidden_layers", default=12),
        hidden=hidden,
        heads=heads,
        function=config.text("hidden_act", default=switches.pop("function", "gelu")),
        **switches,
    )


def _vit(config: Config) -> VisionTransformer:
    config.ignore("pooler_output_size", "pooler_act")
    return vision_transformer(
        config,
        head=classes(config),
        query_key_value_bias=config.flag("qkv_bias", default=True),
        pooler="dense",
    )


def _vit_msn(config: Config) -> VisionTransformer:
    return vision_transformer(
        config,
        head=classes(config),
        query_key_value_bias=config.flag("qkv_bias", default=True),
        mask_token=config.flag("use_mask_token", default=False),
    )


def _deit(config: Config) -> VisionTransformer:
    config.ignore("pooler_output_size", "pooler_act")
    return vision_transformer(
        config,
        head=classes(config),
        query_key_value_bias=config.flag("qkv_bias", default=True),
        class_tokens=2,
        pooler="dense",
    )


def _ijepa(config: Config) -> VisionTransformer:
    config.ignore("pooler_output_size", "pooler_act")
    return vision_transformer(
        config,
        head=classes(config),
        query_key_value_bias=config.flag("qkv_bias", default=True),
        class_tokens=0,
        pooled="mean",
        pooler="dense",
    )


def _beit(config: Config) -> VisionTransformer:
    config.ignore("vocab_size", "use_mean_pooling", "add_fpn", "pool_scales", "use_auxiliary_head")
    config.ignore("auxiliary_loss_weight", "auxiliary_channels", "auxiliary_num_convs")
    config.ignore("auxiliary_concat_input")
    positions = config.flag("use_absolute_position_embeddings", default=False)
    each = config.flag("use_relative_position_bias", default=False)
    shared = config.flag("use_shared_relative_position_bias", default=False)
    config.require(not (each and shared), "use_relative_position_bias", "is shared as well")
    scale = config.rate("layer_scale_init_value", default=0.1)
    return vision_transformer(
        config,
        head=classes(config),
        key_bias=False,
        layer_scale=scale > 0,
        mask_token=config.flag("use_mask_token", default=False),
        position_table="parameter" if positions else "none",
        distance_bias="layer" if each else "shared" if shared else "none",
        pooled="mean",
    )


def _dinov2(config: Config, registers: int = 0, patch: int = 14) -> VisionTransformer:
    hidden = config.size("hidden_size", default=768)
    gated = config.flag("use_swiglu_ffn", default=False)
    config.ignore("layerscale_value", "drop_path_rate")
    width = int(hidden * number(config, "mlp_ratio", 4))
    if gated:  # two thirds, in eights, as the gate is a matrix of its own
        width = (int(width * 2 / 3) + 7) // 8 * 8
    return vision_transformer(
        config,
        head=classes(config),
        patch=patch,
        width=width,
        gated=gated,
        query_key_value_bias=config.flag("qkv_bias", default=True),
        layer_scale=True,
        registers=registers,
        mask_token=config.flag("use_mask_token", default=True),
        pooled="class and mean",
    )


def _dinov2_with_registers(config: Config) -> VisionTransformer:
    return _dinov2(config, config.count("num_register_tokens", default=4), patch=16)


READERS: dict[str, Reader] = {
    "vit": _vit,
    "vit_msn": _vit_msn,
    "deit": _deit,
    "ijepa": _ijepa,
    "beit": _beit,
    "data2vec-vision": _beit,
    "dinov2": _dinov2,
    "dinov2_with_registers": _dinov2_with_registers,
}
