"""Where a plan's figures come from: formula, numbers put in, and sources."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.errors import UnknownNameError, suggestion
from costsim.planning.plans import Plan
from costsim.units import format_bytes, format_duration, format_si, format_usd

_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Explanation:
    """One figure of the best plan. `parts` are what it is the sum of, as (name, value, meaning)."""

    quantity: str
    meaning: str
    value: str
    formula: str
    numbers: str
    parts: tuple[tuple[str, str, str], ...] = ()
    sources: tuple[str, ...] = ()


TIME_MEANINGS = {
    "matrix": "products with weights, by shape (hardware/gemm.py)",
    "attention": "softmax(QK^T)V, by shape (hardware/attention.py)",
    "memory_bound": "norms, activations, residuals, look-ups, loss, by bytes",
    "recompute": "forward work repeated in the backward pass",
    "tensor_parallel": "exchanges at the edges of tensor-parallel regions",
    "context_parallel": "keys and values passed round, where attention does not hide it",
    "expert_parallel": "tokens taken to their experts and back",
    "pipeline_transfer": "activations and gradients passed between stages",
    "pipeline_bubble": "waiting for the pipeline to fill and drain",
    "data_parallel": "gradients reduced, weights gathered, where nothing hides it",
    "offload": "activations and states on their way to the host and back",
    "optimizer": "one pass over gradients, states and weights",
    "host": "launches that the device waits for, and work once a step",
    "stragglers": "waiting for the slowest of many nodes",
    "input": "waiting for samples to be read and decoded",
}
MEMORY_MEANINGS = {
    "weights": "parameters of the stage / TP x bytes each (/ DP under ZeRO-3)",
    "gradients": "as accumulated (/ DP from ZeRO-2)",
    "optimizer": "master weights and moments (/ DP from ZeRO-1)",
    "activations": "kept by a layer x layers x micro-batches in flight",
    "logits": "logits, softmax and their gradients, where the loss is the worst moment",
    "buffers": "transient: the largest gradient, gathered weights, one layer restored",
    "beside": "models that are not trained, an engine's share",
    "framework": "driver context, communication buffers, the allocator's loss",
}


def explain_plan(plan: Plan, quantity: str) -> Explanation:
    """Return where `quantity` of the best strategy of `plan` comes from.

    Raises:
        UnknownNameError: for a quantity that is not one of `PLAN_QUANTITIES`.
    """
    if quantity not in PLAN_QUANTITIES:
        raise UnknownNameError(
            f"a plan has no quantity `{quantity}`", hint=suggestion(quantity, PLAN_QUANTITIES)
        )
    return PLAN_QUANTITIES[quantity](plan)


def _step_time(plan: Plan) -> Explanation:
    best = plan.best
    parts = tuple(
        (name, format_duration(seconds), TIME_MEANINGS[name])
        for name, seconds in best.time_parts_s.items()
        if seconds
    )
    kernels, software = plan.notes[0], plan.notes[1]
    return Explanation(
        "step_time_s",
        "seconds of one optimizer step",
        format_duration(best.value("step_time_s")),
        "micro-batches x the slowest stage + bubble + what follows the last micro-batch"
        + (" + what input makes wait" if plan.job.input else ""),
        " + ".join(value for _, value, _ in parts),
        parts,
        (kernels, software),
    )


def _days(plan: Plan) -> Explanation:
    best = plan.best
    step = format_duration(best.value("step_time_s"))
    return Explanation(
        "days",
        "wall time of the run, lost time included",
        format_duration(best.value("days") * _DAY_S),
        "steps x step_time_s / goodput_ratio",
        f"{best.steps:,} x {step} / {best.goodput.ratio:.4f}",
        sources=(best.goodput.note, best.goodput.source),
    )


def _device_hours(plan: Plan) -> Explanation:
    best = plan.best
    return Explanation(
        "device_hours",
        "accelerators times hours that they are held",
        f"{best.value('device_hours'):,.0f}",
        "days x 24 x devices",
        f"{best.value('days'):.5g} x 24 x {best.devices:,}",
    )


def _cost(plan: Plan) -> Explanation:
    best = plan.best
    return Explanation(
        "cost_usd",
        "dollars of the run",
        format_usd(best.value("cost_usd")),
        "device_hours x price, and further lines of the budget",
        f"{best.value('device_hours'):,.0f} x ${plan.price.usd_per_device_hour:.2f}",
        tuple((line.name, format_usd(line.usd), line.note) for line in plan.budget.lines),
        (plan.price.rule, plan.sources["price"]),
    )


def _energy(plan: Plan) -> Explanation:
    best = plan.best
    return Explanation(
        "energy_kwh",
        "electricity at the building's meter",
        format_si(best.value("energy_kwh") * 1e3, "Wh"),
        "device_hours x power of a device with its share of the node x PUE",
        f"{best.value('device_hours'):,.0f} h x power x PUE",
        sources=(plan.sources["power"], plan.sources["pue"]),
    )


def _emissions(plan: Plan) -> Explanation:
    best = plan.best
    return Explanation(
        "co2e_t",
        "location-based emissions of that electricity",
        f"{best.value('co2e_t'):{'.1f' if best.value('co2e_t') >= 1 else '.3g'}} t",
        "energy_kwh x grid intensity",
        f"{best.value('energy_kwh'):,.0f} kWh x the grid's g/kWh / 1e6",
        sources=(plan.sources["grid"],),
    )


def _utilisation(plan: Plan) -> Explanation:
    best, job = plan.best, plan.job
    flops = job.model.training_flops(1, job.sequence) * job.global_batch
    peak = plan.system.accelerator.peak_flops_per_s(job.precision.peak_dtype)
    step_s = best.value("step_time_s")
    return Explanation(
        "mfu_ratio",
        "model FLOPs (full mask, no recomputation) over what the peak could do",
        f"{best.value('mfu_ratio'):.1%}",
        "FLOPs of a step / (step_time_s x devices x peak)",
        f"{flops:.4g} / ({step_s:.4g} s x {best.devices:,} x {peak:.4g} FLOP/s)",
        sources=(plan.sources["model"], plan.sources["hardware"]),
    )


def _memory(plan: Plan) -> Explanation:
    fullest = max(plan.best.memory_parts_bytes, key=lambda stage: sum(stage[1].values()))
    stage, held = fullest
    parts = tuple(
        (name, format_bytes(size), MEMORY_MEANINGS[name]) for name, size in held.items() if size
    )
    return Explanation(
        "memory_bytes_per_device",
        f"bytes of the fullest device ({stage}) at its worst moment",
        format_bytes(plan.best.value("memory_bytes_per_device")),
        " + ".join(name for name, *_ in parts),
        " + ".join(size for _, size, _ in parts),
        parts,
        (f"capacity: {format_bytes(plan.search.capacity_bytes)}", plan.notes[1]),
    )


PLAN_QUANTITIES = {
    "step_time_s": _step_time,
    "days": _days,
    "device_hours": _device_hours,
    "cost_usd": _cost,
    "energy_kwh": _energy,
    "co2e_t": _emissions,
    "mfu_ratio": _utilisation,
    "memory_bytes_per_device": _memory,
}
"""What can be explained of a plan: a function each."""
