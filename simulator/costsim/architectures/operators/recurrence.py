"""Recurrences over positions: state that is carried along, and read, at every position."""

from __future__ import annotations

from dataclasses import dataclass, replace

from costsim.algebra import Number, exact_div
from costsim.architectures.operators.base import Operator, Role
from costsim.architectures.operators.streaming import Held
from costsim.architectures.tensors import Activation, Weight
from costsim.architectures.work import Direction, Scan, Work
from costsim.architectures.workload import FUSED, Execution, Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence(Operator):
    """A fused scan: `read` values of each of `rows` positions become `written`, through a state.

    The state of `state` elements (all sequences, fp32) stays on chip along a sequence; only the
    generation of a token reads and writes it. Scans in chunks, whose kernels follow one another,
    keep a state of each chunk in memory between them: `spilled` and `backward_spilled` are the
    values of 2 bytes a position that this writes and reads, forward and backward. `flops` are those
    of the matrix products of a forward pass, as the reference code forms them: one a position where
    it walks along the sequence, or batched ones inside chunks; the backward pass has twice as many
    unless `backward_flops` says otherwise (a first state that is zero has no gradient, a last one
    that nobody reads has none to pass on). `vectors` are its own parameters by shape (decays,
    skips), whose first dimension tensor parallelism divides with everything else: heads or
    channels. What stands between its regions is not `divided` so.
    """

    rows: Number
    read: Number
    written: Number
    flops: Number
    backward_flops: Number | None = None
    state: Number = 0
    holds: tuple[Held, ...] = ()
    vectors: tuple[tuple[str, tuple[Number, ...]], ...] = ()
    divided: bool = True
    spilled: Number = 0
    backward_spilled: Number = 0
    kernels: Number = 1  # launches: chunked scans take several

    @property
    def role(self) -> Role:
        return "attention"

    def weights(self) -> tuple[Weight, ...]:
        found: list[Weight] = []
        for name, shape in self.vectors:
            elements: Number = 1
            for size in shape:
                elements = elements * size
            found.append(Weight(f"{self.name}.{name}", elements, matrix=False, shapes=(shape,)))
        return tuple(found)

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        carried = 4 * self.state  # read and written, 4 bytes where others have 2
        passed = self.rows * (self.read + self.written)
        if direction == "forward":
            forward = passed + self.rows * self.spilled + carried
            return (Scan(forward, self.flops, self.kernels),)
        # Backward reads inputs and the output's gradient, makes the states again, and writes the
        # inputs' gradients.
        again = self.rows * (self.read + self.backward_spilled)
        return (Scan(passed + again + carried, self._backward_flops, 2 * self.kernels),)

    @property
    def _backward_flops(self) -> Number:
        return 2 * self.flops if self.backward_flops is None else self.backward_flops

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        return tuple(Activation(t.name, self.rows * t.width, t.storage) for t in self.holds)

    def shard(self, shard: Shard) -> Recurrence:
        if not self.divided:
            return replace(self, rows=shard.rows(self.rows))

        def part(size: Number) -> Number:
            return exact_div(size, shard.tp)

        return replace(
            self,
            read=part(self.read),
            written=part(self.written),
            flops=part(self.flops),
            backward_flops=part(self._backward_flops),
            state=part(self.state),
            spilled=part(self.spilled),
            backward_spilled=part(self.backward_spilled),
            holds=tuple(replace(held, width=part(held.width)) for held in self.holds),
            vectors=tuple((name, (part(first), *rest)) for name, (first, *rest) in self.vectors),
        )
