"""Runs on spot instances: how often these are taken back, and what a report says of it."""

from __future__ import annotations

from costsim.costs.budget import leaves
from costsim.costs.prices import Price, price_for, taken_back
from costsim.errors import UnknownNameError
from costsim.planning.plans import Candidate
from costsim.planning.scenario import ListPrice
from costsim.planning.workloads.training.run import TrainingRun
from costsim.remarks import Caution
from costsim.training.preemption import Preemption
from costsim.units import format_usd


def preemption_of(price: Price, stated: float | ListPrice) -> Preemption | None:
    """Return how often the instances of a run are taken back; None where they are not spot.

    Args:
        price: what the run pays.
        stated: what the scenario says of its price.
    """
    if price.term != "spot" or not isinstance(stated, ListPrice):
        return None
    known = taken_back(price, stated.preempted_after)
    return Preemption(
        instance_mtbf_s=known.instance_mtbf_s,
        instance_devices=price.devices,
        replaced_s=stated.replaced_after or 0.0,
        elastic=bool(stated.elastic),
        source=known.source,
    )


def spot_notes(best: Candidate[TrainingRun], stated: float | ListPrice) -> tuple[str, ...]:
    """Return what a report says of a run on spot instances: its rate, its cost, the other way."""
    price = best.price.price
    if price.term != "spot" or not isinstance(stated, ListPrice):
        return ()
    kept = best.run.goodput
    lost = sum(one.usd for one in leaves(best.budget.total) if one.name == "Failures and restarts")
    words = [
        f"spot: {kept.interruptions_per_day:.2g} interruptions a day; they and checkpoints "
        f"cost {format_usd(lost)} of {format_usd(best.value('cost_usd'))}"
    ]
    try:
        full = price_for(price.accelerator_id, price.provider, price.region or None).price
    except UnknownNameError:
        pass
    else:
        held = best.value("device_hours") * kept.ratio * full.usd_per_device_hour
        words.append(f"its useful hours alone cost {format_usd(held)} on demand at {full}")
    return (taken_back(price, stated.preempted_after).warning, Caution("; ".join(words)))
