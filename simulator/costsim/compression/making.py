"""What a recipe takes to make: tokens through models, and what a teacher said, stored."""

from __future__ import annotations

from dataclasses import dataclass, replace

from costsim.architectures import Architecture, load_model
from costsim.architectures.operators import CrossEntropy
from costsim.compression.adapters import Adapt
from costsim.compression.description import Compressed
from costsim.compression.steps import AdaptStep, DistillStep, QuantizeStep, Step
from costsim.compression.storing import Mask, Quantize

_LOGIT_BYTES = 2  # cached in 16 bits
_ID_BYTES = 4


@dataclass(frozen=True, slots=True)
class Making:
    """A run: `forward_tokens` that pass through `model`, `training_tokens` that it learns from.

    Tokens are images where a model reads those. A `teacher` passes each of `teacher_tokens` once
    forward; `stored_bytes` are what it said, kept on disk. `frozen` runs train adapters alone.
    `measured_hours` are device-hours that such a run was published to take, where solving for the
    weights takes longer than the passes.
    """

    what: str
    model: Architecture
    forward_tokens: float = 0.0
    training_tokens: float = 0.0
    teacher: Architecture | None = None
    teacher_tokens: float = 0.0
    stored_bytes: float = 0.0
    measured_hours: float = 0.0
    frozen: bool = False

    def flops(self, sequence: int = 2048) -> float:
        """Return FLOPs of the run, linear in its tokens, in sequences of `sequence` tokens.

        A training token passes forward and backward through the student, and forward through the
        teacher: of a step alone, teacher forward + student forward and backward.
        """
        length = sample_tokens(self.model, sequence)
        found = self.forward_tokens / length * self.model.forward_flops(1, length)
        found += self.training_tokens / length * self.model.training_flops(1, length)
        if self.teacher is not None:
            seen = sample_tokens(self.teacher, sequence)
            found += self.teacher_tokens / seen * self.teacher.forward_flops(1, seen)
        return found


def making_of(
    step: Step, *, before: Architecture, after: Architecture, original: Architecture
) -> list[Making]:
    """Return the runs of a step: calibration of the model as it was, training afterwards."""
    found: list[Making] = []
    if step.calibration_tokens:
        seen = step.calibration_tokens * step.calibration_passes
        measured = step.hours_per_billion * before.parameters / 1e9
        what = f"calibrate {step_name(step)}"
        found.append(Making(what, before, forward_tokens=seen, measured_hours=measured))
    if not step.training_tokens:
        return found
    if not isinstance(step, DistillStep):
        frozen = isinstance(step, AdaptStep)
        found.append(
            Making(
                f"train after {step_name(step)}",
                after,
                training_tokens=step.training_tokens,
                frozen=frozen,
            )
        )
        return found
    teacher = original if step.teacher is None else load_model(step.teacher)
    tokens, cached = step.training_tokens, step.logits == "cached"
    distinct = tokens / step.epochs
    found.append(
        Making(
            "distill",
            after,
            training_tokens=tokens,
            teacher=teacher,
            teacher_tokens=distinct if cached else tokens,
            stored_bytes=distinct * logit_bytes(teacher, step.top_logits) if cached else 0.0,
        )
    )
    return found


def sample_tokens(model: Architecture, sequence: int) -> int:
    """Return tokens of a sample of at most `sequence`; an image counts as one."""
    reads = any(weight.lookup for block in model.blocks() for weight in block.weights())
    return min(sequence, model.context_limit or sequence) if reads else 1


def logit_bytes(teacher: Architecture, top_logits: int | None) -> int:
    """Return bytes of a token's cached logits: all of them, or the largest with their ids."""
    if top_logits is not None:
        return top_logits * (_LOGIT_BYTES + _ID_BYTES)
    return _LOGIT_BYTES * vocabulary(teacher)


def vocabulary(model: Architecture) -> int:
    """Return how many classes the head scores: columns of its last matrix."""
    for block in reversed(model.blocks()):
        for operator in reversed(block.operators):
            if isinstance(operator, CrossEntropy):
                return int(operator.classes)
    return 0


def step_name(step: Step) -> str:
    """Return what a step is called in a report."""
    return step.format if isinstance(step, QuantizeStep) else str(getattr(step, "kind", "step"))


def in_training(model: Architecture) -> tuple[Architecture, bool]:
    """Return a model as it is while it is trained, and whether its own weights are frozen.

    Rounding and masks are applied in the forward pass to weights held in 16 bits, so that the step
    is that of the model without them. Weights under adapters stay as they are stored.
    """
    held = model.description
    if not isinstance(held, Compressed):
        return model, False
    frozen = any(isinstance(step, Adapt) for step in held.passes)
    dropped = (Adapt,) if frozen else (Quantize, Mask)
    kept = tuple(step for step in held.passes if not isinstance(step, dropped))
    return replace(model, description=replace(held, passes=kept) if kept else held.inner), frozen
