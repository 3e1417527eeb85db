"""Attention over a compressed latent (DeepSeek's MLA), and the indexer that picks positions.

Keys and values are one narrow vector a position, the latent, which is what a cache holds. Either it
is expanded to each head's keys and values before attention (training, the reference code), or the
expansion is absorbed into queries and context, and all heads attend to the latent itself (serving).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from costsim.algebra import Number, exact_div, minimum
from costsim.architectures.operators.attention import Attention
from costsim.architectures.operators.base import Collective, Operator, Role
from costsim.architectures.tensors import Activation, Weight
from costsim.architectures.work import Direction, Gemm, ScaledDotProduct, Work
from costsim.architectures.workload import FUSED, Execution, Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentExpansion(Operator):
    """The matrix from `latent_dim` to `key_dim` and `value_dim` of each of `heads`.

    Expanding works on `expanded_rows`, the whole context where it is cached compressed; absorbed,
    its halves multiply queries and context of `rows`, head by head.
    """

    source: str
    rows: Number
    expanded_rows: Number
    latent_dim: Number
    heads: Number
    key_dim: Number
    value_dim: Number

    @property
    def role(self) -> Role:
        return "matrix"

    @property
    def outputs(self) -> Number:
        return self.heads * (self.key_dim + self.value_dim)

    def weights(self) -> tuple[Weight, ...]:
        shape = (self.outputs, self.latent_dim)
        return (Weight(f"{self.name}.weight", self.outputs * self.latent_dim, shapes=(shape,)),)

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        latent = self.latent_dim
        if execution.latent == "expanded":
            rows = self.expanded_rows
            if direction == "forward":
                return (Gemm(rows, self.outputs, latent),)
            return (
                Gemm(rows, latent, self.outputs),
                Gemm(latent, self.outputs, rows, weights=False),
            )
        found: list[Work] = []
        for inputs, outputs in ((self.key_dim, latent), (latent, self.value_dim)):
            if direction == "forward":
                found.append(Gemm(self.rows, outputs, inputs, self.heads))
            else:
                found.append(Gemm(self.rows, inputs, outputs, self.heads))
                found.append(Gemm(inputs, outputs, self.rows, self.heads, weights=False))
        return tuple(found)

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        return (Activation(self.source, self.rows * self.latent_dim),)

    def collectives(self) -> tuple[Collective, ...]:
        return (Collective(self.source, self.rows * self.latent_dim, "entry"),)

    def shard(self, shard: Shard) -> LatentExpansion:
        return replace(self, heads=exact_div(self.heads, shard.tp))


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentAttention(Attention):
    """Attention whose keys are `latent_dim` wide before they are expanded, and `rotary_dim` more.

    `selected` positions of the context are attended to where an indexer picks them; the reference
    code scores all and masks the others.
    """

    latent_dim: Number
    rotary_dim: Number
    selected: Number | None = None

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        *added, work = Attention.work(self, direction, execution)
        assert isinstance(work, ScaledDotProduct)
        if self.selected is not None and execution.style == "fused":
            tokens = minimum(self.context, self.selected)
            work = replace(work, batch=self.batch, kv_tokens=tokens, causal=False)
        if execution.latent == "absorbed":
            keys = self.latent_dim + self.rotary_dim
            work = replace(work, kv_heads=1, head_dim=keys, value_dim=self.latent_dim)
        return (*added, work)


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexer(Operator):
    """Scores of the context for each query, by `heads` small heads, which pick what is attended to.

    It is trained apart from the model: no gradient passes it (DeepSeek-V3.2).
    """

    source: str
    rows: Number
    batch: Number
    tokens: Number
    context: Number
    hidden: Number
    query_inputs: Number  # queries are projected from the compressed ones
    heads: Number
    head_dim: Number

    @property
    def role(self) -> Role:
        return "attention"

    def weights(self) -> tuple[Weight, ...]:
        queries, name = self.heads * self.head_dim, self.name
        matrices = (
            ("query", queries, self.query_inputs),
            ("key", self.head_dim, self.hidden),
            ("head_weights", self.heads, self.hidden),
        )
        return (
            *(
                Weight(f"{name}.{part}", rows * columns, shapes=((rows, columns),))
                for part, rows, columns in matrices
            ),
            Weight(f"{name}.key_norm.weight", self.head_dim, matrix=False),
            Weight(f"{name}.key_norm.bias", self.head_dim, matrix=False),
        )

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        if direction == "backward":
            return ()
        return (
            Gemm(self.rows, self.heads * self.head_dim, self.query_inputs),
            Gemm(self.rows, self.head_dim, self.hidden),
            Gemm(self.rows, self.heads, self.hidden),
            # Scores of each head, and their weighted sum, a product with one column.
            ScaledDotProduct(
                batch=self.batch,
                query_heads=self.heads,
                kv_heads=1,
                query_tokens=self.tokens,
                kv_tokens=self.context,
                head_dim=self.head_dim,
                value_dim=1,
            ),
        )

    def shard(self, shard: Shard) -> Indexer:
        return self  # its sums run over heads, so that every device has all of them
