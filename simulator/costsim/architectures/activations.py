"""Bytes of what the forward pass leaves for the backward pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from costsim.algebra import Number
from costsim.architectures.block import Block
from costsim.architectures.formats import bytes_for
from costsim.architectures.tensors import Activation
from costsim.architectures.workload import FUSED, Execution, Workload

if TYPE_CHECKING:
    from costsim.architectures.architecture import Architecture

FIXED_BYTES = {"float32": 4, "mask": 1, "index": 8}
"""Bytes of an element in the storages that no precision recipe changes."""


def activation_bytes(
    activations: Iterable[Activation], dtype: str, execution: Execution = FUSED
) -> Number:
    """Return the bytes of `activations` where products are computed in `dtype`."""
    compute = bytes_for(dtype)
    widths = {**FIXED_BYTES, "weight": 4 if execution.autocast else compute}
    return sum(a.elements * widths.get(a.storage, compute) for a in activations)


def saved_bytes(block: Block, dtype: str, execution: Execution = FUSED) -> Number:
    """Return bytes that one layer of `block` keeps for its backward pass."""
    return activation_bytes(block.saved(execution), dtype, execution)


def kept_bytes(
    architecture: Architecture,
    workload: Workload,
    execution: Execution,
    dtype: str,
    *,
    checkpoint: bool = False,
) -> Number:
    """Return bytes that a whole model on one device keeps after a forward pass and its loss.

    Args:
        architecture: the model.
        workload: what passes through it.
        execution: how its operators are run.
        dtype: the format of products (the residual stream's too, but under autocast).
        checkpoint: each layer keeps its input alone, and what all layers share; stem and head
            keep everything.

    Token ids and targets are counted, as autograd holds them; parameters are not.
    """
    total: Number = 0
    shared: dict[str, Activation] = {}
    for block in architecture.blocks(workload):
        recomputed = checkpoint and block.part == "layer"
        if recomputed:
            stream = replace(block.source, storage="weight")
            total += block.count * activation_bytes([stream], dtype, execution)
        else:
            total += block.count * saved_bytes(block, dtype, execution)
        for operator in block.operators:
            for tensor in operator.shared(execution, recomputed=recomputed):
                shared.setdefault(tensor.name, tensor)
    return total + activation_bytes(shared.values(), dtype, execution)
