"""How a model normalizes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from costsim.algebra import Number
from costsim.architectures.operators import Norm


@dataclass(frozen=True, slots=True, kw_only=True)
class NormStyle:
    """Which normalization a model uses, and which parameters it has."""

    kind: Literal["layer", "rms"] = "layer"
    weight: bool = True
    bias: bool = True

    def operator(self, name: str, source: str, rows: Number, width: Number) -> Norm:
        """Return the norm of `source`."""
        return Norm(
            name=name,
            source=source,
            rows=rows,
            width=width,
            kind=self.kind,
            weight=self.weight,
            bias=self.bias and self.kind == "layer",
        )


RMS = NormStyle(kind="rms", bias=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadNorm:
    """How queries and keys are normalized: each head, or the projection as a whole.

    Heads share the norm's weights unless they are `unshared` (Cohere, StableLM).
    """

    style: NormStyle = RMS
    whole: bool = False
    unshared: bool = False

    def operator(
        self, name: str, source: str, rows: Number, heads: Number, head_dim: Number
    ) -> Norm:
        """Return the norm of `heads` vectors a row."""
        norm = self.style.operator(name, source, rows, heads * head_dim if self.whole else head_dim)
        if self.whole:
            return replace(norm, split="columns")
        return replace(norm, groups=heads, unshared=self.unshared, split="heads")
