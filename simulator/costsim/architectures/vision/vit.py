"""The vision transformer (Dosovitskiy et al. 2020): an image as a sequence of patches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from costsim.algebra import Number
from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Net


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionTransformer(ImageNet):
    """Patches, learned positions, transformer layers, and a head on a class token or the mean."""

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
    extra_tokens: int = 1
    """Learned tokens before the patches: the class token, that of distillation, registers."""
    patch_bias: bool = True
    """Whether the projection of patches has a bias."""
    query_key_value_bias: bool = True
    """Whether projections to queries, keys and values have."""
    first_norm: bool = False
    """Whether a norm precedes the first layer."""
    head: Literal["class", "mean"] = "class"
    """What is classified: the class token, or the mean of the patches."""

    def build(self, net: Net) -> None:
        tokens = self.extra_tokens
        net.block("patches", partial(self._stem, net, tokens), part="stem")
        net.block(
            "layers",
            partial(
                encoder_layer, net, self.heads, self.width, self.function, self.query_key_value_bias
            ),
            self.layers,
        )
        net.block("head", partial(self._head, net), part="head")

    def _stem(self, net: Net, extra: Number) -> None:
        net.convolution(self.hidden, self.patch, self.patch, 0, bias=self.patch_bias)
        net.tokens(extra)
        native = 1
        for size in self.image:
            native *= size // self.patch
        shapes = [(native + extra, self.hidden)]
        if self.extra_tokens:
            shapes.append((extra, self.hidden))
        net.learned("positions", *shapes)
        if self.first_norm:
            net.layer_norm()

    def _head(self, net: Net) -> None:
        net.layer_norm()
        net.reshape(self.hidden, ())
        net.classify(self.classes)


def encoder_layer(
    net: Net, heads: Number, width: Number, function: str = "gelu", bias: bool = True
) -> None:
    """Add attention of all positions to all and a feed-forward network, each after a norm."""

    def attend() -> None:
        net.layer_norm()
        net.self_attention(heads, bias=bias)

    def feed() -> None:
        net.layer_norm()
        net.feed_forward(width, function)

    net.residual(attend)
    net.residual(feed)
