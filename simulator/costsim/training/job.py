"""A training job: the model, the machine, and what one step has to do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from costsim.architectures.architecture import Architecture
from costsim.architectures.workload import Execution
from costsim.hardware.kernels import FORMATS
from costsim.hardware.systems import System
from costsim.training.losses import Losses
from costsim.training.losses import losses as losses_of
from costsim.training.optimizers import optimizer, state_bytes_per_parameter
from costsim.training.precision import Precision
from costsim.training.samples import InputPipeline
from costsim.training.software import Software


@dataclass(frozen=True, slots=True)
class Job:
    """What a strategy is asked to carry out: one step is `global_batch` sequences, or samples.

    `imbalance_ratio` is the load of the busiest rank of experts over the mean, where tokens are
    routed: 1 where recipes force them to be shared out evenly.

    What work `counts` is said of: the tokens of sequences, or samples as a whole. A net of images
    has `sequence` 1. Where samples come through an `input` pipeline, a step waits for it.

    `frozen` weights only pass gradients on, as when low-rank adapters are trained (LoRA). Where the
    model holds the adapters, their work and states count; else they are a thousandth, and left out.
    """

    model: Architecture
    system: System
    global_batch: int
    sequence: int
    precision: Precision
    optimizer: str
    software: Software
    frozen: bool = False
    losses: Losses | None = None  # where they differ from those of the accelerator's class
    within: tuple[float, float] | None = None  # of a step's time, as a calibration measured
    imbalance_ratio: float = 1.0
    documents: float = 1.0  # packed in a sequence, where attention stops at their ends
    counts: Literal["tokens", "samples"] = "tokens"
    input: InputPipeline | None = None

    @property
    def lost(self) -> Losses:
        """What its steps lose against their kernels and transfers."""
        return self.losses or losses_of(self.system)

    @property
    def routes(self) -> bool:
        """Whether tokens are routed to experts."""
        return self.model.active_parameters < self.model.parameters

    @property
    def adapted(self) -> bool:
        """Whether the model holds the adapters that are trained beside frozen weights."""
        return self.frozen and any(w.frozen for b in self.model.blocks() for w in b.weights())

    @property
    def passes_on(self) -> bool:
        """Whether no weight of the model has a gradient of its own."""
        return self.frozen and not self.adapted

    @property
    def recipe(self) -> Precision:
        """The precision recipe as this software carries it out.

        Recipes of 16 bits and fewer differ in which copies of weights and gradients a framework
        keeps.
        """
        return _recipe(self.precision, self.software, self.frozen)

    @property
    def execution(self) -> Execution:
        """How operators run."""
        return self.software.execution(self.precision)

    @property
    def narrow(self) -> bool:
        """Whether the products of layer matrices run in 8 bits or fewer."""
        return FORMATS[self.precision.matrix_dtype].weight_bytes < 2

    @property
    def moment_bytes(self) -> float:
        """Bytes of the optimizer's moments for each parameter of the model."""
        return 0.0 if self.frozen else float(state_bytes_per_parameter(self.optimizer))

    @property
    def outer_moment_bytes(self) -> float:
        """The same of parameters outside layers, where other moments are kept of them."""
        if optimizer(self.optimizer).orthogonalizes and not self.frozen:
            return float(state_bytes_per_parameter("adam"))
        return self.moment_bytes


@lru_cache(maxsize=64)
def _recipe(recipe: Precision, software: Software, frozen: bool) -> Precision:
    if recipe.activation_bytes <= 2:
        recipe = replace(recipe, **software.states_of(recipe.name))
    if frozen:
        weight_bytes = recipe.gathered_bytes
        recipe = replace(
            recipe, weight_bytes=weight_bytes, gradient_bytes=0, master_bytes=0, reduced_bytes=0
        )
    return recipe
