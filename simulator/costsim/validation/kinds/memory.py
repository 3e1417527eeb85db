"""Rows of fine-tuning memory: the peak of one device, by method, batch and software."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from costsim.architectures.architecture import Architecture
from costsim.compression.steps import AdaptStep, QuantizeStep
from costsim.errors import CostsimError
from costsim.hardware.catalog import load_hardware
from costsim.planning.intervals import memory_interval
from costsim.training.evaluate import evaluate
from costsim.training.job import Job
from costsim.training.precision import PRECISIONS, precision
from costsim.training.software import software
from costsim.training.strategy import Strategies, Strategy
from costsim.validation.configs import described_model
from costsim.validation.devices import device_of
from costsim.validation.frameworks import framework_of
from costsim.validation.kind import Context, Figure, Kind, each
from costsim.validation.runs import Run
from costsim.validation.stated import optimizer_of, parts_of, recompute_of, sharding_of
from costsim.validation.words import meaning
from costsim.validation.written import written_model

_QUANTITY = "memory_gb_per_gpu"
_GIGA = 1e9
_USUAL_RANK = 16
_USUAL_TARGETS = ("q_proj", "v_proj")
_DTYPE = "bf16"


@dataclass(frozen=True, slots=True)
class FineTuning:
    """A row as the evaluator takes it; `assumed` says what was put where it says nothing."""

    job: Job
    strategy: Strategy
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
    method = meaning(run, "method")
    if method is None:
        return f"method `{run.text.get('method', '')[:60]}` is not known"
    frozen = method == "adapters"
    model, _ = _model(run, folder)
    if frozen:
        model = _adapted(run, model, assumed)
    devices, tp = int(run.number.get("n_devices", 1)), int(run.number.get("tp", 1))
    if devices % tp:
        return f"{devices} devices do not divide into TP {tp}"
    ranks = devices // tp
    system = load_hardware(device.id).with_count(devices)
    zero, replicas = sharding_of(run, devices, system.devices_per_node)
    profile = software(framework_of(run, "language").profile)
    micro_batch = int(run.number["micro_batch"])
    dtype = run.text.get("base_dtype", _DTYPE)
    job = Job(
        model=model,
        system=system,
        global_batch=micro_batch * ranks * int(run.number.get("grad_accum", 1)),
        sequence=int(run.number["seq_len"]),
        precision=precision(dtype if dtype in PRECISIONS else _DTYPE),
        optimizer=optimizer_of(run) or "adam",
        software=profile,
        frozen=frozen,
    )
    strategy = Strategy(
        tp=tp,
        dp=ranks,
        micro_batch=micro_batch,
        zero=profile.zero if zero is None else zero,
        replicas=min(replicas, ranks),
        recompute=recompute_of(run) or "none",
    )
    return FineTuning(job, strategy, tuple(assumed))


def _model(run: Run, folder: Path) -> tuple[Architecture, str]:
    name = run.text.get("config") or run.text.get("model", "")
    written = written_model(name, None, None)
    return (written, "") if written is not None else described_model(name, folder)


def _adapted(run: Run, model: Architecture, assumed: list[str]) -> Architecture:
    """Return `model` frozen, stored as the row says, with its adapters."""
    storage = run.text.get("storage_format", "")
    if storage:
        model = QuantizeStep(kind="quantize", format=storage).apply(model, _DTYPE)
    rank, targets = run.number.get("adapter_rank"), parts_of(run, "adapter_targets")
    if rank is None:
        assumed.append(f"adapter_rank {_USUAL_RANK}")
    if not targets:
        targets = _USUAL_TARGETS
        assumed.append(f"adapter_targets {' '.join(targets)}")
    step = AdaptStep(kind="adapt", rank=int(rank or _USUAL_RANK), targets=targets)
    return step.apply(model, _DTYPE)


def _predict(cases: Sequence[FineTuning], _: Context) -> list[tuple[FineTuning, float] | str]:
    """Return each case with the bytes of a device at its peak."""
    found: list[tuple[FineTuning, float] | str] = []
    for case in cases:
        try:  # adapters meet their projections when the model is laid out
            peak = evaluate(case.job, Strategies.of([case.strategy])).memory_bytes[0]
        except CostsimError as error:
            found.append(error.problems[0].message)
        else:
            found.append((case, float(peak)))
    return found


def _figures(run: Run, found: tuple[FineTuning, float]) -> list[Figure]:
    case, needed = found
    reason = "assumed: " + ", ".join(case.assumed) if case.assumed else ""
    measured = run.number.get("measured_gb")
    figure = Figure(_QUANTITY, needed, *memory_interval(needed), measured, reason)
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
