"""Which number formats a model is served in on a device: what weights say, what the device has."""

from __future__ import annotations

from dataclasses import replace

from costsim.errors import UnknownNameError, suggestion
from costsim.hardware.kernels import FORMATS
from costsim.hardware.systems import System
from costsim.inference.layout import Quantization

# Names that checkpoints and engines use -> keys of FORMATS.
_NAMES = {
    "float16": "fp16",
    "bfloat16": "bf16",
    "none": "bf16",
    "fp4": "nvfp4",
    "int4": "w4a16",
    "int4_wo": "w4a16",
    "awq": "w4a16",
    "gptq": "w4a16",
    "w4a16_mxfp4": "w4a16",
    "w4a8_mxfp4_mxfp8": "mxfp4",
    "int8_wo": "w8a16",
    "sq": "int8",
    "q8": "w8a16",
    "q8_0": "w8a16",
    "q6": "w6a16",
    "q6_k": "w6a16",
    "q5": "w5a16",
    "q5_k_m": "w5a16",
    "q5 g32": "w5a16_g32",
    "q4": "w4a16_k",
    "q4_k_m": "w4a16_k",
    "q4_0": "w4a16_k",
    "q4 g32": "w4a16_g32",
    "q3": "w3a16",
    "q3_k_m": "w3a16",
    "nf4": "w4a16",
}
# Where a device cannot multiply in a format, its weights are unpacked to 16 bits on the way, or the
# next wider format is taken.
_INSTEAD = {
    "nvfp4": ("w4a16",),
    "mxfp4": ("w4a16",),
    "fp8": ("w8a16",),
    "fp8_block": ("w8a16",),
    "mxfp8": ("w8a16",),
    "int8": ("w8a16",),
    "bf16": ("fp16", "fp32"),
    "fp16": ("bf16", "fp32"),
}


def format_named(name: str) -> str:
    """Return the key of `FORMATS` that `name` means.

    Raises:
        UnknownNameError: if it means none.
    """
    key = name.strip().lower()
    key = _NAMES.get(key, key)
    if key not in FORMATS:
        known = {*FORMATS, *_NAMES}
        raise UnknownNameError(f"unknown number format `{name}`", hint=suggestion(name, known))
    return key


def runnable(quantization: Quantization, system: System) -> Quantization:
    """Return `quantization` with formats that the device multiplies in."""
    peaks = system.accelerator.peaks_flops_per_s

    def possible(name: str) -> str:
        for choice in (name, *_INSTEAD.get(name, ())):
            if any(peak in peaks for peak in FORMATS[choice].peaks):
                return choice
        return name

    return replace(
        quantization,
        dense=possible(quantization.dense),
        experts=possible(quantization.experts),
        other=possible(quantization.other),
    )
