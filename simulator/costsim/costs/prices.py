"""What a device-hour costs to rent: dated list prices by provider, region, instance and term.

The lists lie in `hardware_specs/prices/cloud/<provider>.csv`. A price is never invented: where the
catalogue knows none, the answer is an error that says how to state one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Literal, cast, get_args

from costsim.costs.tables import Row, earliest_day, latest_day, read_table
from costsim.errors import SpecError, UnknownNameError, suggestion
from costsim.resources import data_folder

Term = Literal["on_demand", "spot", "reserved_1y", "reserved_3y"]
TERMS: tuple[Term, ...] = get_args(Term)

STALE_DAYS = 180
"""Days behind the newest price of the catalogue after which a price is called stale."""

COMPARABLE_DAYS = 365
"""Days behind the newest price after which a price is no longer compared with it.

A list price holds for about a year: AWS asked 98.32 $/h for p5.48xlarge in 2023 and 55.04 $/h in
2026 (hardware_specs/prices/README.md); a median over both dates would be the price of neither.
"""

NODE_DEVICES = 4
"""Devices of the smallest server sold whole for training (a GB200 NVL72 compute tray has four)."""

_COLUMNS = (
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
# Region codes of the United States: us-east-1, US, us-central1, US-1, eastus2; not us-gov-*,
# which only public bodies may rent. "all": one price in every region.
_UNITED_STATES = re.compile(r"all|us(-(?!gov).*)?|\w+us\d?", re.IGNORECASE)


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

    def __str__(self) -> str:
        place = " ".join(part for part in (self.provider, self.instance_type, self.region) if part)
        when = f", as of {self.as_of}" if self.as_of else ""
        return f"{self.usd_per_device_hour:.2f} $/h per device ({place}{when})"


@dataclass(frozen=True, slots=True)
class PriceChoice:
    """The price that a plan is costed with, and the market around it.

    `low` and `high` span the best price of each provider compared; `compared` holds those prices,
    cheapest first; `rule` says in words how the choice was made; `warnings` what is doubtful.
    """

    price: Price
    low_usd_per_device_hour: float
    high_usd_per_device_hour: float
    compared: tuple[Price, ...]
    rule: str
    warnings: tuple[str, ...] = ()

    @property
    def usd_per_device_hour(self) -> float:
        """Dollars for one accelerator for one hour."""
        return self.price.usd_per_device_hour


def price_for(
    accelerator_id: str,
    provider: str | None = None,
    region: str | None = None,
    term: Term = "on_demand",
    quote: float | None = None,
) -> PriceChoice:
    """Choose the price of a device-hour.

    A `quote` wins. With a `provider` the price is its cheapest offer, in `region` if given, else
    in the United States where it sells there. Without a provider it is the lower median over the
    cheapest such offer of every provider that lists whole servers (see `node_offers`) with a
    price less than a year behind the newest of the catalogue: a real offer, not an average.
    Where no whole server, or nothing that recent, is listed, the rest is compared instead and
    `warnings` says so.

    Args:
        accelerator_id: id of the hardware catalogue.
        provider: name of a provider of the catalogue.
        region: a region code of that provider.
        term: how the device is rented.
        quote: dollars per device-hour that the user states.

    Raises:
        SpecError: if `quote` is not a positive number.
        UnknownNameError: if the catalogue has no such price; the hint says what it has.
    """
    if quote is not None:
        return _stated(accelerator_id, term, quote)
    offers = _listed(accelerator_id, provider, region, term)
    fresh = [offer for offer in offers if not _older_than(offer, COMPARABLE_DAYS)]
    warnings: list[str] = []
    if fresh:
        offers = fresh
    else:
        warnings.append(f"no {term} price of {accelerator_id} is less than a year old")
    whole = node_offers(offers)
    if whole:
        offers = whole
    elif provider is None:
        warnings.append(
            f"no provider lists {accelerator_id} by the whole server; prices of smaller instances"
            " or per device are compared"
        )
    compared = tuple(sorted(_best_by_provider(offers), key=_by_price))
    prices = [offer.usd_per_device_hour for offer in compared]
    price = compared[(len(compared) - 1) // 2]
    if provider is None:
        rule = (
            f"lower median {term} price of {len(compared)} provider{'s' * (len(compared) > 1)},"
            " cheapest offer of each (in the United States where sold there)"
        )
    else:
        rule = f"cheapest {term} offer of {provider}" + (f" in {region}" if region else "")
    if is_stale(price):
        warnings.append(
            f"the price, as of {price.as_of}, may be more than {STALE_DAYS} days older than the"
            f" newest in the catalogue ({newest_day()})"
        )
    if term == "spot":
        warnings.append(
            "a spot device may be taken back at any time: interruptions are counted at the rate of"
            " failing hardware alone, unless the scenario states another (`failures`)"
        )
    # One provider is no market: then the spread is that of its own regions and instances.
    spread = prices if len(compared) > 1 else [offer.usd_per_device_hour for offer in offers]
    return PriceChoice(price, min(spread), max(spread), compared, rule, tuple(warnings))


def offers_of(accelerator_id: str) -> tuple[Price, ...]:
    """Return every listed price of an accelerator, by provider, term and price.

    Raises:
        UnknownNameError: if no provider lists it.
    """
    found = _by_accelerator().get(accelerator_id)
    if not found:
        priced = priced_accelerators()
        longer = [name for name in priced if accelerator_id.lower() in name]  # h100: its variants
        raise UnknownNameError(
            f"no provider in the catalogue lists a price of `{accelerator_id}`",
            hint=suggestion(accelerator_id, longer or priced, "costsim prices")
            + " or state a price in the scenario, e.g. `price: 2.5 $/h` (per device-hour)",
        )
    return found


def priced_accelerators() -> tuple[str, ...]:
    """Return the ids of all accelerators with a listed price."""
    return tuple(sorted(_by_accelerator()))


def providers() -> tuple[str, ...]:
    """Return the names of all providers of the catalogue."""
    return tuple(sorted(path.name.removesuffix(".csv") for path in _provider_files()))


def node_offers(offers: Iterable[Price]) -> list[Price]:
    """Return the offers of whole servers.

    A whole server is the largest instance that the provider sells with that accelerator, of at
    least `NODE_DEVICES` devices: parts of a server share their host and network with strangers.
    """
    offers = list(offers)
    largest: dict[tuple[str, str], int] = {}
    for offer in offers:
        key = offer.provider, offer.accelerator_id
        largest[key] = max(largest.get(key, NODE_DEVICES), offer.devices)
    return [o for o in offers if o.devices == largest[o.provider, o.accelerator_id]]


def in_united_states(region: str) -> bool:
    """Say whether a region code names a public region of the United States."""
    return bool(_UNITED_STATES.fullmatch(region))


def is_stale(price: Price) -> bool:
    """Say whether a price may be more than `STALE_DAYS` behind the newest of the catalogue."""
    return bool(price.as_of) and (newest_day() - earliest_day(price.as_of)).days > STALE_DAYS


@cache
def newest_day() -> date:
    """Return the day of the newest price of the catalogue: what "now" means to it."""
    everything = (offer for offers in _by_accelerator().values() for offer in offers)
    return max(earliest_day(offer.as_of) for offer in everything)


def _stated(accelerator_id: str, term: Term, quote: float) -> PriceChoice:
    if not 0 < quote < float("inf"):
        raise SpecError(
            f"a price of {quote} $/h per device is not positive", hint="e.g. `price: 2.5 $/h`"
        )
    price = Price(
        provider="stated",
        region="",
        instance_type="",
        accelerator_id=accelerator_id,
        devices=1,
        usd_per_device_hour=quote,
        term=term,
        as_of="",
        source="stated in the scenario",
    )
    return PriceChoice(price, quote, quote, (price,), "stated in the scenario")


def _listed(
    accelerator_id: str, provider: str | None, region: str | None, term: Term
) -> list[Price]:
    """Return the offers that the arguments select, at least one."""
    if provider is not None and provider not in providers():
        raise UnknownNameError(
            f"unknown provider `{provider}`", hint=suggestion(provider, providers())
        )
    offers: Sequence[Price] = offers_of(accelerator_id)
    state = "or state a price, e.g. `price: 2.5 $/h`"
    if provider is not None:
        sellers = {offer.provider for offer in offers}
        offers = [offer for offer in offers if offer.provider == provider]
        if not offers:
            raise UnknownNameError(
                f"{provider} lists no price of `{accelerator_id}`",
                hint=f"sold by {_names(sellers)}; {state}",
            )
    if region is not None:
        regions = {offer.region for offer in offers if offer.region}
        offers = [offer for offer in offers if offer.region in (region, "all")]
        if not offers:
            raise UnknownNameError(
                f"no price of `{accelerator_id}` in region `{region}`",
                hint=f"{suggestion(region, regions)} {state}".strip(),
            )
    terms = {offer.term for offer in offers}
    offers = [offer for offer in offers if offer.term == term]
    if not offers:
        raise UnknownNameError(
            f"no {term} price of `{accelerator_id}`",
            hint=f"listed: {_names(terms)}; {state}",
        )
    return list(offers)


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _by_price(price: Price) -> tuple[float, str, str, str]:
    return price.usd_per_device_hour, price.provider, price.instance_type, price.region


def _best_by_provider(offers: Iterable[Price]) -> list[Price]:
    """Return the cheapest offer of each provider, in the United States where it sells there."""
    best: dict[str, tuple[bool, tuple[float, str, str, str], Price]] = {}
    for offer in offers:
        rank = not in_united_states(offer.region), _by_price(offer), offer
        if offer.provider not in best or rank[:2] < best[offer.provider][:2]:
            best[offer.provider] = rank
    return [offer for _, _, offer in best.values()]


def _older_than(price: Price, days: int) -> bool:
    return (newest_day() - latest_day(price.as_of)).days > days


def _provider_files() -> list[Path]:
    return sorted((data_folder("hardware_specs") / "prices" / "cloud").glob("*.csv"))


@cache
def _by_accelerator() -> dict[str, tuple[Price, ...]]:
    """Read every provider's list once (some 1,500 prices in about 10 ms)."""
    found: dict[str, list[Price]] = {}
    for path in _provider_files():
        provider = path.name.removesuffix(".csv")

        def record(row: Row, provider: str = provider) -> Price:
            devices = row.count("devices")
            return Price(
                provider=provider,
                region=row.text("region"),
                instance_type=row.text("instance_type"),
                accelerator_id=row.text("accelerator_id"),
                devices=devices,
                usd_per_device_hour=row.number("usd_per_instance_hour") / devices,
                term=cast(Term, row.one_of("term", TERMS)),
                as_of=row.date("as_of"),
                source=row.text("source"),
                note=row.text("note"),
            )

        for price in read_table(path, _COLUMNS, record):
            found.setdefault(price.accelerator_id, []).append(price)
    return {name: tuple(sorted(prices, key=_by_listing)) for name, prices in found.items()}


def _by_listing(price: Price) -> tuple[str, int, tuple[float, str, str, str]]:
    return price.provider, TERMS.index(price.term), _by_price(price)
