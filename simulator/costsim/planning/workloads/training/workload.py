"""Training as a kind of workload: jobs of options, precisions and software, searched and costed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, cast

import numpy as np

from costsim.architectures.architecture import Architecture
from costsim.architectures.division import divisors
from costsim.architectures.pictures import with_image
from costsim.compression.adapters import Adapt
from costsim.compression.description import with_pass
from costsim.compression.making import in_training
from costsim.compression.scalar_head import with_scalar_head
from costsim.compression.steps import AdaptStep, QuantizeStep
from costsim.documents import Document
from costsim.errors import InfeasiblePlanError, Problem, SpecError
from costsim.hardware import System
from costsim.hardware.kernels import load_kernel_model
from costsim.planning.lookup import Lookup
from costsim.planning.making import Maker
from costsim.planning.options import Option
from costsim.planning.plans import Candidate
from costsim.planning.scenario import Scenario
from costsim.planning.strategies import WORTH_A_LOOK, Search, describe, pareto, reserves_of, search
from costsim.planning.study import Place, Study
from costsim.planning.workload import Candidates
from costsim.planning.workloads.training.costing import Costing, states_bytes
from costsim.planning.workloads.training.counting import check_counted, check_counted_once
from costsim.planning.workloads.training.divisions import note_divisions, note_drives
from costsim.planning.workloads.training.methods import companions_of, note_method
from costsim.planning.workloads.training.renting import spot_notes
from costsim.planning.workloads.training.rollouts import (
    asleep_bytes,
    awake_bytes,
    note_rollouts,
)
from costsim.planning.workloads.training.run import Space, TrainingRun
from costsim.planning.workloads.training.samples import (
    check_text,
    input_of,
    left_out,
    profile_of,
    sequence_of,
    within_context,
)
from costsim.planning.workloads.training.spec import (
    Adapter,
    Comparison,
    SampleTraining,
    StrategyChoices,
    Training,
    TrainingScenario,
)
from costsim.stacks import Stack, load_stack
from costsim.stacks.catalog import PLAIN, changed
from costsim.training.companions import PAIRED
from costsim.training.job import Job
from costsim.training.optimizers import state_bytes_per_parameter
from costsim.training.precision import Precision, precision
from costsim.training.software import Software
from costsim.training.space import MAX_MICRO_BATCH, Choices, limits_of_job
from costsim.units import format_bytes, format_duration

_ALTERNATIVES = 6  # that a plan lists besides the best and the compared


class TrainingWorkload:
    """Train a model on so many tokens or samples."""

    scenario_type: ClassVar[type[Scenario]] = TrainingScenario
    verb: ClassVar[str] = "training"

    @staticmethod
    def check(document: Document) -> None:
        """Raise where it is said twice how much is trained."""
        check_counted_once(document)

    @staticmethod
    def prepare(scenario: TrainingScenario, model: Architecture, lookup: Lookup) -> Architecture:
        """Return the model at the scenario's image size, with its adapters."""
        match scenario.workload:
            case Training() as work:
                if work.method == "reward":
                    model = with_scalar_head(model)
                if work.adapter is not None:
                    make = partial(adapted, model, work.adapter, work.precision[0])
                    return lookup.attempt(("workload", "adapter"), make) or model
                if work.trained is not None:
                    make = partial(in_part, model, work.trained)
                    return lookup.attempt(("workload", "trained"), make) or model
                return model
            case SampleTraining(image=image) if image is not None:
                resize = partial(with_image, model, image)
                return lookup.attempt(("workload", "image"), resize) or model
            case _:
                return model

    def __init__(self, study: Study, lookup: Lookup) -> None:
        self.study, self.maker = study, Maker(study)
        self.scenario = cast("TrainingScenario", study.scenario)
        work = self.scenario.workload
        check_counted(work, lookup)
        note_rollouts(work, lookup)
        note_method(work, lookup)
        note_drives(self.scenario, lookup)
        self.recipes: list[Precision] = []
        for index, name in enumerate(work.precision):
            recipe = lookup.attempt(("workload", "precision", index), partial(precision, name))
            self.recipes += [recipe] if recipe else []
        self.profiles: list[Software] = []
        for index, name in enumerate(work.software):
            where = ("workload", "software", index)
            profile = lookup.attempt(where, partial(profile_of, work, name))
            self.profiles += [profile] if profile else []
        self.stack: Stack | None = None
        if isinstance(work, Training) and (work.stack or work.stack_choices):
            named = lookup.attempt(("workload", "stack"), partial(load_stack, work.stack or PLAIN))
            if named is not None:
                choose = partial(changed, named, work.stack_choices)
                self.stack = lookup.attempt(("workload", "stack_choices"), choose)
        for index, choice in enumerate(self.scenario.compare):
            if choice.software is not None:
                where = ("compare", index, "software")
                lookup.attempt(where, partial(profile_of, work, choice.software))
        optimizer = partial(state_bytes_per_parameter, work.optimizer)
        lookup.attempt(("workload", "optimizer"), optimizer)
        self.systems = {one.named: self._system(one, lookup) for one in study.places if one}
        if self.scenario.hardware.devices == "fewest" and self.scenario.limits.deadline is None:
            lookup.note(
                "`devices: fewest` needs a deadline to meet",
                ("hardware", "devices"),
                "add `limits: {deadline: 30 days}`, or state a number of devices",
            )
        self.sequence = self._sequence(lookup) if study.options else None
        if study.options and not lookup.problems:
            for option in study.options:
                job = self.job(option, study.places[0], self.recipes[0], self.profiles[0])
                note_divisions(self.scenario, limits_of_job(job), lookup)

    def _system(self, place: Place, lookup: Lookup) -> System:
        """Return the system of a place as wide as the scenario says."""
        ratio, system = self.scenario.hardware.oversubscription, place.system
        if ratio > 1:
            narrow = partial(system.oversubscribed, ratio)
            system = lookup.attempt(("hardware", "oversubscription"), narrow) or system
        for recipe in self.recipes:
            for dtype in dict.fromkeys((recipe.peak_dtype, recipe.other_dtype)):
                peak = partial(system.accelerator.peak_flops_per_s, dtype)
                lookup.attempt(("workload", "precision"), peak)
        return system

    def _sequence(self, lookup: Lookup) -> int | None:
        """Return the tokens of a sample, after checking that the model can be trained so."""
        work, model = self.scenario.workload, self.study.model
        if isinstance(work, SampleTraining):
            measure = partial(sequence_of, model, work)
            return lookup.attempt(("workload", "sequence"), measure)
        lookup.attempt(("model",), partial(check_text, model))
        if work.padded_document and work.masked_document:
            lookup.note(
                "documents are padded to a sequence or packed into it, not both",
                ("workload", "masked_document"),
                "state `padded_document` or `masked_document`",
                key=True,
            )
        balance = partial(check_imbalance, model, work.expert_imbalance)
        lookup.attempt(("workload", "expert_imbalance"), balance)
        context = partial(within_context, model, work.sequence)
        return lookup.attempt(("workload", "sequence"), context)

    @property
    def unit(self) -> str:
        """What it counts."""
        return self.scenario.workload.counts[:-1]

    def job(self, option: Option, place: Place, recipe: Precision, profile: Software) -> Job:
        """Return what a strategy is asked to carry out."""
        work = self.scenario.workload
        model, frozen = in_training(option.model)
        model = option.model if frozen else model  # adapters are trained as they are held
        tokens = work if isinstance(work, Training) else None
        beside = companions_of(tokens, model) if tokens else None
        job = Job(
            model=model,
            system=self.systems[place.named],
            global_batch=work.global_batch,
            sequence=self.sequence or 1,
            precision=recipe,
            optimizer=work.optimizer,
            software=profile,
            stack=self.stack,
            frozen=frozen or (tokens is not None and bool(tokens.adapter or tokens.trained)),
            documents=_documents(work),
            beside_bytes=awake_bytes(tokens, place.system) if tokens else 0.0,
            reference_bytes=beside.frozen_bytes if beside else 0.0,
            values=beside.values if beside else 0,
            nvme_bytes_per_s=self.scenario.hardware.nvme,
            paired=tokens is not None and tokens.method in PAIRED,
            imbalance_ratio=tokens.expert_imbalance if tokens else 1.0,
            attention_flops=(tokens.mfu if tokens else None) or "full",
            counts=work.counts,
            input=None if isinstance(work, Training) else input_of(model, work, profile.name),
        )
        return job if self.study.overlay is None else self.study.overlay.apply(job)

    def candidates(self, option: Option, place: Place) -> Candidates:
        """Return the fastest strategy in each precision and software, cheapest first.

        Raises:
            InfeasiblePlanError: where no strategy fits; names the nearest fix.
        """
        made = self.maker.runs(option)
        ways: list[tuple[Candidate[TrainingRun], Search, Costing]] = []
        errors: list[InfeasiblePlanError] = []
        for recipe in self.recipes:
            for profile in self.profiles:
                job = self.job(option, place, recipe, profile)
                costing = Costing(self.study, option, place, job, made)
                label = self._label(option, place, recipe, profile)
                try:
                    ways += self._ways(label, job, costing)
                except InfeasiblePlanError as error:
                    errors.append(error)
        if not ways:
            raise errors[0]
        ways.sort(key=lambda way: (way[0].value("cost_usd"), way[0].value("step_time_s")))
        rejected: dict[str, int] = {}
        searches = list({id(found): found for _, found, _ in ways}.values())
        for found in searches:
            for reason, count in found.rejected.items():
                rejected[reason] = rejected.get(reason, 0) + count
        return Candidates(
            ways=tuple(best for best, *_ in ways),
            searched=sum(found.searched for found in searches),
            feasible=sum(len(found.order) for found in searches),
            rejected=rejected,
            space={way[0].label: way[1:] for way in ways},
        )

    def _ways(
        self, label: str, job: Job, costing: Costing
    ) -> list[tuple[Candidate[TrainingRun], Search, Costing]]:
        """Return the fastest strategy, or what may have least of what the scenario asks for.

        At each number of devices the fastest strategy also has least cost, energy and emissions;
        others may hold less memory.
        """
        devices = self.scenario.hardware.devices
        if self.scenario.objective is None or not isinstance(devices, tuple):
            found = self._search(job, costing)
            best = costing.candidate(label, job, found.evaluation, int(found.order[0]))
            return [(best, found, costing)]
        ways: list[tuple[Candidate[TrainingRun], Search, Costing]] = []
        errors: list[InfeasiblePlanError] = []
        for count in devices:
            try:
                found = self._search(job, costing, (count,))
            except InfeasiblePlanError as error:
                errors.append(error)
                continue
            first = int(found.order[0])
            many = f"{label}, {count:,} devices" if len(devices) > 1 else label
            for row in (first, *_alternatives(found, first)):
                strategy = describe(found.evaluation.strategies.row(row))
                named = many if row == first else f"{many}, {strategy}"
                ways.append((costing.candidate(named, job, found.evaluation, row), found, costing))
        if not ways:
            raise errors[0]
        return ways

    def _label(self, option: Option, place: Place, recipe: Precision, profile: Software) -> str:
        """Return "best" where there is nothing else, or what tells it from the others."""
        said = [option.name] if len(self.study.options) > 1 else []
        said += [recipe.name] if len(self.recipes) > 1 else []
        said += [profile.name] if len(self.profiles) > 1 else []
        where = place.system.accelerator.name
        if not said:
            return where if len(self.study.places) > 1 else "best"
        return f"{', '.join(said)} on {where}"

    def refusal(self, option: Option, errors: Sequence[InfeasiblePlanError]) -> InfeasiblePlanError:
        """Return why nothing fits anywhere: all reasons where there are several."""
        del option
        problems = tuple(problem for error in errors for problem in error.problems)
        return errors[0] if len(errors) == 1 else InfeasiblePlanError(problems)

    def conclude(
        self, best: Candidate[Any], found: Candidates, all_ways: Sequence[Candidate[Any]]
    ) -> tuple[Space, tuple[Candidate[Any], ...], tuple[str, ...]]:
        """Return the space, what the scenario compares and the alternatives, and notes."""
        space = cast("dict[str, tuple[Search, Costing]]", found.space)
        search_, costing = space[best.label]
        job, row = best.run.job, int(search_.order[0])
        beside = [self._compared(one, job, costing, search_) for one in self.scenario.compare]
        beside += [
            costing.candidate(f"option {index}", job, search_.evaluation, row)
            for index, row in enumerate(_alternatives(search_, row), start=1)
        ]
        return Space(search_), (*beside, *all_ways), self._notes(best, costing)

    def sources(self, best: Candidate[Any]) -> dict[str, str]:
        """Return where times and memory come from."""
        job = best.run.job
        capacity = job.system.accelerator.memory_usable_bytes
        capacity *= 1 - (self.scenario.hardware.memory_reserve or 0.0)
        return {
            "kernels": load_kernel_model(job.system.accelerator).remark,
            "software": self._stack(job),
            "capacity": f"capacity: {format_bytes(capacity)}",
        }

    def _stack(self, job: Job) -> str:
        """Return what software is assumed, how far it is tuned if not as its own habits are."""
        software, effort = job.software, getattr(self.scenario.workload, "effort", "stack")
        as_far = "" if effort == "stack" else f", {effort.replace('_', ' ')}"
        return f"software profile `{software.name}`{as_far}: {software.source}"

    def amount(self, candidate: Candidate[Any]) -> float:
        """Return the tokens or samples of the whole run."""
        del candidate
        work = self.scenario.workload
        return work.tokens if isinstance(work, Training) else work.total_samples

    def latencies(self, candidate: Candidate[Any]) -> tuple[float, ...]:
        """Return the time of a step."""
        return (candidate.value("step_time_s"),)

    def _search(self, job: Job, costing: Costing, devices: tuple[int, ...] = ()) -> Search:
        """Return what fits; where no reserve is stated, what fits surely, or else at all.

        On `devices`, or on what the scenario says where none are given.
        """
        first, *others = reserves_of(self.scenario.hardware.memory_reserve, job)
        try:
            return self._searched(job, costing, first, devices)
        except InfeasiblePlanError:
            if not others:
                raise
            return self._searched(job, costing, others[0], devices)

    def _searched(
        self, job: Job, costing: Costing, reserve: float, counts: tuple[int, ...]
    ) -> Search:
        choices = choices_of(self.scenario.strategy, job)
        hardware = self.scenario.hardware
        devices = counts or hardware.devices
        if isinstance(devices, tuple):
            return self._woken(search(job, devices, choices, reserve), job)
        deadline = self.scenario.limits.deadline or math.inf
        best: Search | None = None
        for count in self._ladder(job, deadline):
            try:
                found = self._woken(search(job, [count], choices, reserve), job)
            except InfeasiblePlanError:
                continue
            best = found
            if costing.wall_s(found.evaluation, int(found.order[0])) <= deadline:
                return found
        if best is not None:
            return best
        return self._woken(search(job, [hardware.at_most], choices, reserve), job)

    def _woken(self, found: Search, job: Job) -> Search:
        """Return strategies whose states leave room for the engine that wakes beside them."""
        engine = asleep_bytes(self.scenario.workload, job.system)
        if not engine:
            return found
        room = found.capacity_bytes - engine
        order = found.order[states_bytes(found.evaluation)[found.order] <= room]
        if not len(order):
            raise InfeasiblePlanError(
                f"states of {job.model.name} leave no room for the engine that wakes beside them: "
                f"{format_bytes(max(room, 0.0))} are not taken by it",
                hint="give the engine less (`engine_memory`), shard more (`zero: 3`), or use more "
                "devices",
            )
        return replace(found, order=order)

    def _ladder(self, job: Job, deadline_s: float) -> list[int]:
        """Numbers of devices to try, ascending: parts of a node that divide it, then whole nodes.

        Those whose peak rate cannot meet the deadline are left out.
        """
        peak = job.system.accelerator.peak_flops_per_s(job.precision.peak_dtype)
        flops = float(job.model.training_flops(1, job.sequence)) * job.global_batch
        least = flops * self.scenario.workload.steps / peak / deadline_s
        most = self.scenario.hardware.at_most
        return sorted(r for r in rungs(job.system.devices_per_node) if least <= r <= most)

    def _compared(
        self, choice: Comparison, job: Job, costing: Costing, found: Search
    ) -> Candidate[TrainingRun]:
        """Return the fastest strategy that matches, in its own software where it names one."""
        if choice.software is not None:
            profile = profile_of(self.scenario.workload, choice.software)
            job = self.job(costing.option, costing.place, job.precision, profile)
        counts = sorted({int(c) for c in found.evaluation.strategies.devices})
        try:
            inner = search(job, counts, choices_of(choice, job))
        except InfeasiblePlanError as error:
            first = error.problems[0]
            message = f"compared strategy `{choice.name}`: {first.message}"
            raise InfeasiblePlanError(Problem(message, first.location, first.hint)) from None
        return costing.candidate(choice.name, job, inner.evaluation, int(inner.order[0]))

    def _notes(self, best: Candidate[TrainingRun], costing: Costing) -> tuple[str, ...]:
        job = best.run.job
        calibration = self.scenario.calibration
        return (
            load_kernel_model(job.system.accelerator).remark,
            self._stack(job),
            *([f"constants of steps: {calibration}"] if calibration else []),
            f"price: {costing.place.price.rule}",
            *spot_notes(best, self.scenario.failures, self.study.lists),
            f"power: {costing.place.power_w.basis}",
            *self._input_notes(job),
            *left_out(job.model),
        )

    def _input_notes(self, job: Job) -> tuple[str, ...]:
        """Say how fast samples are taken to come, where a step may wait for them."""
        work, pipeline = self.scenario.workload, job.input
        if not isinstance(work, SampleTraining):
            return ()
        if pipeline is None:
            return ("input: samples are taken to be there when devices ask for them",)
        stated = work.input.sample is not None or work.input.node_sample is not None
        basis = "as stated" if stated else f"as measured with `{job.software.name}`"
        return (
            f"input, {basis}: {format_duration(pipeline.device_sample_s)} a sample by the loader "
            f"of a device, {format_duration(pipeline.node_sample_s)} by all of a node",
        )


