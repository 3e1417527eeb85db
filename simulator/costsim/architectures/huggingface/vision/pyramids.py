"""Transformers over maps that shrink: PVT, SegFormer, LeViT, MobileViT, Hiera."""

from __future__ import annotations

from costsim.architectures.huggingface.config import MAX_SIZE, Config, Reader
from costsim.architectures.huggingface.vision.common import (
    classes,
    flags,
    image,
    number,
    numbers,
    same_lengths,
    sizes,
    table,
)
from costsim.architectures.vision.hiera import Hiera
from costsim.architectures.vision.levit import AttentionShape, LeVit
from costsim.architectures.vision.mobilevit import MobileVit
from costsim.architectures.vision.pyramid import Pyramid, PyramidStage


def _pyramid(
    config: Config,
    reductions: str,
    patches: tuple[int, ...],
    *,
    overlapping: bool,
    linear: bool = False,
) -> Pyramid:
    config.ignore("num_encoder_blocks", "depth", "decoder_hidden_size", "reshape_last_stage")
    config.ignore("qkv_bias")
    kernels = sizes(config, "patch_sizes", patches)
    strides = sizes(config, "strides", (4, 2, 2, 2))
    if not overlapping:  # the library's names are the other way round
        kernels, strides = strides, kernels
    small = (32, 64, 160, 256) if overlapping else (64, 128, 320, 512)
    columns = {
        "depths": sizes(config, "depths", (2, 2, 2, 2)),
        "hidden_sizes": sizes(config, "hidden_sizes", small),
        "num_attention_heads": sizes(config, "num_attention_heads", (1, 2, 5, 8)),
        reductions: sizes(config, reductions, (8, 4, 2, 1)),
        "mlp_ratios": numbers(config, "mlp_ratios", (8, 8, 4, 4)),
        "patch_sizes": kernels,
        "strides": strides,
    }
    same_lengths(config, **columns)
    stages = tuple(
        PyramidStage(
            depth=depth,
            width=width,
            heads=heads,
            reduction=reduction,
            feed_forward_ratio=ratio,
            kernel=kernel,
            stride=stride,
        )
        for depth, width, heads, reduction, ratio, kernel, stride in zip(
            *columns.values(), strict=False
        )
    )
    for stage in stages:
        config.require(
            stage.width % stage.heads == 0,
            "num_attention_heads",
            f"{stage.heads} does not divide the {stage.width} channels of its stage",
        )
    return Pyramid(
        image=image(config),
        channels=config.size("num_channels", default=3),
        classes=classes(config),
        stages=stages,
        overlapping=overlapping,
        function=config.text("hidden_act", default="gelu"),
        query_key_value_bias=config.flag("qkv_bias", default=True),
        linear_attention=linear,
    )


def _pvt(config: Config) -> Pyramid:
    return _pyramid(config, "sequence_reduction_ratios", (4, 2, 2, 2), overlapping=False)


def _pvt_v2(config: Config) -> Pyramid:
    linear = config.flag("linear_attention", default=False)
    return _pyramid(config, "sr_ratios", (7, 3, 3, 3), overlapping=True, linear=linear)


def _segformer(config: Config) -> Pyramid:
    return _pyramid(config, "sr_ratios", (7, 3, 3, 3), overlapping=True)


_SHRINKING = [["Subsample", 16, 8, 4, 2, 2], ["Subsample", 16, 16, 4, 2, 2]]


