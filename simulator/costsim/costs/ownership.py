"""What a device-hour costs its owner: purchase, capital, operation and power, factor by factor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

from costsim.costs.energy import Estimate
from costsim.costs.grids import Pue
from costsim.costs.prices import Price, PriceChoice
from costsim.costs.tables import Row, earliest_day, read_table
from costsim.errors import Problem, SpecError, UnknownNameError, suggestion
from costsim.resources import data_folder

SCOPES = ("server_share", "baseboard_share", "device", "estimate")
"""What a purchase price buys, best first: a share of a whole server, a share of a board of
devices, a bare device, or somebody's estimate of the device."""

RECENT_YEARS = 2
"""Calendar years back from the newest price over which a purchase price is said to spread."""

HOURS_PER_YEAR = 8760
STATED = "stated in the scenario"
_W_PER_KW = 1e3
_COLUMNS = (
    "accelerator_id",
    "low_usd_per_device",
    "high_usd_per_device",
    "scope",
    "as_of",
    "source",
    "note",
)


@dataclass(frozen=True, slots=True)
class PurchasePrice:
    """What one accelerator cost to buy; `scope` says what came with it (see `SCOPES`)."""

    accelerator_id: str
    low_usd_per_device: float
    high_usd_per_device: float
    scope: str
    as_of: str
    source: str
    note: str = ""

    @property
    def usd_per_device(self) -> float:
        """The middle of low and high."""
        return (self.low_usd_per_device + self.high_usd_per_device) / 2


@dataclass(frozen=True, slots=True)
class Factor:
    """One number behind an ownership cost."""

    name: str
    value: float
    unit: str
    source: str


@dataclass(frozen=True, slots=True)
class Ownership:
    """Cost of one used device-hour to its owner, by part, and the factors that went in."""

    purchase_usd_per_device_hour: float
    capital_usd_per_device_hour: float
    operation_usd_per_device_hour: float
    energy_usd_per_device_hour: float
    factors: tuple[Factor, ...]

    @property
    def usd_per_device_hour(self) -> float:
        """The sum of the parts."""
        return (
            self.purchase_usd_per_device_hour
            + self.capital_usd_per_device_hour
            + self.operation_usd_per_device_hour
            + self.energy_usd_per_device_hour
        )


def purchase_price(accelerator_id: str) -> PurchasePrice:
    """Return the newest published purchase price of the widest scope (see `SCOPES`).

    Raises:
        UnknownNameError: if none is known.
    """
    known = purchase_prices()
    prices = [price for price in known if price.accelerator_id == accelerator_id]
    if not prices:
        raise UnknownNameError(
            f"no purchase price of `{accelerator_id}` is known",
            hint="state one in the scenario; "
            + suggestion(accelerator_id, {price.accelerator_id for price in known}),
        )
    widest = min(SCOPES.index(price.scope) for price in prices)
    return max(
        (price for price in prices if price.scope == SCOPES[widest]),
        key=lambda price: (earliest_day(price.as_of), price.usd_per_device),
    )


def purchase_range_usd(accelerator_id: str) -> tuple[float, float]:
    """Return the least and the most asked for a device of any scope in recent years."""
    prices = [price for price in purchase_prices() if price.accelerator_id == accelerator_id]
    newest = max(earliest_day(price.as_of).year for price in prices)
    recent = [p for p in prices if earliest_day(p.as_of).year > newest - RECENT_YEARS]
    return min(p.low_usd_per_device for p in recent), max(p.high_usd_per_device for p in recent)


@cache
def purchase_prices() -> tuple[PurchasePrice, ...]:
    """Return every purchase price of the catalogue."""

    def record(row: Row) -> PurchasePrice:
        return PurchasePrice(
            accelerator_id=row.text("accelerator_id"),
            low_usd_per_device=row.number("low_usd_per_device"),
            high_usd_per_device=row.number("high_usd_per_device"),
            scope=row.one_of("scope", SCOPES),
            as_of=row.date("as_of"),
            source=row.text("source"),
            note=row.text("note"),
        )

    folder = data_folder("hardware_specs") / "prices"
    return read_table(folder / "purchase.csv", _COLUMNS, record)


