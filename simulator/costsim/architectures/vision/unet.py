"""The denoising U-Net of Stable Diffusion (Rombach et al. 2021) and SDXL, and its autoencoder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal

from costsim.algebra import Number
from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Map, Net
from costsim.architectures.workload import Workload

_GROUPS = 32  # that channels are normalized in


@dataclass(frozen=True, slots=True, kw_only=True)
class UNet(ImageNet):
    """Down and up again through stages, with what each layer gave on the way down at hand.

    It works on latent maps; `image` is the size of the pictures that they stand for.
    """

    latent: ClassVar[bool] = True
    image: tuple[int, ...] = (512, 512)
    channels: int = 4
    classes: int = 0
    compression: int = 8
    """Pixels that a latent position stands for, along a side."""
    widths: tuple[int, ...]
    """Channels of each stage, from the image's size down."""
    depth: int = 2
    """Residual blocks of a stage on the way down; one more on the way up."""
    transformers: tuple[int, ...]
    """Transformer layers after each residual block of a stage; 0 for none."""
    middle_transformers: int
    """Transformer layers at the bottom."""
    heads: tuple[int, ...]
    """Attention heads of each stage."""
    context_width: int
    """Width of the text encoder's output."""
    text_tokens: int = 77
    """Length of a text."""
    linear_projection: bool = False
    """Whether transformers are entered and left by linear layers, not by 1×1 convolutions."""
    added_width: int | None = None
    """Width of what else conditions it (pooled text, sizes), where anything does."""

    def sizes(self, workload: Workload) -> tuple[Number, ...]:
        return tuple(side // self.compression for side in ImageNet.sizes(self, workload))

    def build(self, net: Net) -> None:
        embedded = 4 * self.widths[0]
        image = net.x
        net.block("time", partial(self._embed, net, embedded), part="stem")
        time = replace(net.x, name="time")
        net.x = image
        net.block("entry", partial(net.convolution, self.widths[0], 3, bias=True), part="stem")
        context = Map("text", self.context_width, (self.text_tokens,), leaf=True)
        kept = [net.x]
        last = len(self.widths) - 1

        def layer(name: str, stage: int, transformers: int, joined: Map | None = None) -> None:
            more = (time,) if joined is None else (time, joined)
            heads = self.heads[stage]

            def build() -> None:
                if joined is not None:
                    net.concatenate(net.x, replace(joined, name="kept"))
                residual_block(net, self.widths[stage], time)
                if transformers:
                    self._transformer(net, transformers, heads, context)

            net.block(name, build, 1, "layer", *more)

        for stage, width in enumerate(self.widths):
            for index in range(self.depth):
                layer(f"down{stage + 1}.{index + 1}", stage, self.transformers[stage])
                kept.append(net.x)
            if stage < last:
                shrink = partial(net.convolution, width, 3, 2, bias=True)
                net.block(f"down{stage + 1}.shrink", shrink)
                kept.append(net.x)

        def middle() -> None:
            residual_block(net, self.widths[-1], time)
            self._transformer(net, self.middle_transformers, self.heads[-1], context)
            residual_block(net, self.widths[-1], time)

        net.block("middle", middle, 1, "layer", time)
        for stage in range(last, -1, -1):
            for index in range(self.depth + 1):
                joined = kept.pop()
                layer(f"up{stage + 1}.{index + 1}", stage, self.transformers[stage], joined)
            if stage:
                net.block(f"up{stage + 1}.enlarge", partial(enlarge, net, self.widths[stage]))
        net.block("exit", partial(leave, net, self.channels), part="head")

    def _embed(self, net: Net, width: int) -> None:
        net.x = Map("time.frequencies", self.widths[0], (), leaf=True)
        net.linear(width)
        net.activation("silu")
        net.linear(width)
        if self.added_width is not None:
            time, net.x = net.x, Map("added", self.added_width, (), leaf=True)
            net.linear(width)
            net.activation("silu")
            net.linear(width)
            net.plus(time)

    def _transformer(self, net: Net, layers: int, heads: int, context: Map) -> None:
        start = net.x
        width = start.channels
        head_dim = width // heads

        def project() -> None:
            if self.linear_projection:
                net.linear(width)
            else:
                net.convolution(width, bias=True)

        def attend() -> None:
            net.layer_norm()
            net.self_attention(heads, bias=False)

        def cross() -> None:
            net.layer_norm()
            net.cross_attention(heads, head_dim, context)

        def feed() -> None:
            net.layer_norm()
            net.gated_feed_forward(4 * width, "gelu")

        net.channel_norm("group", _GROUPS)
        project()
        net.tokens()
        for _ in range(layers):
            net.residual(attend)
            net.residual(cross)
            net.residual(feed)
        net.x = replace(net.x, sizes=start.sizes, split=None)
        project()
        net.plus(start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoencoder(ImageNet):
    """Pictures to latent maps and back (the KL-regularized autoencoder of Stable Diffusion)."""

    image: tuple[int, ...] = (512, 512)
    classes: int = 0
    widths: tuple[int, ...] = (128, 256, 512, 512)
    """Channels of each stage, from the image's size down."""
    depth: int = 2
    """Residual blocks of a stage on the way down; one more on the way up."""
    latent_channels: int = 4
    """Channels of the latent map."""
    quantization: bool = True
    """Whether 1×1 convolutions stand on both sides of the latent map."""
    half: Literal["encoder", "decoder", "both"] = "both"
    """What runs: the encoder, the decoder or `both`."""

    def build(self, net: Net) -> None:
        if self.half != "decoder":
            self._encoder(net)
        if self.half != "encoder":
            self._decoder(net)

    def _encoder(self, net: Net) -> None:
        first = partial(net.convolution, self.widths[0], 3, bias=True)
        net.block("encoder.entry", first, part="stem")
        for stage, width in enumerate(self.widths, 1):
            block = partial(residual_block, net, width)
            net.block(f"encoder.stage{stage}.first", block)
            net.block(f"encoder.stage{stage}", block, self.depth - 1)
            if stage < len(self.widths):  # padded at the far end only
                shrink = partial(net.convolution, width, 3, 2, padded=1, bias=True)
                net.block(f"encoder.stage{stage}.shrink", shrink)
        net.block("encoder.middle", partial(self._middle, net))

        def moments() -> None:  # mean and variance of each latent value
            leave(net, 2 * self.latent_channels)
            if self.quantization:
                net.convolution(2 * self.latent_channels, bias=True)

        net.block("encoder.exit", moments, part="head" if self.half == "encoder" else "layer")

    def _decoder(self, net: Net) -> None:
        sizes = net.x.sizes
        if self.half == "decoder":
            factor = 2 ** (len(self.widths) - 1)
            sizes = tuple(side // factor for side in sizes)
        net.reshape(self.latent_channels, sizes)

        def enter() -> None:
            if self.quantization:
                net.convolution(self.latent_channels, bias=True)
            net.convolution(self.widths[-1], 3, bias=True)

        net.block("decoder.entry", enter, part="stem" if self.half == "decoder" else "layer")
        net.block("decoder.middle", partial(self._middle, net))
        for stage in range(len(self.widths), 0, -1):
            width = self.widths[stage - 1]
            block = partial(residual_block, net, width)
            net.block(f"decoder.stage{stage}.first", block)
            net.block(f"decoder.stage{stage}", block, self.depth)
            if stage > 1:
                net.block(f"decoder.stage{stage}.enlarge", partial(enlarge, net, width))
        net.block("decoder.exit", partial(leave, net, self.channels), part="head")

    def _middle(self, net: Net) -> None:
        width = self.widths[-1]
        residual_block(net, width)

        def attend() -> None:
            sizes = net.x.sizes
            net.channel_norm("group", _GROUPS)
            net.tokens()
            net.self_attention(1)
            net.x = replace(net.x, sizes=sizes, split=None)

        net.residual(attend)
        residual_block(net, width)


def residual_block(net: Net, width: int, time: Map | None = None) -> None:
    """Normalize and convolve twice; in between, the time's embedding is added."""

    def branch() -> None:
        net.channel_norm("group", _GROUPS)
        net.activation("silu")
        net.convolution(width, 3, bias=True)
        if time is not None:
            made, net.x = net.x, time
            net.activation("silu")
            net.linear(width)
            added, net.x = net.x, made
            net.plus(added)
        net.channel_norm("group", _GROUPS)
        net.activation("silu")
        net.convolution(width, 3, bias=True)

    projects = net.x.channels != width
    net.residual(branch, partial(net.convolution, width, bias=True) if projects else None)


def enlarge(net: Net, width: int) -> None:
    """Double the map's sides and smooth it."""
    net.enlarge(2)
    net.convolution(width, 3, bias=True)


def leave(net: Net, channels: int) -> None:
    """Normalize and convolve to `channels`."""
    net.channel_norm("group", _GROUPS)
    net.activation("silu")
    net.convolution(channels, 3, bias=True)
