"""Parts of a decoder's short form that are records of their own: experts, latents, state spaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from costsim.algebra import Number, exact_div
from costsim.architectures.layers import Mixer
from costsim.architectures.layers.state_space import StateSpace
from costsim.architectures.layers.state_space_dual import StateSpaceDual

Complaint: TypeAlias = tuple[str, str, str | None]
"""A field, what contradicts others in it, and a hint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertsSpec:
    """A mixture of experts in the place of the feed-forward network."""

    count: Number
    """Routed experts of a layer."""
    top_k: Number
    """Experts that a token is sent to."""
    width: Number | None = None
    """Inner width of each; left out, that of the network (`feed_forward`)."""
    shared_width: Number | None = None
    """Inner width of what every token passes beside them, of all shared experts together."""
    shared_gate: bool = False
    """Whether that is scaled by a sigmoid of the token; left out, no."""
    correction: bool = False
    """Whether the router has a trained term of each expert; left out, no."""
    first: int = 0
    """Layers at the bottom that have the network instead; left out, none."""
    every: int = 1
    """One layer of so many has experts, the last of them; left out, all."""

    def problems(self) -> Iterator[Complaint]:
        """Yield what contradicts."""
        if self.top_k > self.count:
            yield "top_k", f"a token cannot pass {self.top_k} of {self.count} experts", None
        if self.every < 1:
            yield "every", "one layer of `every` so many has experts: at least 1", None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentSpec:
    """Latent attention (MLA): keys and values are made of a narrow vector, which is cached."""

    latent_dim: Number
    """Width of the latent that keys and values are made of."""
    query_latent_dim: Number | None = None
    """Width of the latent that queries are made of; left out, of the stream."""
    key_dim: Number
    """Width of a head's keys without positions."""
    rotary_dim: Number
    """Width of a head's keys with positions, common to all heads."""
    value_dim: Number
    """Width of a head's values."""

    def problems(self) -> Iterator[Complaint]:
        """Yield nothing: any widths make a model."""
        return iter(())


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSpaceSpec:
    """A state space in the place of attention, in all layers or in most."""

    kind: Literal["mamba", "mamba2"]
    """A state for each channel, or a matrix of it for each head."""
    width: Number
    """Width that is scanned, of all heads together."""
    state_size: Number
    """Values of state for each channel."""
    rank: Number | None = None
    """Of Mamba, the width that steps come through; left out, hidden / 16."""
    heads: Number | None = None
    """Of Mamba-2, heads."""
    groups: Number = 1
    """Of Mamba-2, groups of heads that share B and C; left out, one."""
    kernel: Number = 4
    """Positions that the short convolution sees; left out, 4."""
    chunk: Number = 256
    """Of Mamba-2, positions that are worked through at once; left out, 256."""
    attention_every: int = 0
    """One layer of so many has attention, the last of them; left out, none."""
    network: bool = False
    """Whether layers with it have a feed-forward network too; left out, no."""

    def problems(self) -> Iterator[Complaint]:
        """Yield what contradicts."""
        if self.kind == "mamba" and self.heads is not None:
            yield "heads", "only `mamba2` has `heads`", None
        if self.kind == "mamba2":
            if self.heads is None:
                yield "kind", "`mamba2` needs `heads`", None
            elif self.width % self.heads:
                yield "heads", f"`width` {self.width} does not divide into {self.heads}", None
            if self.rank is not None:
                yield "rank", "only `mamba` has a `rank`", None

    def mixer(self, hidden: Number) -> Mixer:
        """Return the mixer of a stream that is `hidden` wide."""
        width, states, kernel = self.width, self.state_size, self.kernel
        if self.kind == "mamba":
            rank = -(-hidden // 16) if self.rank is None else self.rank
            return StateSpace(width=width, state_size=states, rank=rank, kernel=kernel)
        heads = width if self.heads is None else self.heads
        return StateSpaceDual(
            heads=heads,
            head_dim=exact_div(width, heads),
            state_size=states,
            groups=self.groups,
            kernel=kernel,
            chunk=self.chunk,
        )


PARTS: Mapping[str, type[Any]] = {
    "experts": ExpertsSpec,
    "latent": LatentSpec,
    "state_space": StateSpaceSpec,
}
"""Fields of the short form that are records of their own."""
