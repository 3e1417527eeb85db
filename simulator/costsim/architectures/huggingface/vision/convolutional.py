"""Convolutional classifiers: ResNet, RegNet, ConvNeXt and others of their time."""

from __future__ import annotations

from costsim.architectures.huggingface.config import MAX_LAYERS, Config, Reader
from costsim.architectures.huggingface.vision.common import (
    classes,
    flags,
    image,
    number,
    same_lengths,
    sizes,
    table,
)
from costsim.architectures.vision.bit import BigTransfer
from costsim.architectures.vision.convnext import ConvNext
from costsim.architectures.vision.hgnet import HgNetV2, HgStage, LcNet, Separable
from costsim.architectures.vision.poolformer import PoolFormer
from costsim.architectures.vision.regnet import RegNet
from costsim.architectures.vision.resnet import ResNet
from costsim.architectures.vision.textnet import TextNet

_DEPTHS = (3, 4, 6, 3)
_WIDTHS = (256, 512, 1024, 2048)


def _stages(
    config: Config, depths: tuple[int, ...], widths: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    found = sizes(config, "depths", depths), sizes(config, "hidden_sizes", widths)
    same_lengths(config, depths=found[0], hidden_sizes=found[1])
    return found


def _resnet(config: Config) -> ResNet:
    depths, widths = _stages(config, _DEPTHS, _WIDTHS)
    block = config.text("layer_type", default="bottleneck")
    config.require(
        block in ("basic", "bottleneck"), "layer_type", "must be `basic` or `bottleneck`"
    )
    return ResNet(
        channels=config.size("num_channels", default=3),
        classes=classes(config),
        depths=depths,
        widths=widths,
        block="basic" if block == "basic" else "bottleneck",
        stem_width=config.size("embedding_size", default=64),
        function=config.text("hidden_act", default="relu"),
        stride_first=config.flag("downsample_in_bottleneck", default=False),
        shrink_first_stage=config.flag("downsample_in_first_stage", default=False),
    )


def _bit(config: Config) -> BigTransfer:
    depths, widths = _stages(config, _DEPTHS, _WIDTHS)
    kind = config.text("layer_type", default="preactivation")
    config.ignore("embedding_dynamic_padding")
    padding = config.values.get("global_padding")
    config.ignore("global_padding")
    if padding not in (None, "same", "SAME", "valid", "VALID"):
        config.problem("global_padding", "must be `same`, `valid` or null")
    return BigTransfer(
        channels=config.size("num_channels", default=3),
        classes=classes(config),
        depths=depths,
        widths=widths,
        width_factor=config.size("width_factor", default=1),
        before=kind == "preactivation",
        groups=config.size("num_groups", default=32),
        stem_width=config.size("embedding_size", default=64),
        output_stride=config.size("output_stride", default=32),
        function=config.text("hidden_act", default="relu"),
        same_padding=str(padding).lower() == "same",
    )


def _regnet(config: Config) -> RegNet:
    depths, widths = _stages(config, (2, 6, 12, 2), (128, 192, 512, 1088))
    return RegNet(
        channels=config.size("num_channels", default=3),
        classes=classes(config),
        depths=depths,
        widths=widths,
        group_width=config.size("groups_width", default=64),
        squeeze_ratio=0.25 if config.text("layer_type", default="y") == "y" else None,
        stem_width=config.size("embedding_size", default=32),
        function=config.text("hidden_act", default="relu"),
        shrink_first_stage=config.flag("downsample_in_first_stage", default=True),
    )


def _convnext(config: Config, response_norm: bool = False) -> ConvNext:
    depths, widths = _stages(config, (3, 3, 9, 3), (96, 192, 384, 768))
    config.ignore("num_stages", "image_size")
    scale = 0.0 if response_norm else config.rate("layer_scale_init_value", default=1e-6)
    return ConvNext(
        channels=config.size("num_channels", default=3),
        classes=classes(config),
        depths=depths,
        widths=widths,
        patch=config.size("patch_size", default=4),
        function=config.text("hidden_act", default="gelu"),
        layer_scale=scale > 0,
        response_norm=response_norm,
    )


def _convnextv2(config: Config) -> ConvNext:
    return _convnext(config, response_norm=True)


def _poolformer(config: Config) -> PoolFormer:
    depths, widths = _stages(config, (2, 2, 6, 2), (64, 128, 320, 512))
    patches = sizes(config, "patch_sizes", (7, 3, 3, 3))
    strides = sizes(config, "strides", (4, 2, 2, 2))
    paddings = table(config, "padding", [2, 1, 1, 1], (0,))
    same_lengths(config, depths=depths, patch_sizes=patches, strides=strides, padding=paddings)
    config.ignore("num_encoder_blocks", "patch_size", "stride")
    config.ignore("layer_scale_init_value")
    return PoolFormer(
        channels=config.size("num_channels", default=3),
        classes=classes(config),
        depths=depths,
        widths=widths,
        patches=patches,
        strides=strides,
        paddings=paddings,
        pool=config.size("pool_size", default=3),
        feed_forward_ratio=number(config, "mlp_ratio", 4.0),
        function=config.text("hidden_act", default="gelu"),
        layer_scale=config.flag("use_layer_scale", default=True),
    )


def _hgnet_v2(config: Config) -> HgNetV2:
    config.ignore("embedding_size", "depths", "hidden_sizes", "stage_in_channels", "num_channels")
    columns = {
        "stage_out_channels": sizes(config, "stage_out_channels", (128, 512, 1024, 2048)),
        "stage_mid_channels": sizes(config, "stage_mid_channels", (48, 96, 192, 384)),
        "stage_num_blocks": sizes(config, "stage_num_blocks", (1, 1, 3, 1)),
        "stage_numb_of_layers": sizes(config, "stage_numb_of_layers", (6, 6, 6, 6)),
        "stage_kernel_size": sizes(config, "stage_kernel_size", (3, 3, 5, 5)),
        "stage_light_block": flags(config, "stage_light_block", (False, False, True, True)),
        "stage_downsample": flags(config, "stage_downsample", (False, True, True, True)),
        "stage_downsample_strides": sizes(config, "stage_downsample_strides", (2, 2, 2, 2)),
    }
    stem = sizes(config, "stem_channels", (3, 32, 48))
    strides = sizes(config, "stem_strides", (2, 1, 1, 2, 1))
    config.require(len(stem) == 3, "stem_channels", "must have 3 entries")
    config.require(len(strides) == 5, "stem_strides", "must have 5 entries")
    same_lengths(config, **columns)
    config.require(
        max(columns["stage_numb_of_layers"]) <= MAX_LAYERS,
        "stage_numb_of_layers",
        f"must be at most {MAX_LAYERS} a block",
    )
    stages = tuple(
        HgStage(
            width=width,
            inner=inner,
            blocks=blocks,
            layers=layers,
            kernel=kernel,
            light=light,
            shrinks=shrinks,
            stride=stride,
        )
        for width, inner, blocks, layers, kernel, light, shrinks, stride in zip(
            *columns.values(), strict=False
        )
    )
    return HgNetV2(
        channels=stem[0],
        classes=classes(config),
        stem_widths=stem[1:],
        stem_strides=strides,
        stages=stages,
        function=config.text("hidden_act", default="relu"),
        affine=config.flag("use_learnable_affine_block", default=False),
    )


_LC_BLOCKS = [
    [[3, 16, 32, 1, False]],
    [[3, 32, 64, 2, False], [3, 64, 64, 1, False]],
    [[3, 64, 128, 2, False], [3, 128, 128, 1, False]],
    [[3, 128, 256, 2, False], *[[5, 256, 256, 1, False]] * 5],
    [[5, 256, 512, 2, True], [5, 512, 512, 1, True]],
]  # kernel, channels read and given, stride, squeeze-and-excitation


def _lcnet(config: Config) -> LcNet:
    found = table(config, "block_configs", _LC_BLOCKS, (((3, 16, 32, 1, False),),))
    blocks = tuple(
        Separable(kernel=kernel, width=width, stride=stride, squeeze=squeeze)
        for stage in found
        for kernel, _, width, stride, squeeze in stage
    )
    config.ignore("depths", "hidden_dropout_prob")
    return LcNet(
        classes=classes(config),
        layers=blocks,
        stem_width=config.size("stem_channels", default=16),
        stem_stride=config.size("stem_stride", default=2),
        width_scale=number(config, "scale", 1.0),
        divisor=config.size("divisor", default=8),
        reduction=config.size("reduction", default=4),
        last_width=config.size("class_expand", default=1280),
        function=config.text("hidden_act", default="hardswish"),
    )


_TEXT_KERNELS = [
    [[3, 3], [3, 3], [3, 3]],
    [[3, 3], [1, 3], [3, 3], [3, 1]],
    [[3, 3], [3, 3], [3, 1], [1, 3]],
    [[3, 3], [3, 1], [1, 3], [3, 3]],
]
_TEXT_STRIDES = [[1, 2, 1], [2, 1, 1, 1], [2, 1, 1, 1], [2, 1, 1, 1]]


def _textnet(config: Config) -> TextNet:
    kernels = table(config, "conv_layer_kernel_sizes", _TEXT_KERNELS, (((3, 3),),))
    strides = table(config, "conv_layer_strides", _TEXT_STRIDES, ((1,),))
    widths = sizes(config, "hidden_sizes", (64, 64, 128, 256, 512))
    config.ignore("depths")
    shapes = ([len(stage) for stage in kernels], [len(stage) for stage in strides])
    config.require(
        shapes[0] == shapes[1], "conv_layer_strides", "and `conv_layer_kernel_sizes` differ"
    )
    config.require(
        len(widths) == len(kernels) + 1, "hidden_sizes", "must have one entry more than stages"
    )
    return TextNet(
        image=image(config, 640),
        channels=config.size("stem_num_channels", default=3),
        classes=classes(config),
        widths=(config.size("stem_out_channels", default=64), *widths[1:]),
        kernels=kernels,
        strides=strides,
        stem_kernel=config.size("stem_kernel_size", default=3),
        stem_stride=config.size("stem_stride", default=2),
        function=config.text("stem_act_func", default="relu"),
    )


READERS: dict[str, Reader] = {
    "poolformer": _poolformer,
    "hgnet_v2": _hgnet_v2,
    "pp_lcnet": _lcnet,
    "textnet": _textnet,
    "resnet": _resnet,
    "bit": _bit,
    "regnet": _regnet,
    "convnext": _convnext,
    "convnextv2": _convnextv2,
}
