"""How often providers take spot instances back, as published, and what that comes to in time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

from costsim.costs.prices.observations import Price
from costsim.costs.tables import Row, read_table
from costsim.remarks import Caution, Fallback
from costsim.resources import data_folder
from costsim.units import HOURS_PER_MONTH

_SECONDS_PER_MONTH = HOURS_PER_MONTH * 3600
_COLUMNS = (
    "provider",
    "accelerator_id",
    "instance_type",
    "low_ratio_per_month",
    "high_ratio_per_month",
    "as_of",
    "source",
    "note",
)


@dataclass(frozen=True, slots=True)
class TakenBack:
    """How long one spot instance stays on the mean, and what that rests on."""

    instance_mtbf_s: float
    source: str
    warning: str


@dataclass(frozen=True, slots=True)
class SpotRate:
    """The share of running instances that a provider takes back in a month."""

    provider: str
    accelerator_id: str
    instance_type: str
    low_ratio_per_month: float
    high_ratio_per_month: float
    as_of: str
    source: str

    @property
    def instance_mtbf_s(self) -> float:
        """Mean time of one instance at the middle of the band: a constant rate, -ln(1 - p)."""
        middle = (self.low_ratio_per_month + self.high_ratio_per_month) / 2
        return -_SECONDS_PER_MONTH / math.log1p(-middle)

    def __str__(self) -> str:
        band = f"{self.low_ratio_per_month:.0%} to {self.high_ratio_per_month:.0%}"
        return f"{band} of {self.provider} {self.instance_type} a month, {self.as_of}"


def taken_back(price: Price, stated_s: float | None = None) -> TakenBack:
    """Return how often an instance rented at a spot price is taken back.

    A stated mean time wins; else the published band of the provider's instance with that
    accelerator; else the worst band published, which says so.

    Args:
        price: of a spot offer.
        stated_s: mean time that the user states for one instance.
    """
    if stated_s is not None:
        source = "time to preemption stated in the scenario"
        return TakenBack(stated_s, source, Caution("spot: preempted as often as the scenario says"))
    known = spot_rates()
    own = [
        r for r in known if (r.provider, r.accelerator_id) == (price.provider, price.accelerator_id)
    ]
    rate = max(own or known, key=lambda one: one.high_ratio_per_month)
    said = f"spot instances are taken back as {rate} ({rate.source})"
    state = "markets differ by far, so state `price: {preempted_after: …}`"
    if own:
        return TakenBack(rate.instance_mtbf_s, said, Caution(f"{said}; {state}"))
    what = f"no rate of preemption is published for {price.provider} {price.accelerator_id}"
    return TakenBack(rate.instance_mtbf_s, said, Fallback(f"{what}: {said}; {state}"))


@cache
def spot_rates() -> tuple[SpotRate, ...]:
    """Return every published rate of the catalogue."""

    def record(row: Row) -> SpotRate:
        low, high = (row.number(f"{end}_ratio_per_month") for end in ("low", "high"))
        if not low <= high < 1:
            row.fault("a share taken back in a month lies below 1, low before high")
        return SpotRate(
            provider=row.text("provider"),
            accelerator_id=row.text("accelerator_id"),
            instance_type=row.text("instance_type"),
            low_ratio_per_month=low,
            high_ratio_per_month=high,
            as_of=row.date("as_of"),
            source=row.text("source"),
        )

    folder = data_folder("hardware_specs") / "prices"
    return read_table(folder / "spot.csv", _COLUMNS, record)
