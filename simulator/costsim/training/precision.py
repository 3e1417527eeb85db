"""Precision recipes: the format of everything a training step holds, moves and multiplies."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.errors import UnknownNameError, suggestion
from costsim.hardware.kernels import FORMATS


@dataclass(frozen=True, slots=True)
class Precision:
    """Bytes of an element by what it is for, and the formats that products run in."""

    name: str
    matrix_dtype: str  # of products inside layers
    other_dtype: str  # of the LM head, routers and attention
    weight_bytes: int
    gradient_bytes: int  # as accumulated over micro-batches
    master_bytes: int  # of the optimizer's own fp32 copy, 0 where the weights are fp32 already
    gathered_bytes: int  # of a weight on the wire, and where ZeRO-3 has gathered it
    activation_bytes: int
    product_bytes: float  # of an activation kept only for the gradient of a layer matrix
    reduced_bytes: int  # of a gradient element on the wire

    @property
    def peak_dtype(self) -> str:
        """The name that a device's sheet prints the rate of layer products under."""
        peaks = FORMATS[self.matrix_dtype].peaks
        return self.matrix_dtype if self.matrix_dtype in peaks else peaks[0]


PRECISIONS = {
    # Mixed precision keeps fp32 master weights and accumulates gradients in fp32: with Adam's two
    # moments 2 + 4 + 4 + 8 = 18 bytes a parameter (Narayanan et al. 2021, arXiv 2104.04473).
    "fp32": Precision("fp32", "fp32", "fp32", 4, 4, 0, 4, 4, 4, 4),
    "tf32": Precision("tf32", "tf32", "tf32", 4, 4, 0, 4, 4, 4, 4),
    "bf16": Precision("bf16", "bf16", "bf16", 2, 4, 4, 2, 2, 2, 4),
    "fp16": Precision("fp16", "fp16", "fp16", 2, 4, 4, 2, 2, 2, 4),
    # Transformer Engine: products of layer matrices in fp8, whose inputs are kept as they were
    # quantized; primary weights, and what else is kept for backward, in bf16.
    "fp8": Precision("fp8", "fp8", "bf16", 2, 4, 4, 2, 2, 1, 4),
    # MXFP8: an 8-bit scale for every 32 values; NVFP4: for every 16 (Transformer Engine's recipes,
    # OCP Microscaling 1.0). Attention, router and head run in bf16, as under fp8.
    "mxfp8": Precision("mxfp8", "mxfp8", "bf16", 2, 4, 4, 2, 2, 1 + 1 / 32, 4),
    "nvfp4": Precision("nvfp4", "nvfp4", "bf16", 2, 4, 4, 2, 2, 1 / 2 + 1 / 16, 4),
    # Blocks of 1 x 128 (activations) and 128 x 128 (weights), a 32-bit factor each (DeepSeek-V3).
    "fp8_block": Precision("fp8_block", "fp8_block", "bf16", 2, 4, 4, 2, 2, 1, 4),
    # Accurate Quantized Training: products of layer matrices in int8 (MaxText).
    "int8": Precision("int8", "int8", "bf16", 2, 4, 4, 2, 2, 2, 4),
}


def precision(name: str) -> Precision:
    """Return the recipe called `name`.

    Raises:
        UnknownNameError: where there is none of that name.
    """
    if name not in PRECISIONS:
        raise UnknownNameError(f"unknown precision `{name}`", hint=suggestion(name, PRECISIONS))
    return PRECISIONS[name]
