"""Where rented machines stand: the grid and the building that belong to a price.

A price in one region with the grid of another is a plan of nowhere. What a provider's region
implies is taken from the catalogues of grids and PUEs; what is not known there, and what a scenario
states otherwise, is said in the notes.
"""

from __future__ import annotations

from dataclasses import dataclass

from costsim.costs.grids import Grid, Pue, grid_for, pue_for
from costsim.costs.prices import Price, in_united_states
from costsim.errors import UnitError, UnknownNameError
from costsim.remarks import Caution, Fallback
from costsim.units import parse_quantity

STATED = "stated"
EVERY_REGION = "all"  # of a price that is the same everywhere
_COUNTRY_OF_MOST_OFFERS = "USA"


@dataclass(frozen=True, slots=True)
class Location:
    """Grid and PUE of a machine, and what must be said of how they were found."""

    grid: Grid
    pue: Pue
    notes: tuple[str, ...] = ()


def read_grid(written: str) -> Grid:
    """Return the grid that a person means: a name of the catalogue, or grams a kilowatt-hour.

    Raises:
        UnknownNameError: if it is neither.
    """
    try:
        grams = parse_quantity(written, "g_per_kwh")
    except UnitError:
        return grid_for(written)
    return Grid(
        kind=STATED,
        code=STATED,
        name="the stated grid",
        g_per_kwh=grams,
        low_g_per_kwh=grams,
        high_g_per_kwh=grams,
        gas="CO2e",
        basis="stated in the scenario",
        year="",
        status=STATED,
        source="stated in the scenario",
        note="",
    )


def locate(price: Price, grid: Grid | None = None, pue: Pue | None = None) -> Location:
    """Return where the machines of `price` stand; a stated `grid` or `pue` wins.

    Args:
        price: what is paid, with its provider and region.
        grid: the grid that the user states.
        pue: the overhead that the user states.
    """
    notes: list[str] = []
    own = _grid_of(price)
    if grid is None:
        grid = own or grid_for(_COUNTRY_OF_MOST_OFFERS)
        if own is None:
            notes.append(Fallback(f"grid: {_place(price)}; that of {grid.name} is taken"))
    elif own is not None and own != grid:
        notes.append(
            Caution(
                f"the price is of {price.provider} {price.region}, whose grid is {own.name} "
                f"({own.g_per_kwh:.0f} g/kWh); emissions are those of {grid.name} "
                f"({grid.g_per_kwh:.0f} g/kWh), as stated"
            )
        )
    if pue is None:
        pue = _pue_of(price)
    return Location(grid, pue, tuple(notes))


def _grid_of(price: Price) -> Grid | None:
    """Return the grid of the region of a price, None where the catalogue does not know it."""
    if not price.region or price.region == EVERY_REGION:
        return None
    try:
        return grid_for(f"{price.provider}:{price.region}")
    except UnknownNameError:
        return grid_for(_COUNTRY_OF_MOST_OFFERS) if in_united_states(price.region) else None


def _pue_of(price: Price) -> Pue:
    try:
        return pue_for(price.provider, price.region)
    except UnknownNameError:
        return pue_for()


def _place(price: Price) -> str:
    if price.provider == "stated":
        return "the stated price is of no known place"
    if price.region and price.region != EVERY_REGION:
        return f"that of {price.provider} {price.region} is not in the catalogue"
    return f"the price of {price.provider} is the same in every region or of none"
