"""The mixture of experts: a router, the networks that it chooses from, and those always used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from costsim.algebra import Number
from costsim.architectures.layers.feed_forward import FeedForward
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.operators import Experts, Routing


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureOfExperts:
    """In the place of one network `experts` of them, of which a token passes `top_k`.

    `shared` is a network that every token passes (several of equal width are one as wide as all);
    with a `shared_gate` its output is scaled by a sigmoid of the token. `correction` is a trained
    term of each expert in the router; `exhaustive` as in `Experts`. `output_norm` normalizes the
    sum, where dense layers of the model have no such norm.
    """

    width: Number  # of each expert
    experts: Number
    top_k: Number
    gated: bool = True
    bias: bool = False  # of experts
    router_bias: bool = False
    correction: bool = False
    shared: FeedForward | None = None
    shared_gate: bool = False
    shared_gates: Number = 1  # one for the shared network, or one for each expert in it
    exhaustive: bool = False
    latent: Number | None = None
    latent_bias: bool = False
    output_norm: NormStyle | None = None
    output_bias: bool = False  # of the sum
    groups: Number = 1  # of experts, of which a token picks `group_limit` first
    group_limit: Number = 1
    empty: Number = 0  # experts more that give back what they read (LongCat)

    def build(self, x: Tensor) -> Tensor:
        """Record the mixture."""
        x = x.within("feed_forward")
        chosen = route(
            x,
            self.experts + self.empty,
            self.top_k,
            bias=self.router_bias,
            correction=self.correction,
        )
        # A router that is balanced sends as many to empty experts as there are of those.
        chosen_of = self.top_k * self.experts // (self.experts + self.empty)
        read = x
        if self.latent is not None:
            read = x.linear("latent", self.latent, bias=self.latent_bias)
        output = through_experts(
            read,
            chosen,
            width=self.width,
            experts=self.experts,
            top_k=chosen_of if self.empty else self.top_k,
            gated=self.gated,
            bias=self.bias,
            exhaustive=self.exhaustive,
            groups=self.groups,
            group_limit=self.group_limit,
        )
        if self.latent is not None:
            output = output.linear("latent_output", x.width, bias=self.latent_bias)
        if self.shared is not None:
            self.shared.build(x)
        if self.shared_gate:
            x.linear("shared_gate", self.shared_gates, use="router")
        if self.output_bias:
            output.learned("output_bias", (x.width,))
        if self.output_norm is not None:
            return output.norm("output_norm", self.output_norm)
        return output


def route(
    x: Tensor, experts: Number, top_k: Number, *, bias: bool = False, correction: bool = False
) -> Tensor:
    """Record the scores of experts, and the choice of `top_k` of them."""
    scores = x.linear("router", experts, bias=bias, use="router")
    return scores.make(
        Routing,
        "routing",
        top_k,
        rows=x.rows,
        experts=experts,
        top_k=top_k,
        correction=correction,
    )


def through_experts(
    x: Tensor, *others: Tensor, width: Number, experts: Number, top_k: Number, **fields: Any
) -> Tensor:
    """Record the networks that each position is sent to, and the sum of what they give."""
    return x.make(
        Experts,
        "experts",
        x.width,
        *others,
        source=x.name,
        rows=x.rows,
        hidden=x.width,
        width=width,
        experts=experts,
        chosen_from=experts,
        top_k=top_k,
        **fields,
    )
