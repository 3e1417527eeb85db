"""Ways to train: the fastest strategy at each number of devices, costed for any amount."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from costsim.errors import InfeasiblePlanError
from costsim.planning.making import Made
from costsim.planning.options import Option
from costsim.planning.plans import Candidate
from costsim.planning.strategies import Search, reserves_of, search
from costsim.planning.study import Place, Study
from costsim.planning.workloads.training.costing import Costing
from costsim.planning.workloads.training.run import TrainingRun
from costsim.planning.workloads.training.spec import SampleTraining, Training, TrainingScenario
from costsim.planning.workloads.training.workload import TrainingWorkload, choices_of, rungs
from costsim.training.evaluate import Evaluation
from costsim.training.job import Job
from costsim.training.space import Choices

_CHUNK = 256  # numbers of devices that are evaluated at once, which bounds memory


@dataclass(frozen=True, slots=True)
class Way:
    """One strategy with all that it takes to cost it.

    At a given number of devices money, energy and emissions grow with time, so that the fastest
    strategy is also the cheapest: no other one of that number needs to be looked at.
    """

    study: Study
    option: Option
    place: Place
    job: Job
    made: tuple[Made, ...]
    evaluation: Evaluation
    row: int

    @property
    def devices(self) -> int:
        """Accelerators that it holds."""
        return int(self.evaluation.strategies.devices[self.row])

    def candidate(self, steps: int | None = None) -> Candidate[TrainingRun]:
        """Return what it costs, for so many optimizer steps or for what the scenario states."""
        study = self.study if steps is None else trained_for(self.study, steps)
        costing = Costing(study, self.option, self.place, self.job, self.made)
        return costing.candidate("best", self.job, self.evaluation, self.row)

    @property
    def settings(self) -> tuple[str, ...]:
        """The settings with which a plan of the scenario has this way alone."""
        pinned = [
            f"hardware.devices={self.devices}",
            f"hardware.system={self.place.named}",
            f"workload.precision={self.job.precision.name}",
            f"workload.software={self.job.software.name}",
        ]
        if getattr(self.study.scenario, "compare", ()):
            pinned.append("compare=[]")  # which need not divide over these devices
        if len(self.study.options) > 1:
            names = list(self.option.compression.names) or ["none"]
            pinned.append(f"compression={json.dumps([names])}")
        return tuple(pinned)


def trained_for(study: Study, steps: int) -> Study:
    """Return a study of so many optimizer steps."""
    scenario = study.scenario
    assert isinstance(scenario, TrainingScenario)
    work = scenario.workload
    amount = steps * work.counted_per_step
    if isinstance(work, Training):
        changed: Training | SampleTraining = work.model_copy(update={"tokens": amount})
    else:
        stated = {"samples": amount, "epochs": None, "dataset_samples": None}
        changed = work.model_copy(update=stated)
    return replace(study, scenario=scenario.model_copy(update={"workload": changed}))


def device_counts(study: Study) -> tuple[int, ...]:
    """Return the numbers of devices that a question may choose from.

    Those that the scenario lists where there are several; else those that `devices: fewest` tries,
    up to `at_most`: parts that divide a node, and 1, 3, 5 or 7 times a power of two of nodes.
    """
    scenario = study.scenario
    assert isinstance(scenario, TrainingScenario)
    devices, most = scenario.hardware.devices, scenario.hardware.at_most
    if isinstance(devices, tuple) and len(devices) > 1:
        return tuple(sorted(devices))
    found = {rung for place in study.places for rung in rungs(place.system.devices_per_node)}
    return tuple(sorted(count for count in found if count <= most))


def ways_of(workload: TrainingWorkload, counts: Sequence[int]) -> Iterator[Way]:
    """Yield the fastest strategy at each number of devices, in every place, precision, software.

    Numbers over which nothing divides or in which nothing fits are left out, and so are options
    beyond the scenario's limit of quality.
    """
    scenario, study = workload.scenario, workload.study
    limit, stated = scenario.limits.quality_loss, scenario.hardware.memory_reserve
    for option in study.options:
        if limit is not None and option.loss.worst > limit:
            continue
        made = workload.maker.runs(option)
        for place in study.places:
            for recipe in workload.recipes:
                for profile in workload.profiles:
                    job = workload.job(option, place, recipe, profile)
                    choices = choices_of(scenario.strategy, job)
                    reserves = reserves_of(stated, job)
                    for start in range(0, len(counts), _CHUNK):
                        found = _first(job, counts[start : start + _CHUNK], choices, reserves)
                        if found is None:
                            continue
                        number = found.evaluation.strategies.devices[found.order]
                        for first in np.unique(number, return_index=True)[1]:
                            row = int(found.order[first])
                            yield Way(study, option, place, job, made, found.evaluation, row)


def _first(
    job: Job, counts: Sequence[int], choices: Choices, reserves: Sequence[float]
) -> Search | None:
    """Return what fits with the first reserve that anything fits with; None where nothing does."""
    for reserve in reserves:
        try:
            return search(job, counts, choices, reserve)
        except InfeasiblePlanError:
            continue
    return None
