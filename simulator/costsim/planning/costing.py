"""Costing: what a strategy costs in time, money, energy and carbon under a scenario's prices."""

from __future__ import annotations

import math

import numpy as np

from costsim.costs.budget import Budget, training_budget
from costsim.costs.energy import carbon_t, energy_kwh
from costsim.planning.intervals import (
    memory_interval,
    sample_step_time_interval,
    step_time_interval,
)
from costsim.planning.plans import Candidate, Interval
from costsim.planning.resolving import Resolved
from costsim.planning.scenario import Scenario
from costsim.training.evaluate import Evaluation
from costsim.training.goodput import Goodput, checkpoint_bytes, goodput, reliability
from costsim.training.job import Job
from costsim.training.memory import MEMORY_PARTS

_DAY_S = 86_400


class Costing:
    """Turns rows of an evaluation into candidates, all under the same prices and site."""

    def __init__(self, scenario: Scenario, resolved: Resolved) -> None:
        self.scenario, self.resolved = scenario, resolved
        self.power_w = resolved.power_w
        self._checkpoint_bytes = checkpoint_bytes(resolved.job)
        self.peak_flops_per_s = resolved.system.accelerator.peak_flops_per_s(
            resolved.job.precision.peak_dtype
        )

    def steps(self) -> int:
        """Return optimizer steps of the run; the last one may be part full."""
        return math.ceil(self.scenario.workload.steps)

    def goodput(self, evaluation: Evaluation, row: int) -> Goodput:
        """Return what interruptions leave of the time of a strategy."""
        failures = self.scenario.failures
        devices = float(evaluation.strategies.devices[row])
        rates = reliability(
            self._checkpoint_bytes / devices,
            device_mtbf_s=failures.device_mtbf,
            restart_s=failures.restart,
            checkpoint_s=failures.checkpoint,
        )
        return goodput(devices, rates)

    def wall_s(self, evaluation: Evaluation, row: int) -> float:
        """Return the wall time of the whole run, lost time included."""
        useful = float(evaluation.step_time_s[row]) * self.steps()
        return useful / self.goodput(evaluation, row).ratio

    def candidate(self, label: str, job: Job, evaluation: Evaluation, row: int) -> Candidate:
        """Return everything that one strategy of `job` costs."""
        strategy = evaluation.strategies.row(row)
        devices, steps = strategy.devices, self.steps()
        kept = self.goodput(evaluation, row)
        step_s = float(evaluation.step_time_s[row])
        if job.counts == "samples":
            fast, slow = sample_step_time_interval(step_s, job.software.name)
        else:
            host_ratio = float(evaluation.time_parts_s["host"][row]) / step_s
            fast, slow = step_time_interval(
                step_s,
                job.system,
                devices,
                host_ratio,
                mixture=job.routes,
                within=job.within,
            )

        def run(seconds: float) -> dict[str, float]:
            days = seconds * steps / kept.ratio / _DAY_S
            hours = days * 24 * devices
            peak = self.peak_flops_per_s * devices
            useful = evaluation.model_flops / seconds / peak
            executed = (evaluation.model_flops + float(evaluation.recompute_flops[row])) / seconds
            return {
                "step_time_s": seconds,
                "days": days,
                "device_hours": hours,
                "mfu_ratio": useful,
                "hfu_ratio": executed / peak,
                f"{job.counts}_per_s": self.scenario.workload.counted_per_step / seconds,
            }

        central, low, high = run(step_s), run(fast), run(slow)
        energies = {
            name: energy_kwh(case["device_hours"], self.power_w, self.resolved.pue)
            for name, case in (("value", central), ("low", low), ("high", high))
        }
        carbons = {name: carbon_t(energy, self.resolved.grid) for name, energy in energies.items()}
        memory_bytes = float(evaluation.memory_bytes[row])
        figures = {
            name: Interval(central[name], *sorted((low[name], high[name]))) for name in central
        }
        budget_usd = self._budget(central["device_hours"], kept.ratio, "").usd
        figures["cost_usd"] = Interval(
            budget_usd,
            self._budget(low["device_hours"], kept.ratio, "").usd
            * self.resolved.price.low_usd_per_device_hour
            / self.resolved.price.usd_per_device_hour,
            self._budget(high["device_hours"], kept.ratio, "").usd
            * self.resolved.price.high_usd_per_device_hour
            / self.resolved.price.usd_per_device_hour,
        )
        figures["energy_kwh"] = Interval(
            energies["value"].value, energies["low"].low, energies["high"].high
        )
        figures["co2e_t"] = Interval(
            carbons["value"].value, carbons["low"].low, carbons["high"].high
        )
        figures["memory_bytes_per_device"] = Interval(memory_bytes, *memory_interval(memory_bytes))
        return Candidate(
            label=label,
            job=job,
            strategy=strategy,
            devices=devices,
            steps=steps,
            figures=figures,
            useful_days=step_s * steps / _DAY_S,
            time_parts_s={n: float(c[row]) for n, c in evaluation.time_parts_s.items()},
            memory_parts_bytes=_stage_memory(evaluation, row, strategy.pp),
            sent_bytes={n: float(c[row]) for n, c in evaluation.sent_bytes.items()},
            goodput=kept,
        )

    def budget(self, candidate: Candidate) -> Budget:
        """Return the budget tree of a candidate."""
        return self._budget(
            candidate.value("device_hours"), candidate.goodput.ratio, candidate.goodput.note
        )

    def _budget(self, paid_hours: float, ratio: float, note: str) -> Budget:
        return training_budget(
            paid_hours * ratio,
            self.resolved.price.price,
            goodput_ratio=ratio,
            goodput_note=note,
            experiments_ratio=self.scenario.experiments,
        )


def _stage_memory(
    evaluation: Evaluation, row: int, pp: int
) -> tuple[tuple[str, dict[str, float]], ...]:
    """Return the memory of each distinct stage by part, first stage first."""
    many, position = evaluation.stages.many[row], evaluation.stages.position[row]
    found: list[tuple[str, dict[str, float]]] = []
    for kind in np.argsort(position + np.where(many > 0, 0, np.inf)):
        if many[kind] == 0:
            continue
        first = int(position[kind]) + 1
        name = "every device" if pp == 1 else f"stage {first} of {pp}"
        if many[kind] > 1:
            name += f" (and {int(many[kind]) - 1} alike)"
        parts = {part: float(evaluation.memory.parts[part][row, kind]) for part in MEMORY_PARTS}
        found.append((name, parts))
    return tuple(found)
