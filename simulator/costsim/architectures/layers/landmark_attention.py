"""Attention by way of a few landmarks among the positions."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.operators import Columns, Convolution

INVERSE_STEPS = 6
"""Steps of the iteration by which Nyströmformer inverts its landmarks' scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LandmarkAttention:
    """Attention by way of `landmarks`, means of the positions, and an inverse (Nyströmformer).

    Where there are as many landmarks as positions in a segment it is plain attention. A
    convolution of `kernel` positions of the values is added for each head.
    """

    heads: Number
    head_dim: Number
    landmarks: Number
    segment: Number
    kernel: Number | None = None
    dropout: bool = False

    def build(self, x: Tensor) -> Tensor:
        """Record the mixer."""
        heads, head_dim, width = self.heads, self.head_dim, self.heads * self.head_dim
        at = x.within("attention")
        made = at.linear(
            "query_key_value",
            *(Columns(width, heads),) * 3,
            bias=True,
            separate=True,
            split="column",
        )
        if self.landmarks == self.segment:
            context = made.attend(heads, head_dim, causal=False, dropout=self.dropout)
        else:
            context = self._by_landmarks(made).called("context", width)
        if self.kernel is not None:
            made.called("value", width).make(
                Convolution,
                "convolved",
                width,
                source=made.called("value").name,
                batch=x.workload.batch,
                sizes=(x.workload.tokens, head_dim),
                inputs=heads,
                outputs=heads,
                kernel=(self.kernel, 1),
                stride=(1, 1),
                padded=(self.kernel // 2 * 2, 0),
                dilation=(1, 1),
                groups=heads,
                split="channels",
            )
        return context.linear("output", x.width, bias=True, split="row")

    def _by_landmarks(self, x: Tensor) -> Tensor:
        """Record the products by way of the landmarks, each with how many there are of it."""
        tokens, few, dim = x.workload.tokens, self.landmarks, self.head_dim
        for name, rows, inner, columns, times in (
            ("query_landmarks", tokens, dim, few, 1),
            ("landmark_scores", few, dim, few, 1),
            ("landmark_keys", few, dim, tokens, 1),
            ("inverse", few, few, few, 4 * INVERSE_STEPS),  # four in each step of the iteration
            ("probabilities", tokens, few, few, 1),
            ("values", few, tokens, dim, 1),
            ("context", tokens, few, dim, 1),
        ):
            x = x.called(f"{name}.left").product(
                name,
                x.called(f"{name}.right"),
                rows=rows,
                inner=inner,
                columns=columns,
                count=x.workload.batch * self.heads * times,
            )
        return x
