"""Costing: what a strategy costs in time, money, energy and carbon, and how figures come about."""

from __future__ import annotations

import math
from typing import cast

import numpy as np

from costsim.costs.budget import Budget, budget, compute_line, leaves
from costsim.costs.energy import carbon_t, energy_kwh
from costsim.costs.project import Project, Saved, contingency, project_lines
from costsim.costs.uncertainty import Distribution, Factor, propagate
from costsim.planning.figures import Figure, Mover, Term
from costsim.planning.footprints import footprint_figures
from costsim.planning.intervals import (
    memory_interval,
    sample_step_time_interval,
    step_time_interval,
)
from costsim.planning.making import Made, making_line
from costsim.planning.options import Option
from costsim.planning.plans import Candidate
from costsim.planning.study import Place, Study
from costsim.planning.workloads.training.methods import scored_s
from costsim.planning.workloads.training.parts import MEMORY_MEANINGS, PHASE_MEANINGS, TIME_MEANINGS
from costsim.planning.workloads.training.rollouts import asleep_bytes, generated_s
from costsim.planning.workloads.training.run import TrainingRun
from costsim.planning.workloads.training.spec import Training, TrainingScenario
from costsim.training.evaluate import Evaluation
from costsim.training.goodput import Goodput, checkpoint_bytes, goodput, reliability
from costsim.training.job import Job
from costsim.training.memory import MEMORY_PARTS
from costsim.training.preemption import Replacement, with_replacement

_DAY_S = 86_400


