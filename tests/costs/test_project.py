"""The project around a run: lines by hand, and laws of totals."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.costs.budget import budget
from costsim.costs.project import Project, Saved, contingency, project_lines

SAVED = Saved(checkpoint_bytes=1e12, weights_bytes=2e11, days=365 / 12)
AMOUNTS = {
    "experiments_ratio": st.floats(0, 5),
    "failed_runs_ratio": st.floats(0, 5),
    "evaluation_ratio": st.floats(0, 5),
    "data_usd": st.floats(0, 1e7),
    "staff_usd": st.floats(0, 1e7),
    "contingency_ratio": st.floats(0, 1),
}
PROJECTS = st.fixed_dictionaries({}, optional=AMOUNTS).map(lambda given: Project(**given))


def total(project: Project, hours: float = 1000.0, usd: float = 2.0) -> float:
    lines = project_lines(project, hours, usd, SAVED)
    return budget("x", (*lines, contingency(project.contingency_ratio, lines))).usd


def test_by_hand():
    project = Project(
        experiments_ratio=0.2,
        data_usd=500.0,
        contingency_ratio=0.1,
        checkpoints_kept=2,
        storage_usd_per_gb_month=0.02,
        egress_usd_per_gb=0.1,
    )
    lines = project_lines(project, 1000.0, 2.0, SAVED)
    by_name = {line.name: line.usd for line in lines}
    # 200 hours at $2; 2 checkpoints of 1,000 GB for a month at 2 cents; 200 GB at 10 cents.
    assert by_name["Experiments"] == 400
    assert by_name["Checkpoint storage"] == 40
    assert by_name["Egress"] == 20
    assert contingency(0.1, lines).usd == pytest.approx(0.1 * (400 + 500 + 40 + 20))


def test_what_is_not_stated_says_so_and_costs_nothing():
    lines = project_lines(Project(), 1000.0, 2.0, SAVED)
    missing = [line for line in lines if line.unstated]
    assert [line.usd for line in missing] == [0.0] * len(missing)
    assert len(missing) == 5
    assert all("not_budgeted" in line.to_dict() for line in missing)
    assert all(line.usd > 0 for line in lines if not line.unstated)


@given(PROJECTS, st.sampled_from([f.name for f in fields(Project) if f.name in AMOUNTS]))
def test_stating_a_line_never_lowers_the_total(project: Project, name: str):
    assert total(project) >= total(replace(project, **{name: None}))


@given(PROJECTS, st.floats(0.1, 100))
def test_lines_by_the_hour_are_linear_in_the_price(project: Project, factor: float):
    alone = replace(project, data_usd=None, staff_usd=None, contingency_ratio=None)
    alone = replace(alone, checkpoints_kept=0, egress_usd_per_gb=0.0)
    assert total(alone, usd=2.0 * factor) == pytest.approx(total(alone) * factor, abs=2.0, rel=1e-3)
