"""How a model normalizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class NormStyle:
    """Which normalization a model uses, and which parameters it has.

    `wide` ones multiply with their weights in fp32, before they cast back to the stream's format.
    """

    kind: Literal["layer", "rms"] = "layer"
    weight: bool = True
    bias: bool = True
    wide: bool = False


RMS = NormStyle(kind="rms", bias=False)
WIDE_RMS = NormStyle(kind="rms", bias=False, wide=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadNorm:
    """How queries and keys are normalized: each head, or the projection as a whole.

    Heads share the norm's weights unless they are `unshared` (Cohere, StableLM).
    """

    style: NormStyle = RMS
    whole: bool = False
    unshared: bool = False
