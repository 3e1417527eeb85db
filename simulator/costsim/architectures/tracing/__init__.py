"""Any PyTorch module as an architecture: traced once with fake tensors, without weights or compute.

    recorder     runs a module and notes its kernels, by module, and what autograd keeps
    kernels      what each ATen operation asks of the hardware
    grouping     calls of modules → groups of operators → blocks
    polynomial   sizes between traces, for columns, symbols and shapes that are too long to trace
    inputs       which dimensions of the inputs are batch and sequence
    module       `from_torch`, and the description that it makes

Importing this package does not import torch; calling it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costsim.errors import CostsimError

if TYPE_CHECKING:
    from torch import nn

    from costsim.architectures.architecture import Architecture


def from_torch(
    module: nn.Module,
    *inputs: Any,
    name: str | None = None,
    batch_dims: Any = 0,
    sequence_dims: Any = None,
    **keywords: Any,
) -> Architecture:
    """Return the architecture of a PyTorch module, traced with fake tensors.

    The module is not touched: a copy without storage runs forward and backward, and every operation
    is recorded with its shapes. FLOPs are those of `FlopCounterMode` (grouped convolutions' weight
    gradients counted by group), kept activations are those that autograd keeps in eager mode.

    Args:
        module: any module, on any device, `meta` included; its mode (train or eval) is kept.
        inputs: what its `forward` is called with; only shapes and formats of tensors are read.
        name: what the model is called; the module's class if not given.
        batch_dims: the dimension of tensors that counts samples: an integer for all tensors, a
            list with one for each positional input, or a mapping from position or keyword to it.
            None: nothing is a batch. Tensors without that many samples are left as they are.
        sequence_dims: likewise the dimension that counts tokens. If not given, it is the second of
            two-dimensional integer inputs (token ids), and of what is as long.
        keywords: keyword arguments of `forward`.

    Raises:
        CostsimError: if PyTorch is missing.
        SpecError: if the module cannot be run, or what it does depends on the values of tensors.
    """
    try:
        from costsim.architectures.tracing.module import traced
    except ImportError as error:
        if error.name != "torch":
            raise
        raise CostsimError(
            "tracing a module needs PyTorch, which is not installed",
            hint='install it with `pip install "costsim[torch]"`',
        ) from None
    return traced(module, inputs, keywords, name, batch_dims, sequence_dims)


__all__ = ["from_torch"]
