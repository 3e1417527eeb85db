"""What a run leaves behind besides the grid's emissions: certificates, making, water, the hour.

Each is counted where it is published or stated, and named as not counted where it is neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from costsim.costs.energy import Estimate, embodied_t
from costsim.resources import packaged_yaml

HOURS_OF_A_DAY = 24
STATED = "stated in the scenario"
_HOURS_PER_YEAR = 8760.0


@dataclass(frozen=True, slots=True)
class Known:
    """A figure and where it is from."""

    value: float
    source: str


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a place and its devices leave behind; None where it is not known.

    Attributes:
        market_g_per_kwh: emissions of the electricity after certificates (market-based).
        water_l_per_kwh: water of cooling over the energy of the machines, before PUE.
        embodied_kg_per_device: emissions of making one device with its share of the server.
        lifetime_h: hours of use that those are spread over.
        profile: emissions of the grid by hour of the day over their mean; empty where not stated.
    """

    market_g_per_kwh: Known | None = None
    water_l_per_kwh: Known | None = None
    embodied_kg_per_device: Known | None = None
    lifetime_h: Known = Known(_HOURS_PER_YEAR, STATED)
    profile: tuple[float, ...] = ()

    def market_t(self, energy_kwh: Estimate) -> Estimate | None:
        """Return tonnes of CO2e of electricity by the market-based method."""
        known = self.market_g_per_kwh
        return None if known is None else energy_kwh * (known.value / 1e6)

    def water_m3(self, energy_kwh: Estimate, pue: float) -> Estimate | None:
        """Return cubic metres of water for electricity at the meter of a building with `pue`."""
        known = self.water_l_per_kwh
        return None if known is None else energy_kwh * (known.value / pue / 1e3)

    def embodied_t(self, device_hours: float) -> float | None:
        """Return tonnes of CO2e of making the hardware that so many device-hours use up."""
        known = self.embodied_kg_per_device
        if known is None:
            return None
        return embodied_t(device_hours, known.value, self.lifetime_h.value)


def footprint_of(
    provider: str,
    accelerator_id: str,
    *,
    market_g_per_kwh: float | None = None,
    water_l_per_kwh: float | None = None,
    embodied_kg_per_device: float | None = None,
    lifetime_years: float | None = None,
    profile: Sequence[float] = (),
) -> Footprint:
    """Return what is known of devices of a provider; stated figures win over published ones.

    Args:
        provider: whose price is paid.
        accelerator_id: of the hardware catalogue.
        market_g_per_kwh: stated grams a kilowatt-hour after certificates.
        water_l_per_kwh: stated litres a kilowatt-hour of the machines.
        embodied_kg_per_device: stated kilograms of making a device with its share of the server.
        lifetime_years: stated years of use at every hour.
        profile: stated emissions of the grid by hour of the day, of any scale.
    """
    table = packaged_yaml("hardware_specs", "grids/footprint.yaml")

    def known(name: str, key: str, stated: float | None) -> Known | None:
        if stated is not None:
            return Known(stated, STATED)
        row = table[name].get(key)
        return None if row is None else _published(row)

    years = table["lifetime_years"]
    life = _published(years) if lifetime_years is None else Known(lifetime_years, STATED)
    mean = sum(profile) / len(profile) if profile else 0.0
    return Footprint(
        market_g_per_kwh=known("market_g_per_kwh", provider, market_g_per_kwh),
        water_l_per_kwh=known("water_l_per_kwh", provider, water_l_per_kwh),
        embodied_kg_per_device=known(
            "embodied_kg_per_device", accelerator_id, embodied_kg_per_device
        ),
        lifetime_h=Known(life.value * _HOURS_PER_YEAR, life.source),
        profile=tuple(one / mean for one in profile),
    )


def load_ratio(profile: Sequence[float], load: Sequence[float]) -> float:
    """Return emissions of a load by hour of the day over those of as much, spread evenly.

    Args:
        profile: emissions by hour over their mean; empty for an even grid.
        load: of as many hours, in any unit; even where it is of fewer.
    """
    if not profile or len(load) != len(profile) or not sum(load):
        return 1.0
    return sum(p * x for p, x in zip(profile, load, strict=True)) / sum(load)


def cleanest_ratio(profile: Sequence[float], hours: int) -> float:
    """Return emissions of running only in the `hours` cleanest hours of the day over the mean."""
    return sum(sorted(profile)[:hours]) / hours


def _published(row: dict[str, object]) -> Known:
    return Known(float(str(row["value"])), f"{row['source']}, {row['as_of']} ({row['status']})")
