"""Decoders of attention and networks: many model types, one way of reading them (`stack`)."""

from __future__ import annotations

from costsim.architectures.huggingface.config import Reader
from costsim.architectures.huggingface.decoders import (
    dense,
    early,
    gemma,
    gpt,
    latent,
    mixtures,
    parallel,
    released,
)

_FAMILIES = (dense, early, gemma, gpt, latent, mixtures, parallel, released)

READERS: dict[str, Reader] = {
    model_type: reader for family in _FAMILIES for model_type, reader in family.READERS.items()
}
"""Reader by `model_type`."""
