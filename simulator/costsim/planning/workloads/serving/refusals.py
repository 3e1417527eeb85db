"""Why a service cannot be: it fits nowhere, is too slow, or there are too few devices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from costsim.architectures.architecture import Architecture
from costsim.architectures.division import heads_of
from costsim.compression.published import as_published
from costsim.errors import InfeasiblePlanError
from costsim.inference.deployment import simulate
from costsim.inference.layout import Layout, Layouts, Quantization
from costsim.inference.memory import weight_bytes
from costsim.planning.options import Option
from costsim.planning.plans import Candidate
from costsim.planning.study import Place
from costsim.planning.workloads.serving.mix import most_carried
from costsim.planning.workloads.serving.mixing import kinds_of
from costsim.planning.workloads.serving.replicas import layouts_of
from costsim.units import format_bytes, format_duration

if TYPE_CHECKING:
    from costsim.planning.workloads.serving.workload import ServingWorkload


def fits_nowhere(
    workload: ServingWorkload, option: Option, places: Sequence[Place]
) -> InfeasiblePlanError:
    """Say that heads do not divide, or what the model needs against what there is."""
    hardware, model, document = workload.hardware, option.model, workload.study.document
    heads, systems = heads_of(model), [place.system for place in places]
    refused = [heads.refusal(size) for size in hardware.replica_devices or ()]
    divided = (
        layouts_of(model, system, hardware.replica_devices, hardware.cp) for system in systems
    )
    if refused and all(refused) and not any(divided):
        return InfeasiblePlanError(
            f"{model.name}: {refused[0]}",
            location=document.locate(("hardware", "replica_devices")),
            hint=heads.hint,
        )
    whole = Layouts.of([Layout()])
    least, name = min((_weights(model, whole, n), n) for n in workload.precisions(option))
    passes = not workload.generates  # of a model on each device
    rooms = ", ".join(
        f"{1 if passes else system.devices_per_node} x "
        f"{format_bytes(system.accelerator.memory_usable_bytes)} of `{system.id}`"
        for system in systems
    )
    return InfeasiblePlanError(
        f"{model.name} fits on no replica: {format_bytes(least)} of weights in {name} and "
        f"what a request needs, against {rooms}",
        location=document.locate(("hardware",), key=True),
        hint="allow a narrower `precision` or another `system`"
        + ("" if passes else ", or larger `replica_devices`"),
    )


def _weights(model: Architecture, whole: Layouts, precision: str) -> float:
    """Return bytes of weights that are held in `precision`."""
    held = Quantization(precision, precision)
    return float(weight_bytes(as_published(model, precision), whole, held)[0])


def too_few(
    workload: ServingWorkload, sized: Sequence[Candidate[Any]], available: Mapping[str, int]
) -> InfeasiblePlanError:
    """Say what all available devices carry together."""
    rate, spare = workload.work.requests_per_s, workload.hardware.spare
    most = most_carried(kinds_of(sized, rate), spare, available)
    nearest = min(sized, key=lambda one: one.devices / available[one.system.id])
    identity = nearest.system.id
    return InfeasiblePlanError(
        f"too few devices are available for {rate:g} requests a second, whichever are mixed",
        location=workload.study.document.locate(("hardware", "available"), key=True),
        hint=f"nearest: all together carry {max(most, 0.0):.3g} requests a second with "
        f"{spare} spare; of `{identity}` alone {nearest.devices} are needed, "
        f"{available[identity]} are available",
    )


def too_large(workload: ServingWorkload, quickest_per_s: float, most: int) -> InfeasiblePlanError:
    """Say how many replicas a load takes, which are more than are planned."""
    rate = workload.work.requests_per_s
    return InfeasiblePlanError(
        f"{rate:g} requests a second take {math.ceil(rate / quickest_per_s):,} replicas, more than "
        f"the {most:,} that are planned",
        location=workload.study.document.locate(("workload", "requests_per_s")),
        hint=f"state a part of it, such as {most * quickest_per_s / 2:.2g}: replicas grow in "
        "proportion",
    )


def too_slow(workload: ServingWorkload, option: Option) -> InfeasiblePlanError:
    """Say what a single request would take on the replica that comes nearest."""
    service = workload.service(option)
    objective, alone = service.objective, workload.traffic.part(slice(0, 50)).at_rate(1e-3)
    nearest, least = "", math.inf
    for place in workload.study.places:
        for kind in workload.kinds(option, place):
            one = simulate(service.deployment(kind), 1, alone)
            over = max(
                one.ttft.p99_s / (objective.ttft_s or math.inf),
                one.tpot.p99_s / (objective.tpot_s or math.inf),
                one.e2e.p99_s / (objective.e2e_s or math.inf),
            )
            if over < least:
                first = format_duration(one.ttft.p99_s)
                further = f", {format_duration(one.tpot.p99_s)} for each further one"
                nearest = f"{kind.label} takes {first} to the first result of a request alone"
                least, nearest = over, nearest + (further if workload.generates else "")
    return InfeasiblePlanError(
        f"nothing keeps the objectives at {workload.work.requests_per_s:g} requests a second",
        location=workload.study.document.locate(("workload",), key=True),
        hint=f"nearest: {nearest}; promise less, or allow another `system` or `precision`",
    )
