"""Figures of what a plan leaves behind besides its location-based emissions."""

from __future__ import annotations

from costsim.costs.energy import Estimate
from costsim.planning.figures import Figure, Term
from costsim.planning.study import Place


def footprint_figures(place: Place, device_hours: float, energy: Estimate) -> dict[str, Figure]:
    """Return market-based emissions, those of making the devices, and water, where known.

    Args:
        place: where it runs.
        device_hours: that are held.
        energy: kilowatt-hours at the building's meter.
    """
    found, known, pue = dict[str, Figure](), place.footprint, place.site.pue.value_ratio
    kwh = Term("energy_kwh", energy.value, "kwh")
    market, water = known.market_t(energy), known.water_m3(energy, pue)
    embodied = known.embodied_t(device_hours)
    if market is not None and known.market_g_per_kwh is not None:
        found["market_co2e_t"] = Figure(
            market.value,
            "t",
            market.low,
            market.high,
            meaning="market-based emissions of that electricity, after certificates",
            formula="energy_kwh x market / 1e6",
            terms=(kwh, Term("market", known.market_g_per_kwh.value, "g/kWh")),
            sources=(known.market_g_per_kwh.source,),
        )
    if embodied is not None and known.embodied_kg_per_device is not None:
        found["embodied_co2e_t"] = Figure(
            embodied,
            "t",
            meaning="emissions of making the hardware, by the share of its life that is used",
            formula="device_hours / lifetime x embodied / 1000",
            terms=(
                Term("device_hours", device_hours, "device-hours"),
                Term("lifetime", known.lifetime_h.value, "h"),
                Term("embodied", known.embodied_kg_per_device.value, "kg"),
            ),
            sources=(known.embodied_kg_per_device.source, known.lifetime_h.source),
        )
    if water is not None and known.water_l_per_kwh is not None:
        found["water_m3"] = Figure(
            water.value,
            "m3",
            water.low,
            water.high,
            meaning="water of cooling; that of making electricity is not in it",
            formula="energy_kwh / pue x water / 1000",
            terms=(kwh, Term("pue", pue), Term("water", known.water_l_per_kwh.value, "l/kWh")),
            sources=(known.water_l_per_kwh.source,),
        )
    return found
