"""What eager PyTorch moves and launches: one rule an operator kind, operation by operation.

Every elementary operation of the reference code is a kernel that reads its inputs from memory and
writes its result there. Traffic is counted in values of the compute format, so that one in fp32
counts twice where the format has 16 bits. Under autocast the residual stream and what is computed
on it are in fp32, and products cast what they read and the gradients that they return.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from costsim.algebra import Number
from costsim.architectures.work import Direction, Gemm, Stream, Work
from costsim.architectures.workload import Execution

if TYPE_CHECKING:
    from costsim.architectures.operators.attention import Attention
    from costsim.architectures.operators.convolution import Convolution
    from costsim.architectures.operators.linear import Linear
    from costsim.architectures.operators.relative import RelativePositions
    from costsim.architectures.operators.streaming import Elementwise, Norm, Residual, Rotary
    from costsim.architectures.operators.vocabulary import CrossEntropy, Embedding

STEPS: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {
    # Activation functions of several operations: kernels, and values moved for each of their input,
    # forward and backward. All others are one kernel: read and write; read two and write.
    # max(x, 0)²: relu, power; the power's derivative is two products.
    "relu2": ((2, 4), (3, 8)),
    # x · sigmoid(1.702 x)
    "quick_gelu": ((3, 7), (5, 14)),
    # (0.5 x) · (1 + tanh(√(2/π) (x + 0.044715 x³)))
    "gelu_new": ((8, 18), (13, 28)),
    # (0.5 x) · (1 + tanh((0.79788456 x) · (1 + (0.044715 x) · x)))
    "gelu_fast": ((9, 20), (14, 32)),
}
_ONE_KERNEL = (1, 2), (1, 3)


def wide(execution: Execution) -> int:
    """Return values of the compute format that one in fp32 takes the place of."""
    return 2 if execution.low_precision else 1


def stream(execution: Execution) -> int:
    """Return the same of one in the residual stream, which autocast leaves in fp32."""
    return wide(execution) if execution.autocast else 1


def mask(execution: Execution) -> float:
    """Return the same of an entry of a dropout mask: a byte, on a CPU a float."""
    if execution.device == "cpu":
        return 1.0
    return 0.5 if execution.low_precision else 0.25


def norm(operator: Norm, direction: Direction, execution: Execution) -> tuple[Work, ...]:
    """Return normalization: layer norm is a kernel, RMS norm a sequence of operations in fp32."""
    elements = operator.rows * operator.groups * operator.width
    source = 1 if operator.split == "heads" else stream(execution)
    if operator.kind == "layer":
        if direction == "forward":
            return (Stream(2 * source * elements),)
        # The input's gradient reads x and dy and writes dx; those of γ and β read both again.
        return (Stream(5 * source * elements, 3),)
    full = wide(execution)
    cast = full - source  # 0 where the stream is in fp32 already
    casts, cast_values = (1, full + source) if cast else (0, 0)
    if direction == "forward":
        # 1. x.float(), and back; 2. x², its mean (+ε, rsqrt), x · rsqrt; 3. · γ.
        return (Stream((2 * cast_values + 5 * full + 2 * source) * elements, 6 + 2 * casts),)
    # 3. dy · γ (2), dy · x̂ (3) and its sum (1). 2. The product's gradients (5) and a sum (1), the
    # mean spread out (1), the square's gradient (5), their sum (3). 1. Both casts.
    return (Stream((6 * source + 15 * full + 2 * cast_values) * elements, 14 + 2 * casts),)


def activation(operator: Elementwise, function: str, direction: Direction) -> tuple[Work, ...]:
    """Return an activation function, and the product with a gate."""
    forward, backward = STEPS.get(function, _ONE_KERNEL)
    kernels, values = forward if direction == "forward" else backward
    if operator.gated:  # a product reads two and writes one; each factor's gradient does too
        kernels += 1 if direction == "forward" else 2
        values += 3 if direction == "forward" else 6
    return (Stream(values * operator.rows * operator.written, kernels),)


def rotary(operator: Rotary, direction: Direction) -> tuple[Work, ...]:
    """Return q · cos + rotated q · sin of queries and of keys."""
    elements = operator.rows * operator.read
    if direction == "forward":  # two products (2 each), half negated and joined (3), a sum (3)
        return (Stream(10 * elements, 10),)
    # Two products, the halves' gradients placed in zeros (4) and negated (1), two sums (4).
    return (Stream(13 * elements, 16),)


def residual(operator: Residual, direction: Direction, execution: Execution) -> tuple[Work, ...]:
    """Return dropout and the addition to the residual stream."""
    elements, summed = operator.rows * operator.width, stream(execution)
    drops = operator.dropout and execution.dropout
    dropped = 2 + mask(execution) if drops else 0
    if direction == "forward":
        return (Stream((1 + 2 * summed + dropped) * elements, 1 + drops),)
    # The stream's gradients from both branches are added; the branch's is cast and dropped.
    cast = summed + 1 if summed > 1 else 0
    return (Stream((3 * summed + cast + dropped) * elements, 1 + drops + (summed > 1)),)


def attention(operator: Attention, direction: Direction, execution: Execution) -> tuple[Work, ...]:
    """Return what the reference code adds to unfused attention.

    Queries, keys and values are copied to where heads come first, and the context back; scores are
    scaled and masked by operations of their own; a softmax in fp32 casts them and its result.
    """
    if execution.attention != "unfused":
        return ()
    rows = operator.batch * operator.tokens * operator.query_heads
    keys = operator.batch * operator.context * operator.query_heads
    heads = (rows + keys) * (operator.head_dim + operator.value_dim)
    copies = Stream(2 * heads, 4)
    drops = operator.dropout and execution.dropout
    upcast = execution.low_precision and (operator.float32_softmax or execution.autocast)
    # Cast (3), softmax in fp32 (4, or 6 of its gradient) for one in 16 bits (2, 3), cast back (3).
    casts = (8 if direction == "forward" else 9) + 2 * drops if upcast else 0
    own, kernels = (4, 2) if direction == "forward" else (2, 1)
    return copies, Stream((own + casts) * operator.scores, kernels + 2 * upcast)


def relative(operator: RelativePositions, direction: Direction) -> tuple[Work, ...]:
    """Return the shift of scores by distance, and their addition to those by content."""
    scores = operator.batch * operator.heads * operator.tokens * operator.context
    if direction == "forward":  # joined with zeros (2), cut out again (2), added (3)
        return (Stream(7 * scores, 3),)
    return (Stream(6 * scores, 4),)  # placed in zeros (3), twice


def linear(operator: Linear, direction: Direction, execution: Execution) -> tuple[Work, ...]:
    """Return products of each matrix, the bias's gradient, and autocast's copies."""
    runs = operator.columns if operator.separate else None
    products = [run.outputs for run in runs] if runs else [operator.outputs]
    found: list[Work] = []
    for outputs in products:
        if direction == "forward":
            found.append(Gemm(operator.rows, outputs, operator.inputs))
            continue
        if not operator.leaf:
            found.append(Gemm(operator.rows, operator.inputs, outputs))
        found.append(Gemm(operator.inputs, outputs, operator.rows, weights=False))
        if operator.bias:
            found.append(Stream(operator.rows * outputs))
    read = operator.rows * operator.inputs
    if direction == "backward" and len(products) > 1 and not operator.leaf:
        found.append(Stream(3 * (len(products) - 1) * read, len(products) - 1))
    if not execution.casts:
        return tuple(found)
    width = wide(execution)
    # Weights are copied to 16 bits, or their gradients from there, whichever way.
    found.append(Stream((width + 1) * operator.inputs * operator.outputs, len(products)))
    if operator.split != "row" and not operator.leaf:
        found.append(Stream((width + 1) * len(products) * read, len(products)))
    return tuple(found)


def convolution(
    operator: Convolution, direction: Direction, execution: Execution
) -> tuple[Work, ...]:
    """Return autocast's copies of a convolution's weights, and the gradient of its bias."""
    found: list[Work] = []
    if execution.casts:
        found.append(Stream((wide(execution) + 1) * operator.weights()[0].elements))
    if operator.bias and direction == "backward":
        found.append(Stream(operator.output_positions * operator.outputs))
    return tuple(found)


def embedding(operator: Embedding, direction: Direction, execution: Execution) -> tuple[Work, ...]:
    """Return a look-up; its gradient is a table of zeros to which those of the tokens are added."""
    rows, source = operator.rows * operator.width, stream(execution)
    if direction == "forward":
        return (Stream(2 * source * rows),)
    table: Number = wide(execution) * operator.entries * operator.width
    return (Stream(3 * source * rows + table, 2),)


def cross_entropy(
    operator: CrossEntropy, direction: Direction, execution: Execution
) -> tuple[Work, ...]:
    """Return the loss of `logits.float()`: rows too long for registers are read three times."""
    elements, full = operator.rows * operator.classes, wide(execution)
    cast = full + 1 if full > 1 else 0
    if direction == "forward":
        return (Stream((cast + 4 * full) * elements, 2 + (full > 1)),)
    # Zeros for the picked classes' gradient (1); softmax's gradient reads both twice, writes one.
    return (Stream((cast + 6 * full) * elements, 3 + (full > 1)),)
