"""Models with recurrent state: state spaces, linear attention, delta rules, short convolutions."""

from __future__ import annotations

from costsim.architectures.huggingface.config import Reader
from costsim.architectures.huggingface.hybrids import (
    delta,
    griffin,
    inkling,
    jamba,
    kimi,
    lfm,
    mamba,
    mamba_hybrids,
    minimax,
    nemotron_h,
    rwkv,
    xlstm,
    zamba,
)

_FAMILIES = (
    *(mamba, jamba, mamba_hybrids, nemotron_h, zamba, delta, kimi, lfm),
    *(griffin, inkling, minimax, rwkv, xlstm),
)

READERS: dict[str, Reader] = {
    model_type: reader for family in _FAMILIES for model_type, reader in family.READERS.items()
}
"""Reader by `model_type`."""
