"""Points planned: a run of points in, a line of JSON for each out. What every engine calls."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, cast

from costsim.errors import CostsimError, InfeasiblePlanError, OverBudgetError
from costsim.planning.planner import plan
from costsim.planning.plans import Plan
from costsim.sweeps.study import Sweep, opened


def evaluate(payload: str, start: int, count: int) -> bytes:
    """Return the rows of `count` points from `start`: recorded entries, status and error.

    What a row says depends on the point alone, so that every engine gives the same bytes.
    """
    sweep = opened(payload)
    rows = [_row(sweep, index) for index in range(start, start + count)]
    return b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows)


def _row(sweep: Sweep, index: int) -> list[Any]:
    nothing: list[Any] = [None] * len(sweep.record)
    values = nothing
    try:
        planned = plan(sweep.scenario_at(index), allow_outside=True)
        values = [entry(planned, name) for name in sweep.record]
        planned.check_limits()
    except OverBudgetError as error:
        return [*values, "over_limits", _said(error)]
    except InfeasiblePlanError as error:
        return [*nothing, "infeasible", _said(error)]
    except CostsimError as error:
        return [*nothing, "error", _said(error)]
    except Exception as error:
        words = " ".join(str(error).split())
        return [*nothing, "fault", f"{type(error).__name__}: {words}"]
    return [*values, "ok", None]


def _said(error: CostsimError) -> str:
    return "; ".join(problem.message for problem in error.problems)


def entry(planned: Plan[Any, Any], name: str) -> Any:
    """Return an entry of a plan's best candidate by its dotted key; None where it has none."""
    figures = planned.best.figures
    value: Any = figures[name].value if name in figures else _under(planned.best.to_dict(), name)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _under(value: Any, name: str) -> Any:
    for step in name.split("."):
        if not isinstance(value, Mapping) or step not in value:
            return None
        value = cast("Mapping[str, Any]", value)[step]
    return value


def entries(value: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the dotted keys of every entry of a candidate."""
    names: list[str] = []
    for key, inner in value.items():
        names.append(f"{prefix}{key}")
        if isinstance(inner, Mapping):
            names += entries(cast("Mapping[str, Any]", inner), f"{prefix}{key}.")
    return names
