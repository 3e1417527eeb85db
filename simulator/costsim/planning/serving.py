"""Planning a service: which device, how many, which layout and formats, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from costsim.architectures.architecture import Architecture
from costsim.architectures.division import heads_of
from costsim.compression.published import as_published
from costsim.costs.energy import Estimate, device_power_w
from costsim.costs.prices import PriceChoice
from costsim.documents import Document, load_document, parse_as
from costsim.errors import InfeasiblePlanError
from costsim.hardware.kernels import load_kernel_model
from costsim.inference.deployment import Deployment, simulate
from costsim.inference.layout import Layout, Layouts, Quantization
from costsim.inference.memory import weight_bytes
from costsim.planning.launch import Launch, checkpoint_of, launch
from costsim.planning.reading import with_settings
from costsim.planning.serving_capacity import (
    Pools,
    Sized,
    day_of,
    pools_for,
    replicas_for,
    sensitivity,
)
from costsim.planning.serving_mix import most_carried
from costsim.planning.serving_mixing import best_mix, kinds_of
from costsim.planning.serving_plan import ServingCandidate, ServingPlan
from costsim.planning.serving_resolving import ResolvedService, resolve_service
from costsim.planning.serving_scenario import Serving, ServingScenario
from costsim.planning.serving_search import Replica, layouts_of
from costsim.planning.serving_services import Service, service_of
from costsim.units import format_bytes, format_duration

_TRIED = 3  # layouts of a device and format that are simulated, cheapest first
_MOST_REPLICAS = 4096
_CHEAPER = 0.999  # of a fleet of equal replicas, below which a mix is worth its trouble


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
    resolved = resolve_service(scenario, document, folder)
    service = service_of(scenario, resolved)
    limits = scenario.hardware.available or {}
    available = {
        system.id: limits[name]
        for name, system in zip(scenario.hardware.system, resolved.systems, strict=True)
        if name in limits
    }
    found = [
        (kind, price)
        for system, price in zip(resolved.systems, resolved.prices, strict=True)
        for kind in service.replicas(system)
        if kind.layout.devices <= available.get(system.id, kind.layout.devices)
    ]
    if not found:
        raise _fits_nowhere(scenario, resolved, document)
    sized = _candidates(scenario, resolved, service, found)
    if not sized:
        raise _too_slow(scenario, resolved, service, found, document)
    enough = [
        one for one in sized if one.devices <= available.get(one.replica.system.id, one.devices)
    ]
    candidates = _best_of_groups(enough or sized)
    best = min(candidates, key=lambda one: (one.usd_per_hour, one.devices, one.label))
    mix = best_mix(sized, service, resolved.traffic, scenario, available)
    if mix is None and not enough:
        raise _too_few(sized, scenario, available, document)
    if mix is not None and enough and mix.usd_per_hour >= best.usd_per_hour * _CHEAPER:
        mix = None
    deployment, traffic = service.deployment(best.replica), resolved.traffic
    started = _launch(scenario, resolved, best)
    return ServingPlan(
        name=scenario.name,
        scenario=scenario.model_dump(mode="json", exclude_none=True),
        model=resolved.model,
        engine=resolved.engine,
        best=best,
        candidates=tuple(sorted(candidates, key=lambda one: (one.usd_per_hour, one.label))),
        sensitivity=sensitivity(deployment, best.replicas, traffic, service.objective),
        objective=service.objective,
        searched=len(found),
        grid=resolved.grid,
        generates=scenario.workload.kind == "inference",
        pools=_pools(resolved, service, best),
        mix=mix,
        launch=started,
        notes=(*_notes(scenario, resolved, best), *(started.remarks if started else ())),
    )


def _launch(
    scenario: ServingScenario, resolved: ResolvedService, best: ServingCandidate
) -> Launch | None:
    """Return how a replica is started, where an engine does it."""
    workload, traffic = scenario.workload, resolved.traffic
    if not isinstance(workload, Serving):
        return None
    drafts = workload.speculation
    return launch(
        resolved.engine,
        best.replica.layout,
        best.replica.quantization,
        checkpoint_of(resolved.model, scenario.model),
        float((traffic.input_tokens + traffic.output_tokens).max()),
        (None, None) if drafts is None else (drafts.method, drafts.model),
    )


def _pools(resolved: ResolvedService, service: Service, best: ServingCandidate) -> Pools | None:
    """Return the best fleet with prompts and generation apart, where there is one."""
    deployment = service.deployment(best.replica)
    if not isinstance(deployment, Deployment) or not deployment.system.tiers:
        return None
    return pools_for(
        deployment, resolved.traffic, service.objective, best.replicas, best.prompt_share
    )


def _candidates(
    scenario: ServingScenario,
    resolved: ResolvedService,
    service: Service,
    found: list[tuple[Replica, PriceChoice]],
) -> list[ServingCandidate]:
    """Return the layouts of each device and format that promise most, sized by simulation."""
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
        for start, kind, price in members[:_TRIED]:
            sized = replicas_for(
                service.deployment(kind),
                resolved.traffic,
                service.objective,
                start,
                _MOST_REPLICAS,
            )
            if sized is None:
                continue
            result.append(_costed(scenario, resolved, service, kind, price, sized))
    return result


def _best_of_groups(sized: list[ServingCandidate]) -> list[ServingCandidate]:
    """Return the cheapest of each device and format, the first of equal ones."""
    best: dict[tuple[str, Quantization], ServingCandidate] = {}
    for one in sized:
        key = (one.replica.system.id, one.replica.quantization)
        if key not in best or one.usd_per_hour < best[key].usd_per_hour:
            best[key] = one
    return list(best.values())


def _costed(
    scenario: ServingScenario,
    resolved: ResolvedService,
    service: Service,
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
        prompt_share=service.prompt_share(kind, sized.replicas),
    )


def _fits_nowhere(
    scenario: ServingScenario, resolved: ResolvedService, document: Document
) -> InfeasiblePlanError:
    heads, hardware = heads_of(resolved.model), scenario.hardware
    refused = [heads.refusal(size) for size in hardware.replica_devices or ()]
    divided = (
        layouts_of(resolved.model, system, hardware.replica_devices, hardware.cp)
        for system in resolved.systems
    )
    if refused and all(refused) and not any(divided):
        return InfeasiblePlanError(
            f"{resolved.model.name}: {refused[0]}",
            location=document.locate(("hardware", "replica_devices")),
            hint=heads.hint,
        )
    whole = Layouts.of([Layout()])
    names = resolved.precisions
    least, name = min((_weights(resolved.model, whole, name), name) for name in names)
    passes = scenario.workload.kind == "forward"  # of a model on each device
    rooms = ", ".join(
        f"{1 if passes else system.devices_per_node} x "
        f"{format_bytes(system.accelerator.memory_usable_bytes)} of `{system.id}`"
        for system in resolved.systems
    )
    return InfeasiblePlanError(
        f"{resolved.model.name} fits on no replica: {format_bytes(least)} of weights in {name} and "
        f"what a request needs, against {rooms}",
        location=document.locate(("hardware",), key=True),
        hint="allow a narrower `precision` or another `system`"
        + ("" if passes else ", or larger `replica_devices`"),
    )


def _weights(model: Architecture, whole: Layouts, precision: str) -> float:
    """Return bytes of weights that are held in `precision`."""
    held = Quantization(precision, precision)
    return float(weight_bytes(as_published(model, precision), whole, held)[0])


def _too_few(
    sized: list[ServingCandidate],
    scenario: ServingScenario,
    available: Mapping[str, int],
    document: Document,
) -> InfeasiblePlanError:
    """Say what all available devices carry together."""
    kinds = kinds_of(sized, scenario.workload.requests_per_s)
    most = most_carried(kinds, scenario.hardware.spare, available)
    nearest = min(sized, key=lambda one: one.devices / available[one.replica.system.id])
    identity = nearest.replica.system.id
    return InfeasiblePlanError(
        f"too few devices are available for {scenario.workload.requests_per_s:g} requests a "
        "second, whichever are mixed",
        location=document.locate(("hardware", "available"), key=True),
        hint=f"nearest: all together carry {max(most, 0.0):.3g} requests a second with "
        f"{scenario.hardware.spare} spare; of `{identity}` alone {nearest.devices} are needed, "
        f"{available[identity]} are available",
    )


def _too_slow(
    scenario: ServingScenario,
    resolved: ResolvedService,
    service: Service,
    found: list[tuple[Replica, PriceChoice]],
    document: Document,
) -> InfeasiblePlanError:
    """Say what a single request would take on the replica that comes nearest."""
    objective = service.objective
    alone = resolved.traffic.part(slice(0, 50)).at_rate(1e-3)
    nearest, least = "", math.inf
    for kind, _ in found:
        one = simulate(service.deployment(kind), 1, alone)
        over = max(
            one.ttft.p99_s / (objective.ttft_s or math.inf),
            one.tpot.p99_s / (objective.tpot_s or math.inf),
            one.e2e.p99_s / (objective.e2e_s or math.inf),
        )
        if over < least:
            least = over
            each = (
                f", {format_duration(one.tpot.p99_s)} for each further one"
                if scenario.workload.kind == "inference"
                else ""
            )
            nearest = (
                f"{kind.label} takes {format_duration(one.ttft.p99_s)} to the first result of a "
                f"request alone{each}"
            )
    return InfeasiblePlanError(
        f"nothing keeps the objectives at {scenario.workload.requests_per_s:g} requests a second",
        location=document.locate(("workload",), key=True),
        hint=f"nearest: {nearest}; promise less, or allow another `system` or `precision`",
    )


def _notes(
    scenario: ServingScenario, resolved: ResolvedService, best: ServingCandidate
) -> tuple[str, ...]:
    return (
        f"kernel times: {load_kernel_model(best.replica.system.accelerator).basis}",
        f"engine profile `{resolved.engine.name}`: {resolved.engine.source}",
        f"price: {best.price.rule}",
        f"percentiles: of {len(resolved.traffic):,} simulated requests at "
        f"{scenario.workload.requests_per_s:g} a second, dealt to replicas in turn",
        *resolved.model.notes,
        *best.price.warnings,
    )
