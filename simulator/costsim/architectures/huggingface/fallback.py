"""What becomes of a model type without a reader: the library's own model of it is traced."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from costsim.architectures.architecture import Architecture
from costsim.errors import Location, SpecError

EXTRA = 'pip install "costsim[transformers]"'


def installed() -> bool:
    """Return whether there is anything to fall back to."""
    return find_spec("transformers") is not None and find_spec("torch") is not None


def traced_reference(
    values: Mapping[str, Any], location: Location, *, name: str, source: str
) -> Architecture | None:
    """Return the architecture of the library's model for a `config.json`, traced.

    Returns:
        None where the library is not installed, or does not know the model type.

    Raises:
        SpecError: if the library makes no model of the values.
    """
    if not installed() or not isinstance(values.get("model_type"), str):
        return None
    from costsim.architectures.tracing.reference import knows, reference

    if not knows(values["model_type"]):
        return None
    try:
        return reference(values, name=name, source=source)
    except Exception as error:  # whatever the library makes of a wrong value
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        message = f"transformers cannot build `{values['model_type']}` from this: {reason[:300]}"
        raise SpecError(message, location=location) from error
