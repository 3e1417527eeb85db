"""The encoder: every position sees every other; what is made of the result depends on the task."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.block import Block
from costsim.architectures.layers.recording import Part, recorded, started
from costsim.architectures.operators import Operator
from costsim.architectures.operators.wrapping import Detached
from costsim.architectures.stacks import Stack
from costsim.architectures.tensors import Activation, CacheTensor
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooler:
    """A dense layer over the first position, for tasks on whole sequences.

    Neither masked language modelling nor a loss of the hidden states depends on it.
    """

    outputs: Number
    activation: str = "tanh"

    def operators(self, workload: Workload, hidden: Number) -> tuple[Operator, ...]:
        """Return its two operators."""
        x = started(workload, hidden)
        first = x.beside("input.first", workload.batch, hidden).within("pooler")
        with x.recorder.wrapped(Detached.around):
            dense = first.linear("dense", self.outputs, bias=True)
            dense.elementwise("activation", function=self.activation)
        return tuple(x.recorder.operators)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """A stack with a head over the vocabulary or labels, a pooler, both, or neither."""

    stack: Stack
    head: Part | None = None
    pooler: Pooler | None = None
    context_limit: Number | None = None

    def blocks(self, workload: Workload) -> tuple[Block, ...]:
        """Return stem, layers and head as they work on `workload`."""
        inside = self.stack.stem.inside(workload)
        hidden = self.stack.hidden
        closing = self.stack.closing(workload, "encoder", "head")
        operators = () if closing is None else closing.operators
        if self.pooler is not None:
            operators = (*operators, *self.pooler.operators(inside, hidden))
        if self.head is not None:
            operators = (*operators, *recorded(self.head, inside, hidden))
        blocks = self.stack.blocks(workload)
        if not operators:
            return blocks
        entry = Activation("input", inside.rows * hidden)
        return (*blocks, Block("head", operators, entry, part="head"))

    def cache(self, batch: Number, tokens: Number) -> tuple[tuple[CacheTensor, Number], ...]:
        """Return nothing: an encoder reads a sequence at once."""
        del batch, tokens
        return ()
