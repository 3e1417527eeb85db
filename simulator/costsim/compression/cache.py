"""The format that a compressed model's cache is read in."""

from __future__ import annotations

from costsim.algebra import Number
from costsim.architectures import Architecture
from costsim.compression.description import Compressed
from costsim.compression.storing import QuantizeCache


def cached_in(model: Architecture, dtype: str = "bf16") -> str:
    """Return the format that reading the model's cache is timed in: at most 8 bits are fp8."""
    bits: Number = 16
    if isinstance(model.description, Compressed):
        for step in model.description.passes:
            if isinstance(step, QuantizeCache):
                bits = step.bits
    if bits <= 8:
        return "fp8"
    return dtype if dtype in ("fp32", "fp16") else "bf16"
