"""Changes of shape: fewer heads, neurons, channels, layers, experts; other kinds of attention.

Each function takes a part of a description and returns it changed; parts that it does not concern
come back as they are. How much of a dimension stays is rounded to whole units and never to none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias, cast

from costsim.architectures.layers import (
    FeedForward,
    LatentSelfAttention,
    MixtureOfExperts,
    SelfAttention,
)
from costsim.architectures.layers.cross_attention import CrossAttention
from costsim.architectures.layers.relative_attention import RelativeAttention
from costsim.architectures.stacks import Stack
from costsim.architectures.transformer import Transformer
from costsim.architectures.vision.mobilenet import MobileNetV1, MobileNetV2
from costsim.architectures.vision.resnet import ResNet
from costsim.errors import SpecError

Change: TypeAlias = Callable[[Any], Any]


def left(size: int, ratio: float, what: str, multiple: int = 1) -> int:
    """Return what is left of `size` when a `ratio` of it is taken away, in steps of `multiple`.

    Raises:
        SpecError: if nothing would be left.
    """
    kept = round(size * (1 - ratio) / multiple) * multiple
    if kept < 1:
        raise SpecError(
            f"pruning {ratio:.0%} of {size:,} {what} leaves none",
            hint="use a smaller ratio",
        )
    return kept


def fewer_heads(ratio: float) -> Change:
    """Take away a share of attention's heads.

    Where heads share keys and values in groups, either whole groups go or as many heads of each,
    whichever comes nearer to the share.
    """

    def change(node: Any) -> Any:
        if isinstance(node, SelfAttention | CrossAttention):
            each, groups = node.heads // node.kv_heads, node.kv_heads
            fewer = max(1, round(groups * (1 - ratio))), each
            thinner = groups, max(1, round(each * (1 - ratio)))
            wanted = node.heads * (1 - ratio)
            groups, each = min(fewer, thinner, key=lambda kept: abs(kept[0] * kept[1] - wanted))
            if groups * each == node.heads:
                raise SpecError(f"{ratio:.0%} of {node.heads} heads is less than one")
            return replace(node, heads=groups * each, kv_heads=groups)
        if isinstance(node, LatentSelfAttention):
            return replace(node, heads=left(node.heads, ratio, "heads"))
        return node

    return change


def fewer_neurons(ratio: float, multiple: int = 1) -> Change:
    """Take away a share of the inner width of feed-forward networks and experts."""

    def change(node: Any) -> Any:
        if isinstance(node, FeedForward | MixtureOfExperts):
            return replace(node, width=left(node.width, ratio, "neurons", multiple))
        return node

    return change


def narrower(ratio: float, multiple: int = 1) -> Change:
    """Take away a share of the residual stream's width; heads keep their own."""

    def change(node: Any) -> Any:
        if isinstance(node, Transformer | Stack):
            return replace(node, hidden=left(node.hidden, ratio, "channels", multiple))
        return node

    return change


def fewer_channels(ratio: float) -> Change:
    """Take away a share of the channels inside residual blocks, or of all of a mobile net."""

    def change(node: Any) -> Any:
        if isinstance(node, ResNet) and node.block == "bottleneck":
            inner = node.inner_widths or tuple(width // 4 for width in node.widths)
            # A group of a grouped convolution has at least one channel.
            kept = tuple(left(width, ratio, "channels", node.groups) for width in inner)
            return replace(node, inner_widths=kept)
        if isinstance(node, MobileNetV1 | MobileNetV2):
            if ratio >= 1:
                left(1, ratio, "channels")
            return replace(node, width_scale=node.width_scale * (1 - ratio))
        return node

    return change


def fewer_layers(ratio: float) -> Change:
    """Take away a share of each stack's layers, of every kind of layer alike."""

    def change(node: Any) -> Any:
        if not isinstance(node, Transformer | Stack):
            return node
        runs = cast("tuple[tuple[Any, int], ...]", node.layers)
        depth = sum(count for _, count in runs)
        wanted = left(depth, ratio, "layers")
        # Largest remainders: the kinds keep their shares as nearly as whole layers allow.
        shares = [count * wanted / depth for _, count in runs]
        counts = [int(share) for share in shares]
        order = sorted(range(len(runs)), key=lambda run: counts[run] - shares[run])
        for run in order[: wanted - sum(counts)]:
            counts[run] += 1
        kept = tuple((runs[run][0], count) for run, count in enumerate(counts) if count)
        return replace(node, layers=kept)

    return change


def fewer_experts(kept: int) -> Change:
    """Keep, or merge into, `kept` experts of each mixture."""

    def change(node: Any) -> Any:
        if not isinstance(node, MixtureOfExperts):
            return node
        if not node.top_k <= kept <= node.experts:
            raise SpecError(
                f"a mixture of {node.experts} experts, {node.top_k} a token, cannot become one of "
                f"{kept}",
                hint=f"use a number from {node.top_k} to {node.experts}",
            )
        return replace(node, experts=kept)

    return change


def upcycled(experts: int, top_k: int) -> Change:
    """Put copies of each feed-forward network, and a router, in its place.

    Komatsuzaki et al. 2022, sparse upcycling (arXiv 2212.05055).
    """
    if not 1 <= top_k <= experts:
        raise SpecError(f"a token cannot pass {top_k} of {experts} experts")

    def change(node: Any) -> Any:
        if not isinstance(node, FeedForward):
            return node
        if node.inner_norm is not None or node.activation_weights:
            raise SpecError("networks with a norm or weights of their own inside have no mixture")
        return MixtureOfExperts(
            width=node.width, experts=experts, top_k=top_k, gated=node.gated, bias=node.bias
        )

    return change


def grouped_queries(kv_heads: int) -> Change:
    """Let query heads share `kv_heads` heads of keys and values (GQA; MQA where it is 1).

    Ainslie et al. 2023 (arXiv 2305.13245).
    """

    def change(node: Any) -> Any:
        if not isinstance(node, SelfAttention):
            return node
        if node.heads % kv_heads or kv_heads > node.kv_heads:
            fitting = [n for n in range(1, node.kv_heads + 1) if not node.heads % n]
            raise SpecError(
                f"{node.heads} query heads cannot share {kv_heads} heads of keys and values in "
                f"place of {node.kv_heads}",
                hint="use one of " + ", ".join(map(str, fitting)),
            )
        return replace(node, kv_heads=kv_heads)

    return change


def latent_attention(latent: int, rotary: int, query_latent: int | None = None) -> Change:
    """Compress keys and values into a latent (MLA, DeepSeek-V2, arXiv 2405.04434)."""

    def change(node: Any) -> Any:
        if type(node) not in (SelfAttention, RelativeAttention):
            return node
        return LatentSelfAttention(
            heads=node.heads,
            latent_dim=latent,
            query_latent_dim=query_latent,
            key_dim=node.head_dim,
            rotary_dim=rotary,
            value_dim=node.values,
            bias=node.bias,
            window=node.window,
            dropout=node.dropout,
        )

    return change


def windowed(window: int) -> Change:
    """Let attention see `window` positions at most."""

    def change(node: Any) -> Any:
        if not isinstance(node, SelfAttention | LatentSelfAttention):
            return node
        if node.window is not None and node.window <= window:
            return node
        return replace(node, window=window)

    return change
