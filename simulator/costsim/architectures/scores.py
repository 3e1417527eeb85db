"""What a task's class makes of hidden states, in the place of scores of a vocabulary."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.operators import CrossEntropy, Elementwise, Held, Linear, Operator
from costsim.architectures.workload import Workload


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

    def operators(
        self, workload: Workload, hidden: Number, source: str = "input"
    ) -> tuple[Operator, ...]:
        """Return dense layer, scores and loss."""
        if self.outputs == 0:
            return ()
        rows, width = workload.rows if self.everywhere else workload.batch, hidden
        found: list[Operator] = []
        if self.inner is not None:
            dense, width = "head.dense", self.inner
            found.append(Linear.of(dense, source, rows, hidden, width, bias=self.inner_bias))
            held = (Held(dense, width),)
            found.append(
                Elementwise(
                    name="head.activation",
                    rows=rows,
                    read=width,
                    written=width,
                    holds=held,
                    function=self.activation,
                )
            )
            source = "head.activation"
        found.append(
            Linear.of("head.scores", source, rows, width, self.outputs, bias=self.bias, use="head")
        )
        if not self.projected:
            loss = CrossEntropy(
                name="head.loss", source="head.scores", rows=rows, classes=self.outputs
            )
            found.append(loss)
        return tuple(found)
