"""How ranks that hold pieces of a sequence come by what attention needs of the others.

`ring`: each keeps its queries and all heads, and keys and values go round (Liu et al. 2023, arXiv
2310.01889; Megatron-Core's `--cp-comm-type p2p`). `all_to_all`: before attention positions are
exchanged for heads, so that a rank has the whole sequence of a share of the heads, and after it
back (DeepSpeed-Ulysses, Jacobs et al. 2023, arXiv 2309.14509; `--cp-comm-type a2a`).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

CpExchange: TypeAlias = Literal["ring", "all_to_all"]

CP_EXCHANGES: tuple[CpExchange, ...] = ("ring", "all_to_all")
"""Forms in the order of the numbers that stand for them in columns."""

ALL_TO_ALL = CP_EXCHANGES.index("all_to_all")
