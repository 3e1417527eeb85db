"""A training job: the model, the machine, and what one step has to do."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.architectures.architecture import Architecture
from costsim.hardware.systems import System
from costsim.training.precision import Precision
from costsim.training.software import Software


@dataclass(frozen=True, slots=True)
class Job:
    """What a strategy is asked to carry out: one step is `global_batch` sequences."""

    model: Architecture
    system: System
    global_batch: int
    sequence: int
    precision: Precision
    optimizer: str
    software: Software
