"""From the shape columns of a row to a mixture of experts: the one nearest its two counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from costsim.architectures.architecture import Architecture
from costsim.architectures.layers import FeedForward, Layer, MixtureOfExperts, SelfAttention
from costsim.architectures.layers.latent_attention import LatentSelfAttention
from costsim.architectures.layers.layer import Mixer
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.transformer import Transformer

_RMS = NormStyle(kind="rms", bias=False)
_FINE_GRAINED = 64  # experts from which models of full heads are taken to have latent attention


@dataclass(frozen=True, slots=True)
class _Style:
    """What two mixtures of the same columns may differ in."""

    latent: bool
    head_dim: int
    shared: int  # experts that every token passes
    first: int  # dense layers below those of experts
    every: int  # one layer of so many has experts


def mixture(
    shape: tuple[tuple[str, int], ...],
    parameters_billions: float | None,
    active_billions: float | None,
    name: str,
) -> Architecture:
    """Return the mixture of `shape` whose total and active parameters are nearest.

    Where neither is stated, fine-grained experts come with one that is always used, above one
    dense layer, as in DeepSeek's models; coarse ones with neither.
    """
    return _nearest(shape, parameters_billions, active_billions, name)


@lru_cache(maxsize=256)
def _nearest(
    shape: tuple[tuple[str, int], ...], total: float | None, active: float | None, name: str
) -> Architecture:
    sizes = dict(shape)
    styles = list(_styles(sizes))
    if total is None and active is None:
        return Architecture(name, _compose(sizes, styles[0]), "runs file")

    def distance(model: Architecture) -> float:
        error = 0.0
        if total is not None:
            error += abs(model.parameters / (total * 1e9) - 1)
        if active is not None:
            error += abs(model.active_parameters / (active * 1e9) - 1)
        return error

    return min((Architecture(name, _compose(sizes, s), "runs file") for s in styles), key=distance)


def _styles(sizes: Mapping[str, int]) -> Iterator[_Style]:
    """Yield styles, the likeliest first."""
    heads, experts = sizes["heads"], sizes["experts"]
    fine = experts >= _FINE_GRAINED and sizes.get("kv_heads", heads) == heads
    widths = {128, sizes["hidden"] // heads} if not fine else {128}
    shared, first = ((1, 0, 2), (1, 0, 3)) if fine else ((0, 1, 2), (0, 1, 3))
    for latent, width, of_all, below, every in product(
        (True, False) if fine else (False,), sorted(widths), shared, first, (1, 2)
    ):
        if below < sizes["layers"]:
            yield _Style(latent, width, of_all, below, every)


def _compose(sizes: Mapping[str, int], style: _Style) -> Transformer:
    width, top_k = sizes["ffn"], sizes.get("top_k", 1)
    experts = MixtureOfExperts(
        width=width,
        experts=sizes["experts"],
        top_k=top_k,
        shared=FeedForward(width=style.shared * width, gated=True) if style.shared else None,
    )
    # Dense layers are as wide as what a token passes elsewhere.
    dense = FeedForward(width=(top_k + style.shared) * width, gated=True)
    mixer = _mixer(sizes, style)
    routed = Layer(mixer=mixer, feed_forward=experts, norm=_RMS)
    plain = Layer(mixer=mixer, feed_forward=dense, norm=_RMS)
    above = sizes["layers"] - style.first
    runs = [(plain, style.first)] if style.first else []
    if style.every == 1:
        runs.append((routed, above))
    else:
        pairs, odd = divmod(above, style.every)
        runs += [(plain, 1), (routed, 1)] * pairs + [(plain, 1)] * odd
    return Transformer(
        vocabulary=sizes["vocab"],
        hidden=sizes["hidden"],
        layers=tuple(runs),
        final_norm=_RMS,
    )


def _mixer(sizes: Mapping[str, int], style: _Style) -> Mixer:
    heads = sizes["heads"]
    if style.latent:
        # As DeepSeek-V2 and V3 have it (arXiv 2405.04434, 2412.19437).
        return LatentSelfAttention(
            heads=heads,
            latent_dim=512,
            query_latent_dim=1536,
            key_dim=128,
            rotary_dim=64,
            value_dim=128,
        )
    return SelfAttention(
        heads=heads, kv_heads=sizes.get("kv_heads", heads), head_dim=style.head_dim, rotary=True
    )
