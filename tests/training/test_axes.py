"""Axes are a table: what follows from it agrees, and a new axis is one line and what it does."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.planning.workloads.training.spec import StrategyChoices
from costsim.training.space import Choices, Limits, legal_strategies
from costsim.training.strategy import AXES, Strategies, Strategy, describe

ROOT = Path(__file__).resolve().parents[2]
LINE = """    weights_on_air: str = axis(
        "off",
        "A fake axis.",
        values=("off", "on"),
        searched=("off",),
        crossed=True,
        said={"on": "weights on air"},
        told=20,
        machinery=12,
    )

"""
PROBE = """
from costsim.planning.workloads.training.spec import StrategyChoices
from costsim.training.space import Choices, Limits, legal_strategies
from costsim.training.strategy import Strategies, Strategy, describe

one = Strategy(weights_on_air="on")
assert Strategies.of([one]).row(0) == one
assert describe(one).endswith("weights on air")
assert StrategyChoices.model_validate({"weights_on_air": "on"}).weights_on_air == ("on",)
limits = Limits(8, (8,), 8, 1024, 8)
plain = legal_strategies(limits, [8])
both = legal_strategies(limits, [8], Choices(weights_on_air=("off", "on")))
assert len(both) == 2 * len(plain)
"""


@st.composite
def strategies(draw: st.DrawFn) -> Strategy:
    values = {
        name: draw(st.sampled_from(axis.values) if axis.values else st.integers(1, 64))
        for name, axis in AXES.items()
    }
    return Strategy(**values)


@given(st.lists(strategies(), min_size=1, max_size=5))
def test_columns_hold_every_axis(rows: list[Strategy]) -> None:
    columns = Strategies.of(rows)
    assert set(columns.columns()) == set(AXES)
    assert [columns.row(index) for index in range(len(rows))] == rows


@given(strategies())
def test_a_strategy_is_told_with_every_axis_that_has_words(one: Strategy) -> None:
    told = describe(one)
    for name, axis in AXES.items():
        words = axis.telling(getattr(one, name))
        assert not words or words in told


def test_schemas_and_choices_follow() -> None:
    chosen = {name for name, axis in AXES.items() if axis.says}
    assert set(StrategyChoices.model_fields) == chosen
    for name, axis in AXES.items():
        assert getattr(Choices(), name) == axis.searched
    with pytest.raises(TypeError):
        Choices(nonesuch=(1,))
    with pytest.raises(TypeError):
        Strategies(nonesuch=Strategies.of([]).tp)


def test_only_legal_values_are_searched() -> None:
    found = legal_strategies(Limits(8, (8,), 8, 1024, 8), [8])
    for name, axis in AXES.items():
        seen = {axis.value(number) for number in set(getattr(found, name))}
        if axis.searched is not None:
            assert seen <= set(axis.searched)
        elif axis.values:
            assert seen <= set(axis.values)


def test_a_new_axis_is_one_line_of_the_table(tmp_path: Path) -> None:
    """Columns, space, choices, spec and words follow: a file here, and those of its physics."""
    shutil.copytree(ROOT / "simulator", tmp_path / "simulator")
    for name in ("hardware_specs", "scenarios"):
        (tmp_path / name).symlink_to(ROOT / name)
    path = tmp_path / "simulator" / "costsim" / "training" / "strategy.py"
    text = path.read_text(encoding="utf-8")
    place = re.search(r"\n    @property\n    def devices", text)
    assert place is not None
    path.write_text(text[: place.start() + 1] + LINE + text[place.start() + 1 :], encoding="utf-8")
    subprocess.run(
        [sys.executable, "-c", PROBE],
        check=True,
        env={"PYTHONPATH": str(tmp_path / "simulator"), "PATH": "/usr/bin"},
        cwd=tmp_path,
    )
