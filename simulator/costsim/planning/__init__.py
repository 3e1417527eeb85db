"""Planning: from a scenario to the best plan, its alternatives and its budget."""

from costsim.planning.plan import Candidate, Plan
from costsim.planning.planner import plan

__all__ = ["Candidate", "Plan", "plan"]
