"""HunyuanDiT (Li et al. 2024, arXiv 2405.08748): a diffusion transformer that reads text apart.

Layers attend to the image, then to the text, whose two encoders' outputs stand side by side; those
past the middle also read what a layer before the middle gave, as in a U-Net.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from costsim.architectures.operators import Embedding
from costsim.architectures.vision.dit import (
    LatentTransformer,
    embedded,
    modulated_head,
    modulation,
)
from costsim.architectures.vision.net import Map, Net

_FREQUENCIES = 256  # sines and cosines that a number is told by
_SIZES = 6  # numbers that tell the sizes of an image and of its crop
_POOL_HEADS = 8  # of the attention that pools the text


@dataclass(frozen=True, slots=True, kw_only=True)
class HunyuanDiT(LatentTransformer):
    """HunyuanDiT: norms are shifted by time, pooled text, style and sizes."""

    image: tuple[int, ...] = (1024, 1024)
    channels: int = 4
    classes: int = 0
    layers: int
    """Number of layers."""
    hidden: int
    """Width of the residual stream."""
    heads: int
    """Attention heads."""
    feed_forward: int
    """Inner width of the networks."""
    context_width: int = 1024
    """Width of the texts that layers attend to."""
    long_width: int = 2048
    """Width of the second text encoder's output."""
    pooled_width: int = 1024
    """Width of the pooled text."""
    text_tokens: int = 77
    """Length of a text of the first encoder."""
    long_tokens: int = 256
    """Length of a text of the second encoder."""
    predicts_variance: bool = True
    """Whether it gives twice as many channels as it reads."""

    def build(self, net: Net) -> None:
        image, hidden = net.x, self.hidden
        long = Map("long_text", self.long_width, (self.long_tokens,), leaf=True)

        def enter() -> None:
            net.convolution(hidden, self.patch, self.patch, 0, bias=True)
            net.tokens()

        net.block("condition", partial(self._condition, net, long), part="stem")
        told = replace(net.x, name="condition")
        net.x = long
        net.block("text", partial(self._text, net), part="stem")
        text = Map("text", self.context_width, (self.text_tokens + self.long_tokens,))
        net.x = image
        net.block("patches", enter, part="stem")
        middle = self.layers // 2
        skipping = max(self.layers - middle - 1, 0)
        layer = partial(self._layer, net, told, text)
        net.block("layers", layer, self.layers - skipping, "layer", told, text)
        if skipping:
            kept = replace(net.x, name="kept")
            later = partial(self._layer, net, told, text, kept)
            net.block("layers.joined", later, skipping, "layer", told, text, kept)
        values = self.patch**2 * self.channels * (2 if self.predicts_variance else 1)
        net.block("head", partial(modulated_head, net, told, values), 1, "head", told)

    def _condition(self, net: Net, long: Map) -> None:
        """Embed time; pool the long text; tell both with style and sizes."""
        hidden, width = self.hidden, self.long_width
        embedded(net, Map("time.frequencies", _FREQUENCIES, (), leaf=True), hidden)
        time = net.x
        net.x = replace(long, sizes=(self.long_tokens + 1,))  # and the mean of all
        net.learned("pool.positions", (self.long_tokens + 1, width))
        pooled = net.x
        net.linear(2 * width, split="column", units=_POOL_HEADS, runs=2)
        net.x = replace(pooled, sizes=(1,))
        net.linear(width, split="column", units=_POOL_HEADS)
        net.attention(_POOL_HEADS, width // _POOL_HEADS, tokens=1, context=self.long_tokens + 1)
        net.reshape(width, ())
        net.linear(self.pooled_width, split="row")
        style = Embedding(
            name="style.embedding", rows=net.batch, entries=1, width=hidden, vocabulary=False
        )
        net.add(style)
        net.x = Map("extra", _FREQUENCIES * _SIZES + hidden + self.pooled_width, ())
        net.linear(4 * hidden)
        net.activation("silu")
        net.linear(hidden)
        net.plus(time)

    def _text(self, net: Net) -> None:
        """Bring the long text to the other's width; learned vectors stand for what is missing."""
        net.linear(4 * self.long_width)
        net.activation("silu")
        net.linear(self.context_width)
        net.reshape(self.context_width, (self.text_tokens + self.long_tokens,))
        net.learned("padding", (self.text_tokens + self.long_tokens, self.context_width))

    def _layer(self, net: Net, told: Map, text: Map, kept: Map | None = None) -> None:
        hidden, heads, width = self.hidden, self.heads, self.hidden // self.heads
        sizes = net.x.sizes
        if kept is not None:
            net.concatenate(net.x, kept)
            net.layer_norm()
            net.linear(hidden)

        def attend() -> None:
            modulation(net, told, hidden)
            net.layer_norm()
            net.times(net.x, broadcast=True)
            net.linear(3 * hidden, split="column", units=heads, runs=3)
            _head_norms(net, heads, width)
            net.reshape(hidden, sizes)
            net.attention(heads, width)
            net.linear(hidden, split="row")

        def read() -> None:
            net.layer_norm()
            net.linear(hidden, split="column", units=heads)
            query, net.x = net.x, text
            net.linear(2 * hidden, split="column", units=heads, runs=2)
            _head_norms(net, heads, width, ("key_norm",))
            net.x = query
            _head_norms(net, heads, width, ("query_norm",))
            net.attention(heads, width, context=text.positions)
            net.reshape(hidden, sizes)
            net.linear(hidden, split="row")

        def feed() -> None:
            net.layer_norm()
            net.feed_forward(self.feed_forward, "gelu_pytorch_tanh")

        net.residual(attend)
        net.residual(read)
        net.residual(feed)


def _head_norms(
    net: Net, heads: int, width: int, names: tuple[str, ...] = ("query_norm", "key_norm")
) -> None:
    """Normalize queries or keys of each head."""
    x = net.x
    for name in names:
        net.x = Map(f"{x.name}.{name}", width, (x.positions * heads,), split=x.split)
        net.layer_norm()
    net.x = x
