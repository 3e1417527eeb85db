"""State-space duality (Mamba-2): heads with a matrix of state, scanned in chunks."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number, ceil_div, exact_div
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.operators import Columns
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.workload import Workload

# Passes of 4 bytes over the states of chunks, in values of 2 bytes, by the kernels of mamba_ssm 2
# (ops/triton: ssd_chunk_state, ssd_state_passing, ssd_chunk_scan, ssd_combined). Forward: made,
# read, passed on, read. Backward: made again and passed on (3), gradients made, read and passed
# on beside the states (4), read for x, for B, and the states for C.
_FORWARD_VALUES = 2 * 4
_BACKWARD_VALUES = 2 * 10


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

    def build(self, x: Tensor) -> Tensor:
        """Record the mixer."""
        width, heads, generates = self.width, self.heads, x.workload.generates
        own = Columns(width, heads)
        shared = Columns(self.groups * self.state_size, self.groups)
        made = x.within("state_space").linear(
            "input", own, own, shared, shared, Columns(heads, heads), bias=self.bias, split="column"
        )
        bias = self.convolution_bias
        convolved = made.causal("convolution", self.kernel, self.convolved, bias=bias)
        scan = convolved.scan(
            "scan",
            made,
            width=width,
            read=self.convolved + heads,
            flops=self._scan_flops(x.workload),
            state=width * self.state_size,
            keeps=(convolved, made.called("step", heads), made.called("gate", width)),
            vectors=tuple((name, (heads,)) for name in ("step_bias", "decay", "skip")),
            spilled=0 if generates else _FORWARD_VALUES * self._state_of_position,
            backward_spilled=0 if generates else _BACKWARD_VALUES * self._state_of_position,
            kernels=1 if generates else 5,  # sums, states, passing, scores, outputs
        )
        style = NormStyle(kind="rms", weight=self.gated_norm, bias=False)
        inner = scan.norm("norm", style, split="columns")
        return inner.linear("output", x.width, bias=self.output_bias, split="row")

    @property
    def _state_of_position(self) -> Number:
        """Values of the state of a chunk, by position of it."""
        return exact_div(self.width * self.state_size, self.chunk)

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
