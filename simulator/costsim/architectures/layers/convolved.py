"""Sub-layers with short convolutions (Inkling): of keys and values, and of what they return."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.branches import Caching
from costsim.architectures.layers.layer import SubLayer
from costsim.architectures.layers.self_attention import SelfAttention
from costsim.architectures.layers.short_convolution import causal_convolution
from costsim.architectures.operators import Columns, Learned, Linear, Operator
from costsim.architectures.operators.shared_factor import SharedFactor
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolved:
    """A sub-layer whose output is convolved, and added to what that gives.

    Some are `scaled` by a trained number first.
    """

    sub_layer: SubLayer
    name: str
    hidden: Number
    kernel: Number
    scaled: bool = False

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the output, and that one's name."""
        found, output = self.sub_layer.operators(workload, hidden, source)
        if self.scaled:
            scale = f"{self.name}.scale"
            found = (*found, Learned(name=scale, shapes=((1,),), multiplies=output))
        convolution = causal_convolution(
            f"{self.name}.convolution", output, workload, hidden, self.kernel, bias=False
        )
        return (*found, convolution), convolution.name

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return what the sub-layer keeps, and the last inputs of the convolution, in fp32."""
        inner = self.sub_layer
        held = inner.cache(batch, tokens) if isinstance(inner, Caching) else ()
        return (*held, _remembered(self.name, batch * self.hidden * self.kernel))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvolvedAttention(SelfAttention):
    """Self-attention with keys and values convolved, and a bias of each score by distance.

    Up to `extent` positions back a token's bias is a mixture, of its own making for each head, of
    `profiles` trained functions of distance.
    """

    kernel: Number
    profiles: Number
    extent: Number

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the mixer's output, and that one's name."""
        found, output = SelfAttention.operators(self, workload, hidden, source)
        rows, mixtures = workload.rows, "attention.profiles"
        extra: tuple[Operator, ...] = (
            *(
                causal_convolution(
                    f"attention.{part}_convolution",
                    f"attention.{part}_projection",
                    workload,
                    self.kv_heads * width,
                    self.kernel,
                    bias=False,
                )
                for part, width in (("key", self.head_dim), ("value", self.values))
            ),
            Linear(
                name=mixtures,
                source=source,
                rows=rows,
                inputs=hidden,
                columns=(Columns(self.heads * self.profiles, self.heads),),
                split="column",
            ),
            SharedFactor(
                name="attention.distance_bias",
                source=mixtures,
                rows=rows,
                groups=self.heads,
                inputs=self.profiles,
                outputs=self.extent,
            ),
        )
        return (found[0], *extra, *found[1:]), output

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return keys and values, and the last inputs of their convolutions, in fp32."""
        convolved = self.kv_heads * (self.head_dim + self.values)
        held = SelfAttention.cache(self, batch, tokens)
        return (*held, _remembered("attention", batch * convolved * self.kernel))


def _remembered(name: str, elements: Number) -> CacheTensor:
    return CacheTensor(f"{name}.convolution_state", elements, "float32")
