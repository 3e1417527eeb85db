"""Selective state spaces (Mamba): every channel has a small state of its own."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number, exact_div
from costsim.architectures.layers.short_convolution import causal_convolution
from costsim.architectures.operators import (
    Columns,
    Held,
    Linear,
    Norm,
    Operator,
)
from costsim.architectures.operators.block_diagonal import BlockDiagonal
from costsim.architectures.operators.recurrence import Recurrence
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSpace:
    """x, z = projections; x is convolved, scanned with step, B and C made of it, gated by z.

    The step of each of `width` channels comes through a bottleneck of `rank`. Jamba normalizes
    step, B and C (`inner_norms`, with weights or without); Zamba makes them for each of `blocks` of
    channels from that block alone.
    """

    width: Number
    state_size: Number
    rank: Number
    kernel: Number
    blocks: Number = 1
    bias: bool = False
    convolution_bias: bool = True
    inner_norms: bool = False
    inner_norm_weights: bool = True

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the mixer's output, and that one's name."""
        rows, width, states, rank = workload.rows, self.width, self.state_size, self.rank
        convolved, selected, step, scan = (
            f"state_space.{part}" for part in ("convolution", "selection", "step", "scan")
        )
        found: list[Operator] = [
            Linear(
                name="state_space.input",
                source=source,
                rows=rows,
                inputs=hidden,
                columns=(Columns(width, width),) * 2,
                bias=self.bias,
                split="column",
            ),
            causal_convolution(
                convolved,
                "state_space.input",
                workload,
                width,
                self.kernel,
                bias=self.convolution_bias,
            ),
            *self._selection(rows, convolved, selected, step),
            Recurrence(
                name=scan,
                rows=rows,
                read=3 * width + 2 * self.blocks * states,  # x, step, z; B, C
                written=width,
                flops=2 * rows * width * states,  # the state of each channel times C
                state=workload.batch * width * states if workload.generates else 0,
                holds=(
                    Held(convolved, width),
                    Held(step, width),
                    Held("state_space.gate", width),
                    Held(selected, self.blocks * (rank + 2 * states)),
                ),
                vectors=(("decay", (width, states)), ("skip", (width,))),
            ),
            Linear.of("state_space.output", scan, rows, width, hidden, bias=self.bias, split="row"),
        ]
        return tuple(found), "state_space.output"

    def _selection(
        self, rows: Number, convolved: str, selected: str, step: str
    ) -> tuple[Operator, ...]:
        """Return the operators that make step, B and C of the convolution's output."""
        width, states, rank = self.width, self.state_size, self.rank
        if self.blocks != 1:
            each = exact_div(width, self.blocks)
            return (
                BlockDiagonal(
                    name=selected,
                    source=convolved,
                    rows=rows,
                    blocks=self.blocks,
                    inputs=each,
                    outputs=rank + 2 * states,
                ),
                BlockDiagonal(
                    name=step,
                    source=f"{selected}.step",
                    rows=rows,
                    blocks=self.blocks,
                    inputs=rank,
                    outputs=each,
                    bias=True,
                ),
            )
        norms: tuple[Operator, ...] = ()
        if self.inner_norms:
            norms = tuple(
                Norm(
                    name=f"{selected}_norm.{part}",
                    source=f"{selected}.{part}",
                    rows=rows,
                    width=size,
                    kind="rms",
                    weight=self.inner_norm_weights,
                    bias=False,
                )
                for part, size in (("step", rank), ("b", states), ("c", states))
            )
        return (
            Linear.of(selected, convolved, rows, width, rank + 2 * states, split="row"),
            *norms,
            Linear.of(step, f"{selected}.step", rows, rank, width, bias=True, split="column"),
        )

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return the state in fp32, and the convolution's last inputs, however many `tokens`."""
        return (
            CacheTensor("state", batch * self.width * self.state_size, "float32"),
            CacheTensor("convolution_state", batch * self.width * self.kernel),
        )
