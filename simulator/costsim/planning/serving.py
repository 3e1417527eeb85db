"""Planning a service: which device, how many, which layout and formats, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from costsim.architectures.architecture import Architecture
from costsim.costs.energy import Estimate, device_power_w
from costsim.costs.grids import Grid, Pue, grid_for, pue_for
from costsim.costs.prices import PriceChoice, price_for
from costsim.documents import Document, load_document, parse_as
from costsim.errors import CostsimError, InfeasiblePlanError, Problem, SpecError
from costsim.hardware import System, load_hardware
from costsim.inference.deployment import Deployment
from costsim.inference.engines import Engine, load_engine
from costsim.inference.formats import format_named
from costsim.inference.layout import Quantization
from costsim.inference.metrics import Objective
from costsim.inference.steady import open_loop
from costsim.inference.traces import read_trace
from costsim.inference.traffic import Traffic, random_traffic
from costsim.planning.reading import with_settings
from costsim.planning.resolving import load_scenario_model
from costsim.planning.scenario import ListPrice
from costsim.planning.serving_capacity import Sized, day_of, replicas_for, sensitivity
from costsim.planning.serving_plan import ServingCandidate, ServingPlan
from costsim.planning.serving_scenario import ServingScenario
from costsim.planning.serving_search import Lengths, Replica, layouts_of, search_replicas
from costsim.units import format_duration

_SIMULATED_S = 180.0  # that a simulation covers, within these numbers of requests
_FEWEST, _MOST = 2_000, 12_000
_TRIED = 3  # layouts of a device and format that are simulated, cheapest first
_MOST_REPLICAS = 4096
_NARROW = ("fp8", "fp8_block", "mxfp8", "nvfp4", "mxfp4", "int8")


@dataclass(frozen=True, slots=True)
class _Resolved:
    model: Architecture
    engine: Engine
    systems: tuple[System, ...]
    prices: tuple[PriceChoice, ...]
    traffic: Traffic
    grid: Grid
    pue: Pue


def plan_serving(
    source: str | Path | Mapping[str, Any], settings: Sequence[str] = ()
) -> ServingPlan:
    """Plan a service.

    Args:
        source: path of a scenario's YAML, or the same as a mapping.
        settings: overrides such as `workload.requests_per_s=50`.

    Raises:
        SpecError: where the scenario must change; lists all its problems.
        InfeasiblePlanError: where nothing fits or keeps the objectives; names what comes nearest.
    """
    if isinstance(source, Mapping):
        document, folder = Document(deepcopy(dict(source)), "<scenario>"), Path()
    else:
        document, folder = load_document(source), Path(source).parent
    document = with_settings(document, settings)
    scenario = parse_as(document, ServingScenario)
    resolved = _resolve(scenario, document, folder)
    objective = _objective(scenario)
    lengths = _lengths(resolved.traffic)
    found: list[tuple[Replica, PriceChoice]] = []
    for system, price in zip(resolved.systems, resolved.prices, strict=True):
        for quantization in _quantizations(scenario, resolved.engine):
            layouts = layouts_of(resolved.model, system, scenario.hardware.replica_devices)
            if layouts:
                kinds = search_replicas(
                    resolved.model,
                    system,
                    layouts,
                    quantization,
                    resolved.engine,
                    lengths,
                    objective,
                )
                found += [(kind, price) for kind in kinds]
    if not found:
        raise _fits_nowhere(scenario, resolved, document)
    candidates = _candidates(scenario, resolved, found, objective)
    if not candidates:
        raise _too_slow(scenario, resolved, found, objective, document)
    best = min(candidates, key=lambda one: (one.usd_per_hour, one.devices, one.label))
    deployment = _deployment(resolved, best.replica)
    traffic = resolved.traffic
    return ServingPlan(
        name=scenario.name,
        scenario=scenario.model_dump(mode="json", exclude_none=True),
        model=resolved.model,
        engine=resolved.engine,
        best=best,
        candidates=tuple(sorted(candidates, key=lambda one: (one.usd_per_hour, one.label))),
        sensitivity=sensitivity(deployment, best.replicas, traffic, objective),
        objective=objective,
        searched=len(found),
        grid=resolved.grid,
        notes=_notes(scenario, resolved, best),
    )


def _resolve(scenario: ServingScenario, document: Document, folder: Path) -> _Resolved:
    """Look every name up, all unknown ones reported at once."""
    problems: list[Problem] = []
    found: dict[str, Any] = {}

    def attempt(name: str, path: tuple[str | int, ...], action: Callable[[], Any]) -> None:
        try:
            found[name] = action()
        except CostsimError as error:
            where = document.locate(path)
            problems.extend(p if p.location else replace(p, location=where) for p in error.problems)

    workload, hardware = scenario.workload, scenario.hardware
    attempt("model", ("model",), lambda: load_scenario_model(scenario.model, folder))
    attempt("engine", ("workload", "engine"), lambda: load_engine(workload.engine))
    for index, name in enumerate(hardware.precision):
        place = ("hardware", "precision", index)
        attempt(f"precision {index}", place, lambda name=name: format_named(name))
    for index, name in enumerate(hardware.system):
        place = ("hardware", "system", index)
        attempt(f"system {index}", place, lambda name=name: load_hardware(name))
        if f"system {index}" in found:
            identity = found[f"system {index}"].accelerator.id
            attempt(f"price {index}", ("price",), lambda one=identity: _price(one, scenario.price))
    attempt("grid", ("site", "grid"), lambda: grid_for(scenario.site.grid))
    attempt("traffic", ("workload",), lambda: _traffic(scenario, folder))
    if "traffic" in found and "model" in found:
        attempt("context", ("workload",), lambda: _context(found["model"], found["traffic"]))
    if problems:
        raise SpecError(problems)
    number = range(len(hardware.system))
    stated = scenario.site.pue
    pue = pue_for() if stated is None else Pue(stated, stated, stated, "stated", "the scenario")
    return _Resolved(
        found["model"],
        found["engine"],
        tuple(found[f"system {i}"] for i in number),
        tuple(found[f"price {i}"] for i in number),
        found["traffic"],
        found["grid"],
        pue,
    )


def _price(accelerator_id: str, stated: float | ListPrice) -> PriceChoice:
    if isinstance(stated, ListPrice):
        return price_for(accelerator_id, stated.provider, stated.region, stated.term)
    return price_for(accelerator_id, quote=stated)


def _traffic(scenario: ServingScenario, folder: Path) -> Traffic:
    workload = scenario.workload
    if workload.trace is not None:
        recorded = read_trace(folder / workload.trace)
        return recorded.part(slice(0, _MOST)).at_rate(workload.requests_per_s)
    assert workload.input_tokens is not None
    assert workload.output_tokens is not None
    return random_traffic(
        workload.requests_per_s,
        int(np.clip(workload.requests_per_s * _SIMULATED_S, _FEWEST, _MOST)),
        workload.input_tokens,
        workload.output_tokens,
        burstiness=workload.burstiness,
        spread=workload.spread,
        cached_ratio=workload.cached,
    )


def _context(model: Architecture, traffic: Traffic) -> None:
    limit = model.context_limit
    longest = int((traffic.input_tokens + traffic.output_tokens).max())
    if not any(weight.lookup for block in model.blocks() for weight in block.weights()):
        raise SpecError(f"{model.name} generates no tokens", hint="a service needs a decoder")
    if limit is not None and longest > limit:
        raise SpecError(
            f"{model.name} has positions for {limit:,} tokens, not {longest:,}",
            hint=f"prompt and answer together may have at most {limit:,}",
        )


def _objective(scenario: ServingScenario) -> Objective:
    slo = scenario.workload.slo
    return Objective(slo.ttft, slo.tpot, slo.e2e, slo.percentile)


def _lengths(traffic: Traffic) -> Lengths:
    computed = (traffic.input_tokens - traffic.cached_tokens).astype(np.float64)
    return Lengths(
        input_tokens=float(traffic.input_tokens.mean()),
        cached_tokens=float(traffic.cached_tokens.mean()),
        output_tokens=float(traffic.output_tokens.mean()),
        variation=float((computed.std() / computed.mean()) ** 2),
        longest_tokens=float((traffic.input_tokens + traffic.output_tokens).max()),
    )


def _quantizations(scenario: ServingScenario, engine: Engine) -> list[Quantization]:
    found: list[Quantization] = []
    for name in scenario.hardware.precision:
        dense = format_named(name)
        usual = engine.cache if dense in _NARROW else "bf16"
        found.append(Quantization(dense, dense, scenario.hardware.cache or usual))
    return found


def _deployment(resolved: _Resolved, kind: Replica) -> Deployment:
    return Deployment(resolved.model, kind.system, kind.layout, kind.quantization, resolved.engine)


def _candidates(
    scenario: ServingScenario,
    resolved: _Resolved,
    found: list[tuple[Replica, PriceChoice]],
    objective: Objective,
) -> list[ServingCandidate]:
    """Return the best of each device and format, sized by simulation."""
    rate = scenario.workload.requests_per_s
    groups: dict[tuple[str, Quantization], list[tuple[int, Replica, PriceChoice]]] = {}
    for kind, price in found:
        if kind.rate_per_s > 0:
            start = math.ceil(rate / kind.rate_per_s)
            key = (kind.system.id, kind.quantization)
            groups.setdefault(key, []).append((start, kind, price))
    result: list[ServingCandidate] = []
    for members in groups.values():
        members.sort(key=lambda one: (one[0] * one[1].layout.devices, one[1].layout.devices))
        best: ServingCandidate | None = None
        for start, kind, price in members[:_TRIED]:
            sized = replicas_for(
                _deployment(resolved, kind), resolved.traffic, objective, start, _MOST_REPLICAS
            )
            if sized is None:
                continue
            one = _costed(scenario, resolved, kind, price, sized)
            if best is None or one.usd_per_hour < best.usd_per_hour:
                best = one
        if best is not None:
            result.append(best)
    return result


def _costed(
    scenario: ServingScenario,
    resolved: _Resolved,
    kind: Replica,
    price: PriceChoice,
    sized: Sized,
) -> ServingCandidate:
    workload, hardware = scenario.workload, scenario.hardware
    day = day_of(
        sized.replicas,
        workload.requests_per_s,
        workload.mean_ratio,
        hardware.spare,
        autoscale=hardware.autoscale,
    )
    system = kind.system
    node_w = system.node_power_w
    power: Estimate = device_power_w(
        system.accelerator.tdp_w,
        node_w / system.devices_per_node if node_w else None,
        system.accelerator.id,
    )
    return ServingCandidate(
        replica=kind,
        replicas=sized.replicas,
        spare=hardware.spare,
        measured=sized.measured,
        day=day,
        price=price,
        power_w_per_device=power.value * resolved.pue.value_ratio,
        mean_requests_per_s=workload.requests_per_s * workload.mean_ratio,
        prompt_share=_prompt_share(scenario, resolved, kind, sized.replicas),
    )


def _prompt_share(
    scenario: ServingScenario, resolved: _Resolved, kind: Replica, replicas: int
) -> float:
    """Return the share of a replica's working time that goes to prompts."""
    rate = np.array([scenario.workload.requests_per_s / replicas])
    found = open_loop(
        _deployment(resolved, kind).tables,
        resolved.engine,
        np.array([0]),
        rate,
        np.array([kind.slots]),
        _lengths(resolved.traffic).columns(1),
    )
    # Steps go on in what prompts leave, as long as there is anything to generate.
    return float(min(found.prompt_share[0], 1.0))


