"""Low-rank adapters: LoRA, and DoRA with its magnitudes, over frozen weights (QLoRA: packed ones).

What a backward pass has to do follows from what is trained. Frozen matrices have no gradient of
their own; below the first adapter nothing needs a gradient at all, so that in the first layer the
input's gradient is not computed, nor that of keys where only queries and values are adapted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

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
from costsim.architectures.operators.wrapping import Wrapped, unwrapped
from costsim.architectures.tensors import Activation, Weight
from costsim.architectures.work import Direction, Gemm, Stream, Work
from costsim.architectures.workload import FUSED, Execution, Shard
from costsim.compression.description import BlockPass
from costsim.compression.selection import names_of, projections
from costsim.errors import Problem, SpecError, suggestion

QUERY, KEY, VALUE = range(3)


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
        # Nor does a frozen norm need what its weight is multiplied with.
        if not self.passes:
            return ()
        kept = self.inner.saved(execution)
        if self.packing is not None:  # unpacked where it is read, and nothing is cached
            kept = tuple(tensor for tensor in kept if not tensor.name.endswith(".cast_weight"))
        if isinstance(self.inner, Linear):
            return tuple(t for t in kept if self.reached and t.name.endswith(".cast_weight"))
        return tuple(tensor for tensor in kept if not tensor.name.endswith(".normalized"))


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
    drops: bool = False

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

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        if execution.style != "eager":
            return ()
        # The scale's gradient needs what it multiplies: the base's output and the adapter's. With
        # dropout the base runs once more on what was dropped out of.
        outputs = self.rows * self.outputs
        kept = (
            Activation(f"{self.name}.base", outputs),
            Activation(f"{self.name}.adapted", outputs, "float32"),
        )
        if not self.drops:
            return kept
        return (*kept, Activation(f"{self.name}.dropped", outputs, "float32"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied(Wrapped):
    """An operator trained as a copy of its own, beside the frozen original (`modules_to_save`)."""

    def weights(self) -> tuple[Weight, ...]:
        original = tuple(replace(weight, frozen=True) for weight in self.inner.weights())
        copies = tuple(
            replace(weight, name=f"{weight.name}.copy", tied_to=None, active_elements=None)
            for weight in self.inner.weights()
        )
        return (*original, *copies)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterProduct(Linear):
    """One of an adapter's two products; eager code reads a copy of its input.

    `copied_to` is the format that the copy has; None where the input is in the adapter's format
    already, and shared with whoever else keeps it. `drops` says that the copy is dropped out of.
    """

    copied_to: Literal["float32", "compute"] | None = None
    drops: bool = False

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        if execution.style != "eager" or (self.copied_to is None and not self.drops):
            return (Activation(self.source, self.held_rows * self.inputs),)
        elements = self.held_rows * self.inputs
        own = Activation(f"{self.name}.input", elements, self.copied_to or "compute")
        if not self.drops:
            return (own,)
        return own, Activation(f"{self.name}.mask", elements, "mask")


def is_adapter(weight: Weight) -> bool:
    """Return whether a weight is an adapter's."""
    return ".lora_" in weight.name or ".dora." in weight.name


ALL_LINEAR = "all-linear"
"""Every projection of a layer, not the head."""
_WHOLE = {
    "embedding": ("embed_tokens", "wte", "embedding", "tok_embeddings", "word_embeddings"),
    "head": ("lm_head", "head", "output", "embed_out"),
    "norms": ("norm", "norms", "layernorm"),
    "last norm": ("final_norm", "ln_f"),
}
"""Parts that can be trained as a whole, and what code calls them."""
_LAST = "last:"


