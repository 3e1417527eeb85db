"""What a device-hour costs to rent: dated list prices by provider, region, instance and term."""

from costsim.costs.prices.choosing import (
    COMPARABLE_DAYS,
    NODE_DEVICES,
    PriceChoice,
    in_united_states,
    node_offers,
    price_for,
)
from costsim.costs.prices.observations import (
    OVERLAYS,
    STALE_DAYS,
    TERMS,
    Lists,
    Price,
    Term,
    is_stale,
    newest_day,
    offers_of,
    price_lists,
    priced_accelerators,
    providers,
)

__all__ = [
    "COMPARABLE_DAYS",
    "NODE_DEVICES",
    "OVERLAYS",
    "STALE_DAYS",
    "TERMS",
    "Lists",
    "Price",
    "PriceChoice",
    "Term",
    "in_united_states",
    "is_stale",
    "newest_day",
    "node_offers",
    "offers_of",
    "price_for",
    "price_lists",
    "priced_accelerators",
    "providers",
]
