"""The chosen plan of a training run, as those who write launch files need it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

from costsim.architectures.architecture import Architecture
from costsim.planning.launch import checkpoint_of
from costsim.planning.plans import Candidate, Plan
from costsim.planning.workloads.training.run import TrainingRun
from costsim.training.strategy import AXES, Strategy

_COUNTED = ("tokens", "samples", "dataset_samples")  # numbers without a unit


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training run as it is launched.

    Attributes:
        title: of the plan.
        named: the model as the scenario names it; "" where it describes one.
        checkpoint: repository of its configuration and tokenizer, or else its name.
        passes: micro-batches of a data-parallel rank in a step.
        per_node: devices that a node has, or as many as there are.
        scenario: that plans the same run again, its choices fixed.
    """

    title: str
    model: Architecture
    named: str
    checkpoint: str
    strategy: Strategy
    precision: str
    optimizer: str
    software: str
    sequence: int
    global_batch: int
    passes: int
    steps: int
    days: float
    nodes: int
    per_node: int
    counts: str
    adapter: Mapping[str, Any] | None
    scenario: Mapping[str, Any]

    @property
    def devices(self) -> int:
        """All of them."""
        return self.strategy.devices


def recipe_of(plan: Plan[Any, Any], written: Mapping[str, Any]) -> Recipe:
    """Return the best of a training plan as it is launched; `written` is its scenario as given."""
    best = cast("Candidate[TrainingRun]", plan.best)
    run, job = best.run, best.run.job
    strategy = run.strategy
    scenario = _fixed(plan, best, written)
    model = scenario["model"]
    per_node = min(best.system.devices_per_node, strategy.devices)
    return Recipe(
        title=plan.name,
        model=best.option.model,
        named=model if isinstance(model, str) else "",
        checkpoint=checkpoint_of(best.option.compression.before, model),
        strategy=strategy,
        precision=job.precision.name,
        optimizer=job.optimizer,
        software=job.software.name,
        sequence=job.sequence,
        global_batch=job.global_batch,
        passes=max(1, job.global_batch // (strategy.micro_batch * strategy.dp)),
        steps=math.ceil(run.steps),
        days=best.value("days"),
        nodes=math.ceil(strategy.devices / per_node),
        per_node=per_node,
        counts=job.counts,
        adapter=scenario["workload"].get("adapter"),
        scenario=scenario,
    )


def _fixed(
    plan: Plan[Any, Any], best: Candidate[TrainingRun], written: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the scenario with every choice as the best has it."""
    scenario = deepcopy(dict(written))
    names = best.option.compression.names
    if names:
        scenario["compression"] = [list(names)]
    else:
        scenario.pop("compression", None)
    run = best.run
    counted = {k: v for k, v in plan.scenario["workload"].items() if k in _COUNTED}
    scenario["workload"] |= {
        **counted,
        "precision": run.job.precision.name,
        "software": run.job.software.name,
        "optimizer": run.job.optimizer,
    }
    scenario["hardware"] |= {"system": best.system.id, "devices": run.strategy.devices}
    scenario["hardware"].pop("at_most", None)
    scenario["strategy"] = {
        name: value
        for name, value in run.strategy.to_dict().items()
        if AXES[name].says and name != "dp"  # what the devices leave
    }
    return scenario
