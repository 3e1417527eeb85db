"""Planning: from a scenario to the best plan, its alternatives and its budget.

Loaded on use, so that the schema of a scenario costs no numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from costsim.planning.compression import plan_compressed as plan_compressed
    from costsim.planning.compression_plans import CompressionPlan as CompressionPlan
    from costsim.planning.planner import plan as plan
    from costsim.planning.plans import Candidate as Candidate
    from costsim.planning.plans import Plan as Plan
    from costsim.planning.serving import plan_serving as plan_serving
    from costsim.planning.serving_plan import ServingPlan as ServingPlan

_MODULES = {
    "Candidate": "plans",
    "CompressionPlan": "compression_plans",
    "Plan": "plans",
    "plan": "planner",
    "plan_compressed": "compression",
    "plan_serving": "serving",
    "ServingPlan": "serving_plan",
}

__all__ = [
    "Candidate",
    "CompressionPlan",
    "Plan",
    "ServingPlan",
    "plan",
    "plan_compressed",
    "plan_serving",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
