"""Rows of fine-tuning memory: the peak of one device, by method, batch and software."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from costsim.architectures.architecture import Architecture
from costsim.errors import CostsimError
from costsim.hardware.catalog import load_hardware
from costsim.hardware.systems import System
from costsim.planning.intervals import memory_interval
from costsim.stacks import Meter
from costsim.stacks import recompute_of as usual_recompute
from costsim.training.evaluate import evaluate
from costsim.training.job import Job
from costsim.training.precision import PRECISIONS, precision
from costsim.training.recompute import Recompute
from costsim.training.software import software
from costsim.training.strategy import Strategies, Strategy
from costsim.validation.configs import described_model
from costsim.validation.devices import device_of
from costsim.validation.kind import Context, Figure, Kind, each
from costsim.validation.runs import Run
from costsim.validation.stacked import (
    adapted_model,
    meter_of,
    offload_of,
    spoken_number,
    stack_of,
)
from costsim.validation.stated import optimizer_of, recompute_of, sharding_of
from costsim.validation.words import meaning
from costsim.validation.written import written_model

_QUANTITY = "memory_gb_per_gpu"
_GIGA = 1e9
_DTYPE = "bf16"
_FILLED = 0.5  # of a limit, the longest of a batch of documents whose lengths nobody states
_WIDE = 2  # bytes of a parameter that is not trained


@dataclass(frozen=True, slots=True)
class FineTuning:
    """A row as the evaluator takes it; `assumed` says what was put where it says nothing."""

    job: Job
    strategy: Strategy
    meter: Meter
    assumed: tuple[str, ...]


def fine_tuning_of(run: Run, folder: Path) -> FineTuning | str:
    """Return what a row trains and how, or why that cannot be said.

    Raises:
        CostsimError: if its model, device, formats or targets are not known.
    """
    device, assumed = device_of(run), list[str]()
    if isinstance(device, str):
        return device
    for column in ("seq_len", "micro_batch"):
        if column not in run.number:
            return f"`{column}` is empty"
    words = run.text.get("method", "").lower()
    frozen = re.search(r"lora|dora|adapter", words) is not None
    if not frozen and meaning(run, "method") is None:
        return f"method `{words[:60]}` is not known"
    stack = stack_of(run, frozen=frozen)
    model, _ = _model(run, folder)
    parameters = model.parameters
    if frozen:
        model = adapted_model(run, model, stack, assumed)
    devices, tp = int(run.number.get("n_devices", 1)), int(run.number.get("tp", 1))
    if devices % tp:
        return f"{devices} devices do not divide into TP {tp}"
    ranks = devices // tp
    system = load_hardware(device.id).with_count(devices)
    zero, replicas = sharding_of(run, devices, system.devices_per_node)
    zero = stack.zero if zero is None else zero
    # Preferences come in pairs, which pass through the model together.
    paired = re.search(r"\b(dpo|orpo|kto|reward|rm)\b", words) is not None
    micro_batch = int(run.number["micro_batch"]) * (2 if paired else 1)
    dtype = run.text.get("base_dtype", _DTYPE)
    shards = ranks / replicas if zero == 3 else 1
    job = Job(
        model=model,
        system=system,
        global_batch=micro_batch * ranks * int(run.number.get("grad_accum", 1)),
        sequence=_sequence(run, assumed),
        precision=precision(dtype if dtype in PRECISIONS else _DTYPE),
        optimizer=optimizer_of(run) or "adamw",
        software=software(stack.profile),
        frozen=frozen,
        stack=stack,
        beside_bytes=_beside(words, parameters, shards, system, frozen=frozen),
    )
    strategy = Strategy(
        tp=tp,
        sp=tp > 1 and job.software.sequence_parallel == "always",
        dp=ranks,
        micro_batch=micro_batch,
        zero=zero if ranks > 1 else 0,
        replicas=min(replicas, ranks),
        recompute=recompute_of(run) or cast("Recompute", usual_recompute(stack, adapters=frozen)),
        offload=offload_of(run),
    )
    return FineTuning(job, strategy, meter_of(run, "measured_kind"), tuple(assumed))


def _sequence(run: Run, assumed: list[str]) -> int:
    """Return tokens of a sequence; of rows that state a limit alone, a usual part of it."""
    limit = int(run.number["seq_len"])
    if "limit" not in run.text.get("tokens_exact", "").lower():
        return limit
    assumed.append(f"sequences of {_FILLED:.0%} of the limit")
    return max(1, round(limit * _FILLED))


def _beside(words: str, parameters: int, shards: float, system: System, *, frozen: bool) -> float:
    """Return bytes of a reference, a teacher and a rollout engine on each device."""
    held = 0.0
    if re.search(r"\b(dpo|kto|ppo|grpo|rloo)\b", words) and not frozen:
        held += _WIDE * parameters / shards  # adapters are switched off for the reference
    teacher = spoken_number(words, r"teacher (\d+(?:\.\d+)?)b")
    if teacher:
        held += _WIDE * teacher * 1e9 / shards
    share = spoken_number(words, r"vllm (0?\.\d+)")
    if share:
        held += share * system.accelerator.memory_bytes
    return held


def _model(run: Run, folder: Path) -> tuple[Architecture, str]:
    name = run.text.get("config") or run.text.get("model", "")
    written = written_model(name, None, None)
    return (written, "") if written is not None else described_model(name, folder)


def _predict(cases: Sequence[FineTuning], _: Context) -> list[tuple[FineTuning, float] | str]:
    """Return each case with the bytes of a device at its peak, as its meter sees them."""
    found: list[tuple[FineTuning, float] | str] = []
    for case in cases:
        try:  # adapters meet their projections when the model is laid out
            memory = evaluate(case.job, Strategies.of([case.strategy])).memory
        except CostsimError as error:
            found.append(error.problems[0].message)
        else:
            found.append((case, float(memory.metered_bytes(case.meter, case.job).max())))
    return found


def _figures(run: Run, found: tuple[FineTuning, float]) -> list[Figure]:
    case, needed = found
    reason = "assumed: " + ", ".join(case.assumed) if case.assumed else ""
    measured = run.number.get("measured_gb")
    figure = Figure(_QUANTITY, needed, *memory_interval(needed, stacked=True), measured, reason)
    return [figure.scaled(1 / _GIGA)]


def _measured(run: Run) -> dict[str, float]:
    measured = run.number.get("measured_gb")
    return {_QUANTITY: measured} if measured else {}


MEMORY: Kind[FineTuning, tuple[FineTuning, float]] = Kind(
    "memory",
    "memory",
    each(lambda run, context: fine_tuning_of(run, context.folder)),
    _predict,
    _figures,
    _measured,
    _QUANTITY,
)
