"""Number formats: how many bits an element takes in each."""

from __future__ import annotations

from costsim.algebra import Number, exact_div
from costsim.errors import UnknownNameError, suggestion

BITS: dict[str, int] = {
    "fp64": 64,
    "fp32": 32,
    "tf32": 32,
    "bf16": 16,
    "fp16": 16,
    "fp8": 8,
    "int8": 8,
    "fp4": 4,
    "int4": 4,
}
"""Bits of one element, without the scales that block formats add (see `costsim.compression`)."""

ALIASES = {
    "float64": "fp64",
    "float32": "fp32",
    "float": "fp32",
    "bfloat16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "float8": "fp8",
    "float8_e4m3fn": "fp8",
}


def canonical(dtype: str) -> str:
    """Return costsim's spelling of a number format.

    Raises:
        UnknownNameError: for a format that is not known.
    """
    name = dtype.lower().removeprefix("torch.")
    name = ALIASES.get(name, name)
    if name not in BITS:
        raise UnknownNameError(f"unknown number format `{dtype}`", hint=suggestion(dtype, BITS))
    return name


def bytes_for(dtype: str) -> Number:
    """Return bytes of one element: an `int` where it is whole."""
    return exact_div(BITS[canonical(dtype)], 8)
