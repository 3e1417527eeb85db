"""Carbon intensity of electricity and the overhead of data centres (PUE), dated and sourced.

Everything is location-based: what the grid emits, not what certificates offset. Tables:
`hardware_specs/grids/grids.csv` and `pue.csv`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from costsim.costs.tables import Row, read_table
from costsim.errors import UnknownNameError, suggestion
from costsim.resources import data_folder

KINDS = ("country", "us_state", "cn_province", "aws_region", "azure_region", "gcp_region")
GASES = ("CO2e", "CO2")
_GRID_COLUMNS = (
    "kind",
    "code",
    "name",
    "g_per_kwh",
    "low_g_per_kwh",
    "high_g_per_kwh",
    "gas",
    "basis",
    "year",
    "status",
    "source",
    "note",
)
_PUE_COLUMNS = ("provider", "site", "pue", "year", "status", "source")

HYPERSCALERS = ("aws", "azure", "gcp", "oci")
"""Providers whose published PUE stands for a cloud that is not named."""


@dataclass(frozen=True, slots=True)
class Grid:
    """How much a kilowatt-hour emits somewhere.

    `gas` is CO2e (all greenhouse gases) or CO2 alone; `low` and `high` span what several sources
    or years say and equal the value where there is one source. `basis` says whether the figure
    is of generation or consumption and whether it counts the life cycle of the plants.
    """

    kind: str
    code: str
    name: str
    g_per_kwh: float
    low_g_per_kwh: float
    high_g_per_kwh: float
    gas: str
    basis: str
    year: str
    status: str
    source: str
    note: str = ""

    def __str__(self) -> str:
        return (
            f"{self.name} ({self.code}): {self.g_per_kwh:.0f} g{self.gas}/kWh, {self.year},"
            f" {self.basis}"
        )


@dataclass(frozen=True, slots=True)
class Pue:
    """Power usage effectiveness: energy of the data centre over energy of its machines."""

    value_ratio: float
    low_ratio: float
    high_ratio: float
    basis: str
    source: str


def grid_for(place: str) -> Grid:
    """Return the grid of a country, a US state, a Chinese province or a cloud region.

    Args:
        place: a code of `grids.csv` ("FRA", "US-VA", "us-central1"), a country's or state's name
            ("France"), or a cloud region after its provider ("azure:westeurope"). Case, spaces
            and hyphens do not matter.

    Raises:
        UnknownNameError: if no grid, or more than one, has that name.
    """
    found = _grids_by_name().get(_key(place), ())
    exact = [grid for grid in found if grid.code == place]  # as printed wins over alike
    found = exact if len(exact) == 1 else found
    if len(found) == 1:
        return found[0]
    if found:
        choices = ", ".join(f"`{_qualified(grid)}`" for grid in found)
        raise UnknownNameError(f"`{place}` is more than one grid", hint=f"say one of {choices}")
    known = [name for grid in grids() for name in (grid.code, grid.name)]
    raise UnknownNameError(
        f"unknown grid `{place}`", hint=suggestion(place, known, "costsim prices --grids")
    )


@cache
def grids() -> tuple[Grid, ...]:
    """Return every grid of the catalogue."""

    def record(row: Row) -> Grid:
        value = row.number("g_per_kwh")
        return Grid(
            kind=row.one_of("kind", KINDS),
            code=row.text("code"),
            name=row.text("name"),
            g_per_kwh=value,
            low_g_per_kwh=row.optional_number("low_g_per_kwh") or value,
            high_g_per_kwh=row.optional_number("high_g_per_kwh") or value,
            gas=row.one_of("gas", GASES),
            basis=row.text("basis"),
            year=row.text("year"),
            status=row.text("status"),
            source=row.text("source"),
            note=row.text("note"),
        )

    return read_table(_folder() / "grids.csv", _GRID_COLUMNS, record)


def pue_for(provider: str | None = None, site: str = "") -> Pue:
    """Return the PUE of a provider's fleet, or of one of its sites where that is published.

    Without a provider it is the lower median of the hyperscalers' fleets, spanning from the best
    of them to the newest industry average. "industry" is that average: somebody's own cellar.

    Raises:
        UnknownNameError: if the provider publishes none in the catalogue.
    """
    table = _pues()
    industry = table["industry", ""]
    if provider is None:
        fleets = sorted(table[name, ""].value_ratio for name in HYPERSCALERS)
        return Pue(
            value_ratio=fleets[(len(fleets) - 1) // 2],
            low_ratio=fleets[0],
            high_ratio=industry.value_ratio,
            basis=f"provider not named: median of {', '.join(HYPERSCALERS)}",
            source=f"hardware_specs/grids/pue.csv; industry average: {industry.source}",
        )
    found = table.get((provider, site)) or table.get((provider, ""))
    if found is None:
        raise UnknownNameError(
            f"no PUE of provider `{provider}` is known",
            hint=suggestion(provider, {name for name, _ in table})
            + " or state one, e.g. `pue: 1.2`",
        )
    return found


def _folder() -> Path:
    return data_folder("hardware_specs") / "grids"


def _key(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum() or letter == ":")


def _qualified(grid: Grid) -> str:
    provider = grid.kind.removesuffix("_region")
    return f"{provider}:{grid.code}" if provider != grid.kind else grid.code


@cache
def _grids_by_name() -> dict[str, tuple[Grid, ...]]:
    found: dict[str, tuple[Grid, ...]] = {}
    for grid in grids():
        names = {_key(grid.code), _key(_qualified(grid))}
        if grid.kind in ("country", "us_state", "cn_province"):
            names.add(_key(grid.name))
        for name in names:
            found[name] = (*found.get(name, ()), grid)
    return found


@cache
def _pues() -> dict[tuple[str, str], Pue]:
    """Return the newest PUE of each provider and site; the span is what its rows say."""

    def record(row: Row) -> tuple[tuple[str, str], str, float, str]:
        key = row.text("provider"), row.text("site")
        source = f"{row.text('source')} ({row.text('status')})"
        return key, row.date("year"), row.number("pue"), source

    rows = sorted(read_table(_folder() / "pue.csv", _PUE_COLUMNS, record), key=lambda row: row[1])
    spans: dict[tuple[str, str], list[float]] = {}
    newest: dict[tuple[str, str], Pue] = {}
    for key, year, value, source in rows:
        spans.setdefault(key, []).append(value)
        where = f"{key[0]} {key[1] or 'average'}, {year}"
        span = spans[key]
        newest[key] = Pue(value, min(span), max(span), where, source)
    return newest
