"""Planning: from a scenario to the best plan, its alternatives and its budget.

Loaded on use, so that the schema of a scenario costs no numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from costsim.planning.figures import Figure as Figure
    from costsim.planning.planner import plan as plan
    from costsim.planning.plans import Candidate as Candidate
    from costsim.planning.plans import Plan as Plan
    from costsim.planning.study import Study as Study

_MODULES = {
    "Candidate": "plans",
    "Figure": "figures",
    "Plan": "plans",
    "Study": "study",
    "plan": "planner",
}

__all__ = ["Candidate", "Figure", "Plan", "Study", "plan"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
