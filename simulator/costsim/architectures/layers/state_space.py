"""Selective state spaces (Mamba): every channel has a small state of its own."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number, exact_div
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.tensors import CacheTensor


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

    def build(self, x: Tensor) -> Tensor:
        """Record the mixer."""
        width, states = self.width, self.state_size
        made = x.within("state_space").linear("input", width, width, bias=self.bias, split="column")
        convolved = made.causal("convolution", self.kernel, width, bias=self.convolution_bias)
        selected, step = self._selection(convolved)
        scan = convolved.scan(
            "scan",
            step,
            made,
            selected,
            width=width,
            read=3 * width + 2 * self.blocks * states,  # x, step, z; B, C
            flops=2 * x.rows * width * states,  # the state of each channel times C
            state=width * states,
            keeps=(convolved, step, made.called("gate", width), selected),
            vectors=(("decay", (width, states)), ("skip", (width,))),
        )
        return scan.linear("output", x.width, bias=self.bias, split="row")

    def _selection(self, convolved: Tensor) -> tuple[Tensor, Tensor]:
        """Record what makes step, B and C of the convolution's output."""
        width, states, rank = self.width, self.state_size, self.rank
        if self.blocks != 1:
            each = exact_div(width, self.blocks)
            selected = convolved.blocks("selection", self.blocks, each, rank + 2 * states)
            step = selected.called("selection.step", self.blocks * rank)
            return selected, step.blocks("step", self.blocks, rank, each, bias=True)
        selected = convolved.linear("selection", rank + 2 * states, split="row")
        if self.inner_norms:
            style = NormStyle(kind="rms", weight=self.inner_norm_weights, bias=False)
            for part, size in (("step", rank), ("b", states), ("c", states)):
                selected.called(f"selection.{part}", size).norm(f"selection_norm.{part}", style)
        step = selected.called("selection.step", rank)
        return selected, step.linear("step", width, bias=True, split="column")

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return the state in fp32, and the convolution's last inputs, however many `tokens`."""
        return (
            CacheTensor("state", batch * self.width * self.state_size, "float32"),
            CacheTensor("convolution_state", batch * self.width * self.kernel),
        )
