"""What a mode of recomputation keeps and repeats of one layer, operator by operator.

A mode chooses operators whose forward work is repeated. What they made is dropped, what they read
is kept; bytes, time, FLOPs and exchanges follow from the operators themselves. Tensors are known by
name: that of the operator that made them, or one that begins with it. Where nothing says what an
operator reads, as with gates between branches and recurrences, its output is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from costsim.algebra import Number, exact_div
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
from costsim.architectures.operators.wrapping import Again, Detached, Idle, Wrapped, rewrapped
from costsim.architectures.tensors import Activation
from costsim.architectures.work import ScaledDotProduct, Stream
from costsim.architectures.workload import Execution
from costsim.training.recompute import Recompute

_CASTS = ("cast_input", "cast_weight")  # that autocast makes of what a product reads
_Chosen: TypeAlias = dict[int, tuple[int, ...] | None]
"""Numbers of the operators of a block that are repeated: which pieces of their work, or all."""


@dataclass(frozen=True, slots=True)
class Remade:
    """What a mode makes of one layer.

    `kept` are the activations that wait for the backward pass, `chosen` the operators whose work is
    repeated before it, of products in `columns` those runs alone; `regions` counts the functions
    that are checkpointed, each with its random state.
    """

    kept: tuple[Activation, ...]
    chosen: Mapping[int, tuple[int, ...] | None]
    regions: int
    columns: Mapping[int, tuple[int, ...]] = field(default_factory=dict[int, tuple[int, ...]])

    def again(self, block: Block) -> Block:
        """Return what is repeated of `block`, the one that was asked for or a part of it."""
        operators = (
            Again.parts_of(self._narrowed(index, operator), self.chosen[index])
            for index, operator in enumerate(block.operators)
            if index in self.chosen
        )
        return replace(block, operators=tuple(operators))

    def _narrowed(self, index: int, operator: Operator) -> Operator:
        runs = self.columns.get(index)
        if runs is None:
            return operator

        def narrowed(product: Operator) -> Operator:
            assert isinstance(product, Linear)
            return replace(product, columns=tuple(product.columns[run] for run in runs))

        return rewrapped(operator, narrowed)


def remade(
    block: Block, saved: tuple[Activation, ...], mode: Recompute, execution: Execution
) -> Remade:
    """Return what `mode` keeps and repeats of one layer of `block`, which else keeps `saved`.

    Stem and head keep all.
    """
    if block.part != "layer" or mode == "none" or not saved:
        return Remade(saved, {}, 0)
    kept: Iterable[Activation]
    columns: dict[int, tuple[int, ...]] = {}
    match mode:
        case "full":
            chosen: _Chosen = dict.fromkeys(range(len(block.operators)))
            kept = (_entering(block, saved, execution),)
        case "selective":
            chosen = _scores(block, execution)
            kept = (activation for activation in saved if not activation.inner)
        case "feed_forward":
            chosen = {i: None for i, op in enumerate(block.operators) if _in_network(op)}
            kept = _around(block, chosen, execution)
        case "save_qkv":
            projections = _projections(block)
            chosen = {i: None for i in range(len(block.operators)) if i not in projections}
            kept = (_entering(block, saved, execution), *_attended(block))
        case "elementwise":
            chosen = _discarded(block, execution)
            kept = _without(block, chosen, execution)
        case "save_products" | "save_weight_products":
            chosen = _passes(block, execution, attends=mode == "save_weight_products")
            kept = _without(block, chosen, execution)
        case "save_half_products":
            chosen = _passes(block, execution, attends=False)
            kept = _halved(block, chosen, columns, execution)
    distinct: dict[str, Activation] = {}
    for activation in kept:
        distinct.setdefault(activation.name, activation)
    # Frameworks discard outputs of norms and functions one by one, and checkpoint all else at once.
    regions = len(chosen) if mode == "elementwise" else min(len(chosen), 1)
    return Remade(tuple(distinct.values()), chosen, regions, columns)


@dataclass(frozen=True, slots=True)
class _Makers:
    """Which operator of a block made a tensor, and whether it is made again."""

    names: dict[str, int]
    operators: tuple[Operator, ...]  # _inner
    chosen: _Chosen

    @classmethod
    def of(cls, block: Block, chosen: _Chosen | None = None) -> _Makers:
        """Return the makers of the tensors of `block`, of which `chosen` are repeated."""
        names = {operator.name: index for index, operator in enumerate(block.operators)}
        return cls(names, tuple(map(_inner, block.operators)), chosen or {})

    def maker(self, tensor: str) -> int | None:
        """Return the number of the operator that `tensor` is called after."""
        while tensor not in self.names:
            tensor, dot, _ = tensor.rpartition(".")
            if not dot:
                return None
        return self.names[tensor]

    def remakes(self, tensor: str) -> bool:
        """Return whether a repeated operator makes `tensor`."""
        index = self.maker(tensor)
        if index is None or index not in self.chosen:
            return False
        operator, last = self.operators[index], tensor.rpartition(".")[2]
        if isinstance(operator, Attention):
            return tensor not in {activation.name for activation in operator.inputs()}
        if self.chosen[index] is None:
            return True
        parts = ("activation", "gate") if isinstance(operator, Experts) else _CASTS
        return last in parts


def _inner(operator: Operator) -> Operator:
    """Return what works inside any wrapping; what has no backward pass stays wrapped."""
    while isinstance(operator, Wrapped) and not isinstance(operator, (Detached, Idle)):
        operator = operator.inner
    return operator


def _scores(block: Block, execution: Execution) -> _Chosen:
    """Attention proper: the work of scores, without copies and masks around it."""
    found = {
        index: _positions(operator, execution, ScaledDotProduct)
        for index, operator in enumerate(block.operators)
    }
    return {index: positions for index, positions in found.items() if positions}


def _positions(operator: Operator, execution: Execution, kind: type) -> tuple[int, ...]:
    work = operator.work("forward", execution)
    return tuple(index for index, piece in enumerate(work) if isinstance(piece, kind))


def _in_network(operator: Operator) -> bool:
    """Whether an operator stands in a feed-forward network, between its norm and its residual."""
    network, inside, _ = operator.name.partition(".")
    return bool(inside) and network.startswith("feed_forward")


def _around(block: Block, chosen: _Chosen, execution: Execution) -> Iterable[Activation]:
    """Yield what operators outside `chosen` keep, and what enters those inside."""
    makers = _Makers.of(block, chosen)
    for index, operator in enumerate(block.operators):
        if index in chosen:
            entering = (*operator.saved(execution), *_inputs(operator, execution))
            yield from (tensor for tensor in entering if not makers.remakes(tensor.name))
        else:
            yield from operator.saved(execution)


def _projections(block: Block) -> set[int]:
    """Return the products with weights that stand between a residual and the attention behind."""
    found: set[int] = set()
    pending: list[int] = []
    for index, operator in enumerate(map(_inner, block.operators)):
        if isinstance(operator, Attention):
            found.update(pending)
        if isinstance(operator, (Attention, Residual)):
            pending = []
        elif operator.role == "matrix":
            pending.append(index)
    return found


def _attended(block: Block) -> tuple[Activation, ...]:
    """Return queries, keys and values of the layer's attention, as projections make them."""
    operators = map(_inner, block.operators)
    return tuple(t for op in operators if isinstance(op, Attention) for t in op.inputs())


