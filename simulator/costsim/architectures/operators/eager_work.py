"""What eager PyTorch moves and launches: one rule an operator kind, operation by operation.

Every elementary operation of the reference code is a kernel that reads its inputs from memory and
writes its result there; tests count those of PyTorch itself. Traffic is counted in values of the
compute format, so that one in fp32 counts twice where the format has 16 bits. Values that are one a
row or one a column (statistics, weights of norms, biases, indices) are left out, their kernels not.

Under autocast the residual stream and what is computed on it are in fp32, and products cast what
they read and the gradients that they return.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from costsim.algebra import Number, minimum, where
from costsim.architectures.work import Direction, Gemm, Stream, Work
from costsim.architectures.workload import Execution

if TYPE_CHECKING:
    from costsim.architectures.operators.attention import Attention
    from costsim.architectures.operators.convolution import Convolution
    from costsim.architectures.operators.linear import Linear
    from costsim.architectures.operators.relative import RelativePositions
    from costsim.architectures.operators.streaming import Elementwise, Norm, Residual, Rotary
    from costsim.architectures.operators.vocabulary import CrossEntropy, Embedding

Steps = dict[str, tuple[tuple[int, int], tuple[int, int]]]
STEPS: Steps = {
    # Activation functions of several operations: kernels, and values moved for each of their input,
    # forward and backward. All others are one kernel: read and write; read two and write.
    # max(x, 0)²: relu, power; the derivative of a power takes three.
    "relu2": ((2, 4), (4, 10)),
    # x · sigmoid(1.702 x)
    "quick_gelu": ((3, 7), (5, 14)),
    # (0.5 x) · (1 + tanh(√(2/π) (x + 0.044715 x³)))
    "gelu_new": ((8, 18), (11, 28)),
    # (0.5 x) · (1 + tanh((0.79788456 x) · (1 + (0.044715 x) · x)))
    "gelu_fast": ((9, 21), (13, 36)),
}
_ONE_KERNEL = (1, 2), (1, 3)
WIDE_STEPS: Steps = {
    # Those with a power, which autocast on a GPU computes in fp32 ("CUDA ops that autocast to
    # float32", pytorch.org/docs/stable/amp.html), and so all that comes after: values of 16 bits.
    "relu2": ((3, 9), (5, 20)),
    "gelu_new": ((9, 35), (14, 56)),
}


def wide(execution: Execution) -> int:
    """Return values of the compute format that one in fp32 takes the place of."""
    return 2 if execution.low_precision else 1


def stream(execution: Execution) -> int:
    """Return the same of one in the residual stream, which autocast leaves in fp32."""
    return wide(execution) if execution.autocast else 1


def dropout(direction: Direction, execution: Execution) -> tuple[int, float]:
    """Return kernels of dropping activations, and values moved for each.

    A GPU has a kernel for it, whose mask is bytes; a CPU draws a mask of floats, scales it and
    multiplies.
    """
    if execution.device == "cpu":
        return (3, 6) if direction == "forward" else (1, 3)
    return 1, 2 + (0.5 if execution.low_precision else 0.25)


def norm(operator: Norm, direction: Direction, execution: Execution) -> tuple[Work, ...]:
    """Return normalization: layer norm is a kernel, RMS norm a sequence of operations in fp32."""
    elements = operator.rows * operator.groups * operator.width
    result = stream(execution)  # weights are in fp32 too
    source = 1 if operator.split == "heads" else result
    if operator.kind == "layer":
        if direction == "forward":
            return (Stream((source + result) * elements),)
        # The input's gradient reads x and dy and writes dx; those of γ and β read both again, and
        # on a GPU are summed in parts.
        kernels = 1 if execution.device == "cpu" else 3
        return (Stream((3 * source + 2 * result) * elements, kernels),)
    full = wide(execution)
    casts, cast_values = (1, full + source) if full > source else (0, 0)
    if direction == "forward":
        # 1. x.float(), and back; 2. x², its mean (+ε, rsqrt), x · rsqrt; 3. · γ.
        moved = 2 * cast_values + 5 * full + source + result
        return (Stream(moved * elements, 6 + 2 * casts),)
    # 3. dy · γ (2), dy · x̂ (3) and its sum (1). 2. The product's gradients (5) and a sum (1), the
    # mean spread out (1), the square's gradient (7), their sum (3). 1. Both casts.
    narrowed = result > source  # the gradient of x̂
    moved = 5 * result + source + 17 * full + 2 * cast_values + narrowed * (result + source)
    return (Stream(moved * elements, 14 + 2 * casts + narrowed),)


def activation(
    operator: Elementwise, function: str, direction: Direction, execution: Execution
) -> tuple[Work, ...]:
    """Return an activation function, and the product with a gate."""
    widens = execution.casts and execution.device == "gpu" and function in WIDE_STEPS
    steps = WIDE_STEPS[function] if widens else STEPS.get(function, _ONE_KERNEL)
    forward = direction == "forward"
    kernels, values = steps[0] if forward else steps[1]
    if operator.gated:  # a product reads two and writes one; each factor's gradient does too
        kernels += 1 if forward else 2
        values += 3 if forward else 6
    if widens:  # the next product casts the result, and its gradient back
        kernels, values = kernels + 1, values + 3
        if operator.gated:  # one factor of the product, and its gradient, are in fp32
            kernels, values = (kernels, values + 2) if forward else (kernels + 1, values + 8)
    return (Stream(values * operator.rows * operator.written, kernels),)


def rotary(operator: Rotary, direction: Direction, execution: Execution) -> tuple[Work, ...]:
    """Return q · cos + rotated q · sin of queries and of keys.

    Under autocast the tables are in fp32, and so what is rotated, until a product casts it.
    """
    elements, full = operator.rows * operator.read, stream(execution)
    casts = full > 1
    if direction == "forward":
        # Two products (1 to full each), half negated (1) and joined (2), a sum; the cast.
        moved = 2 * (1 + full) + 3 + 3 * full + casts * (full + 1)
        return (Stream(moved * elements, 10 + 2 * casts),)
    # Two products, both cast, a half negated (1), the halves placed in zeros (2 each), two sums (3
    # each); the cast of what arrives.
    moved = 4 * full + 11 + 3 * casts * (full + 1)
    return (Stream(moved * elements, 18 + 6 * casts),)


def residual(operator: Residual, direction: Direction, execution: Execution) -> tuple[Work, ...]:
    """Return dropout and the addition to the residual stream."""
    elements, summed = operator.rows * operator.width, stream(execution)
    drops = operator.dropout and execution.dropout
    kernels, dropped = dropout(direction, execution) if drops else (0, 0)
    if direction == "forward":
        return (Stream((1 + 2 * summed + dropped) * elements, 1 + kernels),)
    # The stream's gradients from both branches are added; the branch's is cast and dropped.
    cast = summed + 1 if summed > 1 else 0
    return (Stream((3 * summed + cast + dropped) * elements, 1 + kernels + (summed > 1)),)


def attention(operator: Attention, direction: Direction, execution: Execution) -> tuple[Work, ...]:
    """Return what the reference code adds to unfused attention: to products, softmax and dropout.

    Queries, keys and values are copied to where heads come first, and the context back (of one
    sequence alone, only the latter); keys and values that heads share are repeated for each, and
    their gradients summed. Scores are scaled and masked by operations of their own; a softmax in
    fp32 casts them and its result.
    """
    if execution.attention != "unfused":
        return ()
    forward = direction == "forward"
    width = operator.head_dim + operator.value_dim
    rows = operator.batch * operator.tokens * operator.query_heads
    keys = operator.batch * operator.context * operator.query_heads
    held = operator.batch * operator.context * operator.kv_heads
    # Gradients of three heads or more that share a key are summed (keys + held), then copied.
    copied = keys + (held if forward else minimum(3 * held, keys))
    copies = Stream((2 * rows + copied) * width, 4)
    casts = execution.low_precision and (operator.float32_softmax or execution.autocast)
    # Scaled (2), masked (2 and the mask, which all heads share); gradients are scaled alone.
    own, kernels = (4, 2) if forward else (2, 1)
    mask = stream(execution) * operator.batch * operator.tokens * operator.context
    if casts:
        # Cast (3), softmax in fp32 (4, or 6 of its gradient) for one in 16 bits (2, 3), cast back.
        # The mask of autocast is in fp32, so that masking casts.
        own, kernels = own + (8 if forward else 9), kernels + 2
        if execution.autocast and forward:
            own, kernels = own - 2, kernels - 1
        if execution.autocast and operator.float32_softmax and operator.dropout:
            own += 2 * execution.dropout  # dropped before the cast: rotated queries are in fp32
    return copies, Stream(own * operator.scores + (mask if forward else 0), kernels)


def relative(operator: RelativePositions, direction: Direction) -> tuple[Work, ...]:
    """Return the shift of scores by distance, and their addition to those by content."""
    scores = operator.batch * operator.heads * operator.tokens * operator.context
    queries = operator.batch * operator.heads * operator.tokens * operator.head_dim
    if direction == "forward":  # joined with zeros (2), which are seen as shifted, added (3)
        return (Stream(5 * scores, 3),)
    # Placed in zeros (3), copied to where heads come first (2); the queries' gradients added.
    return (Stream(5 * scores + 3 * queries, 4),)


def linear(operator: Linear, direction: Direction, execution: Execution) -> tuple[Work, ...]:
    """Return products of each matrix, the bias's gradient, and autocast's copies."""
    runs = operator.columns
    biased = [operator.bias and run.biased for run in runs]
    products = [run.outputs for run in runs]
    if not operator.separate:
        products, biased = [operator.outputs], [operator.bias]
    found: list[Work] = []
    for outputs, has_bias in zip(products, biased, strict=True):
        if direction == "forward":
            found.append(Gemm(operator.rows, outputs, operator.inputs))
            continue
        if not operator.leaf:
            found.append(Gemm(operator.rows, operator.inputs, outputs))
        found.append(Gemm(operator.inputs, outputs, operator.rows, weights=False))
        if has_bias:
            found.append(Stream(operator.rows * outputs))
    read = operator.rows * operator.inputs
    if direction == "backward" and len(products) > 1 and not operator.leaf:
        added, source = len(products) - 1, 1 if operator.split == "row" else stream(execution)
        found.append(Stream(3 * added * source * read, added))
    if not execution.casts:
        return tuple(found)
    width = wide(execution)
    # Weights and biases are copied to 16 bits, or their gradients from there, whichever way.
    copies = len(products) + sum(biased)
    found.append(Stream((width + 1) * operator.inputs * operator.outputs, copies))
    if operator.split != "row" and not operator.leaf:
        found.append(Stream((width + 1) * len(products) * read, len(products)))
    return tuple(found)


def convolution(
    operator: Convolution, direction: Direction, execution: Execution
) -> tuple[Work, ...]:
    """Return autocast's copies of a convolution's weights, and the gradient of its bias.

    Where maps have channels first, matrix units' kernels read and write transposed copies: of the
    input and the output, and of both again for each gradient. Depthwise ones have kernels for both.
    """
    found: list[Work] = []
    depthwise: bool | Number = operator.groups == operator.inputs  # of columns, each by itself
    if execution.transposes and depthwise is not True:
        maps = operator.positions * operator.inputs + operator.output_positions * operator.outputs
        times = 1 if direction == "forward" or operator.leaf else 2
        found.append(Stream(2 * times * where(depthwise, 0, maps), 2 * times))
    if execution.casts:
        found.append(Stream((wide(execution) + 1) * operator.weights()[0].elements))
    if operator.bias and direction == "backward":
        found.append(Stream(operator.output_positions * operator.outputs))
    return tuple(found)


def embedding(operator: Embedding, direction: Direction, execution: Execution) -> tuple[Work, ...]:
    """Return a look-up; its gradient is a table of zeros to which those of the tokens are added."""
    ids = operator.rows if operator.looked_up is None else operator.looked_up
    looked_up, source = ids * operator.width, stream(execution)
    if direction == "forward":
        return (Stream(2 * source * looked_up),)
    table: Number = operator.entries * operator.width
    gradient = Stream(source * (3 * looked_up + table), 2)
    if operator.looked_up is None:
        return (gradient,)
    # Positions are looked up once for the batch, whose gradients are summed.
    return Stream(source * (operator.rows * operator.width + looked_up)), gradient


def cross_entropy(
    operator: CrossEntropy, direction: Direction, execution: Execution
) -> tuple[Work, ...]:
    """Return the loss of `logits.float()`.

    Rows too long for the registers of a GPU are read three times forward, and twice backward.
    """
    elements, full = operator.rows * operator.classes, wide(execution)
    cast = full + 1 if full > 1 else 0
    once = execution.device == "cpu"  # from memory, then from the cache
    if direction == "forward":
        return (Stream((cast + (2 if once else 4) * full) * elements, 2 + (full > 1)),)
    # Zeros for the picked classes' gradient (1); softmax's gradient reads both twice, writes one.
    return (Stream((cast + (4 if once else 6) * full) * elements, 3 + (full > 1)),)
