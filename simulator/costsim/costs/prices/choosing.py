"""Choosing the price that a plan is costed with, among those observed.

A price is never invented: where the catalogue knows none, the answer is an error that says how to
state one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from costsim.costs.prices.observations import (
    STALE_DAYS,
    Lists,
    Price,
    Term,
    by_price,
    is_stale,
    newest_day,
    offers_of,
    providers,
    regions,
)
from costsim.costs.tables import latest_day
from costsim.errors import SpecError, UnknownNameError, suggestion
from costsim.remarks import Caution, Fallback

COMPARABLE_DAYS = 365
"""Days behind the newest price after which a price is no longer compared with it.

A list price holds for about a year: AWS asked 98.32 $/h for p5.48xlarge in 2023 and 55.04 $/h in
2026 (hardware_specs/prices/README.md); a median over both dates would be the price of neither.
"""

NODE_DEVICES = 4
"""Devices of the smallest server sold whole for training (a GB200 NVL72 compute tray has four)."""

# Region codes of the United States: us-east-1, US, us-central1, US-1, eastus2; not us-gov-*,
# which only public bodies may rent. "all": one price in every region.
_UNITED_STATES = re.compile(r"all|us(-(?!gov).*)?|\w+us\d?", re.IGNORECASE)


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

    def __repr__(self) -> str:
        return f"<PriceChoice ${self.usd_per_device_hour:,.2f} an hour: {self.price}>"

    @property
    def usd_per_device_hour(self) -> float:
        """Dollars for one accelerator for one hour."""
        return self.price.usd_per_device_hour

    def billed_devices(self, devices: int) -> int:
        """Return the devices that are paid for where `devices` are used: instances are whole.

        A price stated by the user, or listed without its instance, is per device.
        """
        if not self.price.instance_type:
            return devices
        return math.ceil(devices / self.price.devices) * self.price.devices


def price_for(
    accelerator_id: str,
    provider: str | None = None,
    region: str | None = None,
    term: Term = "on_demand",
    quote: float | None = None,
    lists: Lists = (),
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
        lists: files laid over the catalogue, as `price_lists` returns them.

    Raises:
        SpecError: if `quote` is not a positive number.
        UnknownNameError: if the catalogue has no such price; the hint says what it has.
    """
    if quote is not None:
        return _stated(accelerator_id, term, quote)
    offers = _listed(accelerator_id, provider, region, term, lists)
    fresh = [offer for offer in offers if not _older_than(offer, COMPARABLE_DAYS, lists)]
    warnings: list[str] = []
    if fresh:
        offers = fresh
    else:
        warnings.append(Fallback(f"no {term} price of {accelerator_id} is less than a year old"))
    whole = node_offers(offers)
    if whole:
        offers = whole
    elif provider is None:
        warnings.append(
            Fallback(
                f"no provider lists {accelerator_id} by the whole server; prices of smaller"
                " instances or per device are compared"
            )
        )
    compared = tuple(sorted(_best_by_provider(offers), key=by_price))
    prices = [offer.usd_per_device_hour for offer in compared]
    price = compared[(len(compared) - 1) // 2]
    if provider is None:
        rule = (
            f"lower median {term} price of {len(compared)} provider{'s' * (len(compared) > 1)},"
            " cheapest offer of each (in the United States where sold there)"
        )
    else:
        rule = f"cheapest {term} offer of {provider}" + (f" in {region}" if region else "")
    if is_stale(price, lists):
        warnings.append(
            Caution(
                f"the price, as of {price.as_of}, may be more than {STALE_DAYS} days older than the"
                f" newest in the catalogue ({newest_day(lists)})"
            )
        )
    if term == "spot":
        warnings.append(
            Caution(
                "a spot device may be taken back at any time: training is interrupted at a"
                " published rate, unless the scenario states another (`failures: {preemption: 100"
                " h}`); a service is planned as if none were"
            )
        )
    # One provider is no market: then the spread is that of its own regions and instances.
    spread = prices if len(compared) > 1 else [offer.usd_per_device_hour for offer in offers]
    return PriceChoice(price, min(spread), max(spread), compared, rule, tuple(warnings))


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
    accelerator_id: str, provider: str | None, region: str | None, term: Term, lists: Lists
) -> list[Price]:
    """Return the offers that the arguments select, at least one."""
    if provider is not None and provider not in providers(lists):
        raise UnknownNameError(
            f"unknown provider `{provider}`", hint=suggestion(provider, providers(lists))
        )
    offers: Sequence[Price] = offers_of(accelerator_id, lists)
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
        # Of one provider that has one price for all regions, not every region is in the catalogue.
        if provider is None and region not in regions(lists):
            raise UnknownNameError(
                f"unknown region `{region}`", hint=suggestion(region, sorted(regions(lists)))
            )
        own = {offer.region for offer in offers if offer.region}
        offers = [offer for offer in offers if offer.region in (region, "all")]
        if not offers:
            raise UnknownNameError(
                f"no price of `{accelerator_id}` in region `{region}`",
                hint=f"{suggestion(region, own)} {state}".strip(),
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


def _best_by_provider(offers: Iterable[Price]) -> list[Price]:
    """Return the cheapest offer of each provider, in the United States where it sells there."""
    best: dict[str, tuple[bool, tuple[float, str, str, str], Price]] = {}
    for offer in offers:
        rank = not in_united_states(offer.region), by_price(offer), offer
        if offer.provider not in best or rank[:2] < best[offer.provider][:2]:
            best[offer.provider] = rank
    return [offer for _, _, offer in best.values()]


def _older_than(price: Price, days: int, lists: Lists) -> bool:
    return (newest_day(lists) - latest_day(price.as_of)).days > days
