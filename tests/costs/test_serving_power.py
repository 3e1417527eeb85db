"""Power of a device that serves: its laws, and that metered states bear its constants out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.costs.serving_power import BASE_RATIO, serving_power_w
from costsim.errors import SpecError


@given(st.floats(1, 2000), st.floats(0, 2), st.floats(0, 2))
def test_more_work_never_draws_less_and_never_more_than_rated(tdp_w: float, a: float, b: float):
    less, more = (serving_power_w(tdp_w, u).value for u in sorted((a, b)))
    assert BASE_RATIO * tdp_w * (1 - 1e-12) <= less <= more <= tdp_w * (1 + 1e-12)


@given(st.floats(1, 2000), st.floats(0, 2))
def test_the_interval_holds_the_value(tdp_w: float, utilization: float):
    found = serving_power_w(tdp_w, utilization)
    assert 0 < found.low <= found.value <= found.high * (1 + 1e-12)


def test_what_cannot_be_is_refused():
    with pytest.raises(SpecError):
        serving_power_w(0.0, 0.5)
    with pytest.raises(SpecError):
        serving_power_w(700.0, -0.1)
