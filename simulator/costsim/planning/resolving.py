"""Resolving: every name that a scenario uses looked up, all unknown ones reported at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from costsim.architectures import load_model
from costsim.architectures.architecture import Architecture
from costsim.architectures.pictures import with_image
from costsim.costs.energy import Estimate, device_power_w
from costsim.costs.grids import Grid, Pue, grid_for, pue_for
from costsim.costs.prices import PriceChoice, price_for
from costsim.errors import CostsimError, Problem, SpecError
from costsim.hardware import System, load_hardware
from costsim.planning.overlays import read_overlay
from costsim.planning.reading import Read
from costsim.planning.sampling import (
    check_text,
    input_of,
    profile_of,
    sequence_of,
    within_context,
)
from costsim.planning.scenario import (
    Adapter,
    ListPrice,
    SampleTraining,
    Site,
    Training,
)
from costsim.training.job import Job
from costsim.training.optimizers import state_bytes_per_parameter
from costsim.training.overlay import Overlay
from costsim.training.precision import precision


@dataclass(frozen=True, slots=True)
class Resolved:
    """What the names of a scenario stand for."""

    job: Job
    workload: Training | SampleTraining
    grid: Grid
    pue: Pue
    price: PriceChoice
    power_w: Estimate  # of one device in training, with its share of the node
    overlay: Overlay | None = None

    def job_under(self, profile: str) -> Job:
        """Return the job as another software profile carries it out."""
        job = replace(self.job, software=profile_of(self.workload, profile), losses=None)
        if isinstance(self.workload, SampleTraining):
            job = replace(job, input=input_of(job.model, self.workload, profile))
        return overlaid(job, self.overlay)

    @property
    def system(self) -> System:
        return self.job.system


def resolve(read: Read) -> Resolved:
    """Look every name of the scenario up.

    Raises:
        SpecError: with every name that is unknown, at its place in the file.
    """
    scenario = read.scenario
    problems: list[Problem] = []
    found: dict[str, Any] = {}

    def attempt(name: str, path: tuple[str | int, ...], action: Callable[[], Any]) -> None:
        try:
            found[name] = action()
        except CostsimError as error:
            where = read.document.locate(path)
            problems.extend(p if p.location else replace(p, location=where) for p in error.problems)

    attempt("model", ("model",), lambda: load_scenario_model(scenario.model, read.folder))
    counts = scenario.hardware.devices
    count = max(counts) if isinstance(counts, tuple) else scenario.hardware.at_most
    attempt(
        "system", ("hardware", "system"), lambda: load_hardware(scenario.hardware.system, count)
    )
    ratio = scenario.hardware.oversubscription
    if "system" in found and ratio > 1:
        narrow = partial(found["system"].oversubscribed, ratio)
        attempt("system", ("hardware", "oversubscription"), narrow)
    workload = scenario.workload
    attempt("precision", ("workload", "precision"), lambda: precision(workload.precision))
    attempt("software", ("workload", "software"), lambda: profile_of(workload, workload.software))
    for place, choice in enumerate(scenario.compare):
        if choice.software is not None:
            where = ("compare", place, "software")
            attempt("compared", where, partial(profile_of, workload, choice.software))
    attempt(
        "optimizer",
        ("workload", "optimizer"),
        lambda: state_bytes_per_parameter(workload.optimizer),
    )
    calibration = scenario.calibration
    if calibration is not None:
        attempt("overlay", ("calibration",), lambda: read_overlay(read.folder / calibration))
    attempt("grid", ("site", "grid"), lambda: grid_for(scenario.site.grid))
    attempt("pue", ("site", "pue"), lambda: _pue(scenario.site.pue))
    if "model" in found:
        match workload:
            case Training(adapter=adapter):
                attempt("text", ("model",), partial(check_text, found["model"]))
                if adapter is not None:
                    make = partial(adapted, found["model"], adapter, workload.precision)
                    attempt("model", ("workload", "adapter"), make)
                if workload.padded_document and workload.masked_document:
                    problems.append(
                        Problem(
                            "documents are padded to a sequence or packed into it, not both",
                            read.document.locate(("workload", "masked_document"), key=True),
                            "state `padded_document` or `masked_document`",
                        )
                    )
                balance = partial(check_imbalance, found["model"], workload.expert_imbalance)
                attempt("imbalance", ("workload", "expert_imbalance"), balance)
                context = partial(within_context, found["model"], workload.sequence)
                attempt("sequence", ("workload", "sequence"), context)
            case SampleTraining(image=image):
                if image is not None:
                    resize = partial(with_image, found["model"], image)
                    attempt("model", ("workload", "image"), resize)
                measure = partial(sequence_of, found["model"], workload)
                attempt("sequence", ("workload", "sequence"), measure)
    if "system" in found:
        accelerator = found["system"].accelerator
        attempt("price", ("price",), lambda: _price(accelerator.id, scenario.price))
        attempt("power", ("hardware", "system"), lambda: _power(found["system"], scenario.site))
        if "precision" in found:
            attempt(
                "peak",
                ("workload", "precision"),
                lambda: accelerator.peak_flops_per_s(found["precision"].peak_dtype),
            )
    if scenario.hardware.devices == "fewest" and scenario.limits.deadline is None:
        problems.append(
            Problem(
                "`devices: fewest` needs a deadline to meet",
                read.document.locate(("hardware", "devices")),
                "add `limits: {deadline: 30 days}`, or state a number of devices",
            )
        )
    if problems:
        raise SpecError(sorted(problems, key=_place))
    overlay: Overlay | None = found.get("overlay")
    job = Job(
        model=found["model"],
        system=found["system"],
        global_batch=workload.global_batch,
        sequence=found["sequence"],
        precision=found["precision"],
        optimizer=workload.optimizer,
        software=found["software"],
        frozen=isinstance(workload, Training) and workload.adapter is not None,
        documents=_documents(workload),
        imbalance_ratio=workload.expert_imbalance if isinstance(workload, Training) else 1.0,
        counts=workload.counts,
        input=(
            input_of(found["model"], workload, workload.software)
            if isinstance(workload, SampleTraining)
            else None
        ),
    )
    job = overlaid(job, overlay)
    return Resolved(
        job, workload, found["grid"], found["pue"], found["price"], found["power"], overlay
    )


def overlaid(job: Job, overlay: Overlay | None) -> Job:
    """Return `job` with the constants of a calibration, if there is one."""
    return job if overlay is None else overlay.apply(job)


def _documents(workload: Training | SampleTraining) -> float:
    """Return the documents of a sequence that attention does not cross; 1 where it may."""
    if isinstance(workload, SampleTraining) or workload.masked_document is None:
        return 1.0
    return max(workload.sequence / workload.masked_document, 1.0)


def check_imbalance(model: Architecture, ratio: float) -> None:
    """Check that there are experts whose load may differ.

    Raises:
        SpecError: if there are none.
    """
    if ratio > 1 and model.active_parameters == model.parameters:
        raise SpecError(
            f"{model.name} has no experts whose load could differ",
            hint="leave `expert_imbalance` out: it is of mixtures of experts",
        )


def _power(system: System, site: Site) -> Estimate:
    """Return the stated power of a device, or what its ratings give."""
    stated = site.device_power
    if stated is not None:
        return Estimate(stated, stated, stated, f"{stated:,.0f} W a device, stated in the scenario")
    rating = system.node_power_w
    if rating is None and system.accelerator.tdp_w is None:
        raise SpecError(
            f"no power of {system.accelerator.name} is published",
            hint="state what a device draws: `site: {device_power: 500 W}`",
        )
    return device_power_w(
        system.accelerator.tdp_w,
        rating / system.devices_per_node if rating else None,
        system.accelerator.id,
    )


def _place(problem: Problem) -> tuple[str, int, int]:
    where = problem.location
    return (where.file, where.line, where.column) if where else ("", 0, 0)


def load_scenario_model(named: str | dict[str, Any], folder: Path) -> Architecture:
    """Load a model; a path starts at the scenario's folder."""
    is_path = isinstance(named, str) and (
        "/" in named or named.endswith((".json", ".yaml", ".yml"))
    )
    return load_model(folder / str(named)) if is_path else load_model(named)


def adapted(model: Architecture, adapter: Adapter, dtype: str) -> Architecture:
    """Return `model` frozen, its weights stored as asked for, with adapters beside them."""
    from costsim.compression.steps import AdaptStep, QuantizeStep

    if adapter.weights is not None:
        model = QuantizeStep(kind="quantize", format=adapter.weights).apply(model, dtype)
    step = AdaptStep(kind="adapt", rank=adapter.rank, targets=adapter.targets)
    return step.apply(model, dtype)


def _pue(stated: float | None) -> Pue:
    if stated is None:
        return pue_for()
    return Pue(stated, stated, stated, "stated in the scenario", "the scenario")


def _price(accelerator_id: str, stated: float | ListPrice) -> PriceChoice:
    if isinstance(stated, ListPrice):
        return price_for(accelerator_id, stated.provider, stated.region, stated.term)
    return price_for(accelerator_id, quote=stated)
