"""A compressed model: a description, and what recipes made of its blocks.

Recipes that change shapes (heads, layers, experts) rewrite the description itself. The others
leave its shapes and change what a block holds or does: how matrices are stored, which are trained,
what stands beside them. Those are passes over the blocks, in the order in which they were applied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Protocol, TypeAlias, TypeVar, cast

from costsim.algebra import Number
from costsim.architectures.architecture import Architecture, Description
from costsim.architectures.block import Block
from costsim.architectures.operators import Operator
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.workload import Workload
from costsim.errors import SpecError

Node = TypeVar("Node")
Cache: TypeAlias = tuple[tuple[CacheTensor, Number], ...]


class Pass(Protocol):
    """One change of blocks, and of what generation caches."""

    def blocks(self, blocks: tuple[Block, ...]) -> tuple[Block, ...]:
        """Return `blocks`, changed."""
        ...

    def cache(self, cached: Cache) -> Cache:
        """Return cached tensors with how many layers hold one like each, changed."""
        ...


class BlockPass:
    """A pass that leaves the cache as it is."""

    __slots__ = ()

    def cache(self, cached: Cache) -> Cache:
        """Return `cached`."""
        return cached


@dataclass(frozen=True, slots=True)
class Compressed:
    """A description whose blocks go through `passes`."""

    inner: Description
    passes: tuple[Pass, ...]

    @property
    def context_limit(self) -> Number | None:
        """Longest sequence that the model is made for."""
        return self.inner.context_limit

    @property
    def usual_workload(self) -> Workload | None:
        """The inputs of a traced module."""
        return getattr(self.inner, "usual_workload", None)

    def blocks(self, workload: Workload) -> tuple[Block, ...]:
        """Return stem, layers and head as they work on `workload`."""
        blocks = self.inner.blocks(workload)
        for step in self.passes:
            blocks = step.blocks(blocks)
        return blocks

    def cache(self, batch: Number, tokens: Number) -> Cache:
        """Return each cached tensor with how many layers hold one like it."""
        cached = self.inner.cache(batch, tokens)
        for step in self.passes:
            cached = step.cache(cached)
        return cached


def with_pass(model: Architecture, step: Pass) -> Architecture:
    """Return `model` with one more pass over its blocks."""
    held = model.description
    if isinstance(held, Compressed):
        return replace(model, description=replace(held, passes=(*held.passes, step)))
    return replace(model, description=Compressed(held, (step,)))


def with_shapes(model: Architecture, change: Callable[[Any], Any], what: str) -> Architecture:
    """Return `model` with `change` made of every part of its description, inside out.

    Raises:
        SpecError: if that changes nothing; `what` says what was to be changed.
    """
    if isinstance(model.description, Compressed):
        raise SpecError(
            f"{what} changes shapes, and comes before what changes how they are stored",
            hint="put it first",
        )
    changed = rewritten(model.description, change)
    if changed == model.description:
        raise SpecError(
            f"{model.name} has no {what} to change",
            hint="`costsim models MODEL` shows what it is made of",
        )
    return replace(model, description=changed)


def rewritten(node: Node, change: Callable[[Any], Any]) -> Node:
    """Return `node` with `change` made of each dataclass in it, innermost first."""
    if isinstance(node, tuple):
        items = cast("tuple[Any, ...]", node)
        return cast("Node", tuple(rewritten(item, change) for item in items))
    if not is_dataclass(node) or isinstance(node, type):
        return node
    held = {field.name: getattr(node, field.name) for field in fields(node) if field.init}
    inner = {name: rewritten(value, change) for name, value in held.items()}
    differing = {name: value for name, value in inner.items() if value is not held[name]}
    moved = {name: value for name, value in differing.items() if value != held[name]}
    return change(replace(cast("Any", node), **moved) if moved else node)


def mapped(
    blocks: tuple[Block, ...], change: Callable[[Operator, Block], tuple[Operator, ...]]
) -> tuple[Block, ...]:
    """Return `blocks` with what `change` makes of each operator in its place."""
    return tuple(
        replace(
            block,
            operators=tuple(new for operator in block.operators for new in change(operator, block)),
        )
        for block in blocks
    )
