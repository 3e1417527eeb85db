"""What is known of a compressed model's quality: what somebody measured and published, or nothing.

Changes are never added up: that of two recipes together is known where it was measured together.
A spread over models is a spread; it is not an interval for the model at hand.
"""

from __future__ import annotations

from dataclasses import dataclass

from costsim.compression.compressing import Compression
from costsim.compression.recipes import Measured


@dataclass(frozen=True, slots=True)
class Change:
    """The published spread of one metric, as ratios of its value without the recipe."""

    metric: str
    low: float
    high: float
    models: tuple[str, ...]
    sources: tuple[str, ...]


def expected(compression: Compression) -> tuple[Change, ...]:
    """Return the published changes of each metric; none means that quality is unknown."""
    by_metric: dict[str, list[Measured]] = {}
    for measured in compression.quality:
        by_metric.setdefault(measured.metric, []).append(measured)
    return tuple(
        Change(
            metric,
            min(m.change[0] for m in found),
            max(m.change[1] for m in found),
            tuple(m.model for m in found),
            tuple(f"{m.model}: {m.source}" for m in found),
        )
        for metric, found in by_metric.items()
    )
