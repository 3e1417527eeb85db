"""What the name of a model says, however it is written: which of the catalog it is, how large."""

from __future__ import annotations

import re
from functools import lru_cache

from costsim.architectures.architecture import Architecture
from costsim.architectures.catalog import (
    aliases_of,
    load_model,
    model_names,
    published_parameters,
)
from costsim.errors import CostsimError

_PART = re.compile(r"\d+(?:\.\d+)?|[a-z]+")
# Ends of names of models that differ in their weights alone.
_TRAINED = frozenset(
    ("instruct", "chat", "it", "hf", "base", "sft", "lora", "qlora", "pretrain", "finetune")
)
_SIZE = re.compile(r"(?<![\da-z.])(\d+(?:\.\d+)?)(m|b|t)(?![a-z0-9])")
_TOKENS = re.compile(r"(?<![a-z0-9])a(\d+(?:\.\d+)?)(m|b|t)(?![a-z0-9])")
_BILLIONS = {"m": 1e-3, "b": 1.0, "t": 1e3}
_NEAR = 0.03  # of counts of one model, as people round them
_NEAR_NAMED = 0.15  # where the name is the catalog's to the letter: with or without embeddings


@lru_cache(maxsize=512)
def written_model(name: str, billions: float | None, layers: int | None) -> Architecture | None:
    """Return the catalog model that `name` means, separators and such as "-instruct" aside.

    None where the catalog has none, or one that has not `billions` 10⁹ parameters or not `layers`.
    """
    identity = _index().get(_parts(name))
    if identity is None:
        return None
    try:
        model = load_model(identity)
    except CostsimError:
        return None
    if layers is not None and layers != model.depth:
        return None
    if billions:
        counts = (model.parameters, published_parameters(identity) or model.parameters)
        near = _NEAR_NAMED if name == identity else _NEAR
        if all(abs(count / (billions * 1e9) - 1) > near for count in counts):
            return None
    return model


def written_size(name: str) -> tuple[float | None, float | None]:
    """Return the 10⁹ parameters that a name states, of the model and of a token ("30b-a3b")."""
    words = re.sub(r"[\s_/]+", "-", name.lower())
    size, token = _SIZE.search(words), _TOKENS.search(words)
    return (
        float(size[1]) * _BILLIONS[size[2]] if size else None,
        float(token[1]) * _BILLIONS[token[2]] if token else None,
    )


def _parts(name: str) -> tuple[str, ...]:
    """Return words and numbers of a name: those of "llama3-70b" and "Llama-3-70B" are the same."""
    parts = _PART.findall(name.lower().rpartition("/")[2])
    while len(parts) > 1 and parts[-1] in _TRAINED:
        parts.pop()
    return tuple(parts)


@lru_cache(maxsize=1)
def _index() -> dict[tuple[str, ...], str]:
    """Return catalog names by their parts, aliases after names."""
    names = model_names()
    found: dict[tuple[str, ...], str] = {}
    for name in names:
        found.setdefault(_parts(name), name)
    for name in names:
        for alias in aliases_of(name):
            found.setdefault(_parts(alias), name)
    return found
