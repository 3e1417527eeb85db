"""Nets for phones and nets scaled from them: MobileNet V1 and V2, EfficientNet."""

from __future__ import annotations

from math import ceil

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.vision.common import (
    classes,
    image,
    number,
    places,
    same_lengths,
    sizes,
)
from costsim.architectures.vision.inverted import ListedNet, Stage
from costsim.architectures.vision.mobilenet import MobileNetV1
from costsim.architectures.vision.net import fitted


def _mobilenet_v1(config: Config) -> MobileNetV1:
    return MobileNetV1(
        image=image(config),
        channels=config.size("num_channels", default=3),
        classes=classes(config),
        width_scale=number(config, "depth_multiplier", 1.0),
        lowest_width=config.size("min_depth", default=8),
        function=config.text("hidden_act", default="relu6"),
        padding="same" if config.flag("tf_padding", default=True) else "half",
    )


# Channels, depth and stride of each run of inverted residuals.
_V2 = ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))


def _mobilenet_v2(config: Config) -> ListedNet:
    scale = number(config, "depth_multiplier", 1.0)
    divisor = config.size("depth_divisible_by", default=8)
    lowest = config.size("min_depth", default=8)
    expansion = number(config, "expand_ratio", 6.0)
    function = config.text("hidden_act", default="relu6")
    limit = config.size("output_stride", default=32)
    config.require(limit in (8, 16, 32), "output_stride", "must be 8, 16 or 32")

    def width(channels: int) -> int:
        return fitted(round(channels * scale), divisor, lowest)

    first = config.flag("first_layer_is_expansion", default=True)
    stages = [Stage(width=width(16), expansion=1, function=function, widen=not first)]
    current, dilation = 2, 1
    for channels, depth, stride in _V2:
        # Where the map may not shrink further, windows widen instead, from the next layer on.
        wanted, held = stride, current == limit
        stages.append(
            Stage(
                width=width(channels),
                depth=depth,
                expansion=expansion,
                stride=1 if held else wanted,
                dilation=dilation,
                then_dilation=dilation * wanted if held else dilation,
                function=function,
                widen=True,
            )
        )
        if held:
            dilation *= wanted
        else:
            current *= wanted
    fine = config.flag("finegrained_output", default=True) and scale < 1.0
    return ListedNet(
        image=image(config),
        channels=config.size("num_channels", default=3),
        classes=classes(config),
        runs=tuple(stages),
        first_width=width(32),
        final_width=1280 if fine else width(1280),
        divisor=divisor,
        lowest_width=lowest,
        activation=function,
        padding="same" if config.flag("tf_padding", default=True) else "half",
    )


def _efficientnet(config: Config) -> ListedNet:
    scale = number(config, "width_coefficient", 2.0)
    deeper = number(config, "depth_coefficient", 3.1)
    divisor = config.size("depth_divisor", default=8)
    inputs = sizes(config, "in_channels", (32, 16, 24, 40, 80, 112, 192))
    widths = sizes(config, "out_channels", (16, 24, 40, 80, 112, 192, 320))
    kernels = sizes(config, "kernel_sizes", (3, 3, 5, 3, 5, 5, 3))
    strides = sizes(config, "strides", (1, 2, 2, 2, 1, 2, 1))
    repeats = sizes(config, "num_block_repeats", (1, 2, 2, 3, 3, 4, 1))
    ratios = sizes(config, "expand_ratios", (1, 6, 6, 6, 6, 6, 6))
    config.ignore("drop_connect_rate", "dropout_rate", "pooling_type", "num_hidden_layers")
    config.ignore("hidden_dim")  # of the last convolution, which follows from the factors
    squeeze = number(config, "squeeze_expansion_ratio", 0.25)
    function = config.text("hidden_act", default="swish")
    if not same_lengths(
        config,
        in_channels=inputs,
        out_channels=widths,
        kernel_sizes=kernels,
        strides=strides,
        num_block_repeats=repeats,
        expand_ratios=ratios,
    ):
        return ListedNet(runs=(Stage(width=8),), first_width=8, final_width=8)
    symmetric = places(config, "depthwise_padding")
    stages: list[Stage] = []
    block = 0
    for index, repeat in enumerate(repeats):
        stages.append(
            Stage(
                width=fitted(widths[index] * scale, divisor),
                depth=ceil(deeper * repeat),
                expansion=ratios[index],
                kernel=kernels[index],
                stride=strides[index],
                squeeze=squeeze,
                function=function,
                one_sided=block not in symmetric,
            )
        )
        block += stages[-1].depth
    return ListedNet(
        image=image(config, 600),
        channels=config.size("num_channels", default=3),
        classes=classes(config),
        runs=tuple(stages),
        first_width=fitted(32 * scale, divisor),
        final_width=fitted(1280 * scale, divisor),
        activation=function,
        squeeze_activation=function,
        padding="valid",
    )


READERS: dict[str, Reader] = {
    "mobilenet_v1": _mobilenet_v1,
    "mobilenet_v2": _mobilenet_v2,
    "efficientnet": _efficientnet,
}
