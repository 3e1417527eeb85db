import math

import pytest

from costsim.reporting.model import (
    Answer,
    Bar,
    Column,
    HeatMap,
    KeyFigure,
    Provenance,
    Report,
    Roofline,
    Source,
    StackedBars,
    Table,
    TreeLine,
)
from reporting.sample import BUDGET, GPT3


def test_branch_is_the_sum_of_its_leaves():
    leaves = [leaf.amount for leaf in BUDGET.root.leaves() if leaf.amount is not None]
    assert BUDGET.root.total == pytest.approx(math.fsum(leaves))


def test_branch_may_not_state_its_own_sum():
    with pytest.raises(ValueError, match="sum of its children"):
        TreeLine("a", 3.0, children=(TreeLine("b", 1.0),))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Table("t", (Column("a"),), (("x", 1),)),
        lambda: StackedBars("t", ("a", "b"), (Bar("x", (1.0,)),)),
        lambda: StackedBars("t", ("a",), (Bar("x", (-1.0,)),)),
        lambda: HeatMap("t", "x", ("1", "2"), "y", ("1",), ((1.0,),)),
        lambda: HeatMap("t", "x", ("1",), "y", ("1", "2"), ((1.0,),)),
        lambda: Roofline("t", "d", 0.0, 1.0, ()),
    ],
)
def test_shapes_that_cannot_be_drawn_are_refused(make):
    with pytest.raises(ValueError, match=r"cells|parts|negative|labels|positive"):
        make()


def test_citing_what_is_not_a_source_is_refused():
    figure = KeyFigure("Cost", 1.0, "usd", cites=("nowhere",))
    with pytest.raises(ValueError, match="nowhere"):
        Report("t", "", Answer("a", (figure,)), (), Provenance("0"))


def test_two_sources_with_one_key_are_refused():
    with pytest.raises(ValueError, match="same key"):
        Report("t", "", Answer("a"), (), Provenance("0"), (), (Source("k", "a"), Source("k", "b")))


def test_citations_are_numbered_in_the_order_of_the_sources():
    assert GPT3.numbers(("paper", "price")) == (1, 3)


def test_ridge_is_where_the_two_roofs_meet():
    roof = Roofline("t", "d", 312e12, 2.039e12, ())
    ridge = roof.ridge_flops_per_byte
    assert roof.attainable_flops_per_s(ridge) == pytest.approx(312e12)
    assert roof.attainable_flops_per_s(ridge / 2) == pytest.approx(156e12)
