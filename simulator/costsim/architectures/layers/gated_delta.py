"""The gated delta rule (Gated DeltaNet, Kimi Delta Attention): a memory that is corrected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from costsim.algebra import Number, ceil_div
from costsim.architectures.layers.short_convolution import causal_convolution
from costsim.architectures.operators import Columns, Held, Linear, Norm, Operator
from costsim.architectures.operators.recurrence import Recurrence
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.workload import Workload

CHUNK = 64
"""Positions that the rule's published kernels (flash-linear-attention) work through together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedDelta:
    """Queries, keys and values, convolved; a state of `key_dim` × `value_dim` for each value head.

    At every position the state decays, by one factor for each of its `heads` or for each of their
    key `channels`, and what it holds for the key is moved towards the value. The output is
    normalized by head and gated. Gate and decay may come through bottlenecks of `gate_rank` and
    `decay_rank`.
    """

    key_heads: Number
    value_heads: Number
    key_dim: Number
    value_dim: Number
    kernel: Number
    decay: Literal["heads", "channels"] = "heads"
    decay_rank: Number | None = None
    gate_rank: Number | None = None
    fused_projection: bool = False

    @property
    def keys(self) -> Number:
        """Width of all keys, and of all queries."""
        return self.key_heads * self.key_dim

    @property
    def values(self) -> Number:
        """Width of all values, and of the gate."""
        return self.value_heads * self.value_dim

    @property
    def convolved(self) -> Number:
        """Channels that are convolved: queries, keys and values."""
        return 2 * self.keys + self.values

    @property
    def decays(self) -> Number:
        """Factors of decay at a position."""
        return self.value_heads if self.decay == "heads" else self.keys

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the mixer's output, and that one's name."""
        rows = workload.rows
        forward, backward = self._scan_flops(workload)
        projected, scan, norm = "delta.input", "delta.scan", "delta.norm"
        keys, values = Columns(self.keys, self.key_heads), Columns(self.values, self.value_heads)
        decays = Columns(self.decays, self.value_heads)
        found: list[Operator] = [
            Linear(
                name=projected,
                source=source,
                rows=rows,
                inputs=hidden,
                columns=(
                    *(keys, keys, values),
                    Columns(self.value_heads, self.value_heads),  # how far towards the value
                    decays if self.decay_rank is None else Columns(self.decay_rank, 1),
                    values if self.gate_rank is None else Columns(self.gate_rank, 1),
                ),
                separate=not self.fused_projection,
                split="column",
            )
        ]
        for name, rank, outputs in (
            ("delta.decay", self.decay_rank, self.decays),
            ("delta.gate", self.gate_rank, self.values),
        ):
            if rank is not None:
                found.append(Linear.of(name, f"{name}_rank", rows, rank, outputs, split="column"))
        found += [
            causal_convolution(
                "delta.convolution", projected, workload, self.convolved, self.kernel, bias=False
            ),
            Recurrence(
                name=scan,
                rows=rows,
                read=self.convolved + self.value_heads + self.decays,
                written=self.values,
                flops=forward,
                backward_flops=backward,
                state=workload.batch * self._state if workload.generates else 0,
                holds=(
                    Held("delta.convolution", self.convolved),
                    Held("delta.correction", self.value_heads),
                    Held("delta.decay", self.decays),
                    Held("delta.gate", self.values),
                ),
                vectors=(("decay", (self.value_heads,)), ("decay_bias", (self.decays,))),
                kernels=1 if workload.generates else 6,  # sums, scores, solve, w and u, states, out
            ),
            Norm(
                name=norm,
                source=scan,
                rows=rows,
                width=self.value_dim,
                groups=self.value_heads,
                kind="rms",
                bias=False,
                split="heads",
            ),
            Linear.of("delta.output", norm, rows, self.values, hidden, split="row"),
        ]
        return tuple(found), "delta.output"

    @property
    def _state(self) -> Number:
        return self.value_heads * self.key_dim * self.value_dim

    def _scan_flops(self, workload: Workload) -> tuple[Number, Number]:
        """Return the FLOPs of the forward and of the backward pass through the scan."""
        if workload.generates:
            return 0, 0  # sums of products of vectors, which nobody counts
        chunks = ceil_div(workload.tokens, CHUNK)
        heads, square = workload.batch * self.value_heads, CHUNK * CHUNK
        by_head = self.decay == "heads"
        # 1. Scores of queries and of keys by keys, where a head decays as one. Otherwise a score is
        #    a weighted sum and no matrix product, but the triangular system of the keys' scores is
        #    inverted and multiplied with keys and values instead of solved for them.
        # 2. Scores times values.
        keys, values = (2, 1) if by_head else (1, 2)
        scores = square * (keys * self.key_dim + values * self.value_dim)
        # 3. The state read by keys and by queries, and written by keys and corrections.
        state = CHUNK * self.key_dim * self.value_dim
        forward = 2 * heads * chunks * (scores + 3 * state)
        # 4. Backward: the gradient of the solved system, by keys and by values; nothing to the
        #    first state, which two products read, nor from the last, which one wrote.
        solved = square * (self.key_dim + self.value_dim) if by_head else 0
        return forward, 2 * forward + 2 * heads * (chunks * solved - 4 * state)

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return the state in fp32, and the convolution's last inputs, however many `tokens`."""
        return (
            CacheTensor("state", batch * self._state, "float32"),
            CacheTensor("convolution_state", batch * self.convolved * self.kernel),
        )
