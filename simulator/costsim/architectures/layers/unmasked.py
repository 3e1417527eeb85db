"""Attention proper of encoders: every position sees every other."""

from __future__ import annotations

from costsim.algebra import Number
from costsim.architectures.operators import Attention
from costsim.architectures.workload import Workload


def unmasked(workload: Workload, heads: Number, head_dim: Number, dropout: bool) -> Attention:
    """Return attention in which every position sees every other."""
    return Attention(
        name="attention.context",
        batch=workload.batch,
        query_heads=heads,
        kv_heads=heads,
        tokens=workload.tokens,
        context=workload.kv_tokens,
        head_dim=head_dim,
        value_dim=head_dim,
        causal=False,
        dropout=dropout,
    )
