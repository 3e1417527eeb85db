"""The mixture of experts: a router, the networks that it chooses from, and those always used."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.feed_forward import FeedForward
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.operators import Experts, Learned, Linear, Operator, Routing
from costsim.architectures.workload import Workload


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

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the mixture's output, and its name."""
        rows, name = workload.rows, "feed_forward.experts"
        found: list[Operator] = [
            Linear.of(
                "feed_forward.router",
                source,
                rows,
                hidden,
                self.experts,
                bias=self.router_bias,
                use="router",
            ),
            Routing(
                name="feed_forward.routing",
                rows=rows,
                experts=self.experts,
                top_k=self.top_k,
                correction=self.correction,
            ),
        ]
        inner, read = hidden, source
        if self.latent is not None:
            inner, read = self.latent, "feed_forward.latent"
            bias = self.latent_bias
            found.append(Linear.of(read, source, rows, hidden, inner, bias=bias))
        found.append(
            Experts(
                name=name,
                source=read,
                rows=rows,
                hidden=inner,
                width=self.width,
                experts=self.experts,
                chosen_from=self.experts,
                top_k=self.top_k,
                gated=self.gated,
                bias=self.bias,
                exhaustive=self.exhaustive,
            )
        )
        if self.latent is not None:
            output = "feed_forward.latent_output"
            found.append(Linear.of(output, name, rows, inner, hidden, bias=self.latent_bias))
            name = output
        if self.shared is not None:
            found.extend(self.shared.operators(workload, hidden, source)[0])
        if self.shared_gate:
            gate = "feed_forward.shared_gate"
            found.append(Linear.of(gate, source, rows, hidden, self.shared_gates, use="router"))
        if self.output_bias:
            bias = "feed_forward.output_bias"
            found.append(Learned(name=bias, shapes=((hidden,),), elements=rows * hidden))
        if self.output_norm is not None:
            norm = self.output_norm.operator("feed_forward.output_norm", name, rows, hidden)
            return (*found, norm), norm.name
        return tuple(found), name
