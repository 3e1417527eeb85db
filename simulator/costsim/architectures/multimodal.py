"""Models of several inputs: a text model, and parts that turn images or sound into its vectors.

A pass over text alone leaves the other parts idle: their weights are there, they do no work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from costsim.algebra import Number
from costsim.architectures.architecture import Description
from costsim.architectures.block import Block
from costsim.architectures.layers.norm import NormStyle
from costsim.architectures.layers.recording import Recorder, Tensor
from costsim.architectures.stacks import Stack
from costsim.architectures.tensors import Activation, CacheTensor
from costsim.architectures.workload import Workload

LAYER_NORM = NormStyle()


class Part(Protocol):
    """Something that stands beside the text model."""

    def blocks(self, workload: Workload) -> tuple[Block, ...]:
        """Return its blocks as they work on `workload.batch` inputs."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense:
    """A product with a weight of `inputs` × `outputs`."""

    inputs: Number
    outputs: Number
    bias: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalized:
    """A norm of `size` values."""

    size: Number
    style: NormStyle = LAYER_NORM


@dataclass(frozen=True, slots=True, kw_only=True)
class Activated:
    """An activation function of `size` values."""

    size: Number
    function: str = "gelu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensors:
    """Trained tensors of `shapes` that are added, multiplied or attended to."""

    shapes: tuple[tuple[Number, ...], ...]
    lookup: bool = False


Step = Dense | Normalized | Activated | Tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Simple steps one after the other, at `positions` places of each input: a projector."""

    name: str
    positions: Number
    steps: tuple[Step, ...]

    def blocks(self, workload: Workload) -> tuple[Block, ...]:
        """Return one block of all steps."""
        rows, width = workload.batch * self.positions, _width(self.steps)
        x = Tensor(Recorder(workload), f"{self.name}.input", rows, width, self.name)
        recorder = x.recorder
        for index, step in enumerate(self.steps):
            x = _recorded(step, x, str(index))
        entry = Activation(f"{self.name}.input", rows * width)
        return (Block(self.name, tuple(recorder.operators), entry, part="stem"),)


def _recorded(step: Step, x: Tensor, name: str) -> Tensor:
    match step:
        case Dense():
            return x.called_as(x.name, step.inputs).linear(name, step.outputs, bias=step.bias)
        case Normalized():
            return x.called_as(x.name, step.size).norm(name, step.style)
        case Activated():
            return x.called_as(x.name, step.size).elementwise(name, function=step.function)
        case Tensors():
            return x.learned(name, *step.shapes, elements=0, lookup=step.lookup)


def _width(steps: Sequence[Step]) -> Number:
    for step in steps:
        match step:
            case Dense():
                return step.inputs
            case Normalized() | Activated():
                return step.size
            case Tensors():
                continue
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tower:
    """A stack over images or sound; it makes `tokens` positions of each input."""

    name: str
    stack: Stack

    def blocks(self, workload: Workload) -> tuple[Block, ...]:
        """Return the blocks of the stack and the norm that ends it."""
        blocks = self.stack.blocks(workload, self.name)
        closing = self.stack.closing(workload, self.name, "stem")
        return blocks if closing is None else (*blocks, closing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Multimodal:
    """A text model with `parts` that see the inputs which `workload.images` counts."""

    text: Description
    parts: tuple[Part, ...]

    @property
    def context_limit(self) -> Number | None:
        return self.text.context_limit

    def blocks(self, workload: Workload) -> tuple[Block, ...]:
        """Return the blocks of all parts and the text model."""
        images = workload.images
        absent = type(images) is int and images == 0
        seen = replace(workload, batch=1 if absent else images, context=None, generates=False)
        found = [block for part in self.parts for block in part.blocks(seen)]
        if absent:
            found = [block.idle() for block in found]
        return (*found, *self.text.blocks(workload))

    def cache(self, batch: Number, tokens: Number) -> tuple[tuple[CacheTensor, Number], ...]:
        """Return what the text model keeps."""
        return self.text.cache(batch, tokens)