def ownership_usd_per_device_hour(
    purchase: PurchasePrice,
    *,
    power_w: Estimate,
    pue: Pue,
    years: float,
    utilisation_ratio: float,
    electricity_usd_per_kwh: float,
    network_ratio: float,
    residual_ratio: float,
    interest_per_year_ratio: float,
    operation_per_year_ratio: float,
) -> Ownership:
    """Return what one used device-hour costs its owner.

    Every factor is the caller's to state; none has a default. Idle hours cost capital and
    operation (through the utilisation) but no power.

    Args:
        purchase: price of one device; add the host to a bare device's before.
        power_w: power of a device with its share of the node (`costs.energy.device_power_w`).
        pue: overhead of the building.
        years: years of service.
        utilisation_ratio: used hours over all hours.
        electricity_usd_per_kwh: price of electricity.
        network_ratio: network and storage of the cluster over the price of the servers.
        residual_ratio: value left after `years` over the purchase price.
        interest_per_year_ratio: cost of capital on the value still bound, straight-line.
        operation_per_year_ratio: yearly staff, space and repair over the purchase price.

    Raises:
        SpecError: with every factor that is out of range.
    """
    rules = (
        ("years", years, years > 0, "above 0"),
        ("utilisation", utilisation_ratio, 0 < utilisation_ratio <= 1, "above 0, at most 1"),
        ("electricity price", electricity_usd_per_kwh, electricity_usd_per_kwh >= 0, "0 or more"),
        ("network share", network_ratio, network_ratio >= 0, "0 or more"),
        ("residual value", residual_ratio, 0 <= residual_ratio < 1, "from 0 to below 1"),
        ("interest", interest_per_year_ratio, interest_per_year_ratio >= 0, "0 or more"),
        ("operation", operation_per_year_ratio, operation_per_year_ratio >= 0, "0 or more"),
    )
    problems = [
        Problem(f"{name} is {v}; it must be {must}") for name, v, ok, must in rules if not ok
    ]
    if problems:
        raise SpecError(problems)
    invested_usd = purchase.usd_per_device * (1 + network_ratio)
    used_hours_per_year = HOURS_PER_YEAR * utilisation_ratio
    bound_usd = invested_usd * (1 + residual_ratio) / 2  # mean of new and residual value
    bought = f"{purchase.source}, {purchase.as_of} ({purchase.scope})"
    factors = (
        Factor("purchase price", purchase.usd_per_device, "$", bought),
        Factor("network and storage share", network_ratio, "ratio", STATED),
        Factor("service life", years, "years", STATED),
        Factor("residual value", residual_ratio, "ratio", STATED),
        Factor("utilisation", utilisation_ratio, "ratio", STATED),
        Factor("interest", interest_per_year_ratio, "ratio per year", STATED),
        Factor("operation", operation_per_year_ratio, "ratio per year", STATED),
        Factor("power", power_w.value, "W", power_w.basis),
        Factor("PUE", pue.value_ratio, "ratio", f"{pue.basis}; {pue.source}"),
        Factor("electricity price", electricity_usd_per_kwh, "$/kWh", STATED),
    )
    return Ownership(
        purchase_usd_per_device_hour=invested_usd
        * (1 - residual_ratio)
        / (years * used_hours_per_year),
        capital_usd_per_device_hour=bound_usd * interest_per_year_ratio / used_hours_per_year,
        operation_usd_per_device_hour=invested_usd * operation_per_year_ratio / used_hours_per_year,
        energy_usd_per_device_hour=power_w.value
        / _W_PER_KW
        * pue.value_ratio
        * electricity_usd_per_kwh,
        factors=factors,
    )


def ownership_choice(
    accelerator_id: str,
    bought: PurchasePrice,
    cost: Ownership,
    utilization_ratio: float,
    rent: PriceChoice | None,
) -> PriceChoice:
    """Return ownership as the price of a device-hour, and in words how renting compares.

    Owning wins from the utilization at which capital and operation, spread over used hours, fall
    below the rent less the power that owners pay themselves.

    Args:
        accelerator_id: of the hardware catalogue.
        bought: the purchase price behind `cost`.
        cost: of a used device-hour, from `ownership_usd_per_device_hour`.
        utilization_ratio: that `cost` was computed at.
        rent: what the same device rents for, None where nothing is listed.
    """
    usd = cost.usd_per_device_hour
    rule = f"owned: {bought.usd_per_device:,.0f} $ a device ({bought.source}"
    rule += f", {bought.as_of})" if bought.as_of else ")"
    warnings: tuple[str, ...] = ()
    if rent is not None:
        fixed = (usd - cost.energy_usd_per_device_hour) * utilization_ratio
        saved = rent.usd_per_device_hour - cost.energy_usd_per_device_hour
        even = fixed / saved if saved > 0 else math.inf
        when = f"from a utilization of {even:.1%}" if even <= 1 else "at no utilization"
        warnings = (f"owning beats renting at {rent.price} {when}",)
    price = Price(
        provider="own",
        region="",
        instance_type="",
        accelerator_id=accelerator_id,
        devices=1,
        usd_per_device_hour=usd,
        term="on_demand",
        as_of=bought.as_of,
        source=bought.source,
    )
    spread = (bought.low_usd_per_device, bought.high_usd_per_device)
    bound = usd - cost.energy_usd_per_device_hour
    low, high = (
        cost.energy_usd_per_device_hour + bound * end / bought.usd_per_device for end in spread
    )
    return PriceChoice(price, low, high, (price,), rule, warnings)
