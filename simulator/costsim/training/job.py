"""A training job: the model, the machine, and what one step has to do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from costsim.architectures.architecture import Architecture
from costsim.architectures.workload import Execution
from costsim.hardware.kernels import FORMATS
from costsim.hardware.systems import System
from costsim.stacks.stack import WIDTHS, Stack
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

    `stack` says what the software keeps of states, layers and logits; without one that is what
    Megatron-LM keeps, with the states of the software's profile.
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
    stack: Stack | None = None  # what is held, where it is said; else as the profile has it
    attention_flops: Literal["full", "causal"] = "full"  # that MFU counts, masked pairs or not
    beside_bytes: float = 0.0  # on each device: models that are not trained, an engine's share
    reference_bytes: float = 0.0  # of models that only score, sharded as the weights are
    values: int = 0  # models as large that are trained in turn (PPO's value model)
    nvme_bytes_per_s: float | None = None  # of a node's drives, for what is offloaded to them
    paired: bool = False  # whether two sequences pass through the model together

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
        return self.frozen and _holds_frozen(self.model)

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
        return _recipe(self.precision, self.software, self.stack, self.frozen)

    @property
    def execution(self) -> Execution:
        """How operators run."""
        return self.software.execution(self.precision)

    @property
    def keeping(self) -> Execution:
        """How operators run as far as what they keep for the backward pass goes."""
        if self.stack is None:
            return self.execution
        low = self.precision.activation_bytes <= 2
        return Execution(
            style="eager" if self.stack.layers == "eager" else "fused",
            attention=self.stack.attention,
            autocast=low and self.stack.autocast and self.stack.weights == "fp32",
            low_precision=low,
            dropout=self.stack.dropout,
            experts=self.stack.experts,
        )

    @property
    def kept_widths(self) -> dict[str, float]:
        """Bytes of an element of what is kept, by storage."""
        compute = float(self.precision.activation_bytes)
        weight = 4.0 if self.keeping.casts else compute
        return {**STORED, "compute": compute, "weight": weight, "state": compute}

    @property
    def adapter_bytes(self) -> tuple[float, float, float]:
        """Bytes of an adapter's parameter, its gradient, and its optimizer's states."""
        if self.stack is None:
            moments = float(state_bytes_per_parameter(self.optimizer))
            recipe = self.precision
            return (
                float(self.recipe.weight_bytes),
                float(recipe.gradient_bytes),
                recipe.master_bytes + moments,
            )
        width = float(WIDTHS[self.stack.adapters])
        master = 4.0 if self.stack.adapters == "bf16" and self.stack.master == "fp32" else 0.0
        moments = float(state_bytes_per_parameter(self.optimizer, 4.0 if master else width))
        gradients = 4.0 if self.stack.gradients == "fp32" else width
        return width, gradients, master + moments

    @property
    def narrow(self) -> bool:
        """Whether the products of layer matrices run in 8 bits or fewer."""
        return FORMATS[self.precision.matrix_dtype].weight_bytes < 2

    @property
    def moment_bytes(self) -> float:
        """Bytes of the optimizer's moments for each parameter of the model."""
        return 0.0 if self.frozen else float(self._states_of(self.optimizer))

    @property
    def outer_moment_bytes(self) -> float:
        """The same of parameters outside layers, where other moments are kept of them."""
        if optimizer(self.optimizer).orthogonalizes and not self.frozen:
            return float(self._states_of("adam"))
        return self.moment_bytes

    def gradient_bytes(self, adapter: bool) -> float:
        """Return bytes of an element of an accumulated gradient, of an adapter or of the rest."""
        if adapter:
            return self.adapter_bytes[1]
        return float(self._trained_recipe.gradient_bytes)

    def made_bytes(self, adapter: bool) -> float:
        """Return bytes of an element of a weight's gradient as its product makes it."""
        if adapter or self.stack is None or self.stack.units != "fsdp" or self.stack.autocast:
            return self.gradient_bytes(adapter)
        return float(self._trained_recipe.gathered_bytes)

    @property
    def copied_bytes(self) -> float:
        """Bytes of the states of a parameter that is trained as a whole beside frozen ones."""
        return self._trained_recipe.master_bytes + float(self._states_of(self.optimizer))

    @property
    def _trained_recipe(self) -> Precision:
        return _recipe(self.precision, self.software, self.stack, False)

    def _states_of(self, name: str) -> float:
        low = self.stack is not None and self.precision.activation_bytes <= 2
        width = WIDTHS[self.stack.moments] if low and self.stack is not None else 4
        return float(state_bytes_per_parameter(name, width))


@lru_cache(maxsize=64)
def _holds_frozen(model: Architecture) -> bool:
    return any(weight.frozen for block in model.blocks() for weight in block.weights())


STORED = {"float32": 4.0, "mask": 1.0, "index": 8.0}
"""Bytes of an element in the storages that no recipe changes."""


@lru_cache(maxsize=64)
def _recipe(recipe: Precision, software: Software, stack: Stack | None, frozen: bool) -> Precision:
    if recipe.activation_bytes <= 2:
        states = software.states_of(recipe.name) if stack is None else _states(stack)
        recipe = replace(recipe, **states)
    if frozen:
        weight_bytes = recipe.gathered_bytes if stack is None else recipe.weight_bytes
        recipe = replace(
            recipe, weight_bytes=weight_bytes, gradient_bytes=0, master_bytes=0, reduced_bytes=0
        )
    return recipe


def _states(stack: Stack) -> dict[str, int]:
    return {
        "weight_bytes": WIDTHS[stack.weights],
        "gathered_bytes": WIDTHS[stack.gathered],
        "gradient_bytes": WIDTHS[stack.gradients],
        "reduced_bytes": WIDTHS[stack.reduced],
        "master_bytes": WIDTHS[stack.master],
    }
