"""The gated delta rule (Gated DeltaNet, Kimi Delta Attention): a memory that is corrected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from costsim.algebra import Number, ceil_div
from costsim.architectures.layers.norm import RMS
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.operators import Columns
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

    def build(self, x: Tensor) -> Tensor:
        """Record the mixer."""
        heads, generates = self.value_heads, x.workload.generates
        keys, values = Columns(self.keys, self.key_heads), Columns(self.values, heads)
        decays = Columns(self.decays, heads)
        made = x.within("delta").linear(
            "input",
            *(keys, keys, values),
            Columns(heads, heads),  # how far towards the value
            decays if self.decay_rank is None else Columns(self.decay_rank, 1),
            values if self.gate_rank is None else Columns(self.gate_rank, 1),
            separate=not self.fused_projection,
            split="column",
        )
        decay, gate = made.called("decay", self.decays), made.called("gate", self.values)
        if self.decay_rank is not None:
            decay = made.called("decay_rank", self.decay_rank).linear(
                "decay", self.decays, split="column"
            )
        if self.gate_rank is not None:
            gate = made.called("gate_rank", self.gate_rank).linear(
                "gate", self.values, split="column"
            )
        convolved = made.causal("convolution", self.kernel, self.convolved, bias=False)
        forward, backward = self._scan_flops(x.workload)
        scan = convolved.scan(
            "scan",
            decay,
            gate,
            made,
            width=self.values,
            read=self.convolved + heads + self.decays,
            flops=forward,
            backward_flops=backward,
            state=self._state,
            keeps=(convolved, made.called("correction", heads), decay, gate),
            vectors=(("decay", (heads,)), ("decay_bias", (self.decays,))),
            kernels=1 if generates else 6,  # sums, scores, solve, w and u, states, out
        )
        norm = scan.norm("norm", RMS, width=self.value_dim, groups=heads, split="heads")
        return norm.linear("output", x.width, split="row")

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
