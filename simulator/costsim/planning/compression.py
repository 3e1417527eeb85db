"""Comparing compressed models: the product of options, what is dominated, what each step brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from costsim.architectures import Architecture
from costsim.compression.compressing import Compression, compress
from costsim.compression.effects import effects
from costsim.compression.recipes import Given
from costsim.costs.prices import PriceChoice, price_for
from costsim.documents import Document, load_document, parse_as
from costsim.errors import CostsimError, InfeasiblePlanError, Problem, SpecError
from costsim.hardware import System, load_hardware
from costsim.inference.engines import Engine, load_engine
from costsim.planning.compression_making import Made, made
from costsim.planning.compression_passes import serve_passes
from costsim.planning.compression_plans import (
    LATENCIES,
    MILLION,
    UNITS,
    BreakEven,
    Candidate,
    CompressionPlan,
    Contribution,
    loss_of,
    option_name,
)
from costsim.planning.compression_scenario import CompressionScenario, Passes
from costsim.planning.compression_service import Service
from costsim.planning.compression_serving import serve
from costsim.planning.compression_training import train
from costsim.planning.reading import with_settings
from costsim.planning.resolving import load_scenario_model
from costsim.planning.scenario import ListPrice, Training
from costsim.planning.serving_scenario import Serving
from costsim.units import format_bytes, format_duration, format_usd


def plan_compressed(
    source: str | Path | Mapping[str, Any], settings: Sequence[str] = ()
) -> CompressionPlan:
    """Compare the options of a scenario.

    Args:
        source: path of a scenario's YAML, or the same as a mapping.
        settings: overrides such as `workload.requests_per_s=50`.

    Raises:
        SpecError: where the scenario must change; lists all its problems.
        InfeasiblePlanError: where no option can be served; says why each cannot.
    """
    if isinstance(source, Mapping):
        document, folder = Document(dict(source), "<scenario>"), Path()
    else:
        document, folder = load_document(source), Path(source).parent
    document = with_settings(document, settings)
    scenario = parse_as(document, CompressionScenario)
    return _Comparison(scenario, document, folder).plan()


class _Comparison:
    """The product of a scenario's options and systems under its prices."""

    def __init__(self, scenario: CompressionScenario, document: Document, folder: Path) -> None:
        self.scenario = scenario
        self._made: dict[tuple[str, ...], tuple[Made, ...]] = {}
        problems: list[Problem] = []

        def attempt(path: tuple[str | int, ...], action: Any) -> Any:
            try:
                return action()
            except CostsimError as error:
                where = document.locate(path)
                problems.extend(
                    Problem(p.message, p.location or where, p.hint) for p in error.problems
                )
                return None

        model = attempt(("model",), lambda: load_scenario_model(scenario.model, folder))
        work = scenario.workload
        self.engine: Engine | None = None
        if isinstance(work, Serving):
            self.engine = attempt(("workload", "engine"), lambda: load_engine(work.engine))
        if isinstance(work, Training) and scenario.hardware.devices is None:
            where = document.locate(("hardware",))
            problems.append(Problem("training needs `hardware: {devices: …}`", where))
        names = list(scenario.hardware.system)
        loaded = [
            attempt(("hardware", "system"), lambda n=name: load_hardware(n)) for name in names
        ]
        self.systems: list[System] = [system for system in loaded if system is not None]
        maker = scenario.making.system or names[0]
        self.maker: System = attempt(("making", "system"), lambda: load_hardware(maker))
        self.options: list[tuple[str, Compression]] = []
        if model is not None:
            for place, given in enumerate(scenario.compression):
                several = given if isinstance(given, tuple) else (given,)
                listed: list[Given] = [_from_folder(one, folder) for one in several]
                made_of = attempt(("compression", place), partial(compress, model, listed))
                if made_of is not None:
                    self.options.append((option_name(made_of), made_of))
        self.prices: dict[str, PriceChoice] = {}
        if problems:  # prices are looked up of what there is
            raise SpecError(problems)
        for system in (*self.systems, self.maker):
            identity = system.accelerator.id
            self.prices[identity] = attempt(("price",), lambda i=identity: self._price(i))
        if problems:
            raise SpecError(problems)

    @property
    def verb(self) -> str:
        """What is paid for besides making."""
        return "training" if isinstance(self.scenario.workload, Training) else "serving"

    def _price(self, accelerator_id: str) -> PriceChoice:
        stated = self.scenario.price
        if isinstance(stated, ListPrice):
            return price_for(accelerator_id, stated.provider, stated.region, stated.term)
        return price_for(accelerator_id, quote=stated)

    def service(self, model: Architecture, system: System) -> Service | str:
        """Return what a model runs on, or why it cannot."""
        scenario = self.scenario
        match scenario.workload:
            case Serving() as traffic:
                assert self.engine is not None
                counts = scenario.hardware.replica_devices
                return serve(model, system, traffic, self.engine, scenario.months, counts)
            case Passes() as traffic:
                return serve_passes(model, system, traffic, scenario.months)
            case Training() as training:
                assert scenario.hardware.devices is not None
                return train(model, system, training, scenario.hardware.devices)

    def tokens_of_sample(self) -> int:
        """Return tokens of a sample, for figures beside the costs."""
        match self.scenario.workload:
            case Serving() as traffic:
                return (traffic.input_tokens or 0) + (traffic.output_tokens or 0)
            case Passes() | Training() as work:
                return work.sequence

    def candidate(self, option: str, compression: Compression, system: System) -> Candidate | str:
        """Return an option on a system, or why it cannot be."""
        scenario, accelerator = self.scenario, system.accelerator
        total = self.tokens_of_sample()
        try:
            found = effects(compression, sequence=total, accelerator=accelerator)
            service = self.service(compression.after, system)
        except CostsimError as error:
            return error.problems[0].message
        if isinstance(service, str):
            return service
        if compression.names not in self._made:  # the same whatever it is served on
            self._made[compression.names] = made(compression, self.maker, scenario.making)
        runs = self._made[compression.names]
        price = self.prices[accelerator.id]
        hours = service.devices * service.hours
        making_rate = self.prices[self.maker.accelerator.id].usd_per_device_hour
        return Candidate(
            option=option,
            system=system,
            compression=compression,
            service=service,
            price=price,
            running_usd=hours * price.usd_per_device_hour,
            making_usd=sum(run.total_hours for run in runs) * making_rate,
            runs=runs,
            loss=loss_of(compression),
            effects=found,
        )

    def plan(self) -> CompressionPlan:
        """Evaluate the product and say what is best."""
        found: list[Candidate] = []
        refused: list[tuple[str, str]] = []
        for option, compression in self.options:
            for system in self.systems:
                one = self.candidate(option, compression, system)
                if isinstance(one, str):
                    refused.append((f"{option} on {system.accelerator.name}", one))
                else:
                    found.append(one)
        limit = self.scenario.limits.quality_loss
        ranked = sorted(found, key=_preference)
        allowed = [c for c in ranked if limit is None or c.loss.worst <= limit]
        if not allowed:
            raise InfeasiblePlanError(
                [Problem(f"{label}: {why}") for label, why in refused]
                or [Problem("no option's published loss of quality is within the limit")],
                hint="add devices with more memory, a smaller model, or longer latencies",
            )
        marked = _mark_dominated(ranked)
        by_label = {candidate.label: candidate for candidate in marked}
        best = by_label[allowed[0].label]
        others = [by_label[c.label] for c in allowed[1:] if c.option != best.option]
        plain = [c for c in marked if c.option == "none"]
        baseline = plain[0] if plain else None
        return CompressionPlan(
            name=self.scenario.name,
            scenario=self.scenario.model_dump(mode="json", exclude_none=True),
            best=best,
            runner_up=others[0] if others else None,
            baseline=baseline,
            candidates=tuple(marked),
            refused=tuple(refused),
            waterfall=self._waterfall(best, baseline),
            cheapest=marked[0],
            cheapest_waterfall=self._waterfall(marked[0], baseline),
            break_even=tuple(_break_even(c, baseline) for c in marked) if baseline else (),
            reasons=_reasons(
                self.scenario.workload.kind, best, others[0] if others else None, baseline
            ),
            notes=_notes(best, self.scenario),
            limit_usd=self.scenario.limits.cost,
            sources=self._sources(best),
        )

    def _waterfall(self, best: Candidate, baseline: Candidate | None) -> tuple[Contribution, ...]:
        """Return what other hardware, and each recipe after the other, bring."""
        if baseline is None:
            return ()
        steps = [Contribution(f"none on {baseline.system.accelerator.name}", baseline.total_usd, 0)]
        total, making = baseline.total_usd, 0.0

        def add(step: str, after: float) -> None:
            nonlocal total
            steps.append(Contribution(step, after, after - total))
            total = after

        if best.system.accelerator.id != baseline.system.accelerator.id:
            plain = Compression(baseline.compression.before, (), best.compression.dtype)
            moved = self.candidate("none", plain, best.system)
            if isinstance(moved, Candidate):
                add(f"on {best.system.accelerator.name} instead", moved.total_usd)
        applied = best.compression.applied
        for count in range(1, len(applied) + 1):
            part = Compression(best.compression.before, applied[:count], best.compression.dtype)
            whole = count == len(applied)
            found = best if whole else self.candidate(part.names[-1], part, best.system)
            if not isinstance(found, Candidate):
                continue  # what does not fit by itself shows in the step that follows
            add(f"{part.names[-1]}: {self.verb}", making + found.running_usd)
            if found.making_usd != making:
                add(f"{part.names[-1]}: making", found.total_usd)
            making = found.making_usd
        return tuple(steps)

    def _sources(self, best: Candidate) -> dict[str, str]:
        price = best.price.price
        return {
            "model": best.compression.before.source,
            "hardware": f"{best.system.id}: {best.system.basis}",
            "price": f"{price}; {price.source}",
            **({} if self.engine is None else {"engine": self.engine.source}),
            **{
                f"recipe {applied.name}": applied.recipe.source
                for applied in best.compression.applied
                if applied.recipe.source
            },
        }