@dataclass(frozen=True, slots=True)
class Adapt(BlockPass):
    """Freeze all weights and put adapters of `rank` beside the projections that `targets` name.

    Names are those of the reference code (`q_proj`), of operators (`attention.output`), or
    `all-linear`. `copied` modules are trained as a whole in a copy of their own, `trained` ones
    where they stand: norms, embedding, head, or `last:K` for the last K layers. Rank 0 is none.
    """

    rank: int
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    magnitudes: bool = False
    reads: Literal["float32", "compute"] | None = None
    drops: bool = False
    copied: tuple[str, ...] = ()
    trained: tuple[str, ...] = ()

    def blocks(self, blocks: tuple[Block, ...]) -> tuple[Block, ...]:
        """Return `blocks` frozen and adapted; a layer from which gradients begin by itself."""
        self._check(blocks)
        blocks = _split(blocks, self._last)
        found: list[Block] = []
        # Whether a gradient reaches the residual stream, and what an encoder gave.
        stream = encoded = False
        for block in blocks:
            if any(isinstance(operator, Embedding) for operator in block.operators):
                encoded, stream = stream, False  # another stream begins: a decoder's
            operators, after = self._adapted(block, stream, encoded)
            if after == stream or block.part != "layer":
                found.append(replace(block, operators=operators))
                stream = after
                continue
            found.append(replace(block, name=f"{block.name}.first", operators=operators, count=1))
            stream = after
            if type(block.count) is not int or block.count > 1:
                operators, _ = self._adapted(block, stream, encoded)
                found.append(replace(block, operators=operators, count=block.count - 1))
        return tuple(found)

    def _places(self, operator: Operator, block: Block) -> tuple[int, ...]:
        if not isinstance(operator, Linear) or not self.rank:
            return ()
        if operator.role == "head":
            named = any(name in self.targets for name in _WHOLE["head"])
            return tuple(range(len(operator.columns))) if named else ()
        if block.part != "layer":
            return ()
        if ALL_LINEAR in self.targets and operator.role == "matrix":
            return tuple(range(len(operator.columns)))
        return tuple(projections(operator, self.targets))

    @property
    def _last(self) -> int:
        return max((int(n[len(_LAST) :]) for n in self.trained if n.startswith(_LAST)), default=0)

    def _whole(self, operator: Operator, names: tuple[str, ...]) -> bool:
        """Return whether `names` mean `operator` as a whole."""
        match operator:
            case Embedding():
                return operator.vocabulary and any(n in names for n in _WHOLE["embedding"])
            case Linear():
                return operator.role == "head" and any(n in names for n in _WHOLE["head"])
            case Norm():
                last = operator.name.startswith("head.")
                return any(n in names for n in _WHOLE["norms"] + last * _WHOLE["last norm"])
            case _:
                return False

    def _check(self, blocks: tuple[Block, ...]) -> None:
        """Check that every name means something.

        Raises:
            SpecError: with each that does not, and what was probably meant.
        """
        problems: list[Problem] = []
        inside = [(o, b) for b in blocks for o in b.operators]
        wholes = {name for names in _WHOLE.values() for name in names}
        for name in self.targets if self.rank else ():
            one = replace(self, targets=(name,))
            if not any(one._places(o, b) for o, b in inside):
                known = {name for o, b in inside if b.part == "layer" for name in names_of(o)}
                hint = suggestion(name, {ALL_LINEAR, "lm_head", *known})
                message = f"no projection is called `{name}`"
                problems.append(Problem(message, hint=hint))
        for name in (*self.copied, *self.trained):
            if name.startswith(_LAST) and name[len(_LAST) :].isdigit():
                continue
            if not any(self._whole(o, (name,)) for o, _ in inside):
                hint = suggestion(name, wholes)
                problems.append(Problem(f"no module is called `{name}`", hint=hint))
        if problems:
            raise SpecError(problems)

    def _adapted(
        self, block: Block, stream: bool, encoded: bool
    ) -> tuple[tuple[Operator, ...], bool]:
        """Return the operators of a layer, frozen and adapted, and whether it reaches its output.

        A tensor is reached where something that is trained lies below it. `stream` says so of the
        layer's input, `encoded` of what an encoder gave.
        """
        found: list[Operator] = []
        tensors = {"input": stream, ENCODED: encoded}  # by name, where the name is known
        made: dict[str, Operator] = {}
        runs: dict[str, set[int]] = {}  # by projection: the columns whose gradient is needed
        reached = stream
        for operator in block.operators:
            places = self._places(operator, block)
            whole = block.name.endswith(_TRAINED) or self._whole(operator, self.trained)
            if whole or self._whole(operator, self.copied):
                found.append(operator if whole else Copied.around(operator))
                reached = reached or bool(operator.weights())
                tensors[operator.name] = reached
            elif isinstance(operator, Linear):
                below = tensors.get(operator.source, reached)
                found += self._linear(operator, places, reached=below)
                tensors[operator.name] = below or bool(places)
                one = below or (places and len(operator.columns) == 1)
                runs[operator.name] = set(range(len(operator.columns)) if one else places)
                reached = reached or bool(places)
            elif isinstance(operator, Attention):
                sources = [_projection(source, made) for source in operator.sources(made)]
                columns: set[int] = set()
                for place, source in enumerate(sources):
                    needs = reached
                    if isinstance(source, Linear) and source.name in runs:
                        run = min(place - sources.index(source), len(source.columns) - 1)
                        needs = run in runs[source.name]
                    elif source is not None:
                        needs = tensors.get(source.name, reached)
                    if needs:
                        columns.add(place)
                reached = reached or bool(columns)
                tensors[operator.name] = bool(columns)
                if 0 < len(columns) < len(sources):
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
            made[operator.name] = unwrapped(operator)
        return tuple(found), reached

    def _linear(
        self, operator: Linear, places: tuple[int, ...], *, reached: bool
    ) -> Iterator[Operator]:
        passes = reached or bool(places)
        yield replace(Frozen.around(operator), reached=reached, passes=passes)
        # One matrix has one adapter, whatever runs of columns it has.
        runs = [operator.columns] if places and not operator.separate else []
        runs = runs or [(operator.columns[place],) for place in places]
        names = places if len(runs) == len(places) else range(len(runs))
        for place, columns in zip(names, runs, strict=True):
            outputs = sum(run.outputs for run in columns)
            name = f"{operator.name}.{place}"
            down = replace(
                AdapterProduct.of(
                    f"{name}.lora_a", operator.source, operator.rows, operator.inputs, 0
                ),
                copied_to=self.reads,
                drops=self.drops,
                columns=(replace(columns[0], outputs=self.rank, units=self.rank),),
                leaf=not reached,
            )
            up = AdapterProduct.of(f"{name}.lora_b", down.name, operator.rows, self.rank, outputs)
            up = replace(up, columns=columns, copied_to=self.reads)
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
                    drops=self.drops,
                )


def _projection(source: Operator | None, made: Mapping[str, Operator]) -> Operator | None:
    """Return what makes queries, keys or values before a norm of theirs."""
    while isinstance(source, Norm):
        source = made.get(source.reads[0]) if source.reads else None
    return source


_TRAINED = ".trained"


def _split(blocks: tuple[Block, ...], last: int) -> tuple[Block, ...]:
    """Return `blocks` with the last so many layers, which are trained, in blocks of their own."""
    found: list[Block] = []
    for block in reversed(blocks):
        mine = min(last, int(block.count)) if block.part == "layer" and last else 0
        if mine:
            last -= mine
            found.append(replace(block, name=f"{block.name}{_TRAINED}", count=mine))
            if mine == block.count:
                continue
            block = replace(block, count=block.count - mine)
        found.append(block)
    return tuple(reversed(found))


def _frozen(operator: Operator, *, reached: bool) -> Frozen:
    return replace(Frozen.around(operator), reached=reached, passes=reached)
