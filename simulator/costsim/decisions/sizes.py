"""The size of model that a budget is best spent on: every size planned, its loss by a law.

No FLOP is converted into dollars by a rule: each shape is planned, which says how many tokens of it
the limits buy, and a published law says what loss to expect of that.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

from costsim.architectures.catalog import decoder_fields
from costsim.architectures.decoder import DecoderSpec
from costsim.decisions.asking import Asked, Solution
from costsim.decisions.solve import (
    amount_settings,
    most_steps,
    need_a_limit,
    stated_counts,
    within,
)
from costsim.errors import InfeasiblePlanError, SpecError
from costsim.planning.workloads.training.spec import Training
from costsim.planning.workloads.training.ways import Way, ways_of
from costsim.scaling import (
    ScalingLaw,
    critical_batch_tokens,
    scaling_law,
    scaling_laws,
)
from costsim.scaling.laws import DEFAULT_LAW, SERVING_FLOPS_PER_PARAMETER_TOKEN
from costsim.scaling.shapes import Shape, shape_of_width, widths
from costsim.units import format_si, format_usd

_KEPT = [
    "gated",
    "activation",
    "bias",
    "norm",
    "positions",
    "max_positions",
    "tied",
    "fused_projection",
    "dropout",
    "query_key_norm",
    "fused_gate",
    "parallel",
    "float32_softmax",
]
"""What a proposed shape has of the scenario's model; sizes are its own."""
_OWN = ("layers", "hidden", "heads", "kv_heads", "feed_forward", "vocabulary", "head_dim")


@dataclass(frozen=True, slots=True)
class Sized:
    """A shape with the most it can be trained for, or the least it costs to reach a loss."""

    shape: Shape
    parameters: int
    way: Way
    steps: int
    tokens: float
    loss: float
    usd: float  # of training
    life_usd: float  # serving included, at the same dollars a FLOP


def model_of(spec: DecoderSpec, shape: Shape) -> dict[str, Any]:
    """Return the description of a model of a shape, in the manner of another."""
    kept = {name: getattr(spec, name) for name in _KEPT}
    return {**{k: v for k, v in kept.items() if v is not None}, **asdict(shape)}


def descend(cost: Callable[[int], float], start: int, count: int) -> int:
    """Return the index of the least cost of a curve with one valley, walking down from `start`."""
    at = min(max(start, 0), count - 1)
    while math.isinf(cost(at)) and at > 0 and not math.isinf(cost(at - 1)):
        at -= 1
    for step in (1, -1):
        while 0 <= at + step < count and cost(at + step) <= cost(at):
            at += step
    return at


def best_size(
    asked: Asked,
    law_name: str | None,
    loss: float | None,
    unique_tokens: float | None,
    served_tokens: float,
) -> Solution:
    """Return the size with the least loss within the limits, or the cheapest that reaches a loss.

    Raises:
        SpecError: where the model is no plain decoder trained on tokens.
        InfeasiblePlanError: where no size can be trained so.
    """
    law = scaling_law(law_name or DEFAULT_LAW)
    base = asked.workload()
    described = decoder_fields(base.scenario.model)
    if described is None or not isinstance(base.scenario.workload, Training):
        raise SpecError(
            "sizes are proposed of decoders trained on tokens",
            hint="name one, such as `--set model=llama-3.1-8b`, for its manner of layers",
        )
    spec = DecoderSpec(**described)
    limits = base.scenario.limits if loss is not None else need_a_limit(base)
    if loss is not None:
        limits = limits.model_copy(update={"cost": None})
        law.cheapest_of_loss(loss)  # says where no budget reaches it
    ladder = widths()
    known: dict[int, Sized | None] = {}

    def sized(index: int) -> Sized | None:
        if index not in known:
            grouped = spec.kv_heads is not None and spec.kv_heads != spec.heads
            vocabulary = int(spec.vocabulary)
            shape = shape_of_width(ladder[index], vocabulary, gated=spec.gated, grouped=grouped)
            setting = f"model={json.dumps(model_of(spec, shape))}"
            known[index] = _sized(asked, setting, shape, law, loss, unique_tokens, served_tokens)
        return known[index]

    def score(index: int) -> float:
        one = sized(index)
        if one is None:
            return math.inf
        return one.life_usd if loss is not None else one.loss

    start = _start(law, asked, loss, served_tokens, limits, ladder)
    best = sized(descend(score, start, len(ladder)))
    if best is None:
        raise InfeasiblePlanError(
            "no proposed size can be trained within the limits",
            hint="allow more time or devices, or a higher loss",
        )
    setting = f"model={json.dumps(model_of(spec, best.shape))}"
    settings = (setting, *best.way.settings, *amount_settings(base, best.steps))
    value, unit = (float(best.parameters), "parameters")
    if loss is not None:
        value, unit = math.ceil(best.usd * 100) / 100, "usd"
    table = tuple(_row(one) for _, one in sorted(known.items()) if one is not None)
    return Solution(
        "budget" if loss is not None else "parameters",
        value,
        unit,
        settings,
        asked.plan(*settings),
        len(known),
        _notes(law, best, spec, unique_tokens, served_tokens),
        table,
    )


