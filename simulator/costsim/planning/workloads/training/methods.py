"""What a method of training needs beside its model: checked, held, and passed forward."""

from __future__ import annotations

from functools import lru_cache

from costsim.architectures import load_model
from costsim.architectures.architecture import Architecture
from costsim.hardware import System
from costsim.inference.phases import estimate_inference
from costsim.planning.lookup import Lookup
from costsim.planning.workloads.training.spec import Training
from costsim.training.companions import (
    PAIRED,
    REFERENCED,
    ROLLED,
    Companions,
    companions,
    usual_reference,
)


def companions_of(work: Training, model: Architecture) -> Companions:
    """Return the models beside the one that a scenario trains."""
    method = work.method or "sft"
    asked = work.rollouts.reference if work.rollouts is not None else work.reference
    teacher = load_model(work.teacher) if work.teacher else None
    return companions(
        method,
        asked or usual_reference(method, adapts=work.adapter is not None),
        float(model.parameters),
        teacher_parameters=float(teacher.parameters) if teacher else None,
        cached=work.teacher_answers == "cached",
    )


def scored_s(work: Training, model: Architecture, system: System, devices: int) -> float:
    """Return seconds in which the devices pass a step's sequences forward without gradients."""
    found = 0.0
    for name, passes in companions_of(work, model).forwards.items():
        other = load_model(work.teacher) if name == "teacher" and work.teacher else model
        one_s = _forward_s(other, system.with_count(1), work.sequence)
        found += passes * work.global_batch * one_s / devices
    return found


@lru_cache(maxsize=64)
def _forward_s(model: Architecture, system: System, sequence: int) -> float:
    return estimate_inference(model, system, phase="forward", sequence=sequence).latency_s


def note_method(work: object, lookup: Lookup) -> None:
    """Note where a method and what is said of its models contradict each other."""
    if not isinstance(work, Training):
        return
    method, adapts = work.method or "sft", work.adapter is not None
    if work.reference is not None:
        where = ("workload", "reference")
        if method not in REFERENCED - ROLLED:
            hint = "leave `reference` out, or state `method: dpo`; of rollouts under `rollouts`"
            lookup.note(f"`{method}` compares with no reference here", where, hint, key=True)
        elif work.reference == "shared" and not adapts:
            hint = "state `separate` or `precomputed`, or train an `adapter`"
            lookup.note("a reference is shared where the base is frozen", where, hint)
    for name, value in (("teacher", work.teacher), ("teacher_answers", work.teacher_answers)):
        if value is not None and method != "distill":
            hint = f"leave `{name}` out, or state `method: distill`"
            lookup.note(f"`{method}` learns from no teacher", ("workload", name), hint, key=True)
    if work.teacher is not None:
        name = work.teacher
        lookup.attempt(("workload", "teacher"), lambda: load_model(name))
    if method in PAIRED and work.global_batch % 2:
        lookup.note(
            f"a batch of {work.global_batch:,} sequences is no number of pairs",
            ("workload", "global_batch"),
            "`global_batch` counts sequences: two for each pair",
        )
    if work.trained is not None and adapts:
        hint = "leave `trained` or `adapter` out"
        lookup.note("adapters and parts are trained, not both", ("workload", "trained"), hint)
