"""Decisions: what follows from several plans, such as what changed between two."""

from costsim.decisions.compare import Compared, compare
from costsim.decisions.diff import Change, Difference, diff

__all__ = ["Change", "Compared", "Difference", "compare", "diff"]
