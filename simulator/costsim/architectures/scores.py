"""What a task's class makes of hidden states, in the place of scores of a vocabulary."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.recording import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Scores of `outputs` labels: of every position, or of one of each sequence.

    Without `outputs` the hidden states are the result, as of a model that embeds. `inner` is the
    width of a dense layer with activation before the scores; `projected` ones are vectors, which no
    labels are compared with.
    """

    outputs: Number = 0
    bias: bool = False
    inner: Number | None = None
    inner_bias: bool = True
    activation: str = "tanh"
    everywhere: bool = True
    projected: bool = False

    def build(self, x: Tensor) -> Tensor:
        """Record dense layer, scores and loss."""
        if self.outputs == 0:
            return x
        if not self.everywhere:
            x = x.beside(x.name, x.workload.batch, x.width)
        x = x.within("head")
        if self.inner is not None:
            dense = x.linear("dense", self.inner, bias=self.inner_bias)
            x = dense.elementwise("activation", function=self.activation)
        scores = x.linear("scores", self.outputs, bias=self.bias, use="head")
        return scores if self.projected else scores.loss()
