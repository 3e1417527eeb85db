"""State-space duality (Mamba-2): heads with a matrix of state, scanned in chunks."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number, ceil_div
from costsim.architectures.layers.short_convolution import causal_convolution
from costsim.architectures.operators import (
    Columns,
    Held,
    Linear,
    Norm,
    Operator,
)
from costsim.architectures.operators.recurrence import Recurrence
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSpaceDual:
    """z, x, B, C and step from one projection; x, B, C convolved; scanned; normalized by z's gate.

    Each of `heads` holds `head_dim` × `state_size` of state; the heads of each of `groups` share B
    and C. The scan pads a sequence to whole chunks of `chunk` positions.
    """

    heads: Number
    head_dim: Number
    state_size: Number
    groups: Number
    kernel: Number
    chunk: Number
    bias: bool = False
    output_bias: bool = False
    convolution_bias: bool = True
    gated_norm: bool = True  # else the gate alone

    @property
    def width(self) -> Number:
        return self.heads * self.head_dim

    @property
    def convolved(self) -> Number:
        """Channels that are convolved: x, B and C."""
        return self.width + 2 * self.groups * self.state_size

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the mixer's output, and that one's name."""
        rows, width, shared = workload.rows, self.width, self.groups * self.state_size
        scan, inner = "state_space.scan", "state_space.norm"
        found: list[Operator] = [
            Linear(
                name="state_space.input",
                source=source,
                rows=rows,
                inputs=hidden,
                columns=(
                    Columns(width, self.heads),
                    Columns(width, self.heads),
                    Columns(shared, self.groups),
                    Columns(shared, self.groups),
                    Columns(self.heads, self.heads),
                ),
                bias=self.bias,
                split="column",
            ),
            causal_convolution(
                "state_space.convolution",
                "state_space.input",
                workload,
                self.convolved,
                self.kernel,
                bias=self.convolution_bias,
            ),
            Recurrence(
                name=scan,
                rows=rows,
                read=self.convolved + self.heads,
                written=width,
                flops=self._scan_flops(workload),
                state=workload.batch * width * self.state_size if workload.generates else 0,
                holds=(
                    Held("state_space.convolution", self.convolved),
                    Held("state_space.step", self.heads),
                    Held("state_space.gate", width),
                ),
                vectors=tuple((name, (self.heads,)) for name in ("step_bias", "decay", "skip")),
                kernels=1 if workload.generates else 5,  # sums, states, passing, scores, outputs
            ),
            Norm(
                name=inner,
                source=scan,
                rows=rows,
                width=width,
                kind="rms",
                weight=self.gated_norm,
                bias=False,
                split="columns",
            ),
            Linear.of(
                "state_space.output", inner, rows, width, hidden, bias=self.output_bias, split="row"
            ),
        ]
        return tuple(found), "state_space.output"

    def _scan_flops(self, workload: Workload) -> Number:
        state = self.head_dim * self.state_size
        sequences = workload.batch * self.heads
        if workload.generates:
            return 2 * workload.rows * self.heads * state  # the state times C
        chunks = ceil_div(workload.tokens, self.chunk)
        inside = (
            # 1. C Bᵀ, and its rows times x.
            self.chunk * self.chunk * (self.state_size + self.head_dim)
            # 2. The state that a chunk makes, and the one that it starts from times C.
            + 2 * self.chunk * state
        )
        # 3. Each chunk's state from all before it, the initial one included.
        passed = (chunks + 1) * (chunks + 1) * state
        return 2 * sequences * (chunks * inside + passed)

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return the state in fp32, and the convolution's last inputs, however many `tokens`."""
        return (
            CacheTensor("state", batch * self.width * self.state_size, "float32"),
            CacheTensor("convolution_state", batch * self.convolved * self.kernel),
        )
