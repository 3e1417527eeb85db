"""Pydantic field types for user-written specs: text with a unit in, an SI float out.

Apart from `costsim.units` so that only what reads a spec imports pydantic.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from costsim.errors import UnitError
from costsim.units import BARE_DIMENSIONS, parse_quantity, unit_examples


def invalid(message: str, hint: str | None = None) -> PydanticCustomError:
    """Return the error for a validator of a spec to raise; `parse_as` adds where it happened."""
    return PydanticCustomError("costsim", "{message}", {"message": message, "hint": hint})


def _quantity(dimension: str) -> Any:
    """Return the annotations of a non-negative float read from text with a unit."""

    def parse(value: object) -> float:
        try:
            return parse_quantity(value, dimension)
        except UnitError as error:
            (problem,) = error.problems
            raise invalid(problem.message, problem.hint) from None

    types = ["string", "number"] if dimension in BARE_DIMENSIONS else "string"
    examples = unit_examples(dimension).split("`")[1::2]
    return (BeforeValidator(parse), WithJsonSchema({"type": types, "examples": examples}))


_NonNegative = Annotated[float, Field(ge=0)]

Bytes = Annotated[_NonNegative, *_quantity("bytes")]
BytesPerSecond = Annotated[_NonNegative, *_quantity("bytes_per_s")]
Seconds = Annotated[_NonNegative, *_quantity("s")]
Flops = Annotated[_NonNegative, *_quantity("flops")]
FlopsPerSecond = Annotated[_NonNegative, *_quantity("flops_per_s")]
Watts = Annotated[_NonNegative, *_quantity("w")]
Joules = Annotated[_NonNegative, *_quantity("j")]
Hertz = Annotated[_NonNegative, *_quantity("hz")]
Usd = Annotated[_NonNegative, *_quantity("usd")]
UsdPerHour = Annotated[_NonNegative, *_quantity("usd_per_hour")]
UsdPerKwh = Annotated[_NonNegative, *_quantity("usd_per_kwh")]
GramsPerKwh = Annotated[_NonNegative, *_quantity("g_per_kwh")]
Kilograms = Annotated[_NonNegative, *_quantity("kg")]
LitresPerKwh = Annotated[_NonNegative, *_quantity("l_per_kwh")]
DeviceHours = Annotated[_NonNegative, *_quantity("device_hours")]
Tokens = Annotated[_NonNegative, *_quantity("tokens")]
Samples = Annotated[_NonNegative, *_quantity("samples")]
TokensPerSecond = Annotated[_NonNegative, *_quantity("tokens_per_s")]
Ratio = Annotated[_NonNegative, *_quantity("ratio")]
