"""Sub-layers with short convolutions (Inkling): of keys and values, and of what they return."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.branches import Caching
from costsim.architectures.layers.layer import SubLayer
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.layers.self_attention import SelfAttention
from costsim.architectures.operators import Columns
from costsim.architectures.operators.shared_factor import SharedFactor
from costsim.architectures.tensors import CacheTensor


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

    def build(self, x: Tensor) -> Tensor:
        """Record the sub-layer and the convolution of what it gives."""
        output = self.sub_layer.build(x).within(self.name)
        if self.scaled:
            scaled = output.learned("scale", (1,), elements=0, scales=True)
            output = output.made_by(scaled)
        return output.causal("convolution", self.kernel, x.width, bias=False)

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

    def attended(self, x: Tensor) -> Tensor:
        """Record all but the projection back."""
        x = x.within("attention")
        query, key, value = self.projected(x)
        key = key.causal("key_convolution", self.kernel, key.width, bias=False)
        value = value.causal("value_convolution", self.kernel, value.width, bias=False)
        columns = Columns(self.heads * self.profiles, self.heads)
        mixtures = x.linear("profiles", columns, split="column")
        mixtures.make(
            SharedFactor,
            "distance_bias",
            self.heads * self.extent,
            source=mixtures.name,
            rows=x.rows,
            groups=self.heads,
            inputs=self.profiles,
            outputs=self.extent,
        )
        return self.over(x, query, key, value)

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return keys and values, and the last inputs of their convolutions, in fp32."""
        convolved = self.kv_heads * (self.head_dim + self.values)
        held = SelfAttention.cache(self, batch, tokens)
        return (*held, _remembered("attention", batch * convolved * self.kernel))


def _remembered(name: str, elements: Number) -> CacheTensor:
    return CacheTensor(f"{name}.convolution_state", elements, "float32")
