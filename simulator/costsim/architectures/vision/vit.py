"""The vision transformer (Dosovitskiy et al. 2020): an image as a sequence of patches.

DeiT, BEiT, DINOv2, I-JEPA and the image towers of CLIP and SigLIP differ in what is switched here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Literal

from costsim.algebra import Number, exact_div
from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Net


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderLayer:
    """Attention of all positions to all and a feed-forward network, each after a norm."""

    heads: Number
    width: Number
    function: str = "gelu"
    bias: bool = True  # of queries, keys and values
    key_bias: bool = True
    gated: bool = False
    layer_scale: bool = False  # whether what a sub-layer gives is scaled, channel by channel
    causal: bool = False

    def build(self, net: Net) -> None:
        """Add the layer."""

        def scale() -> None:
            if self.layer_scale:
                net.learned("layer_scale", (net.x.channels,), scales=True)

        def attend() -> None:
            net.layer_norm()
            net.self_attention(
                self.heads, bias=self.bias, key_bias=self.key_bias, causal=self.causal
            )
            scale()

        def feed() -> None:
            net.layer_norm()
            if self.gated:
                net.gated_feed_forward(self.width, self.function)
            else:
                net.feed_forward(self.width, self.function)
            scale()

        net.residual(attend)
        net.residual(feed)


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionTransformer(ImageNet):
    """Patches, learned positions, transformer layers, and a head on a token or on the mean."""

    patch: int
    """Side of a patch."""
    layers: int
    """Number of layers."""
    hidden: int
    """Width of the residual stream."""
    heads: int
    """Attention heads."""
    width: int
    """Inner width of the feed-forward networks."""
    function: str = "gelu"
    """Activation function of the networks."""
    gated: bool = False
    """Whether the networks multiply two projections up, of one matrix."""
    class_tokens: int = 1
    """Learned tokens before the patches that have positions: of the class, of distillation."""
    registers: int = 0
    """Learned tokens before the patches without positions."""
    mask_token: bool = False
    """Whether there is a token for patches that are left out, unused here."""
    position_table: Literal["parameter", "embedding", "none"] = "parameter"
    """Learned positions, as a plain tensor or an embedding, or none."""
    distance_bias: Literal["none", "layer", "shared"] = "none"
    """A table of biases of scores by distance, in each layer or one for all."""
    patch_bias: bool = True
    """Whether the projection of patches has a bias."""
    query_key_value_bias: bool = True
    """Whether projections to queries, keys and values have."""
    key_bias: bool = True
    """Whether that to keys has, where the others do."""
    layer_scale: bool = False
    """Whether what a sub-layer gives is scaled, channel by channel."""
    first_norm: bool = False
    """Whether a norm precedes the first layer."""
    pooled: Literal["class", "mean", "class and mean"] = "class"
    """What is classified: the first token, the mean of the patches, or both side by side."""
    pooler: Literal["none", "dense", "attention"] = "none"
    """A layer that pools for those who ask for features; one by attention is also run otherwise."""

    def build(self, net: Net) -> None:
        net.block("patches", partial(self._stem, net), part="stem")
        layer = EncoderLayer(
            heads=self.heads,
            width=self.width,
            function=self.function,
            bias=self.query_key_value_bias,
            key_bias=self.key_bias,
            gated=self.gated,
            layer_scale=self.layer_scale,
        )

        def build() -> None:
            if self.distance_bias == "layer":
                net.learned("position_bias", self._distances, applied=False)
            layer.build(net)

        net.block("layers", build, self.layers)
        net.block("head", partial(self._head, net), part="head")

    @property
    def _grid(self) -> tuple[int, ...]:
        return tuple(side // self.patch for side in self.image)

    @property
    def _distances(self) -> tuple[int, int]:
        # the patches' distances, and three: class to patch, patch to class, class to class
        return prod(2 * side - 1 for side in self._grid) + 3, self.heads

    def _stem(self, net: Net) -> None:
        net.convolution(self.hidden, self.patch, self.patch, 0, bias=self.patch_bias)
        extra = self.class_tokens + self.registers
        net.tokens(extra)
        tokens: list[tuple[int, ...]] = [(1, self.hidden)] * (extra + self.mask_token)
        if tokens:
            net.learned("tokens", *tokens, applied=False)
        if self.position_table != "none":
            entries = prod(self._grid) + self.class_tokens
            lookup = self.position_table == "embedding"
            net.learned("positions", (entries, self.hidden), lookup=lookup)
        if self.distance_bias == "shared":
            net.learned("position_bias", self._distances, applied=False)
        if self.first_norm:
            net.layer_norm()

    def _head(self, net: Net) -> None:
        net.layer_norm()
        if self.pooler == "attention":
            attend = partial(attention_pooling, net, self.heads, self.width, self.function)
            if self.classes:
                net.detached(attend)
            else:
                attend()
                return
        net.reshape(self.hidden * (2 if self.pooled == "class and mean" else 1), ())
        if self.pooler == "dense" and not self.classes:
            net.linear(self.hidden)
            net.activation("tanh")
        net.classify(self.classes)


def attention_pooling(net: Net, heads: Number, width: Number, function: str) -> None:
    """Attend to the map with one learned query, and add a feed-forward network."""
    x, hidden = net.x, net.x.channels
    net.learned("probe", (1, hidden), applied=False)
    net.linear(2 * hidden, split="column", units=heads, runs=2)
    net.reshape(hidden, (1,))
    net.linear(hidden, split="column", units=heads)
    net.attention(heads, exact_div(hidden, heads), tokens=1, context=x.positions)
    net.linear(hidden, split="row")

    def feed() -> None:
        net.layer_norm()
        net.feed_forward(width, function)

    net.residual(feed)
    net.reshape(hidden, ())
