import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.costs.budget import Line, budget, compute_line, group, leaf
from costsim.costs.prices import price_for
from costsim.errors import SpecError

AMOUNTS = st.floats(0, 1e9, allow_nan=False)
LEAVES = st.builds(
    lambda n, q, p: leaf(n, q, "x", p), st.text(max_size=5), AMOUNTS, st.floats(0, 50)
)
TREES = st.recursive(
    LEAVES,
    lambda lines: st.lists(lines, min_size=1, max_size=5).map(lambda c: group("g", tuple(c))),
    max_leaves=20,
)


def printed(line: Line, whole: bool) -> str:
    return f"{line.usd:.0f}" if whole else f"{line.usd:.2f}"


@given(st.lists(TREES, min_size=1, max_size=6))
def test_printed_children_sum_to_their_printed_parent(lines: list[Line]):
    result = budget("b", tuple(lines))
    whole = result.step_cents == 100

    def check(line: Line) -> None:
        if line.children:
            total = sum(round(float(printed(child, whole)) * 100) for child in line.children)
            assert total == round(float(printed(line, whole)) * 100)
        for child in line.children:
            check(child)

    check(result.total)


@given(st.lists(TREES, min_size=1, max_size=6))
def test_rounding_moves_the_total_by_at_most_half_a_step_a_leaf(lines: list[Line]):
    result = budget("b", tuple(lines))

    def leaves(line: Line) -> int:
        return sum(map(leaves, line.children)) or 1

    exact = sum(line.usd_cents for line in lines)
    assert abs(result.total.usd_cents - exact) <= leaves(result.total) * result.step_cents / 2


def test_a_parent_that_is_not_the_sum_cannot_be_made():
    with pytest.raises(ValueError, match="children sum to 100"):
        Line("total", 101, children=(Line("part", 100),))


@pytest.mark.parametrize(("quantity", "price"), [(-1.0, 1.0), (1.0, float("nan")), (1e999, 1.0)])
def test_a_line_has_real_amounts(quantity: float, price: float):
    with pytest.raises(SpecError):
        leaf("x", quantity, "x", price)


def test_compute_by_hand():
    price = price_for("nvidia-a100-sxm4-80gb", quote=2.5).price
    line = compute_line(800_000.0, price, goodput_ratio=0.8, goodput_note="", idle_hours=4_000.0)
    assert [child.usd for child in line.children] == [2_000_000, 500_000, 10_000]


@given(st.floats(1, 1e8), st.floats(0.01, 100), st.floats(0.05, 1), st.floats(0, 1e6))
def test_compute_is_paid_hours_times_price(hours: float, usd: float, goodput: float, idle: float):
    price = price_for("x", quote=usd).price
    line = compute_line(hours, price, goodput_ratio=goodput, goodput_note="", idle_hours=idle)
    assert line.usd == pytest.approx((hours / goodput + idle) * usd, abs=0.02)


@pytest.mark.parametrize("goodput", [0.0, 1.1, -1.0, float("nan")])
def test_goodput_is_a_ratio(goodput: float):
    with pytest.raises(SpecError):
        compute_line(1.0, price_for("x", quote=1.0).price, goodput_ratio=goodput, goodput_note="")


def test_a_budget_is_json_with_units_in_its_keys():
    price = price_for("nvidia-a100-sxm4-80gb").price
    line = compute_line(1e6, price, goodput_ratio=0.9, goodput_note="measured")
    result = budget("Training", (line,))
    entry = json.loads(json.dumps(result.to_dict()))
    assert entry["total_usd"] == sum(line["usd"] for line in entry["lines"])
    compute = entry["lines"][0]["children"][0]
    assert compute["unit"] == "device-hours"
    assert compute["unit_price_usd"] == pytest.approx(4.0)
    assert "as of" in compute["note"]
    assert compute["source"]
