"""A training job: the model, the machine, and what one step has to do."""

from __future__ import annotations

from dataclasses import dataclass, replace

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

    @property
    def recipe(self) -> Precision:
        """The precision recipe as this software carries it out.

        Recipes of 16 bits and fewer differ in which copies of weights and gradients a framework
        keeps.
        """
        if self.precision.activation_bytes > 2:
            return self.precision
        held = self.software.states_of(self.precision.name)
        return replace(self.precision, **held) if held else self.precision
