"""What eager PyTorch keeps for the backward pass: one rule an operator kind.

Autograd keeps, of every elementary operation, the tensors that its derivative needs. The reference
code of Hugging Face transformers writes each operator as such a sequence, and the rules below say
which of its tensors that are. Each was read off with `torch.autograd.graph.saved_tensors_hooks`.

Formats: without autocast everything has the weights' format, save what is cast to fp32 on purpose.
Under autocast ("casts") the residual stream and the norms stay in the weights' format, and products
and all that is computed from them are in the compute format.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from costsim.algebra import where
from costsim.architectures.tensors import Activation, Storage
from costsim.architectures.workload import Execution
from costsim.errors import UnknownNameError, suggestion

if TYPE_CHECKING:
    from costsim.algebra import Number
    from costsim.architectures.operators.attention import Attention
    from costsim.architectures.operators.convolution import Convolution
    from costsim.architectures.operators.linear import Linear
    from costsim.architectures.operators.streaming import Elementwise, Norm, Rotary
    from costsim.architectures.operators.vocabulary import CrossEntropy

Kept = tuple[Activation, ...]

FUNCTIONS: dict[str, tuple[str, ...]] = {
    # One kernel: its derivative is a function of the input, or of the output.
    "gelu": ("input",),
    "gelu_pytorch_tanh": ("input",),
    "silu": ("input",),
    "swish": ("input",),
    "relu": ("output",),
    "relu6": ("input",),
    "leaky_relu": ("input",),
    "hardswish": ("input",),
    "hardsigmoid": ("input",),
    "sigmoid": ("output",),
    "tanh": ("output",),
    # max(x, 0)²: both steps keep what lies between them.
    "relu2": ("relu",),
    # x · sigmoid(1.702 x)
    "quick_gelu": ("input", "sigmoid"),
    # (0.5 x) · (1 + tanh(√(2/π) (x + 0.044715 x³)))
    "gelu_new": ("input", "half", "tanh", "one_plus_tanh"),
    # (0.5 x) · (1 + tanh((0.79788456 x) · (1 + (0.044715 x) · x)))
    "gelu_fast": (
        "input",
        "scaled_input",
        "cubic",
        "one_plus_cubic",
        "tanh",
        "half",
        "one_plus_tanh",
    ),
}
"""What each activation function keeps: tensors of the size of its input."""


def linear(operator: Linear, execution: Execution) -> Kept:
    """Return what y = xW keeps: x, for the gradient of W (W itself is a parameter).

    Autocast multiplies copies of both in the compute format, and a copy of x for every product; x
    is in that format already where a product made it, as the input of a row-divided matrix is.
    """
    elements = operator.held_rows * operator.inputs
    if not execution.casts:
        return (Activation(operator.source, elements),)
    weight = Activation(f"{operator.name}.cast_weight", operator.inputs * operator.outputs)
    if operator.split == "row":
        return (Activation(operator.source, elements), weight)
    products = len(operator.columns) if operator.separate else 1
    return (Activation(f"{operator.name}.cast_input", products * elements), weight)


def convolution(operator: Convolution, execution: Execution) -> Kept:
    """Return what a convolution keeps: its input, as a linear layer does."""
    elements = operator.positions * operator.inputs
    if not execution.casts:
        return (Activation(operator.source, elements),)
    weight = operator.weights()[0].elements
    return (
        Activation(f"{operator.name}.cast_input", elements),
        Activation(f"{operator.name}.cast_weight", weight),
    )


def norm(operator: Norm, execution: Execution) -> Kept:
    """Return what normalization keeps.

    Layer norm is one kernel: x, mean and 1/σ, the latter in fp32 on a GPU, in x's format on a CPU.
    RMS norm is x.float(), x · rsqrt(mean(x²) + ε), cast back, · γ: it keeps x in fp32, the rsqrt,
    and for the gradient of γ the normalized x, in fp32 where it multiplies before it casts back.
    Per-head norms read what a product made.
    """
    rows = operator.rows * operator.groups
    elements = rows * operator.width
    source: Storage = "compute" if operator.split == "heads" else "weight"
    if operator.kind == "layer":
        statistics: Storage = source if execution.device == "cpu" else "float32"
        return (
            Activation(operator.source, elements, source),
            Activation(f"{operator.name}.statistics", 2 * rows, statistics),
        )
    cast = execution.low_precision and (source == "compute" or not execution.autocast)
    name = f"{operator.name}.float32" if cast else operator.source
    kept = (
        Activation(name, elements, "float32"),
        Activation(f"{operator.name}.rsqrt", rows, "float32"),
    )
    if not operator.weight:
        return kept
    normalized: Storage = "float32" if operator.wide else source
    return (*kept, Activation(f"{operator.name}.normalized", elements, normalized))


def activation(operator: Elementwise, function: str) -> Kept:
    """Return what an activation function keeps, and the product with a gate: both its factors.

    Raises:
        UnknownNameError: for a function whose elementary operations are not known.
    """
    if function not in FUNCTIONS:
        raise UnknownNameError(
            f"what eager PyTorch keeps of the activation function `{function}` is not known",
            hint=suggestion(function, FUNCTIONS),
        )
    elements = operator.rows * operator.written
    read = operator.holds[0].name
    # What the function returns is read by the next product, or multiplied with the other half.
    output = f"{operator.name}.gate" if operator.gated else operator.name
    names = {"input": f"{read}.gate" if operator.gated else read, "output": output}
    kept = tuple(
        Activation(names.get(tensor, f"{operator.name}.{tensor}"), elements)
        for tensor in FUNCTIONS[function]
    )
    if not operator.gated:
        return kept
    return (*kept, Activation(output, elements), Activation(f"{read}.up", elements))


def attention(operator: Attention, execution: Execution) -> Kept:
    """Return what attention keeps, by implementation.

    The fused kernels that `sdpa` chooses keep what flash attention does; given a mask, as it is for
    a window or a padded batch, keys and values of all heads, and the mask as a bias. With dropout
    on a CPU `sdpa` takes the composite way: fp32 copies of everything, keys and values repeated for
    each query head. Unfused attention repeats them too and keeps the softmax, in fp32 where the
    model or autocast asks for that and then cast to the compute format; dropout keeps mask and
    result, a cap its tanh.
    Models that ask for fp32 cast back to the format of queries, which under autocast the rotation
    has left in the weights'.
    """
    drops = operator.dropout and execution.dropout
    composite = execution.attention == "sdpa" and execution.device == "cpu" and drops
    if execution.attention != "unfused" and not composite:
        return _masked(operator, execution)
    storage: Storage = "float32" if composite else "compute"
    rows = operator.batch * operator.tokens * operator.query_heads
    context = operator.batch * operator.context * operator.query_heads
    inputs = (
        Activation(f"{operator.name}.query", rows * operator.head_dim, storage),
        Activation(f"{operator.name}.key", context * operator.head_dim, storage),
        Activation(f"{operator.name}.value", context * operator.value_dim, storage),
    )
    scores = operator.scores
    upcast = execution.low_precision and (operator.float32_softmax or execution.autocast)
    softmax: Storage = "float32" if upcast else storage

    def kept(name: str, size: Number, storage: Storage) -> Activation:
        return Activation(f"{operator.name}.{name}", size, storage, inner=True)

    found = (*inputs, kept("softmax", scores, softmax))
    if operator.capped:
        found = (*found, kept("cap", scores, storage))
    if drops:
        dropped: Storage = "weight" if operator.float32_softmax and not composite else storage
        dropout_mask = kept("dropout_mask", scores, mask_storage(execution, dropped))
        return (*found, dropout_mask, kept("dropout", scores, storage))
    return (*found, kept("probabilities", scores, storage)) if upcast else found


def _masked(operator: Attention, execution: Execution) -> Kept:
    """Return what a fused kernel keeps, with a mask where `sdpa` is given one."""
    held = operator.held(execution)
    window = operator.window
    slides = execution.attention == "sdpa" and window is not None
    if execution.attention != "masked" and not slides:
        return held
    context = operator.batch * operator.context * operator.query_heads
    whole = {
        f"{operator.name}.key": context * operator.head_dim,
        f"{operator.name}.value": context * operator.value_dim,
    }
    bias = operator.batch * operator.tokens * operator.context
    share = 1 if window is None or not slides else where(operator.context > window, 1, 0)

    def repeated(tensor: Activation) -> Activation:
        if tensor.name not in whole:
            return tensor
        return replace(tensor, elements=where(share > 0, whole[tensor.name], tensor.elements))

    named = Activation(f"{operator.name}.bias", bias * share, inner=True)
    return (*map(repeated, held), named)


def mask(operator: Attention, execution: Execution) -> Kept:
    """Return the additive mask that recomputing unfused attention reads: one for all layers."""
    if execution.attention != "unfused":
        return ()
    name = "mask" if operator.window is None else f"mask.{operator.window}"
    return (Activation(name, operator.batch * operator.tokens * operator.context, "weight"),)


def rotary_tables(operator: Rotary, *, recomputed: bool) -> Kept:
    """Return the cosines and sines that gradients are rotated back by; positions if recomputed.

    q · cos + rotated q · sin needs neither q nor its rotation.
    """
    tables = (Activation("rotary.tables", 2 * operator.tokens * operator.dim, "weight"),)
    if not recomputed:
        return tables
    return (*tables, Activation("rotary.positions", operator.tokens, "index"))


def cross_entropy(operator: CrossEntropy) -> Kept:
    """Return what the loss of `logits.float()` keeps: log-softmax, targets, their total weight.

    A cap keeps its tanh.
    """
    elements = operator.rows * operator.classes
    cap = (Activation(f"{operator.name}.cap", elements),) if operator.capped else ()
    return (
        *cap,
        Activation(f"{operator.name}.log_softmax", elements, "float32"),
        Activation(f"{operator.name}.targets", operator.rows, "index"),
        Activation(f"{operator.name}.total_weight", 1, "float32"),
    )


def mask_storage(execution: Execution, source: Storage) -> Storage:
    """Return the format of the mask by which `source` is dropped: eager on a CPU keeps floats."""
    return source if execution.style == "eager" and execution.device == "cpu" else "mask"
