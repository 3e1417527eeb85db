"""Diffusion transformers: DiT (Peebles & Xie 2022), and MMDiT of Stable Diffusion 3 and FLUX."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from costsim.algebra import Number
from costsim.architectures.operators import Embedding
from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Map, Net
from costsim.architectures.workload import Workload

_FREQUENCIES = 256  # sines and cosines that a time is told by


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentTransformer(ImageNet):
    """What works on patches of latent maps; `image` is the size of the pictures behind them."""

    latent: ClassVar[bool] = True
    compression: int = 8
    """Pixels that a latent position stands for, along a side."""
    patch: int = 2
    """Side of a patch of latent positions."""

    def sizes(self, workload: Workload) -> tuple[Number, ...]:
        return tuple(side // self.compression for side in ImageNet.sizes(self, workload))


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionTransformer(LatentTransformer):
    """DiT: transformer layers whose norms are shifted and scaled by time and class."""

    image: tuple[int, ...] = (256, 256)
    channels: int = 4
    layers: int
    """Number of layers."""
    hidden: int
    """Width of the residual stream."""
    heads: int
    """Attention heads."""
    predicts_variance: bool = True
    """Whether it gives twice as many channels as it reads."""
    embeds_in_layers: bool = False
    """Whether each layer has an embedding of time and class of its own, as in diffusers."""

    def build(self, net: Net) -> None:
        image, hidden = net.x, self.hidden

        def condition() -> None:
            embedded(net, Map("time.frequencies", _FREQUENCIES, (), leaf=True), hidden)
            time = net.x
            net.add(
                Embedding(
                    name="class.embedding",
                    rows=net.batch,
                    entries=self.classes + 1,  # one more for no class
                    width=hidden,
                    vocabulary=False,
                )
            )
            net.x = Map("class.embedding", hidden, ())
            net.plus(time)

        def enter() -> None:
            net.convolution(hidden, self.patch, self.patch, 0, bias=True)
            net.tokens()

        net.block("condition", condition, part="stem")
        told = replace(net.x, name="condition")
        net.x = image
        net.block("patches", enter, part="stem")
        alike = self.layers
        if self.embeds_in_layers:  # the head is told by the first layer's

            def own() -> None:
                x = net.x
                condition()
                inner = replace(net.x, name="condition.own")
                net.x = x
                self._layer(net, inner)

            net.block("layers.first", partial(self._layer, net, told), 1, "layer", told)
            net.block("layers", own, self.layers - 1, "layer")
            alike = 0
        if alike:
            net.block("layers", partial(self._layer, net, told), alike, "layer", told)
        values = self.patch**2 * self.channels * (2 if self.predicts_variance else 1)
        net.block("head", partial(modulated_head, net, told, values), 1, "head", told)

    def _layer(self, net: Net, told: Map) -> None:
        modulation(net, told, 6 * self.hidden)

        def attend() -> None:
            modulated_norm(net)
            net.self_attention(self.heads)
            gate(net)

        def feed() -> None:
            modulated_norm(net)
            net.feed_forward(4 * self.hidden)
            gate(net)

        net.residual(attend)
        net.residual(feed)


@dataclass(frozen=True, slots=True, kw_only=True)
class MultimodalDiffusionTransformer(LatentTransformer):
    """MMDiT: text and image attend together, first with weights of their own, then with shared."""

    image: tuple[int, ...] = (1024, 1024)
    channels: int = 16
    classes: int = 0
    layers: int
    """Layers where text and image have weights of their own."""
    joint_layers: int = 0
    """Layers after those where they share them, attention and network side by side."""
    hidden: int
    """Width of the residual streams."""
    heads: int
    """Attention heads."""
    context_width: int = 4096
    """Width of the text encoder's output."""
    pooled_width: int
    """Width of the pooled text that conditions norms."""
    text_tokens: int
    """Length of a text."""
    guidance: bool = False
    """Whether the strength of guidance conditions norms too."""
    query_key_norm: bool = False
    """Whether each head's queries and keys are normalized."""
    text_ends: bool = False
    """Whether the text's stream ends in the last of the first layers, read but not written."""

    def build(self, net: Net) -> None:
        image, hidden = net.x, self.hidden
        context = Map("text", self.context_width, (self.text_tokens,), leaf=True, split="sequence")

        def condition() -> None:
            sources = [("time", _FREQUENCIES), ("pooled", self.pooled_width)]
            if self.guidance:
                sources.append(("guidance", _FREQUENCIES))
            made: Map | None = None
            for name, width in sources:
                embedded(net, Map(name, width, (), leaf=True), hidden)
                if made is not None:
                    net.plus(made)
                made = net.x

        def enter() -> None:
            net.convolution(hidden, self.patch, self.patch, 0, bias=True)
            net.tokens()

        net.block("condition", condition, part="stem")
        told = replace(net.x, name="condition")
        net.x = image
        net.block("patches", enter, part="stem")
        pixels, net.x = net.x, context
        net.block("text", partial(net.linear, hidden), part="stem")
        text = replace(net.x, name="text")
        net.x = pixels
        apart = self.layers - 1 if self.text_ends else self.layers
        net.block("layers", partial(self._layer, net, told, text), apart, "layer", told, text)
        if self.text_ends:
            last = partial(self._layer, net, told, text, ends=True)
            net.block("layers.last", last, 1, "layer", told, text)
        if self.joint_layers:
            net.reshape(hidden, (pixels.positions + self.text_tokens,))
            shared = partial(self._joint, net, told)
            net.block("joint_layers", shared, self.joint_layers, "layer", told)
            net.reshape(hidden, pixels.sizes)
        values = self.patch**2 * self.channels
        net.block("head", partial(modulated_head, net, told, values), 1, "head", told)

    def _project(self, net: Net) -> None:
        """Project a stream to queries, keys and values, and normalize heads."""
        hidden, sizes = self.hidden, net.x.sizes
        net.linear(3 * hidden, split="column", units=self.heads, runs=3)
        if self.query_key_norm:
            head_norms(net, self.heads, hidden // self.heads)
        net.reshape(hidden, sizes)

    def _layer(self, net: Net, told: Map, text: Map, *, ends: bool = False) -> None:
        """Add one layer of two streams; the text's last asks for no result of its own."""
        hidden, heads = self.hidden, self.heads
        pixels = net.x
        total = pixels.positions + text.positions
        modulation(net, told, 6 * hidden)
        net.x = pixels
        modulated_norm(net)
        self._project(net)
        modulation(net, told, (2 if ends else 6) * hidden)
        net.x = text
        modulated_norm(net)
        self._project(net)
        net.reshape(hidden, (total,))
        net.attention(heads, hidden // heads)
        attended = net.x
        for stream in (pixels,) if ends else (text, pixels):
            net.x = replace(attended, channels=hidden, sizes=stream.sizes)
            net.linear(hidden, split="row")
            gate(net)
            net.plus(stream)

            def feed() -> None:
                modulated_norm(net)
                net.feed_forward(4 * hidden, "gelu_pytorch_tanh")
                gate(net)

            net.residual(feed)

    def _joint(self, net: Net, told: Map) -> None:
        hidden, start = self.hidden, net.x
        modulation(net, told, 3 * hidden)
        net.x = start
        modulated_norm(net)
        normed = net.x
        self._project(net)
        net.attention(self.heads, hidden // self.heads)
        attended, net.x = net.x, normed
        net.linear(4 * hidden, split="column")
        net.activation("gelu_pytorch_tanh")
        net.concatenate(attended, net.x)
        net.linear(hidden, split="row")
        gate(net)
        net.plus(start)


def embedded(net: Net, source: Map, width: int) -> None:
    """Turn a vector into one of the stream's width, by two layers."""
    net.x = source
    net.linear(width)
    net.activation("silu")
    net.linear(width)


def modulation(net: Net, told: Map, width: int) -> None:
    """Make shifts, scales and gates of an image from what conditions it; the map stays."""
    x, net.x = net.x, told
    net.activation("silu")
    net.linear(width)
    net.x = x


def modulated_norm(net: Net) -> None:
    """Normalize without weights, then shift and scale."""
    net.layer_norm(weight=False, bias=False)
    net.times(net.x, broadcast=True)


def gate(net: Net) -> None:
    """Scale by one factor a channel of each image."""
    net.times(net.x, broadcast=True)


def head_norms(net: Net, heads: int, head_dim: int) -> None:
    """Normalize queries and keys of each head."""
    x = net.x
    for name in ("query_norm", "key_norm"):
        net.x = Map(f"{x.name}.{name}", head_dim, (x.positions * heads,), split=x.split)
        net.layer_norm("rms")
    net.x = x


def modulated_head(net: Net, told: Map, values: int) -> None:
    """Normalize, shift and scale, and project to the values of a patch."""
    modulation(net, told, 2 * net.x.channels)
    modulated_norm(net)
    net.linear(values)
