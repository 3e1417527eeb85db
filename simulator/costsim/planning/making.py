"""What a compressed model costs to make: calibration, retraining and distillation as they run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from costsim.architectures import Architecture
from costsim.compression.compressing import Compression
from costsim.compression.making import Making, in_training, sample_tokens
from costsim.costs.budget import Line, leaf
from costsim.costs.prices import PriceChoice
from costsim.errors import InfeasiblePlanError, SpecError
from costsim.hardware import System
from costsim.inference.phases import estimate_inference
from costsim.planning.options import Option
from costsim.planning.scenario import MadeOn
from costsim.planning.strategies import describe, search
from costsim.planning.study import Study
from costsim.training.job import Job
from costsim.training.precision import precision
from costsim.training.software import software
from costsim.training.space import Choices
from costsim.units import format_si

_HOUR_S = 3600
_MOST_DEVICES = 4096
_SOFTWARE = "megatron-core"


@dataclass(frozen=True, slots=True)
class Made:
    """One run: device-hours of what is measured or trained, and of the teacher beside it."""

    what: str
    device_hours: float
    teacher_hours: float
    note: str

    @property
    def total_hours(self) -> float:
        """All device-hours."""
        return self.device_hours + self.teacher_hours


def making_line(runs: Sequence[Made], price: PriceChoice) -> Line | None:
    """Return the line of a budget for making a model; None where nothing has to be made."""
    hours = sum(run.total_hours for run in runs)
    if not hours:
        return None
    note = "; ".join(run.what for run in runs)
    rate = price.usd_per_device_hour
    return leaf("Making the model", hours, "device-hours", rate, note=note, paid="before")


class Maker:
    """Runs that make compressed models, worked out once for each option of a study."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._made: dict[tuple[str, ...], tuple[Made, ...]] = {}

    def runs(self, option: Option) -> tuple[Made, ...]:
        """Return what has to be run to make the model of an option."""
        names = option.compression.names
        if names not in self._made:
            settings = self._study.scenario.making
            self._made[names] = made(option.compression, self._study.maker.system, settings)
        return self._made[names]


def made(compression: Compression, system: System, settings: MadeOn) -> tuple[Made, ...]:
    """Return the runs that make a compressed model, in device-hours of `system`."""
    return tuple(_made(run, system, settings) for run in compression.making)


def _made(run: Making, system: System, settings: MadeOn) -> Made:
    notes: list[str] = []
    hours = 0.0
    if run.forward_tokens:
        hours += _forward_hours(run.model, system, run.forward_tokens, settings.sequence)
        notes.append(f"{format_si(run.forward_tokens)} tokens forward")
    if run.measured_hours > hours:
        hours = run.measured_hours
        notes.append("as long as it was measured to take, solving for the weights included")
    if run.training_tokens:
        found, note = _training_hours(run, system, settings)
        hours += found
        notes.append(note)
    taught = 0.0
    if run.teacher is not None:
        taught = _forward_hours(run.teacher, system, run.teacher_tokens, settings.sequence)
        notes.append(f"{run.teacher.name} sees {format_si(run.teacher_tokens)} tokens")
    return Made(run.what, hours, taught, "; ".join(notes))


def _forward_hours(model: Architecture, system: System, tokens: float, sequence: int) -> float:
    """Device-hours of passing tokens forward; layers divided over devices are taken as no loss."""
    length = sample_tokens(model, sequence)
    one = estimate_inference(model, system.with_count(1), phase="forward", sequence=length)
    return tokens / length * one.latency_s / _HOUR_S


def _training_hours(run: Making, system: System, settings: MadeOn) -> tuple[float, str]:
    """Device-hours of training, as the search for training plans finds it, on enough devices."""
    model, frozen = in_training(run.model)
    length = sample_tokens(model, settings.sequence)
    job = Job(
        model=model,
        system=system.with_count(settings.devices),
        global_batch=settings.global_batch,
        sequence=length,
        precision=precision("bf16"),
        optimizer="adam",
        software=software(_SOFTWARE),
        frozen=frozen,
    )
    devices = settings.devices
    while True:
        try:
            found = search(job, [devices], Choices(recompute=("none", "full")))
            break
        except InfeasiblePlanError:
            devices *= 2
            if devices > _MOST_DEVICES:
                raise SpecError(
                    f"{model.name} cannot be trained on {_MOST_DEVICES:,} devices",
                    hint="make it on devices with more memory (`making: {system: …}`)",
                ) from None
    row = int(found.order[0])
    step_s = float(found.evaluation.step_time_s[row])
    steps = run.training_tokens / (settings.global_batch * length)
    strategy = describe(found.evaluation.strategies.row(row))
    note = f"{format_si(run.training_tokens)} tokens on {devices} devices, {strategy}"
    return steps * step_s * devices / _HOUR_S, note
