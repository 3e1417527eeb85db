"""One model on one device or group: the same figures on the command line, the web and MCP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from costsim.answers.guard import check_name, check_self_contained
from costsim.errors import Problem, SpecError, suggestion

if TYPE_CHECKING:
    from costsim.architectures import Architecture
    from costsim.hardware import System

PHASES = ("training", "forward", "prefill", "decode")


def estimate(
    model: str | Mapping[str, Any],
    hardware: str,
    phase: str = "forward",
    *,
    batch: int = 1,
    sequence: int | None = None,
    precision: str | None = None,
    optimizer: str = "adam",
    devices: int = 1,
) -> dict[str, Any]:
    """Return FLOPs, memory, throughput and latency of one pass or step.

    Args:
        model: name of the catalogue, or a description (a config.json) as a mapping.
        hardware: accelerator or system.
        phase: one of `PHASES`.
        batch: samples in the pass.
        sequence: tokens of each; for decode those in the cache.
        precision: of products and weights; left out, as it is published, or bf16.
        optimizer: for training.
        devices: that the layers are divided over (TP).

    Raises:
        CostsimError: where a name is unknown or a number is out of range.
    """
    from costsim.architectures import load_model
    from costsim.compression.published import published_precision
    from costsim.hardware import load_hardware
    from costsim.inference.phases import usual_sequence

    check_self_contained({"model": model, "system": hardware})
    problems: list[Problem] = []
    if phase not in PHASES:
        problems.append(Problem(f"no phase `{phase}`", None, suggestion(phase, PHASES)))
    for name, value in (("batch", batch), ("devices", devices), ("sequence", sequence or 1)):
        if not 1 <= value <= _MOST:
            problems.append(Problem(f"`{name}` must be from 1 to {_MOST:,}, not {value}"))
    if problems:
        raise SpecError(problems)
    described = load_model(check_name(model) if isinstance(model, str) else model)
    system = load_hardware(hardware, count=devices)
    tokens = sequence or usual_sequence(described, phase)
    row = estimate_row(described, system, phase, batch, tokens, precision, optimizer)
    if precision is None:
        precision = "bf16" if phase == "training" else published_precision(described)
    return {
        "model": described.name,
        "hardware": system.id,
        "devices": devices,
        "phase": phase,
        "parameters": described.parameters,
        "sequence": tokens,
        "precision": precision,
        "notes": list(described.notes),
        **row,
    }


_MOST = 10**7  # of samples, tokens or devices in one estimate


def estimate_row(
    model: Architecture,
    system: System,
    phase: str,
    batch: int,
    tokens: int,
    precision: str | None,
    optimizer: str,
) -> dict[str, Any]:
    """Return the figures of one batch; keys end in their unit."""
    if phase == "training":
        return _training(model, system, batch, tokens, precision or "bf16", optimizer)
    return _inference(model, system, phase, batch, tokens, precision)


def _training(
    model: Architecture, system: System, batch: int, tokens: int, precision: str, optimizer: str
) -> dict[str, Any]:
    from costsim.training import Strategy, estimate_training

    found = estimate_training(
        model,
        system,
        Strategy(tp=system.count, micro_batch=batch),
        global_batch=batch,
        sequence=tokens,
        precision=precision,
        optimizer=optimizer,
    )
    return {
        "batch": batch,
        "latency_s": found.step_time_s,
        "items_per_s": (found.tokens_per_s if model.reads_tokens else batch / found.step_time_s),
        "flops": model.training_flops(batch, tokens),
        "mfu_ratio": found.mfu_ratio,
        "memory_bytes_per_device": found.memory_bytes_per_device,
        "memory_by_part_bytes": found.memory_by_part_bytes,
        "time_by_part_s": found.time_by_part_s,
        "fits": found.fits,
    }


def _inference(
    model: Architecture, system: System, phase: str, batch: int, tokens: int, precision: str | None
) -> dict[str, Any]:
    from costsim.inference import estimate_inference

    found = estimate_inference(
        model,
        system,
        phase=phase,  # pyright: ignore[reportArgumentType]
        batch=batch,
        sequence=tokens,
        precision=precision,
    ).to_dict()
    return {name: value for name, value in found.items() if name not in ("phase", "sequence")}