def _fits_nowhere(
    scenario: ServingScenario, resolved: _Resolved, document: Document
) -> InfeasiblePlanError:
    from costsim.inference.layout import Layout, Layouts
    from costsim.inference.memory import weight_bytes
    from costsim.units import format_bytes

    least = min(
        (float(weight_bytes(resolved.model, Layouts.of([Layout()]), q)[0]), q.dense)
        for q in _quantizations(scenario, resolved.engine)
    )
    rooms = ", ".join(
        f"{system.devices_per_node} x "
        f"{format_bytes(system.accelerator.memory_usable_bytes)} of `{system.id}`"
        for system in resolved.systems
    )
    return InfeasiblePlanError(
        f"{resolved.model.name} fits on no replica: {format_bytes(least[0])} of weights in "
        f"{least[1]} and the cache of a request, against {rooms}",
        location=document.locate(("hardware",), key=True),
        hint="allow larger `replica_devices`, a narrower `precision`, or another `system`",
    )


def _too_slow(
    scenario: ServingScenario,
    resolved: _Resolved,
    found: list[tuple[Replica, PriceChoice]],
    objective: Objective,
    document: Document,
) -> InfeasiblePlanError:
    """Say what a single request would take on the replica that comes nearest."""
    from costsim.inference.deployment import simulate

    alone = resolved.traffic.part(slice(0, 50)).at_rate(1e-3)
    nearest = ""
    least = math.inf
    for kind, _ in found:
        one = simulate(_deployment(resolved, kind), 1, alone)
        over = max(
            one.ttft.p99_s / (objective.ttft_s or math.inf),
            one.tpot.p99_s / (objective.tpot_s or math.inf),
            one.e2e.p99_s / (objective.e2e_s or math.inf),
        )
        if over < least:
            least = over
            nearest = (
                f"{kind.label} gives {format_duration(one.ttft.p99_s)} to the first token and "
                f"{format_duration(one.tpot.p99_s)} a token to a request alone"
            )
    return InfeasiblePlanError(
        f"nothing keeps the objectives at {scenario.workload.requests_per_s:g} requests a second",
        location=document.locate(("workload", "slo"), key=True),
        hint=f"nearest: {nearest}; relax `slo`, or allow another `system` or `precision`",
    )


def _notes(
    scenario: ServingScenario, resolved: _Resolved, best: ServingCandidate
) -> tuple[str, ...]:
    from costsim.hardware.kernels import load_kernel_model

    return (
        f"kernel times: {load_kernel_model(best.replica.system.accelerator).basis}",
        f"engine profile `{resolved.engine.name}`: {resolved.engine.source}",
        f"price: {best.price.rule}",
        f"percentiles: of {len(resolved.traffic):,} simulated requests at "
        f"{scenario.workload.requests_per_s:g} a second, dealt to replicas in turn",
        *resolved.model.notes,
        *best.price.warnings,
    )
