"""Low-rank adapters: LoRA, and DoRA with its magnitudes, over frozen weights (QLoRA: packed ones).

What a backward pass has to do follows from what is trained. Frozen matrices have no gradient of
their own; below the first adapter nothing needs a gradient at all, so that in the first layer the
input's gradient is not computed, nor that of keys where only queries and values are adapted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from costsim.algebra import Number
from costsim.architectures.block import Block
from costsim.architectures.layers.cross_attention import ENCODED
from costsim.architectures.operators import (
    Attention,
    Elementwise,
    Embedding,
    Linear,
    Norm,
    Operator,
)
from costsim.architectures.operators.base import Role
from costsim.architectures.operators.wrapping import Wrapped
from costsim.architectures.tensors import Activation, Weight
from costsim.architectures.work import Direction, Gemm, Stream, Work
from costsim.architectures.workload import FUSED, Execution, Shard
from costsim.compression.description import BlockPass
from costsim.compression.selection import projections
from costsim.errors import SpecError

QUERY, KEY, VALUE = range(3)
# Last part of a projection's name -> what of attention it makes.
_COLUMNS = {
    "query_key_value": (QUERY, KEY, VALUE),
    "query": (QUERY,),
    "key": (KEY,),
    "value": (VALUE,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen(Wrapped):
    """An operator whose weights are not trained; below the first adapter it has no backward pass.

    `reached` says whether its input needs a gradient, `passes` whether its output gets one.
    """

    reached: bool = True
    passes: bool = True

    def weights(self) -> tuple[Weight, ...]:
        return tuple(replace(weight, frozen=True) for weight in self.inner.weights())

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        work = self.inner.work(direction, execution)
        if direction == "forward" or not self.weights():
            return work if direction == "forward" or self.passes else ()
        if not self.reached or not self.passes:
            return ()
        return tuple(piece for piece in work if getattr(piece, "weights", True))

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        # A frozen matrix needs no input for a gradient of its own; adapters beside it may keep it.
        if not self.passes or isinstance(self.inner, Linear):
            return ()
        return self.inner.saved(execution)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartlyReached(Wrapped):
    """Attention of which only some of queries, keys and values need a gradient.

    Four products make the gradients: of the scores, which queries and keys need, of queries, of
    keys and of values. Fused kernels compute them all.
    """

    needed: frozenset[int]

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        inner = self.inner
        if direction == "forward" or execution.style == "fused" or not isinstance(inner, Attention):
            return self.inner.work(direction, execution)
        count, tokens, context = (
            inner.batch * inner.query_heads,
            inner.tokens,
            inner.context,
        )
        scores = Gemm(tokens, context, inner.value_dim, count, weights=False)  # dP = dO·Vᵀ
        found: list[Work] = []
        if self.needed & {QUERY, KEY}:
            found.append(scores)
        if QUERY in self.needed:
            found.append(Gemm(tokens, inner.head_dim, context, count, weights=False))
        if KEY in self.needed:
            found.append(Gemm(context, inner.head_dim, tokens, count, weights=False))
        if VALUE in self.needed:
            found.append(Gemm(context, inner.value_dim, tokens, count, weights=False))
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Magnitude(Operator):
    """DoRA's magnitudes (arXiv 2402.09353): one a column of outputs, and the norms they scale.

    A step forms the adapted matrix to take its norms: the adapter's product and passes over it.
    """

    rows: Number
    inputs: Number
    outputs: Number
    rank: Number

    @property
    def role(self) -> Role:
        return "matrix"

    def weights(self) -> tuple[Weight, ...]:
        return (Weight(f"{self.name}.magnitude", self.outputs, matrix=False),)

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        scaled = Stream(2 * self.rows * self.outputs)
        if direction == "backward":  # the norm is taken as a constant (section 4.3)
            return (scaled,)
        merged = Gemm(self.outputs, self.inputs, self.rank)
        return (merged, Stream(3 * self.outputs * self.inputs), scaled)

    def shard(self, shard: Shard) -> Magnitude:
        return self


@dataclass(frozen=True, slots=True)
class Adapt(BlockPass):
    """Freeze all weights and put adapters of `rank` beside the projections that `targets` name.

    Names are those of the reference code (`q_proj`) or of operators (`attention.output`).
    """

    rank: int
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    magnitudes: bool = False

    def blocks(self, blocks: tuple[Block, ...]) -> tuple[Block, ...]:
        """Return `blocks` frozen and adapted; a layer from which gradients begin by itself."""
        if not any(self._places(o) for b in blocks if b.part == "layer" for o in b.operators):
            raise SpecError(
                f"no layer has a projection called {' or '.join(self.targets)}",
                hint="q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, or an "
                "operator's name",
            )
        found: list[Block] = []
        # Whether a gradient reaches the residual stream, and what an encoder gave.
        stream = encoded = False
        for block in blocks:
            if any(isinstance(operator, Embedding) for operator in block.operators):
                encoded, stream = stream, False  # another stream begins: a decoder's
            operators, after = self._adapted(block, stream, encoded)
            if after == stream:
                found.append(replace(block, operators=operators))
                continue
            found.append(replace(block, name=f"{block.name}.first", operators=operators, count=1))
            stream = after
            if type(block.count) is not int or block.count > 1:
                operators, _ = self._adapted(block, stream, encoded)
                found.append(replace(block, operators=operators, count=block.count - 1))
        return tuple(found)

    def _places(self, operator: Operator) -> tuple[int, ...]:
        if not isinstance(operator, Linear):
            return ()
        return tuple(projections(operator, self.targets))

    def _adapted(
        self, block: Block, stream: bool, encoded: bool
    ) -> tuple[tuple[Operator, ...], bool]:
        """Return the operators of a layer, frozen and adapted, and whether it reaches its output.

        A tensor is reached where something that is trained lies below it. `stream` says so of the
        layer's input, `encoded` of what an encoder gave.
        """
        found: list[Operator] = []
        tensors = {"input": stream, ENCODED: encoded}  # by name, where the name is known
        needed: dict[str, set[int]] = {}  # by attention: which of queries, keys, values
        reached = stream
        for operator in block.operators:
            places = self._places(operator) if block.part == "layer" else ()
            if isinstance(operator, Linear):
                below = tensors.get(operator.source, reached)
                found += self._linear(operator, places, reached=below)
                tensors[operator.name] = below or bool(places)
                stem, _, part = operator.name.rpartition(".")
                for column in _COLUMNS.get(part, ()):
                    if below or column in places or (places and len(operator.columns) == 1):
                        needed.setdefault(stem, set()).add(column)
                reached = reached or bool(places)
            elif isinstance(operator, Attention):
                stem = operator.name.rpartition(".")[0]
                columns = needed.get(stem, {QUERY, KEY, VALUE} if reached else set[int]())
                reached = reached or bool(columns)
                tensors[operator.name] = bool(columns)
                if 0 < len(columns) < len(_COLUMNS["query_key_value"]):
                    part_of = frozenset(columns)
                    found.append(PartlyReached(name=operator.name, inner=operator, needed=part_of))
                else:
                    found.append(_frozen(operator, reached=bool(columns)))
            else:
                below = reached
                if isinstance(operator, Norm):
                    below = tensors.get(operator.source, reached)
                elif isinstance(operator, Elementwise) and operator.holds:
                    below = any(tensors.get(held.name, reached) for held in operator.holds)
                tensors[operator.name] = below
                found.append(_frozen(operator, reached=below))
        return tuple(found), reached

    def _linear(
        self, operator: Linear, places: tuple[int, ...], *, reached: bool
    ) -> Iterator[Operator]:
        passes = reached or bool(places)
        yield replace(Frozen.around(operator), reached=reached, passes=passes)
        for place in places:
            outputs = operator.columns[place].outputs
            name = f"{operator.name}.{place}"
            down = replace(
                Linear.of(f"{name}.lora_a", operator.source, operator.rows, operator.inputs, 0),
                columns=(replace(operator.columns[place], outputs=self.rank, units=self.rank),),
                leaf=not reached,
            )
            up = Linear.of(f"{name}.lora_b", down.name, operator.rows, self.rank, outputs)
            up = replace(up, columns=(operator.columns[place],))
            # Megatron's way: the thin side is whole on every device, the wide one divided.
            if operator.split == "row":
                down = replace(down, split="row")
            elif operator.split == "column":
                up = replace(up, split="column")
            yield down
            yield up
            if self.magnitudes:
                yield Magnitude(
                    name=f"{name}.dora",
                    rows=operator.rows,
                    inputs=operator.inputs,
                    outputs=outputs,
                    rank=self.rank,
                )


def _frozen(operator: Operator, *, reached: bool) -> Frozen:
    return replace(Frozen.around(operator), reached=reached, passes=reached)
