"""Transformers over maps that shrink: PVT, SegFormer, LeViT, MobileViT, Hiera and others."""

from __future__ import annotations

from costsim.architectures.huggingface.config import MAX_LAYERS, MAX_SIZE, Config, Reader
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
from costsim.architectures.vision.cvt import Cvt, CvtStage
from costsim.architectures.vision.focalnet import FocalNet
from costsim.architectures.vision.hiera import Hiera
from costsim.architectures.vision.levit import AttentionShape, LeVit
from costsim.architectures.vision.mobilevit import MobileVit, MobileVitV2
from costsim.architectures.vision.pyramid import Pyramid, PyramidStage
from costsim.architectures.vision.swiftformer import SwiftFormer


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


def _output_stride(config: Config) -> int:
    stride = config.size("output_stride", default=32)
    config.require(stride in (8, 16, 32), "output_stride", "must be 8, 16 or 32")
    return stride


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
        output_stride=_output_stride(config),
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


def _mobilevitv2(config: Config) -> MobileVitV2:
    config.ignore("aspp_out_channels", "atrous_rates", "aspp_dropout_prob", "attn_dropout")
    config.ignore("ffn_dropout")
    hidden = sizes(config, "base_attn_unit_dims", (128, 192, 256))
    depths = sizes(config, "n_attn_blocks", (2, 4, 3))
    config.require(len(hidden) == 3, "base_attn_unit_dims", "must have 3 entries")
    config.require(len(depths) == 3, "n_attn_blocks", "must have 3 entries")
    return MobileVitV2(
        image=image(config, 256),
        channels=config.size("num_channels", default=3),
        classes=classes(config),
        width_scale=number(config, "width_multiplier", 1.0),
        hidden=hidden,
        depths=depths,
        patch=config.size("patch_size", default=2),
        expansion=number(config, "expand_ratio", 2.0),
        feed_forward_ratio=number(config, "ffn_multiplier", 2),
        kernel=config.size("conv_kernel_size", default=3),
        output_stride=_output_stride(config),
        function=config.text("hidden_act", default="swish"),
    )


def _cvt(config: Config) -> Cvt:
    config.ignore("attention_drop_rate", "drop_rate")
    methods = config.names("qkv_projection_method", ("dw_bn", "avg"))
    config.require(
        methods is None or set(methods) == {"dw_bn"}, "qkv_projection_method", "must be `dw_bn`"
    )
    columns = {
        "depth": sizes(config, "depth", (1, 2, 10)),
        "embed_dim": sizes(config, "embed_dim", (64, 192, 384)),
        "num_heads": sizes(config, "num_heads", (1, 3, 6)),
        "mlp_ratio": numbers(config, "mlp_ratio", (4.0, 4.0, 4.0)),
        "patch_sizes": sizes(config, "patch_sizes", (7, 3, 3)),
        "patch_stride": sizes(config, "patch_stride", (4, 2, 2)),
        "patch_padding": table(config, "patch_padding", [2, 1, 1], (0,)),
        "kernel_qkv": sizes(config, "kernel_qkv", (3, 3, 3)),
        "stride_q": sizes(config, "stride_q", (1, 1, 1)),
        "padding_q": table(config, "padding_q", [1, 1, 1], (0,)),
        "stride_kv": sizes(config, "stride_kv", (2, 2, 2)),
        "padding_kv": table(config, "padding_kv", [1, 1, 1], (0,)),
        "qkv_bias": flags(config, "qkv_bias", (True, True, True)),
        "cls_token": flags(config, "cls_token", (False, False, True)),
    }
    same_lengths(config, **columns)
    stages = tuple(
        CvtStage(**dict(zip(_CVT, row, strict=True)))
        for row in zip(*columns.values(), strict=False)
    )
    for stage in stages:
        config.require(
            stage.width % stage.heads == 0,
            "num_heads",
            f"{stage.heads} does not divide the {stage.width} channels of its stage",
        )
    return Cvt(
        channels=config.size("num_channels", default=3), classes=classes(config), stages=stages
    )


_CVT = (
    *("depth", "width", "heads", "ratio", "patch", "stride", "padding", "kernel"),
    *("query_stride", "query_padding", "key_stride", "key_padding", "bias", "token"),
)


def _focalnet(config: Config) -> FocalNet:
    config.ignore("hidden_sizes", "layerscale_value", "normalize_modulator")
    depths = sizes(config, "depths", (2, 2, 6, 2))
    levels = sizes(config, "focal_levels", (2, 2, 2, 2))
    windows = sizes(config, "focal_windows", (3, 3, 3, 3))
    same_lengths(config, depths=depths, focal_levels=levels, focal_windows=windows)
    config.require(max(levels) <= MAX_LAYERS, "focal_levels", f"must be at most {MAX_LAYERS}")
    return FocalNet(
        image=image(config),
        channels=config.size("num_channels", default=3),
        classes=classes(config),
        depths=depths,
        levels=levels,
        windows=windows,
        hidden=config.size("embed_dim", default=96),
        patch=config.size("patch_size", default=4),
        overlapping=config.flag("use_conv_embed", default=False),
        feed_forward_ratio=number(config, "mlp_ratio", 4.0),
        function=config.text("hidden_act", default="gelu"),
        layer_scale=config.flag("use_layerscale", default=False),
        norms_after=config.flag("use_post_layernorm", default=False),
        inner_norm=config.flag("use_post_layernorm_in_modulation", default=False),
    )


def _swiftformer(config: Config) -> SwiftFormer:
    config.ignore("drop_mlp_rate", "drop_conv_encoder_rate", "layer_scale_init_value")
    depths = sizes(config, "depths", (3, 3, 6, 4))
    widths = sizes(config, "embed_dims", (48, 56, 112, 220))
    shrinks = flags(config, "downsamples", (True, True, True, True))
    same_lengths(config, depths=depths, embed_dims=widths, downsamples=shrinks)
    return SwiftFormer(
        image=image(config),
        channels=config.size("num_channels", default=3),
        classes=classes(config),
        depths=depths,
        widths=widths,
        shrinks=shrinks,
        feed_forward_ratio=number(config, "mlp_ratio", 4),
        kernel=config.size("down_patch_size", default=3),
        stride=config.size("down_stride", default=2),
        padding=config.count("down_pad", default=1),
        function=config.text("hidden_act", default="gelu"),
        layer_scale=config.flag("use_layer_scale", default=True),
    )


READERS: dict[str, Reader] = {
    "mobilevitv2": _mobilevitv2,
    "cvt": _cvt,
    "focalnet": _focalnet,
    "swiftformer": _swiftformer,
    "pvt": _pvt,
    "pvt_v2": _pvt_v2,
    "segformer": _segformer,
    "levit": _levit,
    "mobilevit": _mobilevit,
    "hiera": _hiera,
}
