"""Prices as observed: who asks how much for which instance, where, on which terms, and when.

The catalogue lies in `hardware_specs/prices/cloud/<provider>.csv`; files or folders named by the
environment variable `COSTSIM_PRICES` are laid over it (`overlaid`). A price that cannot be (a
sentinel, spot above on-demand of the same offer) is refused where it is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias, cast, get_args

from costsim.costs.tables import Row, earliest_day, read_table
from costsim.errors import CatalogError, Problem, UnknownNameError, suggestion
from costsim.resources import data_folder

Term = Literal["on_demand", "spot", "reserved_1y", "reserved_3y"]
TERMS: tuple[Term, ...] = get_args(Term)

Lists: TypeAlias = tuple[Path, ...]
"""Price lists laid over the catalogue, the later over the earlier."""

OVERLAYS = "COSTSIM_PRICES"
"""Environment variable with price lists of one's own: CSV files, or folders of `<provider>.csv`."""

STALE_DAYS = 90
"""Days behind the newest price of the catalogue after which a price is called stale."""

MOST_USD_PER_DEVICE_HOUR = 300.0
"""Above this a listed price is a sentinel: lists print 700 $/h for "not available"; the dearest
real offer of the catalogue is a fifth of this."""

COLUMNS = (
    "accelerator_id",
    "instance_type",
    "region",
    "devices",
    "term",
    "usd_per_instance_hour",
    "as_of",
    "source",
    "note",
)


@dataclass(frozen=True, slots=True)
class Price:
    """The price of one accelerator for one hour, with its share of the host.

    `as_of` is an ISO date, month or year; `region` and `instance_type` are empty where the source
    does not state them; `devices` is how many accelerators the priced instance holds.
    """

    provider: str
    region: str
    instance_type: str
    accelerator_id: str
    devices: int
    usd_per_device_hour: float
    term: Term
    as_of: str
    source: str
    note: str = ""

    @property
    def offer(self) -> tuple[str, str, str, str, int]:
        """What is offered, whatever the term: provider, region, instance, accelerator, devices."""
        return (
            self.provider,
            self.region,
            self.instance_type,
            self.accelerator_id,
            self.devices,
        )

    def __str__(self) -> str:
        place = " ".join(part for part in (self.provider, self.instance_type, self.region) if part)
        when = f", as of {self.as_of}" if self.as_of else ""
        return f"{self.usd_per_device_hour:.2f} $/h per device ({place}{when})"


def offers_of(accelerator_id: str, lists: Lists = ()) -> tuple[Price, ...]:
    """Return every listed price of an accelerator, by provider, term and price.

    Args:
        accelerator_id: id of the hardware catalogue.
        lists: files laid over the catalogue, as `price_lists` returns them.

    Raises:
        UnknownNameError: if no provider lists it.
    """
    found = _by_accelerator(lists).get(accelerator_id)
    if not found:
        priced = priced_accelerators(lists)
        longer = [name for name in priced if accelerator_id.lower() in name]  # h100: its variants
        raise UnknownNameError(
            f"no provider in the catalogue lists a price of `{accelerator_id}`",
            hint=suggestion(accelerator_id, longer or priced, "costsim prices")
            + " or state a price in the scenario, e.g. `price: 2.5 $/h` (per device-hour)",
        )
    return found


def priced_accelerators(lists: Lists = ()) -> tuple[str, ...]:
    """Return the ids of all accelerators with a listed price."""
    return tuple(sorted(_by_accelerator(lists)))


def providers(lists: Lists = ()) -> tuple[str, ...]:
    """Return the names of all providers of the catalogue."""
    return tuple(sorted({path.name.removesuffix(".csv") for path in _provider_files(lists)}))


def regions(lists: Lists = ()) -> frozenset[str]:
    """Return the codes of all regions that some offer names."""
    return frozenset(
        offer.region
        for accelerator_id in priced_accelerators(lists)
        for offer in offers_of(accelerator_id, lists)
        if offer.region and offer.region != "all"
    )


def is_stale(price: Price, lists: Lists = ()) -> bool:
    """Say whether a price may be more than `STALE_DAYS` behind the newest of the catalogue."""
    return bool(price.as_of) and (newest_day(lists) - earliest_day(price.as_of)).days > STALE_DAYS


def newest_day(lists: Lists = ()) -> date:
    """Return the day of the newest price of the catalogue: what "now" means to it."""
    return _newest_day(_provider_files(lists))