def _from_folder(given: str | dict[str, Any], folder: Path) -> Given:
    """Return a recipe as it was given; the path of a file starts at the scenario's folder."""
    is_file = isinstance(given, str) and given.lower().endswith((".yaml", ".yml", ".json"))
    return str(folder / str(given)) if is_file else given


def _preference(candidate: Candidate) -> tuple[float, float, float, str]:
    """What is better comes first: cheaper, then surer of its quality, then faster."""
    service = candidate.service
    return candidate.total_usd, candidate.loss.worst, service.latency_s, candidate.label


def _mark_dominated(ranked: Sequence[Candidate]) -> list[Candidate]:
    """Mark candidates that another beats, or equals, in cost, latency and known quality.

    What is unknown of an option's quality may be anything, so that it dominates nothing better
    known.
    """

    def measures(c: Candidate) -> tuple[float, ...]:
        return c.total_usd, c.service.latency_s, c.service.first_s or 0.0, c.loss.worst

    found: list[Candidate] = []
    for candidate in ranked:
        mine = measures(candidate)
        by = next(
            (
                other.label
                for other in ranked
                if other is not candidate
                and all(a <= b for a, b in zip(measures(other), mine, strict=True))
                and measures(other) != mine
            ),
            "",
        )
        found.append(replace(candidate, dominated_by=by))
    return found


