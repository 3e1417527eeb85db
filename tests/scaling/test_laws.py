"""Scaling laws against the papers' own figures, brute force and limits."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.errors import SpecError, UnknownNameError
from costsim.scaling import (
    critical_batch_tokens,
    effective_tokens,
    scaling_law,
    scaling_laws,
)

FLOPS = st.floats(1e18, 1e27)
LAWS = st.sampled_from(scaling_laws())


def test_chinchillas_own_optimum() -> None:
    """70 B parameters on 1.4 T tokens at 5.76e23 FLOPs (Hoffmann et al. 2022, table 3)."""
    law = scaling_law()
    found = law.best_of_flops(5.76e23)
    low, high = law.exponent_range()
    beyond = 5.76e23 / math.sqrt(law.low_flops * law.high_flops)
    middle = law.parameters_exponent / (law.parameters_exponent + law.tokens_exponent)
    spread = beyond ** (high - (1 - middle))
    assert found.parameters / spread <= 70e9 <= found.parameters * spread
    assert found.parameters == pytest.approx(70e9, rel=0.1)
    assert found.tokens == pytest.approx(1.4e12, rel=0.1)
    assert low < 1 - middle < high


def test_the_papers_own_exponents_of_approach_3() -> None:
    law = scaling_law("chinchilla")
    ratio = law.best_of_flops(1e22).parameters / law.best_of_flops(1e21).parameters
    assert math.log10(ratio) == pytest.approx(0.46, abs=0.01)


@given(LAWS, FLOPS)
def test_no_other_division_of_the_budget_has_less_loss(name: str, flops: float) -> None:
    law = scaling_law(name)
    best = law.best_of_flops(flops)
    assert best.flops == pytest.approx(flops, rel=1e-9)
    for factor in np.geomspace(0.2, 5, 41):
        other = law.loss(best.parameters * factor, best.tokens / factor)
        assert other >= best.loss * (1 - 1e-12)


@given(LAWS, FLOPS, st.sampled_from([0.0, 1e9, 1e12, 1e15]))
def test_no_other_division_reaches_the_loss_cheaper(name: str, flops: float, served: float) -> None:
    law = scaling_law(name)
    loss = law.best_of_flops(flops).loss
    best = law.cheapest_of_loss(loss, served)
    assert best.loss == pytest.approx(loss, rel=1e-9)

    def life(parameters: float) -> float:
        return 6 * parameters * law.tokens_for(loss, parameters) + 2 * parameters * served

    least = life(best.parameters)
    for factor in np.geomspace(0.7, 3, 60):
        try:
            assert life(best.parameters * factor) >= least * (1 - 1e-6)
        except SpecError:
            assert factor < 1  # too small to reach the loss


@given(LAWS, FLOPS)
def test_a_budget_round_trips_through_its_loss(name: str, flops: float) -> None:
    law = scaling_law(name)
    assert law.cheapest_of_loss(law.best_of_flops(flops).loss).flops == pytest.approx(
        flops, rel=1e-6
    )


def test_serving_makes_models_smaller_and_training_longer() -> None:
    law = scaling_law()
    alone = law.cheapest_of_loss(2.0)
    served = law.cheapest_of_loss(2.0, 1e13)
    assert served.parameters < alone.parameters
    assert served.tokens > alone.tokens


def test_four_epochs_are_nearly_as_good_as_fresh_data_and_forty_are_not() -> None:
    """Muennighoff et al. 2023: 4 epochs hardly change the loss; after some 40 value is gone."""
    assert effective_tokens(4e9, 1e9) == pytest.approx(4e9, rel=0.1)
    assert effective_tokens(44e9, 1e9) < 0.4 * 44e9
    assert effective_tokens(1e9, 2e9) == 1e9
    assert effective_tokens(1e15, 1e9) == pytest.approx(16.4e9, rel=0.01)


def test_critical_batch_of_gpt3() -> None:
    """3.2 M tokens of GPT-3 lie near the critical batch of its final loss of about 2 (2e8 / 27)."""
    assert critical_batch_tokens(2.0) == pytest.approx(2e8 / 2 ** (1 / 0.21))
    assert 1e6 < critical_batch_tokens(2.0) < 2e7


def test_what_no_budget_reaches_is_an_error() -> None:
    with pytest.raises(SpecError, match="no budget reaches"):
        scaling_law().cheapest_of_loss(1.5)
    with pytest.raises(SpecError, match="never reach"):
        scaling_law().tokens_for(2.0, 1e6)
    with pytest.raises(UnknownNameError, match="chinchila"):
        scaling_law("chinchila")


def test_llama_3_frontier_at_its_own_budget() -> None:
    """The paper: 402 B parameters on 16.55 T tokens at 3.8e25 FLOPs."""
    from costsim.resources import packaged_yaml

    known = packaged_yaml("hardware_specs", "scaling_laws.yaml")["frontiers"]["llama-3"]
    tokens = known["tokens_factor"] * 3.8e25 ** known["tokens_exponent"]
    assert tokens == pytest.approx(16.55e12, rel=0.02)
