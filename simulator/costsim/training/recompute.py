"""Recomputation: which activations are made again in the backward pass instead of kept."""

from __future__ import annotations

from typing import Literal, TypeAlias

Recompute: TypeAlias = Literal["none", "selective", "full"]

RECOMPUTE: tuple[Recompute, ...] = ("none", "selective", "full")
"""Modes in the order of the columns that index them: keep all, drop what attention makes inside
(Korthikanti et al. 2022), keep each layer's input only."""
