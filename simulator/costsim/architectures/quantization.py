"""How the weights of a published model are stored, as its files say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Reach: TypeAlias = Literal["layers", "text", "experts", "named"]
"""Which matrices a tool quantizes where it says no more: those of all layers and towers, those of
the text model's layers, routed experts alone, or only those that a rule names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """Weight matrices of `bits` an element, with scales beside them.

    Attributes:
        method: as the config calls it: fp8, gptq, awq, mxfp4, compressed-tensors, …
        bits: of an element; None where the config does not say.
        kind: whether elements are floats or integers.
        group: elements along a row that share a scale; None for a whole row or tensor.
        rows: rows that share it too (a tile of `rows` × `group`).
        channel: whether each row has a scale, where there is no `group`.
        flat: whether a `group` runs on over the ends of rows.
        scale_bits: of a scale.
        zero_bits: of the zero point beside each scale, where there is one.
        scales_per_constant: scales that are quantized together, with a constant of 32 bits.
        activation_bits: that activations are quantized to; None where they are not.
        reach: which matrices are meant where no rule names them.
        head: whether the head is, too.
        tables: whether look-up tables are.
        kept: names of modules that stay in the format of the rest.
        rules: names of modules that are stored otherwise, with how (None: as the rest).
        wide: number format of what is kept.
        cache: number format that keys and values are meant to be cached in, where it is said.
    """

    method: str
    bits: int | None = None
    kind: Literal["float", "integer"] | None = None
    group: int | None = None
    rows: int = 1
    channel: bool = False
    flat: bool = False
    scale_bits: int = 0
    zero_bits: int = 0
    scales_per_constant: int = 0
    activation_bits: int | None = None
    reach: Reach = "layers"
    head: bool = False
    tables: bool = False
    kept: tuple[str, ...] = ()
    rules: tuple[tuple[str, Quantization | None], ...] = ()
    wide: str = "bf16"
    cache: str | None = None

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
        if self.reach == "experts":
            said += ", experts alone"
        if self.rules:
            said += f", {len(self.rules)} modules otherwise"
        return f"{said}, {len(self.kept)} modules kept" if self.kept else said