class Costing:
    """Turns rows of an evaluation into candidates of one option at one place."""

    def __init__(
        self, study: Study, option: Option, place: Place, job: Job, made: tuple[Made, ...]
    ) -> None:
        self.study, self.option, self.place, self.made = study, option, place, made
        self.scenario = cast("TrainingScenario", study.scenario)
        self._phases: dict[int, dict[str, float]] = {}
        self.values = job.values
        self.making = making_line(made, study.maker.price)
        self._checkpoint_bytes = checkpoint_bytes(job)
        self._weights_bytes = float(job.model.parameters) * job.precision.weight_bytes
        self.peak_flops_per_s = place.system.accelerator.peak_flops_per_s(job.precision.peak_dtype)

    def phases(self, evaluation: Evaluation, row: int) -> dict[str, float]:
        """Return seconds of a step before it trains, by part; none where it only trains."""
        work, devices = self.scenario.workload, int(evaluation.strategies.devices[row])
        if not isinstance(work, Training) or (work.method or "sft") == "sft":
            return {}
        if devices not in self._phases:
            asked = (work, self.option.model, self.place.system, devices)
            found = {"generate": generated_s(*asked)} if work.rollouts else {}
            self._phases[devices] = found | {"score": scored_s(*asked)}
        trained = {"value": self.values * float(evaluation.step_time_s[row])} if self.values else {}
        return self._phases[devices] | trained

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
            spot_devices=(each := self._spot_devices()),
            preemption_s=failures.preemption,
        )
        if each is not None:
            then = Replacement(each, failures.replacement or 0.0, bool(failures.elastic))
            replica = devices / float(evaluation.strategies.dp[row])
            rates = with_replacement(rates, then, devices, replica)
        return goodput(devices, rates)

    def _spot_devices(self) -> int | None:
        """Return the devices of an instance that may be taken back; None where none is."""
        listed = self.place.price.price
        if self.scenario.failures.preemption is None and listed.term != "spot":
            return None
        return listed.devices if listed.instance_type else self.place.system.devices_per_node

    def wall_s(self, evaluation: Evaluation, row: int) -> float:
        """Return the wall time of the whole run, lost time included."""
        before_s = sum(self.phases(evaluation, row).values())
        useful = (float(evaluation.step_time_s[row]) + before_s) * self.steps()
        return useful / self.goodput(evaluation, row).ratio

    def candidate(
        self, label: str, job: Job, evaluation: Evaluation, row: int
    ) -> Candidate[TrainingRun]:
        """Return everything that one strategy of `job` costs."""
        strategy = evaluation.strategies.row(row)
        before = self.phases(evaluation, row)
        kept = self.goodput(evaluation, row)
        step_s = float(evaluation.step_time_s[row]) + sum(before.values())
        run = TrainingRun(
            job=job,
            strategy=strategy,
            steps=self.steps(),
            useful_days=step_s * self.steps() / _DAY_S,
            time_parts_s=before | {n: float(c[row]) for n, c in evaluation.time_parts_s.items()},
            memory_parts_bytes=_stage_memory(evaluation, row, strategy.pp),
            sent_bytes={n: float(c[row]) for n, c in evaluation.sent_bytes.items()},
            goodput=kept,
        )
        figures = self._times(run, evaluation, row, step_s)
        paid_hours = figures["device_hours"].value
        spent = self._budget(paid_hours, kept, strategy.devices)
        figures |= self._money(spent, figures["device_hours"], kept, strategy.devices)
        figures |= self._energy(figures["device_hours"])
        held = float(evaluation.memory_bytes[row])
        engine = asleep_bytes(self.scenario.workload, job.system)
        states = float(states_bytes(evaluation)[row]) if engine else 0.0
        figures["memory_bytes_per_device"] = _memory(run, held, states, engine)
        return Candidate(
            label=label,
            option=self.option,
            system=job.system.with_count(strategy.devices),
            devices=strategy.devices,
            figures=figures,
            run=run,
            price=self.place.price,
            budget=spent,
            made=self.made,
        )

    def _step_interval(self, run: TrainingRun, step_s: float) -> tuple[float, float]:
        job = run.job
        if job.counts == "samples":
            return sample_step_time_interval(step_s, job.software.name)
        host_ratio = run.time_parts_s["host"] / step_s
        return step_time_interval(
            step_s,
            job.system,
            run.strategy.devices,
            host_ratio,
            mixture=job.routes,
            software=job.software.name,
            within=job.within,
        )

    def _times(
        self, run: TrainingRun, evaluation: Evaluation, row: int, step_s: float
    ) -> dict[str, Figure]:
        """Return the figures that follow from the time of a step."""
        job, devices, steps, kept = run.job, run.strategy.devices, run.steps, run.goodput.ratio
        model_flops = float(evaluation.model_flops)
        executed_flops = model_flops + float(evaluation.recompute_flops[row])
        peak, mask = self.peak_flops_per_s, job.attention_flops
        counted = float(self.scenario.workload.counted_per_step)
        bounds = (step_s, *self._step_interval(run, step_s))

        def figure(unit: str, values: list[float], **more: object) -> Figure:
            low, high = sorted(values[1:])
            return Figure(values[0], unit, low, high, **more)  # pyright: ignore[reportArgumentType]

        parts = tuple(
            Term(name, seconds, "s", (PHASE_MEANINGS | TIME_MEANINGS)[name])
            for name, seconds in run.time_parts_s.items()
            if seconds
        )
        days = [s * steps / kept / _DAY_S for s in bounds]
        step, number = Term("step_time_s", step_s, "s"), Term("devices", float(devices))
        each = (Term("peak_flops_per_s", peak, "FLOP/s"), number, step)
        rate = f"{job.counts}_per_s"
        return {
            "step_time_s": figure(
                "s",
                list(bounds),
                meaning="seconds of one optimizer step",
                formula=" + ".join(part.name for part in parts),
                terms=parts,
                parts=parts,
                sources=("kernels", "software"),
            ),
            "days": figure(
                "days",
                days,
                meaning="wall time of the run, lost time included",
                formula="steps x step_time_s / goodput_ratio / 86400",
                terms=(Term("steps", float(steps)), step, Term("goodput_ratio", kept)),
                sources=(run.goodput.note, run.goodput.source),
            ),
            "device_hours": figure(
                "device-hours",
                [d * 24 * devices for d in days],
                meaning="accelerators times hours that they are held",
                formula="days x 24 x devices",
                terms=(Term("days", days[0]), number),
            ),
            "mfu_ratio": figure(
                "ratio",
                [model_flops / s / (peak * devices) for s in bounds],
                meaning=f"model FLOPs ({mask} mask, no recomputation) over what the peak could do",
                formula="step_flops / (step_time_s x devices x peak_flops_per_s)",
                terms=(Term("step_flops", model_flops, "FLOP"), *each),
                sources=("model", "hardware"),
            ),
            "hfu_ratio": figure(
                "ratio",
                [executed_flops / s / (peak * devices) for s in bounds],
                meaning="FLOPs with recomputation over what the peak could do",
                formula="executed_flops / (step_time_s x devices x peak_flops_per_s)",
                terms=(Term("executed_flops", executed_flops, "FLOP"), *each),
                sources=("model", "hardware"),
            ),
            rate: figure(
                f"{job.counts[:-1]}/s",
                [counted / s for s in bounds],
                meaning=f"{job.counts} a second, without lost time",
                formula=f"{job.counts}_per_step / step_time_s",
                terms=(Term(f"{job.counts}_per_step", counted), step),
            ),
        }

    def _money(
        self, spent: Budget, hours: Figure, kept: Goodput, devices: int
    ) -> dict[str, Figure]:
        """Return dollars; the interval joins those of time and of the market's prices."""
        price, making = self.place.price, self.making.usd if self.making else 0.0
        rate = price.usd_per_device_hour
        spread = self._spread(spent, hours)
        names = [line.name.lower().replace(" ", "_") for line in spent.lines]
        terms = tuple(
            Term(f"{name}_usd", line.usd, "usd", line.note)
            for name, line in zip(names, spent.lines, strict=True)
            if line.usd
        )
        return {
            "cost_usd": Figure(
                spent.usd,
                "usd",
                min(spread.p10, spent.usd),
                max(spread.p90, spent.usd),
                meaning="dollars of the run" + (", making the model included" if making else ""),
                formula=" + ".join(term.name for term in terms),
                terms=terms,
                parts=tuple(Term(line.name, line.usd, "usd", line.note) for line in spent.lines),
                movers=tuple(
                    Mover(one.name, one.low, one.high) for one in spread.contributors if one.swing
                ),
                sources=(price.rule, "price"),
            ),
            "usd_per_device_hour": Figure(
                rate,
                "usd",
                price.low_usd_per_device_hour,
                price.high_usd_per_device_hour,
                meaning="dollars of a device for an hour; the interval is that of the market",
                sources=(price.rule, "price"),
            ),
            "running_usd": Figure(
                spent.usd - making, "usd", meaning="dollars of training, without making the model"
            ),
            "making_usd": Figure(making, "usd", meaning="dollars of making the compressed model"),
        }

    def _spread(self, spent: Budget, hours: Figure) -> Distribution:
        """Return the distribution of the total: device-hours move with time and price."""
        price = self.place.price
        by_hour = sum(line.usd for line in leaves(spent.total) if line.unit == "device-hours")
        share = 1 + (self.scenario.project.contingency or 0.0)
        moving = min(by_hour * share, spent.usd)
        ends = sorted((hours.low or hours.value, hours.value, hours.high or hours.value))
        factors = (
            Factor("time", 1.0, ends[0] / hours.value, ends[2] / hours.value),
            Factor(
                "price",
                1.0,
                min(price.low_usd_per_device_hour / price.usd_per_device_hour, 1.0),
                max(price.high_usd_per_device_hour / price.usd_per_device_hour, 1.0),
            ),
        )
        fixed = spent.usd - moving
        return propagate(lambda at: moving * at["time"] * at["price"] + fixed, factors)

    def _energy(self, hours: Figure) -> dict[str, Figure]:
        """Return electricity and emissions; intervals join those of time, power, PUE and grid."""
        site, power_w = self.place.site, self.place.power_w
        pue, grid = site.pue, site.grid
        ends = (hours.low or 0.0, hours.high or 0.0)
        energy = energy_kwh(hours.value, power_w, pue)
        low, high = (energy_kwh(end, power_w, pue) for end in ends)
        carbon = carbon_t(energy, grid)
        return {
            "energy_kwh": Figure(
                energy.value,
                "kwh",
                low.low,
                high.high,
                meaning="electricity at the building's meter",
                formula="device_hours x power x pue / 1000",
                terms=(
                    Term("device_hours", hours.value, "device-hours"),
                    Term("power", power_w.value, "W"),
                    Term("pue", pue.value_ratio),
                ),
                sources=("power", "pue"),
            ),
            "co2e_t": Figure(
                carbon.value,
                "t",
                carbon_t(low, grid).low,
                carbon_t(high, grid).high,
                meaning="location-based emissions of that electricity",
                formula="energy_kwh x grid / 1e6",
                terms=(
                    Term("energy_kwh", energy.value, "kwh"),
                    Term("grid", grid.g_per_kwh, "g/kWh"),
                ),
                sources=("grid",),
            ),
            **footprint_figures(self.place, hours.value, energy),
        }

    def _budget(self, paid_hours: float, kept: Goodput, devices: int) -> Budget:
        """Return what is paid for: the devices of the run, and the project around it."""
        price, spec = self.place.price, self.scenario.project
        compute = compute_line(
            paid_hours * kept.ratio,
            price.price,
            goodput_ratio=kept.ratio,
            goodput_note=kept.note,
            idle_hours=paid_hours * (price.billed_devices(devices) / devices - 1),
        )
        project = Project(
            experiments_ratio=self.scenario.experiments,
            failed_runs_ratio=spec.failed_runs,
            evaluation_ratio=spec.evaluation,
            data_usd=spec.data,
            staff_usd=spec.staff,
            contingency_ratio=spec.contingency,
            checkpoints_kept=spec.checkpoints_kept,
        )
        saved = Saved(self._checkpoint_bytes, self._weights_bytes, paid_hours / devices / 24)
        lines = (compute, *project_lines(project, paid_hours, price.usd_per_device_hour, saved))
        if self.making:
            lines = (*lines, self.making)
        return budget("Training", (*lines, contingency(spec.contingency, lines)))


