"""Readers of Hugging Face `config.json`, one file a family.

A family's file ends in a table of the model types that it reads; to add one is to write such a
file and name it in `_FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from costsim.architectures.architecture import Architecture, Description
from costsim.architectures.huggingface import (
    bart,
    bert,
    deberta,
    decoders,
    hybrids,
    janus,
    mllama,
    released_vision,
    rotary_encoders,
    sound_language,
    speech,
    t5,
    uncommon_encoders,
    vision,
    vision_language,
)
from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.drafts import draft_reader
from costsim.architectures.huggingface.fallback import traced_reference
from costsim.architectures.huggingface.further import tell_of_predictions
from costsim.architectures.huggingface.heads import headed
from costsim.architectures.huggingface.quantization import read_quantization
from costsim.architectures.huggingface.unsupported import unsupported
from costsim.documents import Document

_FAMILIES = (
    decoders,
    hybrids,
    bert,
    rotary_encoders,
    uncommon_encoders,
    deberta,
    bart,
    t5,
    speech,
    vision,
    vision_language,
    released_vision,
    sound_language,
    mllama,
    janus,
)

READERS: dict[str, Reader] = {
    model_type: reader for family in _FAMILIES for model_type, reader in family.READERS.items()
}
"""Reader by `model_type`."""


def read_config(
    values: Mapping[str, Any],
    document: Document,
    *,
    name: str,
    source: str = "",
    path: tuple[str, ...] = (),
) -> Architecture:
    """Return the architecture that a `config.json` describes.

    A model type without a reader is traced, where transformers is installed and knows it.

    Args:
        values: the mapping, with missing keys left to the library's defaults.
        document: the file that it stands in, for the places of errors.
        name: what the model is called.
        source: where the description comes from.
        path: where in `document` the mapping stands.

    Raises:
        SpecError: for a model type without a reader, or values that make no model.
    """
    model_type = values.get("model_type")
    reader = draft_reader(values) or READERS.get(str(model_type))
    location = document.locate((*path, "model_type"))

    def text(held: Mapping[str, Any], key: str) -> Description:
        return read_config(held, document, name=name, path=(*path, key)).description

    if reader is None:
        traced = traced_reference(values, location, name=name, source=source, text=text)
        if traced is None:
            raise unsupported(values, location, sorted(READERS))
        return traced
    config = Config(values, document, path)
    description = reader(config)
    if config.unread():
        reason = "; ".join(config.unread())
        traced = traced_reference(
            values, location, name=name, source=source, reason=reason, text=text
        )
        if traced is not None:
            return traced
    if not config.class_read:
        description = headed(config, description)
    tell_of_predictions(config, description)
    return Architecture(
        name,
        description,
        source=source,
        notes=config.notes(),
        quantization=read_quantization(values),
    )