def _discarded(block: Block, execution: Execution) -> _Chosen:
    """Norms and activation functions whose output another operator keeps or reads."""
    read = _read(block, execution)
    found: _Chosen = {}
    for index, operator in enumerate(block.operators):
        inner = _inner(operator)
        if isinstance(inner, Experts):
            found[index] = (Experts.ACTIVATION,)
        named = isinstance(inner, Norm) or (isinstance(inner, Elementwise) and inner.function)
        if named and inner.name in read[index]:
            found[index] = None
    return found


def _passes(block: Block, execution: Execution, *, attends: bool) -> _Chosen:
    """All passes over memory whose result is needed again, and attention where it `attends`."""
    makers, read = _Makers.of(block), _read(block, execution)
    found: _Chosen = {}
    followed = False  # by an operator that needs what is made here, by no name of its own
    for index in reversed(range(len(block.operators))):
        operator = block.operators[index]
        inner = _inner(operator)
        if not _is_pass(inner):
            followed = True
            if isinstance(inner, Experts):
                found[index] = (Experts.ACTIVATION,)
            elif isinstance(inner, Attention) and attends:
                found[index] = None
            elif isinstance(inner, Linear) and execution.casts and _recasts(inner, makers):
                found[index] = _positions(operator, execution, Stream)
            continue
        own = any(makers.maker(tensor.name) == index for tensor in operator.saved(execution))
        named = own or inner.name in read[index]
        if named or (followed and not isinstance(inner, Residual)):
            found[index] = None
            followed = True
    return found


def _halved(
    block: Block, chosen: _Chosen, columns: dict[int, tuple[int, ...]], execution: Execution
) -> Iterable[Activation]:
    """Yield what is kept where every second product is repeated; add those to `chosen`.

    Products are counted as they run: those of one source one by one where they are separate, of
    which `columns` tells the repeated runs.
    """
    shares: dict[str, Number] = {}
    whole: list[Activation] = []
    partly: _Chosen = {}
    count = 0
    for index, operator in enumerate(block.operators):
        product = _inner(operator)
        if not isinstance(product, Linear):
            continue
        runs = [run.outputs for run in product.columns] if product.separate else [product.outputs]
        stays = [(count + place) % 2 == 0 for place in range(len(runs))]
        count += len(runs)
        stored = sum(run for run, stay in zip(runs, stays, strict=True) if stay)
        shares[product.name] = exact_div(stored, product.outputs)
        if not any(stays):
            chosen[index] = None
        elif all(stays):
            if execution.style == "eager":
                whole.append(Activation(product.name, product.rows * product.outputs))
        else:
            partly[index] = None
            columns[index] = tuple(place for place, stay in enumerate(stays) if not stay)
    makers = _Makers.of(block, chosen)
    operators = makers.operators
    made = {operator.name: operator for operator in operators}
    projected = {
        tensor.name: shares[source.name]
        for attention in operators
        if isinstance(attention, Attention)
        for tensor, source in zip(attention.inputs(), attention.sources(made), strict=True)
        if isinstance(source, Linear)
    }
    for tensor in (*_without(block, chosen, execution), *whole):
        maker = makers.maker(tensor.name)
        share = projected.get(tensor.name)
        if share is None:
            share = 1 if maker is None else shares.get(operators[maker].name, 1)
        yield replace(tensor, elements=tensor.elements * share)
    chosen.update(partly)


