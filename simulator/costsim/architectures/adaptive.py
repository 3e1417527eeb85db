"""Decoders of very large vocabularies: frequent words cost most, rare ones little.

The adaptive softmax of Grave et al. 2017 (arXiv 1609.04309) scores all tokens over the frequent
words and one class for each cluster of rarer ones; only tokens of a cluster score its words. With
adaptive inputs (Baevski and Auli 2019, arXiv 1809.10853) rarer words have narrower embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from costsim.algebra import Number
from costsim.architectures.layers.recording import started
from costsim.architectures.operators import CrossEntropy, Embedding, Linear, Operator
from costsim.architectures.operators.linear import Columns
from costsim.architectures.transformer import Transformer
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveDecoder(Transformer):
    """A decoder whose embedding and head, which share weights, are in clusters.

    `clusters` are (words, width of their embedding), the frequent first. Of the head, work over the
    rarer words is left out: text has so few of them.
    """

    clusters: tuple[tuple[Number, Number], ...]

    def _stem(self, workload: Workload) -> tuple[Operator, ...]:
        first, *rest = Transformer._stem(self, workload)
        assert isinstance(first, Embedding)
        x = started(workload, self.hidden)
        for index, (words, width) in enumerate(self.clusters):
            name = first.name if index == 0 else f"{first.name}.{index}"
            # Nearly all positions are of frequent words; the rarer are looked up beside them.
            found = x.look_up(name, words, width, rows=x.rows if index == 0 else workload.batch)
            if width is not self.hidden and width != self.hidden:
                few = found.beside(name, workload.batch, width).within(name)
                few.linear("project", self.hidden)
        return (*x.recorder.operators, *rest)

    def _head(self, workload: Workload) -> tuple[Operator, ...]:
        frequent = self.clusters[0][0]

        def adapted(operator: Operator) -> Operator:
            if isinstance(operator, CrossEntropy):
                return replace(operator, classes=frequent)
            if isinstance(operator, Linear) and operator.use == "head":
                return replace(operator, columns=(Columns(frequent, frequent),))
            return operator

        return tuple(adapted(operator) for operator in Transformer._head(self, workload))
