"""How a model normalizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class NormStyle:
    """Which normalization a model uses, and which parameters it has."""

    kind: Literal["layer", "rms"] = "layer"
    weight: bool = True
    bias: bool = True


RMS = NormStyle(kind="rms", bias=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadNorm:
    """How queries and keys are normalized: each head, or the projection as a whole.

    Heads share the norm's weights unless they are `unshared` (Cohere, StableLM).
    """

    style: NormStyle = RMS
    whole: bool = False
    unshared: bool = False
