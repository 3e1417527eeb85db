"""The operator of a trace: what one module, called once, was seen to do."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.architectures.operators.base import Operator, Role
from costsim.architectures.tensors import Activation, Weight
from costsim.architectures.work import Direction, Work
from costsim.architectures.workload import FUSED, Execution, Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced(Operator):
    """The kernels of one module in both directions, its parameters, and what autograd keeps.

    What was seen is how eager PyTorch runs it; no style of execution changes it. How a framework
    would divide it is not known from a trace: no kind of parallelism inside a layer does.
    """

    forward: tuple[Work, ...] = ()
    backward: tuple[Work, ...] = ()
    held: tuple[Weight, ...] = ()
    kept: tuple[Activation, ...] = ()
    use: Role = "other"

    @property
    def role(self) -> Role:
        return self.use

    def weights(self) -> tuple[Weight, ...]:
        return self.held

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        return self.forward if direction == "forward" else self.backward

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        return self.kept

    def shard(self, shard: Shard) -> Traced:
        return self
