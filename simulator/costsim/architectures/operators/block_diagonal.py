"""Products with a block-diagonal matrix: each block of channels sees only itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

from costsim.algebra import Number, exact_div
from costsim.architectures.operators.base import Operator, Role
from costsim.architectures.tensors import Activation, Weight
from costsim.architectures.work import Direction, Gemm, Work
from costsim.architectures.workload import FUSED, Execution, Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDiagonal(Operator):
    """`blocks` products (rows, inputs) × (inputs, outputs), as one batched product.

    Tensor parallelism divides the blocks (heads), which exchange nothing.
    """

    source: str
    rows: Number
    blocks: Number
    inputs: Number  # of each block
    outputs: Number
    bias: bool = False

    @property
    def role(self) -> Role:
        return "matrix"

    def weights(self) -> tuple[Weight, ...]:
        shape = (self.blocks, self.outputs, self.inputs)
        elements = self.blocks * self.outputs * self.inputs
        matrix = Weight(f"{self.name}.weight", elements, shapes=(shape,))
        if not self.bias:
            return (matrix,)
        shapes = ((self.blocks, self.outputs),)
        bias = Weight(f"{self.name}.bias", self.blocks * self.outputs, matrix=False, shapes=shapes)
        return (matrix, bias)

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        rows, inputs, outputs, blocks = self.rows, self.inputs, self.outputs, self.blocks
        if direction == "forward":
            return (Gemm(rows, outputs, inputs, blocks),)
        return (
            Gemm(rows, inputs, outputs, blocks),  # 1. gradient of the input
            Gemm(inputs, outputs, rows, blocks, weights=False),  # 2. of the weight
        )

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        return (Activation(self.source, self.rows * self.blocks * self.inputs),)

    def shard(self, shard: Shard) -> BlockDiagonal:
        return replace(self, blocks=exact_div(self.blocks, shard.tp))