def _break_even(candidate: Candidate, baseline: Candidate) -> BreakEven:
    saved = baseline.usd_per_mtok - candidate.usd_per_mtok
    tokens = candidate.making_usd / saved * MILLION if saved > 0 else None
    days = None
    if tokens is not None:
        a_day = candidate.service.units / (candidate.service.hours / 24)
        days = tokens / a_day
    return BreakEven(candidate.label, candidate.making_usd, saved, tokens, days)


def _reasons(
    kind: str, best: Candidate, second: Candidate | None, baseline: Candidate | None
) -> tuple[str, ...]:
    unit = UNITS[kind]
    found: list[str] = []
    service = best.service
    if baseline is not None and baseline is not best:
        base = baseline.service
        part = "each replica"
        if service.replica_devices != base.replica_devices:
            part += f" takes {service.replica_devices} instead of {base.replica_devices} and"
        found.append(
            f"{service.devices} devices instead of {base.devices}: {part} does "
            f"{service.rate_per_s:,.0f} {unit}s a second instead of {base.rate_per_s:,.0f}."
        )
        found.append(
            f"Weights take {format_bytes(best.effects.after.weights_bytes)} instead of "
            f"{format_bytes(best.effects.before.weights_bytes)}; a {LATENCIES[kind]} takes "
            f"{format_duration(service.latency_s)} instead of {format_duration(base.latency_s)}."
        )
    if second is not None:
        more = second.total_usd - best.total_usd
        found.append(
            f"The next option, {second.label}, costs {format_usd(more)} more "
            f"({second.service.devices} devices; quality: {second.loss.text})."
        )
    if not best.loss.known:
        found.append("Its effect on quality is unknown: nothing published is on record.")
    return tuple(found)


def _notes(best: Candidate, scenario: CompressionScenario) -> tuple[str, ...]:
    found = [*best.effects.notes, *(f"{run.what}: {run.note}" for run in best.runs)]
    found.append(
        "teachers and calibration run forward with their layers divided over devices without loss"
    )
    if scenario.limits.quality_loss is None:
        found.append("no limit of quality is stated: the cheapest is called best whatever it loses")
    return tuple(dict.fromkeys((*found, *best.price.warnings)))