def states_bytes(evaluation: Evaluation) -> np.ndarray:
    """Return bytes of the fullest stage that stay while answers are generated, by strategy."""
    parts = evaluation.memory.parts
    kept = parts["weights"] + parts["optimizer"] + parts["beside"]
    return kept.max(axis=1)


def _memory(run: TrainingRun, memory_bytes: float, states: float, engine: float) -> Figure:
    """Return the memory of the fullest device, with what it holds.

    An engine that sleeps while models are trained wakes beside their states: the larger counts.
    """
    if states + engine > memory_bytes:
        woken = states + engine
        terms = (Term("states", states, "bytes"), Term("engine", engine, "bytes"))
        return Figure(
            woken,
            "bytes",
            *memory_interval(woken, stacked=run.job.stack is not None),
            meaning="bytes of the fullest device while it generates, its worst moment",
            formula="states + engine",
            terms=terms,
            parts=terms,
            sources=("capacity", "software"),
        )
    stage, held = max(run.memory_parts_bytes, key=lambda one: sum(one[1].values()))
    parts = tuple(
        Term(name, size, "bytes", MEMORY_MEANINGS[name]) for name, size in held.items() if size
    )
    return Figure(
        memory_bytes,
        "bytes",
        *memory_interval(memory_bytes, stacked=run.job.stack is not None),
        meaning=f"bytes of the fullest device ({stage}) at its worst moment",
        formula=" + ".join(part.name for part in parts),
        terms=parts,
        parts=parts,
        sources=("capacity", "software"),
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
