"""Sweeps: one scenario planned at many points, on all cores or a cluster, and resumed."""

from costsim.sweeps.results import SweepResult
from costsim.sweeps.running import sweep
from costsim.sweeps.study import Sweep, read_study

__all__ = ["Sweep", "SweepResult", "read_study", "sweep"]
