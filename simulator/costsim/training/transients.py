"""What lives only inside a layer's backward pass, besides what was kept for it: eager PyTorch.

Autograd walks the operators backwards. At each of them the gradient of its output is there, those
of its inputs and weights come to be, and what it kept is freed when it is done. The peak of that
walk, over the bytes that the layer kept, is what a layer at work adds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from costsim.architectures.block import Block
from costsim.architectures.operators import (
    Attention,
    Elementwise,
    Experts,
    Linear,
    Norm,
    Operator,
    Residual,
    Rotary,
)
from costsim.architectures.operators.wrapping import Wrapped
from costsim.architectures.tensors import Activation
from costsim.architectures.workload import Execution

_FLOAT_BYTES = 4
_NORM_TEMPORARIES = 3  # fp32 tensors at once in the derivative of x · rsqrt(mean(x²) + ε)


def backward_bytes(
    block: Block, execution: Execution, widths: dict[str, float], gradient_bytes: float
) -> np.ndarray:
    """Return bytes that one layer's backward pass adds at its worst to what the layer kept.

    Args:
        block: a device's part of a layer.
        execution: how its operators are run; eager.
        widths: bytes of an element by storage, and of the compute format as "compute".
        gradient_bytes: of an element of a weight's gradient as it is made; 0 where none lives on.
    """
    holders: dict[str, int] = {}
    kept: list[tuple[Activation, ...]] = []
    for index, operator in enumerate(block.operators):
        saved = operator.saved(execution)
        kept.append(saved)
        for tensor in saved:
            holders.setdefault(tensor.name, index)  # freed after the earliest that holds it
    compute_bytes = widths["compute"]
    stream = block.source.elements * widths["weight"]
    live = stream + np.zeros(1)  # the gradient of what leaves the layer
    peak, entering = live, np.zeros(1)
    for index in reversed(range(len(block.operators))):
        operator = _bare(block.operators[index])
        if isinstance(operator, Residual):
            entering = np.zeros(1)  # the branch's gradient is the stream's own
            continue
        made, temporary = _gradients(operator, execution, widths)
        weights = sum(w.elements for w in block.operators[index].weights() if not w.frozen)
        weights = weights * gradient_bytes
        gone: np.ndarray | float = 0.0
        if isinstance(operator, Experts) and execution.experts == "loop":
            # Each expert's gradient is a tensor as large as all of them, added out of place.
            largest = max(w.elements for w in block.operators[index].weights())
            temporary = temporary + 2 * largest * gradient_bytes
        if isinstance(operator, Experts):
            gone = _gone(operator, execution) * compute_bytes
        peak = np.maximum(peak, live + made + temporary + weights - gone)
        freed = sum(
            tensor.elements * widths[tensor.storage]
            for tensor in kept[index]
            if holders[tensor.name] == index
        )
        live = live + weights + made - entering - freed
        entering = made
    return peak


def _gradients(
    operator: Operator, execution: Execution, widths: dict[str, float]
) -> tuple[np.ndarray | float, np.ndarray | float]:
    """Return bytes of the gradients of an operator's inputs, and of what is made on the way."""
    compute = widths["compute"]
    match operator:
        case Linear():
            reads = len(operator.columns) if operator.separate else 1
            each = operator.rows * operator.inputs * compute
            return each, each * (reads > 1)
        case Rotary():
            return operator.rows * operator.written * compute, 0.0
        case Elementwise():
            made = operator.rows * operator.read * compute
            return made, 0.0
        case Norm():
            elements = operator.rows * operator.groups * operator.width
            if operator.kind == "layer":
                return elements * widths["weight"], 0.0
            return elements * widths["weight"], _NORM_TEMPORARIES * _FLOAT_BYTES * elements
        case Attention():
            inputs = sum(tensor.elements for tensor in operator.inputs()) * compute
            if execution.attention != "unfused":
                return inputs, 0.0
            # The softmax's derivative has two tensors in fp32; probabilities are gone by then.
            wide = 2 * _FLOAT_BYTES - (compute if compute < _FLOAT_BYTES else 0)
            return inputs, np.maximum(operator.scores * wide - inputs, 0.0)
        case Experts():
            rows = operator.routed_rows
            # When the projections up are differentiated, what came after them is gone.
            return rows * operator.hidden * compute, 0.0
        case _:
            return 0.0, 0.0


def _gone(operator: Experts, execution: Execution) -> np.ndarray | float:
    """Return elements that are no longer kept when the projections up are differentiated.

    What the projection down returned and read, the function's result, and the two halves in whose
    place their gradients stand. One after another, those of the first expert are gone as a whole
    when the second one's gradient is added to its own.
    """
    halves = 2 if operator.gated else 1
    rows = operator.routed_rows
    gone = rows * (operator.hidden + halves * operator.width)
    if execution.experts != "loop":
        return gone
    whole = rows * (2 * operator.hidden + 2 * halves * operator.width)
    return (gone + whole) / operator.experts


def _bare(operator: Operator) -> Operator:
    while isinstance(operator, Wrapped):
        operator = operator.inner
    return operator


def peaks(
    blocks: Sequence[Block],
    execution: Execution,
    widths: dict[str, float],
    gradient_bytes: float,
    rows: int,
) -> np.ndarray:
    """Return `backward_bytes` of each block: (blocks, rows)."""
    found = np.zeros((len(blocks), rows))
    for index, block in enumerate(blocks):
        found[index] = backward_bytes(block, execution, widths, gradient_bytes)
    return found
