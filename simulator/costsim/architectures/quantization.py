"""How the weights of a published model are stored, as its config says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """Weight matrices of `bits` an element, with scales beside them.

    Attributes:
        method: as the config calls it: fp8, gptq, awq, mxfp4, compressed-tensors, …
        bits: of an element; None where the config does not say.
        kind: whether elements are floats or integers.
        group: elements along a row that share a scale; None for a whole row or tensor.
        rows: rows that share it too (a tile of `rows` × `group`).
        scale_bits: of a scale.
        zero_bits: of the zero point beside each scale, where there is one.
        activation_bits: that activations are quantized to; None where they are not.
        kept: names of modules that stay in the format of the rest.
    """

    method: str
    bits: int | None = None
    kind: Literal["float", "integer"] | None = None
    group: int | None = None
    rows: int = 1
    scale_bits: int = 0
    zero_bits: int = 0
    activation_bits: int | None = None
    kept: tuple[str, ...] = ()

    @property
    def bits_per_weight(self) -> float | None:
        """Bits of an element with its share of a scale and a zero point."""
        if self.bits is None:
            return None
        shared = 0 if self.group is None else self.group * self.rows
        return self.bits + ((self.scale_bits + self.zero_bits) / shared if shared else 0.0)

    def __str__(self) -> str:
        """Return the method, and what is known of it."""
        if self.bits is None:
            return self.method
        kind = f"{self.kind}s" if self.kind else "elements"
        said = f"{self.method}: {kind} of {self.bits} bits"
        if self.group is not None:
            shape = f"{self.rows} × {self.group}" if self.rows > 1 else str(self.group)
            said += f", a scale for {shape}, {self.bits_per_weight:.4g} bits a weight"
        if self.activation_bits is not None:
            said += f", activations of {self.activation_bits} bits"
        return f"{said}, {len(self.kept)} modules kept" if self.kept else said
