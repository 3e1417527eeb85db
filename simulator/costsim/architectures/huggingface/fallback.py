"""What becomes of a config that no reader reads: the library's own model of it is looked at.

First it is composed of costsim's own layers, as it was seen running, which divides, caches and
serves. What fits none of them is traced operation by operation, which does not. Of a model that
sees or hears, which cannot be composed, the text model alone computes; the rest is only held.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, cast

from costsim.architectures.architecture import Architecture, Description
from costsim.architectures.blueprint import keep, kept
from costsim.architectures.huggingface.quantization import read_quantization
from costsim.architectures.multimodal import Chain, Multimodal, Tensors
from costsim.architectures.transformer import Transformer
from costsim.errors import Location, SpecError

EXTRA = 'pip install "costsim[transformers]"'

_TEXT = ("text_config", "language_config", "llm_config", "thinker_config")
"""Keys under which models that see or hear hold their text model's config."""

TextReader = Callable[[Mapping[str, Any], str], Description]
"""Reads the config that stands under a key."""


def installed() -> bool:
    """Return whether there is anything to fall back to."""
    return find_spec("transformers") is not None and find_spec("torch") is not None


def traced_reference(
    values: Mapping[str, Any],
    location: Location,
    *,
    name: str,
    source: str,
    reason: str = "",
    text: TextReader | None = None,
) -> Architecture | None:
    """Return the architecture of the library's model for a `config.json`.

    Args:
        values: the config.
        location: where its type stands.
        name: what the model is called.
        source: where the config comes from.
        reason: why no reader read it, where there is one.
        text: reads the text model of one that sees or hears.

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
    said = reason or f"no reader for `{values['model_type']}`"
    quantization = read_quantization(values)
    made_with = f"transformers {version('transformers')}"
    decoder, why = kept(values, made_with), ""
    if decoder is None:
        decoder, why = _composed(values)
        if decoder is not None:
            keep(values, made_with, decoder)
    if decoder is not None:
        note = (
            f"{said}: composed of what the model of {made_with} was seen doing; parameters, "
            "FLOPs and cache are equal to its own"
        )
        return Architecture(name, decoder, source=source, notes=(note,), quantization=quantization)
    alone = None if text is None else _text_alone(values, text)
    if alone is not None:
        note = (
            f"{said}: ONLY ITS TEXT MODEL COMPUTES HERE; the other parts are held, "
            f"as {made_with} builds them, and no FLOPs of theirs are counted ({why})"
        )
        return Architecture(name, alone, source=source, notes=(note,), quantization=quantization)
    try:
        found = reference(values, name=name, source=source)
    except Exception as error:  # whatever the library makes of a wrong value
        told = str(error).strip().partition("\n")[0] or type(error).__name__
        part = None if text is None else _part_alone(values, text)
        if part is not None:
            key, description = part
            note = (
                f"{said}: ONLY `{key}` IS READ; weights and FLOPs of all other parts are not "
                f"counted, since {made_with} cannot build the whole ({told[:200]})"
            )
            return Architecture(
                name, description, source=source, notes=(note,), quantization=quantization
            )
        message = f"transformers cannot build `{values['model_type']}` from this: {told[:300]}"
        raise SpecError(message, location=location) from error
    notes = (*([reason] if reason else []), *found.notes, f"traced operation by operation: {why}")
    return Architecture(
        name, found.description, source=source, notes=notes, quantization=quantization
    )


def _composed(values: Mapping[str, Any]) -> tuple[Any, str]:
    """Return the decoder that the library builds, or why it is none of costsim's own layers."""
    from costsim.architectures.tracing.semantic import composed

    try:
        return composed(values), ""
    except Exception as error:  # whatever the library makes of a model that runs without values
        told = str(error).strip().partition("\n")[0] or type(error).__name__
        return None, told[:300]


def _part_alone(values: Mapping[str, Any], read: TextReader) -> tuple[str, Description] | None:
    """Return the part that generates of a model that cannot be built as a whole, with its key."""
    for key in _TEXT:
        if isinstance(values.get(key), dict):
            try:
                return key, read(cast("Mapping[str, Any]", values[key]), key)
            except SpecError:
                return None
    return None


def _text_alone(values: Mapping[str, Any], read: TextReader) -> Multimodal | None:
    """Return the text model of one that sees or hears, with all other weights beside it."""
    from costsim.architectures.tracing.semantic import beside_text

    key = next((key for key in _TEXT if isinstance(values.get(key), dict)), None)
    if key is None:
        return None
    try:
        shapes, parameters, tied = beside_text(values)
        text = read(cast("Mapping[str, Any]", values[key]), key)
    except Exception:  # what has no text model apart is traced as a whole, or is an error there
        return None
    if isinstance(text, Transformer):
        text = replace(text, tied=tied)  # as the whole says, whatever the part says of itself
    rest = Chain(name="beside_text", positions=1, steps=(Tensors(shapes=shapes),))
    found = Multimodal(text=text, parts=(rest,))
    return found if Architecture("", found).parameters == parameters else None
