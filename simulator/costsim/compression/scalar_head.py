"""A reward model: a head that gives one figure in place of logits over a vocabulary."""

from __future__ import annotations

from dataclasses import dataclass, replace

from costsim.architectures.architecture import Architecture
from costsim.architectures.block import Block
from costsim.architectures.operators import Columns, CrossEntropy, Linear, Operator
from costsim.compression.description import BlockPass, mapped, with_pass


@dataclass(frozen=True, slots=True)
class _ScalarHead(BlockPass):
    """One output, which shares no table with the embedding."""

    def blocks(self, blocks: tuple[Block, ...]) -> tuple[Block, ...]:
        """Return `blocks` with it in place of their head."""
        return mapped(blocks, _scalar)


def _scalar(operator: Operator, block: Block) -> tuple[Operator, ...]:
    if block.part == "head" and isinstance(operator, Linear) and operator.use == "head":
        one = (Columns(outputs=1, units=1),)
        return (replace(operator, columns=one, tied_to=None),)
    if isinstance(operator, CrossEntropy):
        return (replace(operator, classes=1),)
    return (operator,)


def with_scalar_head(model: Architecture) -> Architecture:
    """Return `model` as a reward model."""
    return with_pass(model, _ScalarHead())
