"""The project around a training run: what is paid for besides the devices of the run itself.

Every line is there: what a scenario states is priced, what follows from the run (checkpoints, their
transfer) is computed, and what nobody stated stands at zero and says so, so that a reader sees what
the total leaves out.
"""

from __future__ import annotations

from dataclasses import dataclass

from costsim.costs.budget import Line, Paid, group, leaf
from costsim.resources import packaged_yaml

_DAYS_PER_MONTH = 365 / 12


@dataclass(frozen=True, slots=True)
class Project:
    """What a project spends beside its run; None where it is not stated.

    Ratios are of the device-hours of the run, lost time included; `contingency_ratio` is of all
    other lines together.
    """

    experiments_ratio: float | None = None
    failed_runs_ratio: float | None = None
    evaluation_ratio: float | None = None
    data_usd: float | None = None
    staff_usd: float | None = None
    contingency_ratio: float | None = None
    checkpoints_kept: int = 3
    storage_usd_per_gb_month: float | None = None
    egress_usd_per_gb: float | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """What a run writes: checkpoints with all its states, and the weights that leave at last."""

    checkpoint_bytes: float
    weights_bytes: float
    days: float


def project_lines(
    project: Project, device_hours: float, usd_per_device_hour: float, saved: Saved
) -> tuple[Line, ...]:
    """Return the lines of a project, those that are not stated with an amount of zero.

    Args:
        project: what is stated.
        device_hours: of the run, lost time included.
        usd_per_device_hour: what one of them costs.
        saved: what the run writes.
    """

    def tried(name: str, key: str, ratio: float | None, paid: Paid = "during") -> Line:
        if ratio is None:
            return _missing(name, key)
        note = f"{ratio:g} x the final run, stated in the scenario"
        return leaf(
            name, device_hours * ratio, "device-hours", usd_per_device_hour, note=note, paid=paid
        )

    return (
        tried("Experiments", "experiments", project.experiments_ratio, "before"),
        tried("Failed and repeated runs", "project.failed_runs", project.failed_runs_ratio),
        tried("Evaluation", "project.evaluation", project.evaluation_ratio, "after"),
        _stated("Data preparation", "project.data", project.data_usd, "before"),
        _storage(project, saved),
        _egress(project, saved),
        _stated("Staff", "project.staff", project.staff_usd),
    )


@dataclass(frozen=True, slots=True)
class ServiceCosts:
    """What is spent around a service; None where it is not stated."""

    setup_usd: float | None = None
    staff_usd: float | None = None
    contingency_ratio: float | None = None


def service_lines(costs: ServiceCosts, lines: tuple[Line, ...]) -> tuple[Line, ...]:
    """Return the lines of a service with those around it, unstated ones with an amount of zero."""
    around = (
        _stated("Setup", "project.setup", costs.setup_usd, "before"),
        _stated("Staff", "project.staff", costs.staff_usd),
    )
    return (*lines, *around, contingency(costs.contingency_ratio, (*lines, *around)))


def contingency(ratio: float | None, lines: tuple[Line, ...]) -> Line:
    """Return what is kept for the unexpected: a share of `lines`."""
    if ratio is None:
        return _missing("Contingency", "project.contingency")
    total = group("", lines).usd
    note = f"{ratio:.0%} of the lines above, stated in the scenario"
    return leaf("Contingency", ratio, "of the above", total, note=note)


def _stated(name: str, key: str, usd: float | None, paid: Paid = "during") -> Line:
    if usd is None:
        return _missing(name, key)
    return leaf(name, 1, "", usd, note="stated in the scenario", paid=paid)


def _missing(name: str, key: str) -> Line:
    return Line(name, 0, unstated=key)


def _storage(project: Project, saved: Saved) -> Line:
    usd, source = _price(project.storage_usd_per_gb_month, "storage_usd_per_gb_month")
    months = saved.days / _DAYS_PER_MONTH
    kept = project.checkpoints_kept
    note = f"{kept} checkpoints of {saved.checkpoint_bytes / 1e9:,.0f} GB for {months:.2g} months"
    gb_months = kept * saved.checkpoint_bytes / 1e9 * months
    return leaf("Checkpoint storage", gb_months, "GB-months", usd, note=note, source=source)


def _egress(project: Project, saved: Saved) -> Line:
    usd, source = _price(project.egress_usd_per_gb, "egress_usd_per_gb")
    note = "the trained weights, once"
    return leaf(
        "Egress", saved.weights_bytes / 1e9, "GB", usd, note=note, source=source, paid="after"
    )


def _price(stated: float | None, name: str) -> tuple[float, str]:
    if stated is not None:
        return stated, "stated in the scenario"
    known = packaged_yaml("hardware_specs", "prices/services.yaml")[name]
    return float(known["value"]), f"{known['source']}, {known['as_of']} ({known['status']})"