def _start(
    law: ScalingLaw,
    asked: Asked,
    loss: float | None,
    served_tokens: float,
    limits: Any,
    ladder: tuple[int, ...],
) -> int:
    """Return where to start: the width whose layers hold the law's own optimum."""
    if loss is not None:
        parameters = law.cheapest_of_loss(loss, served_tokens).parameters
    else:
        workload = asked.workload()
        ways = list(ways_of(workload, stated_counts(workload)))
        steps = max((most_steps(way, limits) for way in ways), default=1)
        tokens = max(steps, 1) * workload.scenario.workload.counted_per_step
        flops = 6.0 * workload.study.model.active_parameters * tokens
        parameters = law.best_of_flops(flops).parameters
    # 12 h^2 parameters a layer and h / 128 layers
    width = (parameters * 128 / 12) ** (1 / 3)
    return min(range(len(ladder)), key=lambda index: abs(ladder[index] - width))


def _sized(
    asked: Asked,
    setting: str,
    shape: Shape,
    law: ScalingLaw,
    loss: float | None,
    unique_tokens: float | None,
    served_tokens: float,
) -> Sized | None:
    """Return the best way to train a shape; None where it cannot be trained so."""
    workload = asked.workload(setting)
    model, per_step = workload.study.model, workload.scenario.workload.counted_per_step
    limits = workload.scenario.limits
    if loss is not None:
        limits = limits.model_copy(update={"cost": None})
    found: list[Sized] = []
    fixed = 0
    if loss is not None:
        fixed = _steps_for(law, loss, model.parameters, per_step, unique_tokens)
        if fixed == 0:
            return None
    for way in ways_of(workload, stated_counts(workload)):
        steps = fixed or most_steps(way, limits)
        if steps == 0:
            continue
        candidate = way.candidate(steps)
        if not within(candidate, limits):
            continue
        tokens, usd = steps * per_step, candidate.value("cost_usd")
        a_flop = usd / (6.0 * model.active_parameters * tokens)
        served = served_tokens * SERVING_FLOPS_PER_PARAMETER_TOKEN * model.active_parameters
        expected = law.loss(float(model.parameters), tokens, unique_tokens)
        found.append(
            Sized(shape, model.parameters, way, steps, tokens, expected, usd, usd + served * a_flop)
        )
    if loss is not None:
        return min(found, key=lambda one: one.life_usd, default=None)
    return min(found, key=lambda one: (one.loss, one.usd), default=None)


def _steps_for(
    law: ScalingLaw, loss: float, parameters: int, per_step: float, unique_tokens: float | None
) -> int:
    """Return the fewest steps that reach a loss; 0 where none do."""

    def reached(steps: int) -> bool:
        return law.loss(float(parameters), steps * per_step, unique_tokens) <= loss

    if not reached(2**50):
        return 0
    low, high = 0, 2**50
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def _row(one: Sized) -> dict[str, str]:
    shape = one.shape
    return {
        "layers": str(shape.layers),
        "hidden": str(shape.hidden),
        "heads": f"{shape.heads}/{shape.kv_heads}",
        "feed-forward": str(shape.feed_forward),
        "parameters": format_si(one.parameters),
        "tokens": format_si(one.tokens),
        "loss": f"{one.loss:.4f}",
        "training": format_usd(one.usd),
    }


def _notes(
    law: ScalingLaw,
    best: Sized,
    spec: DecoderSpec,
    unique_tokens: float | None,
    served_tokens: float,
) -> tuple[str, ...]:
    flops = 6.0 * best.parameters * best.tokens
    beyond = law.outside(flops)
    low, high = law.exponent_range()
    optimum = law.best_of_flops(flops)
    others = [
        f"{name} {format_si(scaling_law(name).best_of_flops(flops).parameters)}"
        for name in scaling_laws()
    ]
    grow = beyond ** ((high - low) / 2)
    notes = [
        f"law `{law.name}`: {law.source}",
        f"{flops:.3g} FLOPs (6ND), "
        + (
            "inside what the law was fitted on"
            if beyond == 1
            else f"{beyond:,.0f} x beyond what the law was fitted on: its own errors move the "
            f"best size by a factor of {grow:.3g}"
        ),
        f"best sizes at these FLOPs by other laws: {', '.join(others)}; "
        f"here {best.tokens / best.parameters:.0f} tokens a parameter, "
        f"the law's own {optimum.tokens_per_parameter:.0f}",
        f"critical batch at this loss: {format_si(critical_batch_tokens(best.loss))} tokens "
        "(Kaplan et al. 2020)",
    ]
    if unique_tokens is not None:
        notes.append(
            f"{format_si(unique_tokens)} unique tokens, gone through "
            f"{max(best.tokens / unique_tokens, 1):.2g} times"
        )
    win = best.tokens * 3
    notes.append(
        f"serving costs more than training after {format_si(win)} tokens, at equal dollars a FLOP"
        + (f"; {format_si(served_tokens)} are asked for" if served_tokens else "")
    )
    plain = {f.name: f.default for f in fields(DecoderSpec)}
    dropped = [
        name
        for name, default in plain.items()
        if name not in (*_KEPT, *_OWN) and getattr(spec, name) != default
    ]
    if dropped:
        notes.append(f"of the scenario's model, left out of proposed sizes: {', '.join(dropped)}")
    return tuple(notes)
