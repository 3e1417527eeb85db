"""A budget by month and by cost center: sums, days counted by hand, and what is refused."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

import costsim
from costsim.costs.budget import Line, budget, leaf
from costsim.costs.calendar import budget_payments, cash_flow
from costsim.errors import SpecError
from costsim.reporting.plans import plan_report

RUN = {
    "name": "A run",
    "model": "gpt2-xl",
    "workload": {"kind": "training", "tokens": 20e9, "sequence": 1024, "global_batch": 64},
    "hardware": {"system": "nvidia-h100-sxm5-80gb", "devices": 8},
    "price": "2 $/h",
    "experiments": "50 %",
    "project": {"staff": "2000 $", "data": "500 $"},
}
LINES = st.lists(
    st.builds(
        lambda quantity, usd, unit, paid: leaf("A line", quantity, unit, usd, paid=paid),
        st.floats(0, 1e6),
        st.floats(0, 1e3),
        st.sampled_from(["device-hours", "GB"]),
        st.sampled_from(["before", "during", "after"]),
    ),
    min_size=1,
    max_size=6,
)


@given(LINES, st.dates(date(1990, 1, 1), date(2100, 1, 1)), st.floats(0.01, 2000))
def test_months_sum_to_the_budget_and_each_line_to_itself(
    lines: list[Line], start: date, days: float
) -> None:
    spent = budget("All", tuple(lines))
    found = cash_flow(budget_payments(spent, start, days, 8))
    assert sum(found.totals_cents) == spent.total.usd_cents
    assert [sum(cents) for _, cents in found.lines] == [one.usd_cents for one in spent.lines]
    assert all(cents >= 0 for _, row in found.lines for cents in row)


def test_experiments_go_before_and_evaluation_follows_by_hand() -> None:
    lines = (
        leaf("Compute", 8 * 24 * 10, "device-hours", 1.0),
        leaf("Experiments", 8 * 24 * 5, "device-hours", 1.0, paid="before"),
        leaf("Evaluation", 8 * 24 * 2, "device-hours", 1.0, paid="after"),
    )
    found = cash_flow(budget_payments(budget("All", lines), date(2027, 2, 1), 10.0, 8))
    assert found.months == ("2027-01", "2027-02")
    assert dict(found.lines) == {
        "Compute": (0, 192_000),
        "Experiments": (96_000, 0),
        "Evaluation": (0, 38_400),
    }


def test_a_plan_with_a_start_has_a_cash_flow_that_sums_to_its_cost() -> None:
    plan = costsim.plan({**RUN, "start": "2027-01-20"})
    told = plan.to_dict()["cash_flow"]
    assert sum(told["total_usd"]) == pytest.approx(plan.best.value("cost_usd"), abs=0.005)
    assert told["months"][0] < "2027-02"
    assert "Cash flow" in [section.title for section in plan_report(plan).sections]
    assert "cash_flow" not in costsim.plan(RUN).to_dict()


def test_cost_centers_sum_to_the_cost() -> None:
    plan = costsim.plan(
        {**RUN, "cost_centers": {"platform": ["Compute", "Egress"], "research": ["Experiments"]}}
    )
    told = {one["name"]: one["usd"] for one in plan.to_dict()["cost_centers"]}
    lines = {line.name: line.usd for line in plan.budget.lines}
    assert told["platform"] == pytest.approx(lines["Compute"] + lines["Egress"])
    assert told["not assigned"] > 0
    assert sum(told.values()) == pytest.approx(plan.best.value("cost_usd"), abs=0.005)
    assert "Cost centers" in [section.title for section in plan_report(plan).sections]


@pytest.mark.parametrize(
    ("centers", "said"),
    [
        ({"a": ["Computer"]}, "no line of the budget"),
        ({"a": ["Compute"], "b": ["Compute"]}, "given twice"),
    ],
)
def test_lines_that_cannot_be_given_are_named(centers: dict[str, list[str]], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        costsim.plan({**RUN, "cost_centers": centers})


def test_a_start_beyond_the_calendar_is_an_error() -> None:
    with pytest.raises(SpecError, match="calendar"):
        costsim.plan({**RUN, "start": "9999-12-30"})
