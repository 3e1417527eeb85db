"""A meter of what eager PyTorch runs: kernels, the bytes that they read and write, and products.

Every operation that reaches the dispatcher below autograd is a kernel, unless it makes a view or
allocates. The autograd engine's operations pass it too when the mode is set around `.backward()`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_ALLOCATIONS = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
# Views that their schema does not call so: of a fresh result, or of the same storage.
_VIEWS = {"_unsafe_view", "_reshape_alias", "detach", "lift_fresh", "alias"}
# What the host does alone: marks of the profiler, and reading a scalar.
_HOST = {"_record_function_enter_new", "_record_function_exit", "_local_scalar_dense"}
_WRITES_ALONE = {"copy_", "fill_", "zero_", "bernoulli_"}
_PRODUCTS = {"mm", "addmm", "bmm", "baddbmm"}
# Operations that are several kernels on a GPU (ATen/native/cuda, and TensorShape.cpp): how many
# besides the one counted.
_MORE_KERNELS = {
    "native_layer_norm_backward": 2,  # gradients of γ and β, summed in parts
    "embedding_dense_backward": 1,  # a table of zeros first
    "nll_loss_backward": 1,
    "slice_backward": 1,
    "constant_pad_nd": 1,
}


@dataclass(frozen=True)
class Operation:
    """One operation: its name in aten, and the bytes of each tensor read and written."""

    name: str
    read: tuple[int, ...]
    written: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def kernels(self) -> int:
        """Kernels that it is, products left out."""
        return 0 if self.product else 1 + _MORE_KERNELS.get(self.name, 0)

    @property
    def moved_bytes(self) -> int:
        """Bytes that these read and write."""
        read, written = sum(self.read), sum(self.written)
        match self.name:
            case _ if self.product:
                return 0
            case "native_layer_norm_backward":  # x and dy once more
                return read + written + sum(self.read[:2])
            case "embedding":  # the rows that are looked up
                return sum(self.read[1:]) + 2 * written
            case "embedding_dense_backward":  # zeros, to which gradients are added
                return written + read + 2 * self.read[0]
            case "nll_loss_forward":  # of each row of logarithms one value alone
                return sum(self.read[1:]) + written
            case "nll_loss_backward":  # zeros but for these
                return read - self.read[1] + written
            case "slice_backward":  # zeros, then the slice
                return read + written + read
            case "constant_pad_nd":
                return written + 2 * min(read, written)
            case _:
                return read + written

    @property
    def product(self) -> tuple[int, int, int, int] | None:
        """m, n, k and count, of a matrix product."""
        if self.name not in _PRODUCTS:
            return None
        *_, left, right = self.shapes
        return left[-2], right[-1], left[-1], prod(left[:-2])


class Traffic(TorchDispatchMode):
    """The kernels that run inside the context, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Operation] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        name = func.overloadpacket.__name__
        given = [*_tensors((*args, *named.values()))]
        sizes = tuple(_bytes(tensor) for tensor in given)
        result = func(*args, **named)
        if name in _ALLOCATIONS | _VIEWS | _HOST or func.is_view:
            return result
        read = sizes[1:] if name in _WRITES_ALONE else sizes
        shapes = tuple(tuple(tensor.shape) for tensor in given)
        written = tuple(_bytes(tensor) for tensor in _tensors((result,)))
        self.found.append(Operation(name, read, written, shapes))
        return result

    @property
    def kernels(self) -> int:
        """How many ran besides products."""
        return sum(operation.kernels for operation in self.found)

    @property
    def moved_bytes(self) -> int:
        """What those besides products read and wrote."""
        return sum(operation.moved_bytes for operation in self.found)

    @property
    def products(self) -> list[tuple[int, int, int, int]]:
        """Their m, n, k and count."""
        return [operation.product for operation in self.found if operation.product]


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    """Yield each tensor among `values` once, in order."""
    seen: list[Tensor] = []
    for value in values:
        nested = _tensors(value) if isinstance(value, list | tuple) else [value]
        for tensor in nested:
            if isinstance(tensor, Tensor) and not any(tensor is other for other in seen):
                seen.append(tensor)
    yield from seen


def _bytes(tensor: Tensor) -> int:
    """Return the bytes of the values behind a tensor: one that is repeated is read once."""
    held = [n for n, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride]
    return prod(held) * tensor.element_size()