@cache
def _newest_day(files: tuple[Path, ...]) -> date:
    everything = (offer for offers in _read(files).values() for offer in offers)
    return max(earliest_day(offer.as_of) for offer in everything)


def by_price(price: Price) -> tuple[float, str, str, str]:
    """Order prices by what they ask, then by where."""
    return price.usd_per_device_hour, price.provider, price.instance_type, price.region


def read_prices(path: Path) -> tuple[Price, ...]:
    """Read one provider's list; the file's name is the provider's.

    Raises:
        CatalogError: with every fault of the file and its line, impossible prices among them.
    """
    provider = path.name.removesuffix(".csv")

    def record(row: Row) -> Price:
        devices = row.count("devices")
        usd_per_device_hour = row.number("usd_per_instance_hour") / devices
        if usd_per_device_hour > MOST_USD_PER_DEVICE_HOUR:
            row.fault(f"{usd_per_device_hour:,.0f} $/h a device is no price")
        return Price(
            provider=provider,
            region=row.text("region"),
            instance_type=row.text("instance_type"),
            accelerator_id=row.text("accelerator_id"),
            devices=devices,
            usd_per_device_hour=usd_per_device_hour,
            term=cast(Term, row.one_of("term", TERMS)),
            as_of=row.date("as_of"),
            source=row.text("source"),
            note=row.text("note"),
        )

    prices = read_table(path, COLUMNS, record)
    problems = [
        Problem(f"{path}: {cheap} is above its own on-demand price of {full:.2f} $/h")
        for cheap, full in discounts_above_on_demand(prices)
    ]
    if problems:
        raise CatalogError(problems)
    return prices


def discounts_above_on_demand(prices: Iterable[Price]) -> list[tuple[Price, float]]:
    """Return every discounted price above on-demand of the same offer, and what that is."""
    prices = tuple(prices)
    full = {p.offer: p.usd_per_device_hour for p in prices if p.term == "on_demand"}
    return [
        (p, full[p.offer])
        for p in prices
        if p.term != "on_demand" and p.usd_per_device_hour > full.get(p.offer, float("inf"))
    ]


def overlaid(prices: Iterable[Price], overlay: Iterable[Price]) -> list[Price]:
    """Return `prices` with those of `overlay` in the place of the same offers on the same terms."""
    found = {(price.offer, price.term): price for price in prices}
    found |= {(price.offer, price.term): price for price in overlay}
    return list(found.values())


def overlay_files() -> Lists:
    """Return the price lists that `COSTSIM_PRICES` names, in its order.

    Raises:
        CatalogError: if one of them is not there.
    """
    named = filter(None, os.environ.get(OVERLAYS, "").split(os.pathsep))
    return _files_of([Path(entry) for entry in named], OVERLAYS)


def price_lists(names: Iterable[str], folder: Path) -> Lists:
    """Return the price lists that a scenario names, read once so that faults are said.

    Args:
        names: CSV files, or folders with one `<provider>.csv` each.
        folder: that names start at.

    Raises:
        CatalogError: if one of them is not there, or holds what is no price.
    """
    files = _files_of([folder / name for name in names], "prices")
    for path in files:
        read_prices(path)
    return files


def _files_of(paths: Iterable[Path], named_by: str) -> Lists:
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(path.glob("*.csv"))
        elif path.is_file():
            files.append(path)
        else:
            raise CatalogError(
                f"{named_by}: there is no price list `{path}`",
                hint="name CSV files, or folders with one `<provider>.csv` each",
            )
    return tuple(files)


def _provider_files(lists: Lists) -> Lists:
    return (*_catalogue_files(), *overlay_files(), *lists)


@cache
def _catalogue_files() -> tuple[Path, ...]:
    return tuple(sorted((data_folder("hardware_specs") / "prices" / "cloud").glob("*.csv")))


def _by_accelerator(lists: Lists) -> dict[str, tuple[Price, ...]]:
    return _read(_provider_files(lists))


@cache
def _read(files: tuple[Path, ...]) -> dict[str, tuple[Price, ...]]:
    """Read every provider's list once (some 1,500 prices in about 10 ms)."""
    prices: list[Price] = []
    for path in files:
        prices = overlaid(prices, read_prices(path))
    found: dict[str, list[Price]] = {}
    for price in prices:
        found.setdefault(price.accelerator_id, []).append(price)
    return {name: tuple(sorted(prices, key=_by_listing)) for name, prices in found.items()}


def _by_listing(price: Price) -> tuple[str, int, tuple[float, str, str, str]]:
    return price.provider, TERMS.index(price.term), by_price(price)
