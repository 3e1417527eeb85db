"""Keys by which a scenario chooses values of a strategy's axes, derived from their table."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field, StrictBool, WithJsonSchema

from costsim.training.axes import Axis
from costsim.training.strategy import AXES


def axis_choices() -> dict[str, tuple[Any, Any]]:
    """Return the fields of a pydantic model: of each axis that may be chosen its type and field.

    One value stands for a list of one; left out, an axis is what a search considers.
    """
    return {
        name: (_type(axis), Field(default=axis.searched, description=axis.says))
        for name, axis in AXES.items()
        if axis.says
    }


def _type(axis: Axis) -> Any:
    item: Any
    schema: dict[str, Any]
    if axis.named:
        item, schema = Literal[axis.values], {"enum": list(axis.values)}
    elif isinstance(axis.default, bool):
        item, schema = StrictBool, {"type": "boolean"}
    elif axis.values:
        limits = Field(ge=min(axis.values), le=max(axis.values), strict=True)
        item, schema = Annotated[int, limits], {"enum": list(axis.values)}
    else:
        item, schema = Annotated[int, Field(ge=1, strict=True)], {"type": "integer", "minimum": 1}
    listed = {"type": "array", "items": schema, "minItems": 1}
    several: Any = Annotated[
        tuple[item, ...],
        BeforeValidator(_as_tuple),
        Field(min_length=1),
        WithJsonSchema({"anyOf": [schema, listed]}),
    ]
    return several if axis.searched is not None else several | None


def _as_tuple(value: object) -> object:
    """Let a single value stand for a list of one."""
    return cast("object", value) if isinstance(value, (list, tuple)) else (value,)
