"""Work: what the hardware is asked to do, in kernels.

An operator says what it computes; its work says which kernels that takes and of what shape. FLOPs
and elements moved follow from the shape, and so does the time that `costsim.hardware` gives it.
FLOPs count multiply-adds as 2 and count matrix products and convolutions only, in full (no saving
for masks), as PyTorch's `FlopCounterMode` does with eager attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from costsim.algebra import Number, minimum

Direction: TypeAlias = Literal["forward", "backward"]


@dataclass(frozen=True, slots=True)
class Gemm:
    """`count` products of an m×k by a k×n matrix, in one launch."""

    m: Number
    n: Number
    k: Number
    count: Number = 1
    weights: bool = True  # k×n is a parameter, stored in the format of the weights

    @property
    def flops(self) -> Number:
        return 2 * self.m * self.n * self.k * self.count

    @property
    def elements(self) -> Number:
        return (self.m * self.k + self.k * self.n + self.m * self.n) * self.count


@dataclass(frozen=True, slots=True)
class Convolved:
    """A convolution, or a gradient of one, as an implicit m×k by k×n product for each of `count`.

    The m×k factor is gathered from a tensor of `read` elements, which its windows overlap in, so
    that `elements` (input, weight and output once each) are fewer than those of the product.
    """

    m: Number
    n: Number
    k: Number
    count: Number  # groups of channels
    multiply_adds: Number
    elements: Number
    read: Number
    weights: bool = True  # one factor is a parameter; not so for the gradient of one

    @property
    def flops(self) -> Number:
        return 2 * self.multiply_adds


@dataclass(frozen=True, slots=True)
class GroupedGemm:
    """`groups` products whose `m` rows (or summed `k`, where `ragged` is "k") are `m` in all.

    The experts of a mixture share out the tokens that are routed to them, evenly where the router
    is balanced; a weight's gradient sums over an expert's share of them.
    """

    m: Number
    n: Number
    k: Number
    groups: Number
    ragged: Literal["m", "k"] = "m"

    @property
    def flops(self) -> Number:
        return 2 * self.m * self.n * self.k

    @property
    def elements(self) -> Number:
        if self.ragged == "m":
            return self.m * (self.k + self.n) + self.groups * self.k * self.n
        return self.k * (self.m + self.n) + self.groups * self.m * self.n

    @property
    def weights(self) -> bool:
        """Whether one factor is a parameter: not so for the gradient of one."""
        return self.ragged == "m"

    @property
    def mean_m(self) -> Number:
        """Rows of one product, where they are shared out evenly."""
        return self.m / self.groups if self.ragged == "m" else self.m

    @property
    def mean_k(self) -> Number:
        """Summed dimension of one product, where it is shared out evenly."""
        return self.k / self.groups if self.ragged == "k" else self.k


@dataclass(frozen=True, slots=True)
class ScaledDotProduct:
    """softmax(QKᵀ)V over `batch` sequences, by whichever kernel the framework has."""

    batch: Number
    query_heads: Number
    kv_heads: Number
    query_tokens: Number
    kv_tokens: Number
    head_dim: Number
    value_dim: Number
    causal: bool = True
    window: Number | None = None
    direction: Direction = "forward"

    @property
    def reach(self) -> Number:
        """Positions that a token sees."""
        return self.kv_tokens if self.window is None else self.window

    @property
    def flops(self) -> Number:
        # 1. QKᵀ: 2·d each score; 2. PV: 2·d_v each score; 3. their gradients are twice as many.
        scores = self.batch * self.query_heads * self.query_tokens * self.kv_tokens
        passes = 1 if self.direction == "forward" else 2
        return 2 * passes * scores * (self.head_dim + self.value_dim)

    @property
    def seen_flops(self) -> Number:
        """FLOPs of the positions that a window leaves, causal or not."""
        if self.window is None:
            return self.flops
        return self.flops * minimum(self.kv_tokens, self.window) / self.kv_tokens

    @property
    def unmasked_flops(self) -> float:
        """FLOPs of the pairs that mask and window leave; tokens are the last of the context."""
        if not self.causal:
            return float(self.seen_flops)
        queries, keys = float(self.query_tokens), float(self.kv_tokens)
        reach = min(keys, float(self.window)) if self.window is not None else keys
        # The first query sees keys - queries + 1 positions, each further one more, up to the reach.
        growing = min(max(reach - (keys - queries), 0.0), queries)
        first = keys - queries + 1
        pairs = growing * (first + (growing - 1) / 2) + (queries - growing) * reach
        return float(self.flops) * pairs / (queries * keys)

    @property
    def elements(self) -> Number:
        queries = self.batch * self.query_heads * self.query_tokens
        keys = self.batch * self.kv_heads * self.kv_tokens
        once = queries * (self.head_dim + self.value_dim) + keys * (self.head_dim + self.value_dim)
        # Backward reads Q, K, V, O, dO and writes dQ, dK, dV.
        return once if self.direction == "forward" else 2 * once + queries * self.value_dim


@dataclass(frozen=True, slots=True)
class Stream:
    """A pass over memory that reads and writes `elements` in all, in `kernels` launches."""

    elements: Number
    kernels: Number = 1

    @property
    def flops(self) -> Number:
        return 0


@dataclass(frozen=True, slots=True)
class Scan:
    """A fused recurrence along sequences, in `kernels` launches: its states stay on chip.

    `elements` are those of the tensors that it reads and writes, `flops` those of the matrix
    products that the reference code makes of it.
    """

    elements: Number
    flops: Number
    kernels: Number = 1


Work: TypeAlias = Gemm | GroupedGemm | Convolved | ScaledDotProduct | Stream | Scan
