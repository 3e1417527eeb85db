"""Models known by their size alone: the usual proportions of published families.

Width follows the number of parameters as published decoders have it, depth what is then left of
them; the feed-forward network takes up the rounding, so that the count, and with it the work of a
token, is the one stated.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, log

# Parameters in 10⁹ -> width: GPT-3 small to XL (arXiv 2005.14165, table 2.1), Llama 2 7B
# (2307.09288), Llama 3 8B, 70B and 405B (2407.21783), Megatron-Turing 530B (2201.11990) and the
# 1,008B of Narayanan et al. 2021 (2104.04473, table 1).
_WIDTHS = (
    *((0.125, 768), (0.356, 1024), (0.76, 1536), (1.3, 2048), (6.7, 4096), (8.0, 4096)),
    *((70.6, 8192), (175.0, 12288), (405.0, 16384), (530.0, 20480), (1008.0, 25600)),
)
# Parameters in 10⁹ of a mixture of experts -> those of a token: Qwen1.5-MoE, Mixtral 8x7B,
# DeepSeek-V2 (2405.04434) and V3 (2412.19437), Kimi K2 (2507.20534).
_ACTIVE = ((14.3, 2.7), (46.7, 12.9), (236.0, 21.0), (671.0, 37.0), (1040.0, 32.0))
_VOCABULARY = 50304  # GPT-2's, padded to a multiple of 128, as most decoders of its kind have it
_TIED_BELOW = 1.5  # 10⁹ parameters, as GPT-2 and Llama 3.2 1B share embedding and head
_GROUPED_FROM = 4096  # wide: eight key and value heads, as Llama 3 has from 8B on
_GROUPS = 8
_HEAD, _NARROW_HEAD, _NARROW = 128, 64, 2048  # width of heads, of those of narrow models
_COARSE_RATIO = 5.0  # total over active parameters up to which experts are Mixtral's eight
_COARSE, _FINE = (8, 2), (128, 8)  # experts, and about how many of a token: Mixtral's, Qwen3's
_FFN_RATIO = 3.5  # of a gated network over the width: Llama 3's
_ROUNDED_FFN = 64


def proportioned(
    sizes: Mapping[str, int], billions: float, active: float | None, *, mixture: bool
) -> dict[str, int]:
    """Return the shape columns of a decoder of `billions` 10⁹ parameters; those stated stand.

    Args:
        sizes: the columns that are known.
        billions: parameters, all experts included.
        active: 10⁹ parameters that a token passes; of mixtures only.
        mixture: whether it has experts.
    """
    found = dict(sizes)
    passed = billions
    if mixture:
        passed = active or min(_between(_ACTIVE, billions), billions)
        coarse = billions <= _COARSE_RATIO * passed
        experts, top_k = _COARSE if coarse else _FINE
        found.setdefault("experts", experts)
        found["top_k"] = sizes.get("top_k", min(top_k, found["experts"]))
    hidden = found.setdefault("hidden", _width(passed, found.get("heads", 0)))
    if "heads" not in found:
        head = _HEAD if hidden >= _NARROW and hidden % _HEAD == 0 else _NARROW_HEAD
        found["heads"] = max(1, hidden // head)
        if hidden >= _GROUPED_FROM and found["heads"] % _GROUPS == 0:
            found.setdefault("kv_heads", _GROUPS)
    heads = found["heads"]
    # Of the smallest models, half of the parameters at most are their vocabulary's.
    found.setdefault("vocab", max(64, min(_VOCABULARY, round(billions * 1e9 / hidden / 2))))
    tables = 1 if billions < _TIED_BELOW and not mixture else 2
    layered = max(billions * 1e9 - tables * found["vocab"] * hidden, 0.0)
    attention = 2 * hidden * hidden * (1 + found.get("kv_heads", heads) / heads)
    if "layers" not in found:
        token = max(passed * 1e9 - tables * found["vocab"] * hidden, 0.0)
        ffn = found.get("ffn", _FFN_RATIO * hidden)
        network = 3 * hidden * ffn * (found["top_k"] if mixture and "ffn" in found else 1)
        found["layers"] = _even(token / (attention + network))
    if "ffn" not in found:
        of_layer = layered / found["layers"] - attention
        inner = of_layer / (3 * hidden * (found["experts"] if mixture else 1))
        found["ffn"] = max(_ROUNDED_FFN, round(inner / _ROUNDED_FFN) * _ROUNDED_FFN)
    if mixture and "top_k" not in sizes:
        of_token = passed * 1e9 - tables * found["vocab"] * hidden - found["layers"] * attention
        chosen = round(of_token / (found["layers"] * 3 * hidden * found["ffn"]))
        found["top_k"] = min(max(1, chosen), found["experts"])
    return found


def _width(billions: float, heads: int) -> int:
    """Return the usual width, in steps that tensor parallelism over a node of eight divides."""
    width = _between(_WIDTHS, billions)
    step = heads or next(s for s in (1024, 512, 256, 128, 64) if s <= width / 4 or s == 64)
    return max(step, round(width / step) * step)


def _even(layers: float) -> int:
    """Return a number of layers that the usual pipelines divide."""
    step = 8 if layers >= 64 else 4 if layers >= 16 else 1
    return max(step, round(layers / step) * step)


def _between(table: tuple[tuple[float, float], ...], billions: float) -> float:
    """Interpolate between logarithms, and go on beyond the ends with the last slope."""
    last = len(table) - 2
    index = next((i for i in range(last) if billions < table[i + 1][0]), last)
    (x0, y0), (x1, y1) = table[index : index + 2]
    return exp(log(y0) + log(billions / x0) * log(y1 / y0) / log(x1 / x0))
