"""Uncertainty through to dollars: figures that depend on several uncertain factors at once.

Each factor has a value and the interval that holds it with a stated probability; between and beyond
it is taken as log-normal, with its own width on either side of the value (its median). Factors err
independently. Samples are a Latin hypercube: every factor's distribution is covered evenly, and the
same seed gives the same figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.8
"""Probability that an interval of costsim holds the value: P10 to P90."""

SAMPLES = 2048
"""Of which P10 and P90 move by under 2 % from seed to seed (tests/costs/test_uncertainty.py)."""

Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Factor:
    """An uncertain input: its median, and the low and high that hold it at `LEVEL`."""

    name: str
    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse what is no interval of a positive quantity."""
        if not 0 < self.low <= self.value <= self.high < math.inf:
            raise ValueError(f"{self.name}: {self.low} <= {self.value} <= {self.high} fails")


@dataclass(frozen=True, slots=True)
class Contributor:
    """How far the result moves when one factor goes from its low to its high, others at theirs."""

    name: str
    low: float
    high: float

    @property
    def swing(self) -> float:
        """The distance between the two."""
        return abs(self.high - self.low)


@dataclass(frozen=True, slots=True)
class Distribution:
    """A result at the factors' values, its P10, P50 and P90, and what moves it most, first."""

    value: float
    p10: float
    p50: float
    p90: float
    contributors: tuple[Contributor, ...]
    sample: Column

    def probability_within(self, limit: float) -> float:
        """Return the probability of the result being at most `limit`."""
        return float(np.mean(self.sample <= limit))


def propagate(
    result: Callable[[Mapping[str, Column]], Column],
    factors: Sequence[Factor],
    *,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Distribution:
    """Return the distribution of a result of uncertain factors.

    Args:
        result: from columns by factor name to a column of the same length.
        factors: the inputs; those without a width are constants.
        samples: rows of the Latin hypercube.
        seed: of its permutations.
    """
    shuffle = np.random.default_rng(seed)
    scores = _normal_scores(samples)
    drawn = {factor.name: _quantiles(factor, shuffle.permutation(scores)) for factor in factors}
    sample = np.sort(np.broadcast_to(result(drawn), (samples,)))
    p10, p50, p90 = (float(value) for value in np.quantile(sample, [0.1, 0.5, 0.9]))
    # One call for the corners: the values, then each factor at its low and at its high.
    corners = {factor.name: np.full(1 + 2 * len(factors), factor.value) for factor in factors}
    for place, factor in enumerate(factors):
        corners[factor.name][1 + 2 * place] = factor.low
        corners[factor.name][2 + 2 * place] = factor.high
    at = np.broadcast_to(result(corners), (1 + 2 * len(factors),))
    contributors = [
        Contributor(factor.name, float(at[1 + 2 * place]), float(at[2 + 2 * place]))
        for place, factor in enumerate(factors)
    ]
    contributors.sort(key=lambda one: (-one.swing, one.name))
    return Distribution(float(at[0]), p10, p50, p90, tuple(contributors), sample)


@cache
def _normal_scores(samples: int) -> Column:
    """Return the normal quantiles of the middles of `samples` equal strata."""
    normal = NormalDist()
    return np.array([normal.inv_cdf((i + 0.5) / samples) for i in range(samples)])


def _quantiles(factor: Factor, scores: Column) -> Column:
    """Return the factor at normal scores: log-normal on either side of its median."""
    edge = NormalDist().inv_cdf((1 + LEVEL) / 2)
    down = math.log(factor.value / factor.low) / edge
    up = math.log(factor.high / factor.value) / edge
    return factor.value * np.exp(np.where(scores < 0, down, up) * scores)
