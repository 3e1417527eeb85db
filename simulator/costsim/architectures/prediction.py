"""Modules that predict further tokens (multi-token prediction), held beside a decoder.

Each norms and joins the stream and the next token's embedding, and runs one more layer of the
decoder's kind (DeepSeek-V3 technical report, arXiv 2412.19437, section 2.2). Embedding and head are
the decoder's. A pass of the decoder alone leaves them idle.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from costsim.algebra import Number
from costsim.architectures.block import Block
from costsim.architectures.layers import RMS
from costsim.architectures.multimodal import Chain, Dense, Normalized
from costsim.architectures.transformer import DecoderLayer, Transformer
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """`count` modules of `layer` each, beside a decoder of width `hidden`."""

    layer: DecoderLayer
    hidden: Number
    count: Number

    def blocks(self, workload: Workload) -> tuple[Block, ...]:
        """Return the modules' weights; they do no work."""
        hidden = self.hidden
        norm = Normalized(size=hidden, style=RMS)
        join = Chain(
            name="prediction",
            positions=workload.tokens,
            steps=(norm, norm, Dense(inputs=2 * hidden, outputs=hidden, bias=False), norm),
        )
        stack = Transformer(vocabulary=1, hidden=hidden, layers=((self.layer, 1),))
        layers = [
            replace(block, name="prediction.layer")
            for block in stack.blocks(workload)
            if block.part == "layer"
        ]
        return tuple(
            replace(block, count=self.count).idle() for block in (*join.blocks(workload), *layers)
        )


def predictions(decoder: Transformer, count: Number) -> Predictions:
    """Return `count` modules whose layer is that of the decoder's end."""
    return Predictions(layer=decoder.layers[-1][0], hidden=decoder.hidden, count=count)
