"""The vocabulary's two ends: looking tokens up, and the loss over logits."""

from __future__ import annotations

from dataclasses import dataclass, replace

from costsim.algebra import Number, ceil_div
from costsim.architectures.operators import eager, eager_work
from costsim.architectures.operators.base import Collective, Operator
from costsim.architectures.tensors import Activation, Weight
from costsim.architectures.work import Direction, Stream, Work
from costsim.architectures.workload import FUSED, Execution, Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding(Operator):
    """A table look-up: `entries` rows of `width`; tensor parallelism divides a vocabulary.

    `looked_up` counts the ids where they are fewer than `rows`: eager PyTorch looks positions up
    once for the whole batch.
    """

    rows: Number
    entries: Number
    width: Number
    vocabulary: bool = True
    looked_up: Number | None = None

    def weights(self) -> tuple[Weight, ...]:
        elements = self.entries * self.width
        shapes = ((self.entries, self.width),)
        return (Weight(f"{self.name}.weight", elements, lookup=True, shapes=shapes),)

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        if execution.style == "eager":
            return eager_work.embedding(self, direction, execution)
        # Forward gathers rows and writes them; backward reads gradients and scatter-adds them.
        passes = 2 if direction == "forward" else 3
        return (Stream(passes * self.rows * self.width),)

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        ids = self.rows
        if execution.style == "eager" and self.looked_up is not None:
            ids = self.looked_up
        return (Activation(f"{self.name}.ids", ids, "index"),)

    def collectives(self) -> tuple[Collective, ...]:
        # Each device looks up the tokens of its part of the vocabulary; the sum is the embedding.
        if not self.vocabulary:
            return ()
        return (Collective(self.name, self.rows * self.width, "exit"),)

    def shard(self, shard: Shard) -> Embedding:
        # Frameworks pad the vocabulary so that it divides.
        return replace(self, entries=ceil_div(self.entries, shard.tp)) if self.vocabulary else self


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossEntropy(Operator):
    """The loss over `classes` logits a row: softmax in fp32, kept for the gradient.

    Logits may be `capped`: c · tanh(x / c).
    """

    source: str
    rows: Number
    classes: Number
    capped: bool = False

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        if execution.style == "eager":
            return eager_work.cross_entropy(self, direction, execution)
        elements = self.rows * self.classes
        # Forward: read 2-byte logits, write fp32 (as 2), reduce max, sum, pick (3 more reads).
        # Backward: read the kept fp32 (as 2), write the gradient.
        return (Stream(6 * elements, 4),) if direction == "forward" else (Stream(3 * elements, 2),)

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        if execution.style == "eager":
            return eager.cross_entropy(self)
        return (Activation(f"{self.name}.softmax", self.rows * self.classes, "float32"),)

    def shard(self, shard: Shard) -> CrossEntropy:
        return replace(self, classes=ceil_div(self.classes, shard.tp))
