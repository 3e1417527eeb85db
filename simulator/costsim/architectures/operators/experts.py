"""Routed experts: choosing them for each token, and their networks as grouped products."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from costsim.algebra import Number, exact_div, where
from costsim.architectures.operators.base import Operator, Role
from costsim.architectures.tensors import Activation, Weight
from costsim.architectures.work import Direction, GroupedGemm, Stream, Work
from costsim.architectures.workload import FUSED, Execution, Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing(Operator):
    """Scores of `experts` become weights, and each token's `top_k` are picked.

    `correction` is a trained term of each expert, added to its score before picking. Frameworks
    keep scores and weights in fp32, and which expert was picked.
    """

    rows: Number
    experts: Number
    top_k: Number
    correction: bool = False

    def weights(self) -> tuple[Weight, ...]:
        if not self.correction:
            return ()
        return (Weight(f"{self.name}.correction", self.experts, matrix=False),)

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        # Forward: scores (2 bytes) read, written in fp32, read for the choice; backward likewise.
        return (Stream(5 * self.rows * self.experts, 2),)

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        chosen = self.rows * self.top_k
        return (
            Activation(f"{self.name}.probabilities", self.rows * self.experts, "float32"),
            Activation(f"{self.name}.weights", chosen, "float32"),
            Activation(f"{self.name}.chosen", chosen, "index"),
        )

    def shard(self, shard: Shard) -> Routing:
        return replace(self, rows=shard.rows(self.rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts(Operator):
    """`experts` networks h → width → h, of which every row passes `top_k`; routing is even.

    A router that is limited to nodes picks `group_limit` of the `groups` of experts first
    (DeepSeek-V3, arXiv 2412.19437, section 2.1.2). `chosen_from` counts the experts of all
    devices, `experts` those here. The reference code of
    `exhaustive` models runs every expert on every row, and masks afterwards.
    """

    source: str
    rows: Number
    hidden: Number
    width: Number
    experts: Number
    chosen_from: Number
    top_k: Number
    gated: bool = True
    bias: bool = False
    exhaustive: bool = False
    groups: Number = 1  # of equally many experts, of which a token chooses within `group_limit`
    group_limit: Number = 1
    sent_rows: Number | None = None  # rows whose tokens this device sends, where not `rows` (etp)

    ACTIVATION: ClassVar[int] = 2
    """Which piece of forward work is the activation function."""

    @property
    def role(self) -> Role:
        return "matrix"

    @property
    def ups(self) -> int:
        """Projections up: two where they are multiplied."""
        return 2 if self.gated else 1

    @property
    def routed_rows(self) -> Number:
        """Rows that pass an expert here: as many come from other devices as go to them."""
        return self.rows * self.top_k

    def routed_elements(self) -> Number:
        """Return what this device dispatches, and gets back, of which (ep - 1)/ep leaves it."""
        rows = self.rows if self.sent_rows is None else self.sent_rows
        return rows * self.top_k * self.hidden

    def weights(self) -> tuple[Weight, ...]:
        up, down = self.ups * self.width, self.width
        held = [
            self._weight("up", up * self.hidden, (up, self.hidden)),
            self._weight("down", down * self.hidden, (self.hidden, down)),
        ]
        if self.bias:
            held += [
                self._weight("up.bias", up, (up,)),
                self._weight("down.bias", self.hidden, (self.hidden,)),
            ]
        return tuple(held)

    def _weight(self, name: str, each: Number, shape: tuple[Number, ...]) -> Weight:
        return Weight(
            f"{self.name}.{name}",
            self.experts * each,
            matrix=len(shape) > 1,
            active_elements=exact_div(self.experts * self.top_k, self.chosen_from) * each,
            shapes=((self.experts, *shape),),
        )

    def work(self, direction: Direction, execution: Execution = FUSED) -> tuple[Work, ...]:
        exhaustive = self.exhaustive and execution.style == "eager"
        rows = self.rows * self.experts if exhaustive else self.routed_rows
        groups = self.experts if exhaustive else self._touched
        up, ups = self.ups * self.width, self.ups
        if direction == "forward":
            return (
                Stream(2 * rows * self.hidden),  # 1. rows sorted by expert
                GroupedGemm(rows, up, self.hidden, groups),
                Stream(rows * (ups + 1) * self.width),  # 2. the activation function
                GroupedGemm(rows, self.hidden, self.width, groups),
                Stream((rows + self.rows) * self.hidden),  # 3. outputs weighted and added
            )
        return (
            Stream((rows + self.rows) * self.hidden),
            GroupedGemm(rows, self.width, self.hidden, groups),
            GroupedGemm(self.width, self.hidden, rows, groups, ragged="k"),
            Stream(rows * (2 * ups + 1) * self.width),
            GroupedGemm(rows, self.hidden, up, groups),
            GroupedGemm(self.hidden, up, rows, groups, ragged="k"),
            Stream((rows + self.rows) * self.hidden),
        )

    @property
    def _touched(self) -> Number:
        """Experts here that get a row at all, which few rows do not reach: E·(1 - (1 - k/E)ⁿ)."""
        devices = self.chosen_from / self.experts  # send their rows here too
        missed = (1 - self.top_k / self.chosen_from) ** (self.rows * devices)
        return self.experts * (1 - missed)

    def saved(self, execution: Execution = FUSED) -> tuple[Activation, ...]:
        rows = self.routed_rows
        kept = (
            Activation(f"{self.name}.input", rows * self.hidden),
            Activation(f"{self.name}.up", rows * self.ups * self.width),
            Activation(f"{self.name}.activation", rows * self.width),
        )
        if execution.style == "fused":
            return kept  # weights are multiplied in before the projection down
        # The gradient of a token's weights needs what they multiply; a gate keeps both factors.
        output = Activation(f"{self.name}.down", rows * self.hidden)
        gate = Activation(f"{self.name}.gate", rows * self.width)
        kept = (*kept, output, gate) if self.gated else (*kept, output)
        if execution.experts == "loop":  # rows are picked for each expert, and kept as picked
            kept = (*kept, Activation(f"{self.name}.picked", rows * self.hidden))
        if execution.casts:
            matrices = self.experts * (self.ups + 1) * self.width * self.hidden
            kept = (
                *kept,
                Activation(f"{self.name}.cast_input", rows * self.hidden),
                Activation(f"{self.name}.cast_weight", matrices),
            )
        return kept

    def shard(self, shard: Shard) -> Experts:
        # Under sequence parallelism a device has its own rows of the layer, and those of the other
        # devices that share its experts' insides; otherwise they all have the same rows.
        own = shard.rows(self.rows) * shard.imbalance
        return replace(
            self,
            rows=where(shard.sp, own * shard.etp, self.rows * shard.imbalance),
            sent_rows=own,
            experts=exact_div(self.experts, shard.ep),
            width=exact_div(self.width, shard.etp),
        )
