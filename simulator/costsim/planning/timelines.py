"""Timelines of plans: one step of the best strategy, or of any other that a plan lists."""

from __future__ import annotations

from costsim.errors import UnknownNameError, suggestion
from costsim.planning.plans import Plan
from costsim.training.timeline import Timeline, timeline


def plan_timeline(plan: Plan, label: str = "best") -> Timeline:
    """Return one step of the candidate of `plan` that is called `label`.

    Raises:
        UnknownNameError: where the plan has none of that name.
    """
    candidates = {candidate.label: candidate for candidate in plan.candidates}
    if label not in candidates:
        raise UnknownNameError(
            f"the plan has no strategy called `{label}`",
            hint=suggestion(label, candidates) or f"it has {', '.join(candidates)}",
        )
    candidate = candidates[label]
    return timeline(candidate.job, candidate.strategy)
