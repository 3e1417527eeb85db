"""Swin and its kin: attention inside windows, neighbours merged between stages."""

from __future__ import annotations

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.vision.common import (
    classes,
    image,
    number,
    same_lengths,
    sizes,
)
from costsim.architectures.vision.swin import Swin


def _swin(config: Config, version: int = 1, *, final_norm: bool = True) -> Swin:
    depths = sizes(config, "depths", (2, 2, 6, 2))
    heads = sizes(config, "num_heads", (3, 6, 12, 24))
    same_lengths(config, depths=depths, num_heads=heads)
    config.ignore("num_layers", "hidden_size", "pretrained_window_sizes", "encoder_stride")
    window = config.size("window_size", default=7)
    patch = config.size("patch_size", default=4)
    hidden = config.size("embed_dim", default=96)
    for number_, count in enumerate(heads):
        config.require(
            (hidden << number_) % count == 0,
            "num_heads",
            f"{count} does not divide the {hidden << number_} channels of its stage",
        )
    return Swin(
        image=image(config),
        channels=config.size("num_channels", default=3),
        classes=classes(config),
        depths=depths,
        heads=heads,
        hidden=hidden,
        patch=(patch, patch),
        window=(window, window),
        fits=True,
        feed_forward_ratio=number(config, "mlp_ratio", 4),
        function=config.text("hidden_act", default="gelu"),
        query_key_value_bias=config.flag("qkv_bias", default=True),
        key_bias=version == 1,
        positions=config.flag("use_absolute_embeddings", default=False),
        final_norm=final_norm,
        version=version,
    )


def _swinv2(config: Config) -> Swin:
    return _swin(config, 2)


def _donut(config: Config) -> Swin:
    return _swin(config, final_norm=False)


READERS: dict[str, Reader] = {
    "swin": _swin,
    "swinv2": _swinv2,
    "donut-swin": _donut,
    "maskformer-swin": _swin,
}