def _levit(config: Config) -> LeVit:
    columns = {
        "depths": sizes(config, "depths", (4, 4, 4)),
        "hidden_sizes": sizes(config, "hidden_sizes", (128, 256, 384)),
        "num_attention_heads": sizes(config, "num_attention_heads", (4, 8, 12)),
        "key_dim": sizes(config, "key_dim", (16, 16, 16)),
        "attention_ratio": sizes(config, "attention_ratio", (2, 2, 2)),
        "mlp_ratio": sizes(config, "mlp_ratio", (2, 2, 2)),
    }
    same_lengths(config, **columns)
    # what it does, width of a key, heads, value over key, inner width of a network, stride
    down = table(config, "down_ops", _SHRINKING, (("Subsample", 16, 8, 4, 2, 2),))
    stages = len(columns["depths"])
    config.require(
        len(down) in (stages - 1, stages), "down_ops", "must have one entry fewer than `depths`"
    )
    down = down[: stages - 1]
    return LeVit(
        image=image(config),
        channels=config.size("num_channels", default=3),
        classes=classes(config),
        depths=columns["depths"],
        widths=columns["hidden_sizes"],
        shapes=tuple(
            AttentionShape(heads=heads, key=key, ratio=ratio)
            for heads, key, ratio in zip(
                columns["num_attention_heads"],
                columns["key_dim"],
                columns["attention_ratio"],
                strict=False,
            )
        ),
        ratios=columns["mlp_ratio"],
        shrinking=tuple(
            AttentionShape(heads=heads, key=key, ratio=ratio) for _, key, heads, ratio, *_ in down
        ),
        shrinking_ratios=tuple(row[4] for row in down),
        strides=tuple(max(1, row[5]) for row in down),
        patch=config.size("patch_size", default=16),
        kernel=config.size("kernel_size", default=3),
        stride=config.size("stride", default=2),
        padding=config.count("padding", default=1),
    )


def _mobilevit(config: Config) -> MobileVit:
    config.ignore("aspp_out_channels", "atrous_rates", "aspp_dropout_prob")
    widths = sizes(config, "neck_hidden_sizes", (16, 32, 64, 96, 128, 160, 640))
    hidden = sizes(config, "hidden_sizes", (144, 192, 240))
    config.require(len(widths) == 7, "neck_hidden_sizes", "must have 7 entries")
    config.require(len(hidden) == 3, "hidden_sizes", "must have 3 entries")
    heads = config.size("num_attention_heads", default=4)
    for width in hidden:
        config.require(width % heads == 0, "hidden_sizes", f"{width} is no multiple of {heads}")
    return MobileVit(
        image=image(config, 256),
        channels=config.size("num_channels", default=3),
        classes=classes(config),
        widths=widths,
        hidden=hidden,
        heads=heads,
        patch=config.size("patch_size", default=2),
        expansion=number(config, "expand_ratio", 4.0),
        feed_forward_ratio=number(config, "mlp_ratio", 2.0),
        kernel=config.size("conv_kernel_size", default=3),
        output_stride=config.size("output_stride", default=32),
        function=config.text("hidden_act", default="silu"),
        query_key_value_bias=config.flag("qkv_bias", default=True),
    )


def _hiera(config: Config) -> Hiera:
    config.ignore("mask_ratio", "hidden_size", "decoder_hidden_size", "decoder_depth")
    config.ignore("decoder_num_heads", "normalize_pixel_loss")
    depths = sizes(config, "depths", (2, 3, 16, 3))
    heads = sizes(config, "num_heads", (1, 2, 4, 8))
    within = flags(config, "masked_unit_attention", (True, True, False, False))
    same_lengths(config, depths=depths, num_heads=heads, masked_unit_attention=within)
    hidden = config.size("embed_dim", default=96)
    widening = number(config, "embed_dim_multiplier", 2.0)
    for index, count in enumerate(heads):
        width = int(min(hidden * widening**index, MAX_SIZE))
        config.require(width % count == 0, "num_heads", f"{count} does not divide {width} channels")
    return Hiera(
        image=image(config),
        channels=config.size("num_channels", default=3),
        classes=classes(config),
        depths=depths,
        heads=heads,
        within=within,
        hidden=hidden,
        widening=widening,
        patch=sizes(config, "patch_size", (7, 7)),
        patch_stride=sizes(config, "patch_stride", (4, 4)),
        patch_padding=table(config, "patch_padding", [3, 3], (3, 3)),
        unit=sizes(config, "masked_unit_size", (8, 8)),
        query_stride=sizes(config, "query_stride", (2, 2)),
        poolings=config.count("num_query_pool", default=3),
        feed_forward_ratio=number(config, "mlp_ratio", 4.0),
        function=config.text("hidden_act", default="gelu"),
    )


READERS: dict[str, Reader] = {
    "pvt": _pvt,
    "pvt_v2": _pvt_v2,
    "segformer": _segformer,
    "levit": _levit,
    "mobilevit": _mobilevit,
    "hiera": _hiera,
}
