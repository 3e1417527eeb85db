"""What a report says of runs on instances that may be taken back."""

from __future__ import annotations

from costsim.costs.budget import leaves
from costsim.costs.prices import Lists, price_for
from costsim.errors import UnknownNameError
from costsim.planning.plans import Candidate
from costsim.planning.workloads.training.run import TrainingRun
from costsim.planning.workloads.training.spec import Failures
from costsim.remarks import Caution, Excluded
from costsim.units import format_usd


def spot_notes(best: Candidate[TrainingRun], failures: Failures, lists: Lists) -> tuple[str, ...]:
    """Return what interruptions of a run on spot devices cost, and what is the other way.

    What a scenario says of preemption is named as unused where nothing is taken back.
    """
    price = best.price.price
    if price.term != "spot":
        keys = [key for key in ("replacement", "elastic") if getattr(failures, key) is not None]
        idle = failures.preemption is None
        return tuple(Excluded(_unused(key, price.term)) for key in keys if idle)
    kept = best.run.goodput
    lost = sum(one.usd for one in leaves(best.budget.total) if one.name == "Failures and restarts")
    words = (
        f"spot: {kept.interruptions_per_day:.2g} interruptions a day; they and checkpoints cost "
        f"{format_usd(lost)} of {format_usd(best.value('cost_usd'))}"
    )
    try:
        full = price_for(
            price.accelerator_id, price.provider, price.region or None, lists=lists
        ).price
    except UnknownNameError:
        return (Caution(words),)
    held = best.value("device_hours") * kept.ratio * full.usd_per_device_hour
    words += f"; its useful hours alone cost {format_usd(held)} on demand at {full}"
    return (Caution(words),)


def _unused(key: str, term: str) -> str:
    return f"`failures.{key}` is of spot instances: {term} ones are not taken back; it is not used"
