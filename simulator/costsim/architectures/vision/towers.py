"""Two towers (CLIP, Radford et al. 2021; SigLIP, Zhai et al. 2023): images and texts compared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from costsim.algebra import Number, minimum
from costsim.architectures.block import Block
from costsim.architectures.operators import CrossEntropy, Embedding, Learned, Linear, Operator
from costsim.architectures.operators.products import Product
from costsim.architectures.tensors import Activation, CacheTensor
from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Net
from costsim.architectures.vision.vit import EncoderLayer
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTower:
    """A transformer over a text, of which one position speaks for the whole."""

    layers: Number
    hidden: Number
    heads: Number
    width: Number
    vocabulary: Number
    positions: Number
    function: str = "gelu"
    causal: bool = False
    projection: Number | None = None  # width of a linear layer with bias over the pooled position

    @property
    def context_limit(self) -> Number | None:
        """Return the longest text; a longer one is cut."""
        return self.positions

    def cache(self, batch: Number, tokens: Number) -> tuple[tuple[CacheTensor, Number], ...]:
        """Return nothing: texts are read, not generated."""
        del batch, tokens
        return ()

    def blocks(self, workload: Workload) -> tuple[Block, ...]:
        """Return embedding, layers and pooling for texts of the workload's tokens."""
        tokens = minimum(workload.tokens, self.positions)
        net = Net(workload.batch, self.hidden, (tokens,))
        layer = EncoderLayer(
            heads=self.heads, width=self.width, function=self.function, causal=self.causal
        )
        net.block("text.embedding", partial(self._stem, net), part="stem")
        net.block("text.layers", partial(layer.build, net), self.layers)
        net.block("text.head", partial(self._head, net))
        return net.blocks()

    def _stem(self, net: Net) -> None:
        rows, tokens = net.batch * net.x.positions, net.x.positions
        net.add(
            Embedding(
                name="embedding.tokens", rows=rows, entries=self.vocabulary, width=self.hidden
            )
        )
        net.add(
            Embedding(
                name="embedding.positions",
                rows=rows,
                entries=self.positions,
                width=self.hidden,
                vocabulary=False,
                looked_up=tokens,
            )
        )
        net.x = replace(net.x, name="embedding", leaf=False, split="sequence")

    def _head(self, net: Net) -> None:
        net.layer_norm()
        net.reshape(self.hidden, ())
        if self.projection is not None:
            net.linear(self.projection)


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoTowers:
    """An image tower and a text tower, whose vectors are compared, every image with every text.

    A workload's batch counts pairs, its tokens are those of a text, cut at the longest.
    """

    vision: ImageNet
    text: TextTower
    width: Number  # of what the image tower gives
    projection: Number | None = None  # width of the space compared in, where towers are projected
    scalars: int = 1  # learned numbers of the comparison: its scale, its bias

    @property
    def context_limit(self) -> Number | None:
        """Return the longest text."""
        return self.text.positions

    def cache(self, batch: Number, tokens: Number) -> tuple[tuple[CacheTensor, Number], ...]:
        """Return nothing: neither images nor texts are generated."""
        del batch, tokens
        return ()

    def blocks(self, workload: Workload) -> tuple[Block, ...]:
        """Return the blocks of the image tower, of the text tower, and their comparison."""
        vision = tuple(
            replace(block, name=f"vision.{block.name}") for block in self.vision.blocks(workload)
        )
        # Only the comparison ends the model: what ends a tower is one more layer before it.
        towers = (*vision, *self.text.blocks(workload))
        inner = tuple(
            replace(block, part="layer") if block.part == "head" else block for block in towers
        )
        return (*inner, self._comparison(workload))

    def _comparison(self, workload: Workload) -> Block:
        pairs = workload.batch
        found: list[Operator] = []
        images, texts, width = "vision.pooled", "text.pooled", self.width
        if self.projection is not None:
            for name, source, inputs in (
                ("vision.projection", images, width),
                ("text.projection", texts, self.text.hidden),
            ):
                linear = Linear.of(name, source, pairs, inputs, self.projection)
                found.append(linear)
            images, texts, width = "vision.projection", "text.projection", self.projection
        product = Product(
            name="comparison", left=images, right=texts, rows=pairs, inner=width, columns=pairs
        )
        scalars = Learned(
            name="comparison.scalars", shapes=((1,),) * self.scalars, elements=pairs * pairs
        )
        loss = CrossEntropy(name="loss", source="comparison", rows=pairs, classes=pairs)
        source = Activation(images, pairs * self.width)
        return Block("head", (*found, product, scalars, loss), source, part="head")