def _recasts(product: Linear, makers: _Makers) -> bool:
    """Whether autocast's copies of a product's input and weight are cheaper to make than to keep.

    Not so where the input would have to be kept in its own, wider format.
    """
    index = makers.maker(product.source)
    return product.split == "row" or (index is not None and _is_pass(makers.operators[index]))


def _is_pass(operator: Operator) -> bool:
    """Whether an operator only passes over memory, and says what it reads."""
    if isinstance(operator, Elementwise):
        return isinstance(operator, Rotary) or operator.function is not None
    return isinstance(operator, (Norm, Residual))


def _read(block: Block, execution: Execution) -> list[set[str]]:
    """Return for each operator the names of tensors that the others keep or read."""
    names = [
        {t.name for t in (*operator.saved(execution), *_inputs(operator, execution))}
        for operator in block.operators
    ]
    return [
        {name for other, found in enumerate(names) if other != index for name in found}
        for index in range(len(names))
    ]


def _without(block: Block, chosen: _Chosen, execution: Execution) -> Iterable[Activation]:
    """Yield what is kept where outputs of `chosen` are dropped: whoever reads them makes them."""
    makers = _Makers.of(block, chosen)
    twice, read = _normalized_heads(block, chosen), _read(block, execution)
    for index, operator in enumerate(block.operators):
        inner = _inner(operator)
        needed = operator.saved(execution)
        if index in chosen and isinstance(inner, Attention):
            needed = inner.inputs()
        elif index in chosen and isinstance(inner, Residual) and inner.name in read[index]:
            needed = (*needed, *_added(block, index, inner, execution))
        elif index in chosen:
            needed = (*needed, *_inputs(operator, execution))
        for tensor in needed:
            if not makers.remakes(tensor.name) and tensor.name not in twice:
                yield tensor


def _normalized_heads(block: Block, chosen: _Chosen) -> set[str]:
    """Return names of queries and keys that repeated norms make of projections that are kept."""
    operators = [_inner(operator) for operator in block.operators]
    made = {operator.name: operator for operator in operators}
    norms = [operators[index] for index in chosen if isinstance(operators[index], Norm)]
    return {
        tensor.name
        for attention in operators
        if isinstance(attention, Attention)
        for tensor, source in zip(attention.inputs(), attention.sources(made), strict=True)
        if isinstance(source, Norm) and source.split == "heads" and source in norms
    }


def _added(
    block: Block, index: int, residual: Residual, execution: Execution
) -> Iterable[Activation]:
    """Yield what `residual` adds: the output of the last operator that is no pass, to the stream.

    The stream is what enters the layer, or the sum before, which is made again if it is needed.
    """
    before = [_inner(operator) for operator in block.operators[:index]]
    for operator in reversed(before):
        if not _is_pass(operator):
            yield Activation(operator.name, residual.rows * residual.width)
            break
    if not any(isinstance(operator, Residual) for operator in before):
        yield _stream(block.source, execution)


def _inputs(operator: Operator, execution: Execution) -> tuple[Activation, ...]:
    """Return the tensors that an operator reads, where it says so."""
    match _inner(operator):
        case Norm() as norm:
            read = Activation(norm.source, norm.rows * norm.groups * norm.width)
            return (read if norm.split == "heads" else _stream(read, execution),)
        case Elementwise(function=str()) as passed:
            first = passed.holds[0]
            if passed.gated and execution.style == "eager":
                half = passed.rows * passed.written
                parts = (f"{first.name}.gate", f"{first.name}.up")
                return tuple(Activation(part, half) for part in parts)
            return (Activation(first.name, passed.rows * first.width, first.storage),)
        case Linear() as product:
            read = Activation(product.source, product.held_rows * product.inputs)
            return (_stream(read, execution),)
        case Experts() as experts:
            read = Activation(experts.source, experts.rows * experts.hidden)
            return (_stream(read, execution),)
        case _:
            return ()


def _entering(block: Block, saved: tuple[Activation, ...], execution: Execution) -> Activation:
    """Return what enters a layer, under autocast in the format that its first operators keep."""
    if not execution.casts:
        return block.source
    read = (tensor for tensor in saved if tensor.name == block.source.name)
    found = next(read, block.source)
    return replace(block.source, storage=found.storage)


def _stream(activation: Activation, execution: Execution) -> Activation:
    """Return a tensor of the residual stream in the format that the software has it in."""
    return replace(activation, storage="weight") if execution.style == "eager" else activation
