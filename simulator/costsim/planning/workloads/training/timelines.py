"""Timelines of training plans: one step of the best strategy, or of any other that a plan lists."""

from __future__ import annotations

from typing import Any

from costsim.errors import SpecError, UnknownNameError, suggestion
from costsim.planning.plans import Plan
from costsim.planning.workloads.training.run import TrainingRun
from costsim.training.timeline import Timeline, timeline


def plan_timeline(plan: Plan[Any, Any], label: str = "best") -> Timeline:
    """Return one step of the candidate of `plan` that is called `label`.

    Raises:
        SpecError: where the workload has no steps that a timeline could show.
        UnknownNameError: where the plan has none of that name.
    """
    candidates = {"best": plan.best, **{one.label: one for one in plan.candidates}}
    if label not in candidates:
        raise UnknownNameError(
            f"the plan has no strategy called `{label}`",
            hint=suggestion(label, candidates) or f"it has {', '.join(candidates)}",
        )
    run = candidates[label].run
    if not isinstance(run, TrainingRun):
        raise SpecError(
            f"a plan of kind `{plan.kind}` has no timeline",
            hint="training has one: each step by stage, computation and exchange",
        )
    return timeline(run.job, run.strategy)
