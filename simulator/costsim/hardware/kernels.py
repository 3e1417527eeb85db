"""A kernel model: the sheet of one accelerator joined to the constants measured for its class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from costsim.errors import UnknownNameError, suggestion
from costsim.hardware.accelerators import Accelerator
from costsim.hardware.calibration import (
    AttentionConstants,
    DecodeConstants,
    GemmConstants,
    GroupedConstants,
    StreamingConstants,
    class_of,
    load_class,
)
from costsim.remarks import Fallback, Remark

Array = npt.NDArray[np.float64]
Number = float | int | Array


@dataclass(frozen=True, slots=True)
class Format:
    """A number format of matrix products.

    Attributes:
        activation_bytes: of one input element, block scales included.
        weight_bytes: of one weight, block scales included.
        peaks: names under which a sheet may print its rate, the first that it has counts.
        constants: names under which a class may state its constants, likewise.
        output_bytes: of one output element.
        quantizes: whether activations arrive in 16 bits and are quantized on the way.
        sparse: whether 2 of 4 weights are zeros that matrix units skip.
    """

    activation_bytes: float
    weight_bytes: float
    peaks: tuple[str, ...]
    constants: tuple[str, ...]
    output_bytes: float = 2.0
    quantizes: bool = False
    sparse: bool = False


# What measured 2:4 kernels reach of the doubled rate, 1.4 times that of dense ones: 1.2 to 1.4 in
# fp8 (pytorch/ao pull request 2012), 1.25 to 1.6 in fp16 (pytorch pull request 96147).
SPARSE_REACH_RATIO = 0.7

# Scales: one 32-bit factor a 128 x 128 block (fp8_block), one byte each 32 (mx) or 16 (nv) values.
FORMATS: Mapping[str, Format] = {
    "fp32": Format(4, 4, ("fp32_matrix", "fp32"), ("fp32", "bf16"), 4.0),
    "tf32": Format(4, 4, ("tf32",), ("tf32", "bf16"), 4.0),
    "bf16": Format(2, 2, ("bf16",), ("bf16",)),
    "fp16": Format(2, 2, ("fp16", "bf16"), ("bf16",)),
    "fp8": Format(1, 1, ("fp8",), ("fp8",), quantizes=True),
    "fp8_block": Format(1, 1, ("fp8",), ("fp8_block", "fp8"), quantizes=True),
    "mxfp8": Format(1 + 1 / 32, 1 + 1 / 32, ("fp8",), ("fp8_block", "fp8"), quantizes=True),
    "nvfp4": Format(0.5 + 1 / 16, 0.5 + 1 / 16, ("fp4",), ("nvfp4",), quantizes=True),
    "mxfp4": Format(0.5 + 1 / 32, 0.5 + 1 / 32, ("fp4",), ("nvfp4",), quantizes=True),
    "int8": Format(1, 1, ("int8",), ("int8", "fp8"), quantizes=True),
    "w8a16": Format(2, 1, ("bf16", "fp16"), ("w8a16", "bf16")),
    "w4a16": Format(2, 0.5 + 2 / 128, ("bf16", "fp16"), ("w4a16", "w8a16", "bf16")),
    # Group-quantized as llama.cpp (K quants, bits as its tables print them) and MLX have them.
    "w6a16": Format(2, 6.56 / 8, ("bf16", "fp16"), ("w4a16", "w8a16", "bf16")),
    "w5a16": Format(2, 5.5 / 8, ("bf16", "fp16"), ("w4a16", "w8a16", "bf16")),
    "w4a16_k": Format(2, 4.85 / 8, ("bf16", "fp16"), ("w4a16", "w8a16", "bf16")),
    "w4a16_g32": Format(2, 5.0 / 8, ("bf16", "fp16"), ("w4a16", "w8a16", "bf16")),
    "w5a16_g32": Format(2, 6.0 / 8, ("bf16", "fp16"), ("w4a16", "w8a16", "bf16")),
    "w3a16": Format(2, 3.9 / 8, ("bf16", "fp16"), ("w4a16", "w8a16", "bf16")),
    # 2 of 4 values and 2 bits for the place of each.
    "bf16_2:4": Format(2, 1 + 1 / 8, ("bf16", "fp16"), ("bf16",), sparse=True),
    "fp8_2:4": Format(1, 0.5 + 1 / 8, ("fp8",), ("fp8",), quantizes=True, sparse=True),
    "int8_2:4": Format(1, 0.5 + 1 / 8, ("int8",), ("int8", "fp8"), quantizes=True, sparse=True),
}


@dataclass(frozen=True, slots=True)
class KernelModel:
    """What the time functions of this room need of one accelerator.

    Attributes:
        accelerator: the sheet.
        class_name: the class of its constants.
        compute_units: SMs, CUs, cores or matrix engines that tiles spread over.
        clock_hz: boost clock.
        cache_bytes: last-level cache, 0 where the sheet prints none.
        basis: "measured: ..." (this device was timed), "class ..." (its class was) or "sheet only".
        sources: of the constants.
        measured: whether a device of its class was timed.
    """

    accelerator: Accelerator
    class_name: str
    compute_units: int
    clock_hz: float
    cache_bytes: float
    gemm: Mapping[str, GemmConstants] = field(hash=False)
    attention: Mapping[str, AttentionConstants] = field(hash=False)
    decode: Mapping[str, DecodeConstants] = field(hash=False)
    streaming: StreamingConstants
    grouped: Mapping[str, GroupedConstants] = field(hash=False)
    basis: str
    sources: tuple[str, ...]
    measured: bool

    @property
    def remark(self) -> Remark:
        """How far the times were measured, to be told beside an answer."""
        told = Remark if self.measured else Fallback
        return told(f"kernel times: {self.basis}")

    @property
    def bandwidth_bytes_per_s(self) -> float:
        """Nameplate memory bandwidth."""
        return self.accelerator.memory_bandwidth_bytes_per_s

    def format(self, dtype: str) -> Format:
        """Return the number format called `dtype`.

        Raises:
            UnknownNameError: if there is none.
        """
        try:
            return FORMATS[dtype]
        except KeyError:
            raise UnknownNameError(
                f"unknown number format `{dtype}`", hint=suggestion(dtype, FORMATS)
            ) from None

    def peak_flops_per_s(self, dtype: str) -> float:
        """Return the dense rate of `dtype` in FLOP/s.

        Raises:
            UnknownNameError: if the sheet prints none for it.
        """
        form = self.format(dtype)
        rates = self.accelerator.peaks_flops_per_s
        found = next((name for name in form.peaks if name in rates), form.peaks[0])
        dense = self.accelerator.peak_flops_per_s(found)
        if not form.sparse:
            return dense
        ratio = self.accelerator.sparsity_ratio
        if ratio is None or ratio <= 1:
            name = self.accelerator.name
            raise UnknownNameError(
                f"{name} has no matrix units that skip 2 of 4 zeros",
                hint="prune whole heads or neurons, or use a device with structured sparsity",
            )
        return dense * max(1.0, ratio * SPARSE_REACH_RATIO)

    def runs(self, kernels: Sequence[str]) -> str:
        """Return the first of `kernels` that this accelerator has matrix units for.

        Raises:
            UnknownNameError: if it has them for none; says why of the last.
        """
        if not kernels:
            raise UnknownNameError(
                f"no kernel is modelled on {self.accelerator.name} for these weights and inputs",
                hint="quantize weights alone (awq-int4), or inputs to 8 bits too (int8, fp8)",
            )
        for dtype in kernels[:-1]:
            form = self.format(dtype)
            if not form.sparse and any(
                name in self.accelerator.peaks_flops_per_s for name in form.peaks
            ):
                return dtype
        self.peak_flops_per_s(kernels[-1])
        return kernels[-1]

    def gemm_constants(self, dtype: str) -> GemmConstants:
        """Return the constants of matrix products of `dtype`, or of the nearest format.

        A tile's prologue and epilogue take a time of their own, which is fewer steps along k where
        a step takes longer, as in 32 bits with the constants of 16.
        """
        form = self.format(dtype)
        name = next(n for n in form.constants if n in self.gemm)
        if form.activation_bytes <= self.format(name).activation_bytes:
            return self.gemm[name]
        rates = self.accelerator.peaks_flops_per_s
        shorter = next((rates[peak] for peak in FORMATS["fp16"].peaks if peak in rates), None)
        if shorter is None:
            return self.gemm[name]
        return _slowed(self.gemm[name], min(self.peak_flops_per_s(dtype) / shorter, 1.0))


def load_kernel_model(accelerator: Accelerator) -> KernelModel:
    """Join a sheet to the constants of its class.

    Args:
        accelerator: any record of the catalog.

    Returns:
        The model; `basis` says how far it was measured.
    """
    constants = load_class(class_of(accelerator.architecture))
    if accelerator.id in constants.measured:
        basis = f"measured: kernels timed on {accelerator.name}"
    elif constants.measured:
        basis = f"class {constants.name}: kernels timed on {', '.join(constants.measured)}"
    else:
        basis = "sheet only: peaks and bandwidth of the sheet, constants of other classes"
    return KernelModel(
        accelerator=accelerator,
        class_name=constants.name,
        compute_units=accelerator.compute_units or constants.compute_units,
        clock_hz=accelerator.clock_hz or constants.clock_hz,
        cache_bytes=accelerator.l2_bytes or 0.0,
        gemm=constants.gemm,
        attention=constants.attention,
        decode=constants.decode,
        streaming=constants.streaming,
        grouped=constants.grouped,
        basis=basis,
        sources=constants.sources,
        measured=bool(constants.measured),
    )


@lru_cache(maxsize=64)
def _slowed(constants: GemmConstants, rate_ratio: float) -> GemmConstants:
    return replace(constants, fill_k=constants.fill_k * rate_ratio)


def column(value: Number) -> Array:
    """Return `value` as float64: products of int64 dimensions overflow silently."""
    return np.asarray(value, dtype=np.float64)


def soft_maximum(exponent: float, *times_s: Array) -> Array:
    """Return (Σ tᵖ)^(1/p): their sum at p = 1, their maximum as p grows."""
    total = times_s[0] ** exponent
    for time_s in times_s[1:]:
        total = total + time_s**exponent
    return total ** (1.0 / exponent)
