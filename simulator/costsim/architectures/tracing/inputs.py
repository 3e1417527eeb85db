"""Inputs of other sizes: which dimensions of the tensors count samples, and which tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor

from costsim.errors import SpecError

Dims: TypeAlias = int | Sequence[int | None] | Mapping[Any, int | None] | None
"""One dimension for all tensors, or one for each by position or keyword."""

Place: TypeAlias = int | str


@dataclass(frozen=True, slots=True)
class Example:
    """What a module is called with: `batch` samples of `tokens` tokens (0: it has no tokens)."""

    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    batch: int
    tokens: int
    batch_dims: Mapping[Place, int]
    token_dims: Mapping[Place, int]

    @classmethod
    def of(
        cls,
        arguments: tuple[Any, ...],
        keywords: Mapping[str, Any],
        batch_dims: Dims,
        sequence_dims: Dims,
    ) -> Example:
        """Find out what varies in the inputs of a module.

        Raises:
            SpecError: for a dimension that an input does not have.
        """
        tensors = {
            place: value
            for place, value in _places(arguments, keywords)
            if isinstance(value, Tensor) and value.dim()
        }
        batches = _sizes("batch_dims", batch_dims, tensors)
        if sequence_dims is None:
            sequence_dims = _token_dims(tensors)
        sequences = _sizes("sequence_dims", sequence_dims, tensors)
        batch, batched = _common(batches, alone=isinstance(batch_dims, int))
        tokens, long = _common(sequences, alone=isinstance(sequence_dims, int))
        clash = any(batched.get(place) == dim for place, dim in long.items())
        if clash:
            raise SpecError("a dimension of an input counts either samples or tokens, not both")
        return cls(arguments, keywords, batch or 1, tokens, batched, long)

    def resized(self, batch: int, tokens: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return arguments and keywords of other sizes, of tensors without values."""
        found = {
            place: self._resized(place, value, batch, tokens)
            for place, value in _places(self.arguments, self.keywords)
        }
        positional = tuple(found[place] for place in range(len(self.arguments)))
        return positional, {name: found[name] for name in self.keywords}

    def _resized(self, place: Place, value: Any, batch: int, tokens: int) -> Any:
        if not isinstance(value, Tensor):
            return value
        shape = list(value.shape)
        if place in self.batch_dims:
            dim = self.batch_dims[place]
            shape[dim] = shape[dim] * batch // self.batch
        if place in self.token_dims:
            dim = self.token_dims[place]
            shape[dim] = shape[dim] * tokens // self.tokens
        device = "cpu" if value.device.type == "meta" else value.device
        made = torch.empty(shape, dtype=value.dtype, device=device)
        return made.requires_grad_(value.requires_grad)


def _places(
    arguments: tuple[Any, ...], keywords: Mapping[str, Any]
) -> tuple[tuple[Place, Any], ...]:
    return (*enumerate(arguments), *keywords.items())


def _sizes(
    option: str, dims: Dims, tensors: Mapping[Place, Tensor]
) -> dict[Place, tuple[int, int]]:
    """Return the dimension and size of each input that `dims` speaks of."""
    if dims is None:
        return {}
    wanted: dict[Place, int | None]
    if isinstance(dims, int):
        wanted = {
            place: dims for place, tensor in tensors.items() if -tensor.dim() <= dims < tensor.dim()
        }
    elif isinstance(dims, Mapping):
        wanted = dict(cast("Mapping[Place, int | None]", dims))
    else:
        wanted = dict(enumerate(dims))
    found: dict[Place, tuple[int, int]] = {}
    for place, dim in wanted.items():
        if dim is None:
            continue
        tensor = tensors.get(place)
        if tensor is None or not -tensor.dim() <= dim < tensor.dim():
            what = f"input {place}" if isinstance(place, int) else f"input `{place}`"
            raise SpecError(f"`{option}` names dimension {dim} of {what}, which it does not have")
        found[place] = (dim % tensor.dim(), tensor.shape[dim])
    return found


def _token_dims(tensors: Mapping[Place, Tensor]) -> Mapping[Place, int] | None:
    """Return the second dimension of token ids, and of all inputs that are as long."""
    ids = [t for t in tensors.values() if t.dim() == 2 and t.dtype in (torch.int64, torch.int32)]
    if not ids:
        return None
    batch, tokens = ids[0].shape
    return {
        place: 1
        for place, tensor in tensors.items()
        if tensor.dim() >= 2 and tuple(tensor.shape[:2]) == (batch, tokens)
    }


def _common(sizes: Mapping[Place, tuple[int, int]], *, alone: bool) -> tuple[int, dict[Place, int]]:
    """Return the size that is counted, and the dimensions that grow with it.

    Where one dimension was named for all inputs, those of another size are no batch; where each
    was named, sizes are multiples of the smallest.
    """
    if not sizes:
        return 0, {}
    counted = next(iter(sizes.values()))[1] if alone else min(size for _, size in sizes.values())
    if not alone and any(size % counted for _, size in sizes.values()):
        raise SpecError("the sizes of the named dimensions are no multiples of the smallest")
    return counted, {
        place: dim for place, (dim, size) in sizes.items() if not alone or size == counted
    }