def rungs(node: int) -> set[int]:
    """Return the numbers of devices that are tried where none is stated."""
    whole = {node * multiple << power for power in range(16) for multiple in (1, 3, 5, 7)}
    return whole | set(divisors(node))


def choices_of(stated: StrategyChoices, job: Job) -> Choices:
    """Return what each axis of a strategy may be: what is stated, else all that the job may use."""
    axes = {name: getattr(stated, name) for name in StrategyChoices.model_fields}
    if axes["recompute"] is None and job.software.attention != "unfused":
        # Fused attention keeps no scores, which is all that selective recomputation drops.
        axes["recompute"] = ("none", "full")
    if job.paired:
        sizes = axes["micro_batch"] or range(2, MAX_MICRO_BATCH + 1)
        axes["micro_batch"] = tuple(size for size in sizes if size % 2 == 0)
    return Choices(**axes)


def _alternatives(found: Search, best: int) -> list[int]:
    """Return what else is worth a look, fastest first.

    The fastest of each other division of the devices, then of the Pareto set of time and memory
    those within `WORTH_A_LOOK` of the best time, evenly spread.
    """
    evaluation, order = found.evaluation, found.order
    step_s = evaluation.step_time_s
    near = order[step_s[order] <= WORTH_A_LOOK * step_s[best]]
    chosen: list[int] = []
    seen = {evaluation.strategies.row(best).division}
    for row in near:
        kind = evaluation.strategies.row(int(row)).division
        if kind not in seen:
            seen.add(kind)
            chosen.append(int(row))
        if len(chosen) == _ALTERNATIVES // 2:
            break
    front = near[pareto(step_s[near], evaluation.memory_bytes[near])]
    rest = [int(row) for row in front if int(row) not in (best, *chosen)]
    spread = np.linspace(0, len(rest) - 1, min(len(rest), _ALTERNATIVES // 2)).astype(int)
    chosen += [rest[i] for i in spread]
    return sorted(chosen, key=lambda row: float(step_s[row]))


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


def in_part(model: Architecture, trained: tuple[str, ...]) -> Architecture:
    """Return `model` frozen but for some parts."""
    made = with_pass(model, Adapt(0, (), trained=trained))
    made.blocks()  # a part that the model lacks shows when they are built
    return made


def adapted(model: Architecture, adapter: Adapter, dtype: str) -> Architecture:
    """Return `model` frozen, its weights stored as asked for, with adapters beside them."""
    if adapter.weights is not None:
        model = QuantizeStep(kind="quantize", format=adapter.weights).apply(model, dtype)
    step = AdaptStep(kind="adapt", rank=adapter.rank, targets=adapter.targets)
    made = step.apply(model, dtype)
    made.blocks()  # a target that the model lacks shows when they are built
    return made
