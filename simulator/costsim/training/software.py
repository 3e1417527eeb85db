"""Training software: what a framework's generation does about kernels, overlap and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal, TypeAlias

from costsim.architectures.workload import Execution
from costsim.errors import UnknownNameError, suggestion
from costsim.hardware.calibration import class_of
from costsim.hardware.experts import Dispatcher
from costsim.hardware.systems import System
from costsim.resources import packaged_yaml
from costsim.training.precision import Precision

Graphs: TypeAlias = Literal["none", "layer", "step"]
Routing: TypeAlias = Literal["balanced", "natural"]


@dataclass(frozen=True, slots=True)
class Software:
    """A profile of a framework, from `hardware_specs/calibration/software.yaml`.

    Attributes:
        style: whether operators are fused kernels, or every operation is one of its own.
        attention: whether a fused kernel computes it, or scores pass through memory.
        dropout: whether models that have dropout are trained with it.
        random_state_calls: of the host, which save and set the state that scores are dropped by.
        zero: the ZeRO stage where nothing else is asked for.
        sequence_parallel: whether it comes with tensor parallelism; "selective": together with
            selective recomputation only.
        states: by precision recipe, or for "all" of 16 bits and fewer, what it holds otherwise of
            weights and gradients.
        attention_rates: rate of its attention kernels over the best of 2025, by class of
            accelerator or for "all".
        product_ratio: rate of its matrix products, with the casts, transposes and biases between
            them, over library calls alone.
        passes_ratio: bytes that its element-wise work moves over fully fused kernels.
        divides_boundary: whether each tensor-parallel rank sends its share of what a pipeline
            stage passes on, or all of it.
        interleaves: whether its recipes choose a virtual pipeline where nothing is said.
        fuses_accumulation: whether products add weight gradients to those of earlier micro-batches
            themselves.
        overlap_gradients_ratio: share of gradient reduction that may hide behind computation of
            the same time; `overlap_gathers_ratio` of gathered weights, `overlap_pipeline_ratio` of
            what stages pass on, `overlap_tensor_ratio` of tensor-parallel exchanges.
        launch_s: the host's time for one kernel, or another call of its framework.
        step_s: what the host does once a step.
        product_rates: rate of its matrix products on a class of accelerators over what
            `product_ratio` says of all: kernels that a stack has not got for a generation yet.
        graphs: what is captured in CUDA graphs and then started by one call: nothing, the parts of
            a layer whose shapes are fixed (all but its experts), or the whole step.
        dispatcher: library that takes tokens to their experts.
        routing: whether the router's choice is forced (or trained and capped) to be even, or as it
            comes.
        overlap_experts_ratio: share of expert-parallel exchanges that may hide behind another
            micro-batch's computation.
        fuses_experts: whether the products of experts come with the permutation, activation and
            casts around them in one kernel each; whole steps in a graph have no others, since what
            experts get is known on the device only.
        packs_alone: whether a sequence into which documents are packed is a micro-batch of its own.
        rotates_apart: whether ranks of context parallelism rotate packed documents one by one.
        channels_last: precision recipes with which it lays image maps out channels last, where its
            operators are not fused.
        context_bytes: held by the driver and the communication library.
        reserve_ratio: of the tensors' bytes, lost to the allocator.
    """

    name: str
    style: Literal["fused", "eager"]
    attention: Literal["flash", "unfused"]
    dropout: bool
    random_state_calls: int
    zero: int
    sequence_parallel: Literal["never", "selective", "always"]
    states: Mapping[str, Mapping[str, int]] = field(hash=False)
    attention_rates: Mapping[str, float] = field(hash=False)
    product_ratio: float
    passes_ratio: float
    divides_boundary: bool
    interleaves: bool
    fuses_accumulation: bool
    overlap_gradients_ratio: float
    overlap_gathers_ratio: float
    overlap_pipeline_ratio: float
    overlap_tensor_ratio: float
    launch_s: float
    step_s: float
    context_bytes: float
    reserve_ratio: float
    source: str
    product_rates: Mapping[str, float] = field(default_factory=dict[str, float], hash=False)
    graphs: Graphs = "none"
    dispatcher: Dispatcher = "all_to_all"
    routing: Routing = "balanced"
    overlap_experts_ratio: float = 0.0
    fuses_experts: bool = False
    packs_alone: bool = False
    rotates_apart: bool = False
    channels_last: Sequence[str] = field(default=(), hash=False)

    @property
    def routes_fused(self) -> bool:
        """Whether nothing is padded or permuted around the products of experts."""
        return self.fuses_experts or self.graphs == "step"

    def states_of(self, recipe: str) -> Mapping[str, int]:
        """Return the fields of a precision recipe that this software changes."""
        return {**self.states.get("all", {}), **self.states.get(recipe, {})}

    def attention_ratio(self, system: System) -> float:
        """Return the rate of its attention kernels over the best of 2025 on `system`."""
        name = class_of(system.accelerator.architecture)
        return self.attention_rates.get(name, self.attention_rates.get("all", 1.0))

    def product_rate(self, system: System) -> float:
        """Return the rate of its matrix products over library calls alone on `system`."""
        name = class_of(system.accelerator.architecture)
        return self.product_ratio * self.product_rates.get(name, 1.0)

    def execution(self, recipe: Precision) -> Execution:
        """Return how it runs operators; plain PyTorch trains in 16 bits by autocast.

        Matrix units, which all formats but fp32 run on, take maps with channels last: others are
        transposed on their way.
        """
        eager, low_precision = self.style == "eager", recipe.activation_bytes <= 2
        matrix_units = recipe.matrix_dtype != "fp32"
        return Execution(
            transposes=eager and matrix_units and recipe.name not in self.channels_last,
            style=self.style,
            attention=self.attention,
            autocast=eager and low_precision,
            low_precision=low_precision or not eager,
            dropout=self.dropout,
        )


def _profiles() -> dict[str, dict[str, Any]]:
    return packaged_yaml("hardware_specs", "calibration/software.yaml")


Effort: TypeAlias = Literal["stack", "tuned", "plain", "out_of_the_box"]
EFFORTS: tuple[Effort, ...] = ("stack", "tuned", "plain", "out_of_the_box")


def under_effort(stack: Software, effort: Effort) -> Software:
    """Return `stack` as far tuned as `effort` says, by the traits of `calibration/efforts.yaml`.

    "stack" leaves its own habits as they are.
    """
    traits = packaged_yaml("hardware_specs", "calibration/efforts.yaml")[effort]
    return replace(stack, **traits)


def software_names() -> tuple[str, ...]:
    """Return the names of the known profiles."""
    return tuple(_profiles())


@cache
def software(name: str) -> Software:
    """Return the profile called `name`.

    Raises:
        UnknownNameError: where there is none of that name.
    """
    profiles = _profiles()
    if name not in profiles:
        raise UnknownNameError(
            f"unknown training software `{name}`", hint=suggestion(name, profiles)
        )
    return Software(name=name, **profiles[name])
