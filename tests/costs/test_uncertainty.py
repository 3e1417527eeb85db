"""Propagated intervals against closed forms of log-normal products."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.costs.uncertainty import Factor, propagate

VALUES = st.floats(1e-3, 1e6)
WIDTHS = st.floats(1, 4)
FACTORS = st.builds(lambda v, d, u: (v, v / d, v * u), VALUES, WIDTHS, WIDTHS)


def product(columns):
    found = 1.0
    for column in columns.values():
        found = found * column
    return found


def test_one_factor_has_its_own_interval() -> None:
    found = propagate(product, [Factor("hours", 100.0, 80.0, 150.0)])
    assert (found.value, found.p50) == pytest.approx((100.0, 100.0), rel=1e-3)
    assert (found.p10, found.p90) == pytest.approx((80.0, 150.0), rel=2e-3)


@pytest.mark.parametrize("seed", range(5))
def test_a_product_of_log_normals_is_log_normal(seed: int) -> None:
    """Widths of logarithms add in quadrature: the closed form, and the claim about seeds."""
    widths = {"hours": 1.2, "price": 1.5, "power": 1.1}
    factors = [Factor(name, 10.0, 10.0 / w, 10.0 * w) for name, w in widths.items()]
    found = propagate(product, factors, seed=seed)
    edge = math.exp(math.sqrt(sum(math.log(w) ** 2 for w in widths.values())))
    assert found.p50 == pytest.approx(1000.0, rel=0.01)
    assert (found.p10, found.p90) == pytest.approx((1000 / edge, 1000 * edge), rel=0.02)
    assert [one.name for one in found.contributors] == ["price", "hours", "power"]


def test_brute_force_of_a_sum_with_lopsided_factors() -> None:
    factors = [Factor("a", 5.0, 4.0, 9.0), Factor("b", 3.0, 1.0, 3.5)]
    found = propagate(lambda c: c["a"] * 2 + c["b"], factors)
    chance, edge = np.random.default_rng(1), NormalDist().inv_cdf(0.9)

    def draw(f: Factor) -> np.ndarray:
        z = chance.standard_normal(400_000)
        width = np.where(z < 0, math.log(f.value / f.low), math.log(f.high / f.value)) / edge
        return f.value * np.exp(width * z)

    brute = np.quantile(2 * draw(factors[0]) + draw(factors[1]), [0.1, 0.5, 0.9])
    assert (found.p10, found.p50, found.p90) == pytest.approx(tuple(brute), rel=0.02)


@given(st.lists(FACTORS, min_size=1, max_size=4), st.floats(1, 3))
def test_laws(given: list[tuple[float, float, float]], wider: float) -> None:
    factors = [Factor(str(i), *triple) for i, triple in enumerate(given)]
    found = propagate(product, factors, samples=256)
    assert found.p10 <= found.p50 <= found.p90
    again = propagate(product, factors, samples=256)
    assert np.array_equal(found.sample, again.sample)
    first = factors[0]
    wide = Factor(first.name, first.value, first.low / wider, first.high * wider)
    spread = propagate(product, [wide, *factors[1:]], samples=256)
    # A quantile of 256 products moves by a few per cent when they are ranked otherwise.
    assert spread.p90 / spread.p10 >= found.p90 / found.p10 * 0.95
    # Above 0.9 where half of the sample has no width, and so one value.
    assert found.probability_within(found.p90 * (1 + 1e-12)) >= 0.89
    assert found.probability_within(math.inf) == 1.0


def test_a_constant_moves_nothing() -> None:
    found = propagate(product, [Factor("a", 2.0, 2.0, 2.0), Factor("b", 3.0, 2.0, 4.0)])
    assert found.contributors[-1].swing == 0.0


@pytest.mark.parametrize("bad", [(1.0, 2.0, 3.0), (1.0, 0.0, 2.0), (1.0, 0.5, math.inf)])
def test_no_interval_no_factor(bad: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="fails"):
        Factor("x", *bad)
