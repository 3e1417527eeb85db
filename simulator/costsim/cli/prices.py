"""`costsim prices`: what the catalogue knows of rent and of grids, each with its date."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from costsim.cli._console import note
from costsim.cli._output import choose_format, write_result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from costsim.costs.grids import Grid
    from costsim.costs.prices import Price

_FORMATS = ("table", "json", "csv")
_SCHEMA_VERSION = 1
_SHOWN_WIDTH = 28  # of a text cell of a table; JSON and CSV hold the whole


@click.command()
@click.argument("accelerator", required=False)
@click.option("--provider", help="Only this provider, every region and instance.")
@click.option("--region", help="Only this region (a code of the provider).")
@click.option(
    "--term",
    type=click.Choice(["on_demand", "spot", "reserved_1y", "reserved_3y"]),
    default="on_demand",
    show_default=True,
    help="How the device is rented, in the list of all and in the choice.",
)
@click.option(
    "--sort",
    "order",
    type=click.Choice(["name", "price", "age", "sellers"]),
    default="name",
    show_default=True,
    help="Order of the list of all: cheapest, newest or most widely sold first.",
)
@click.option("--grids", "show_grids", is_flag=True, help="List carbon intensities instead.")
@click.option("--format", "asked", type=click.Choice(_FORMATS), help="Default: table.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
def command(
    accelerator: str | None,
    provider: str | None,
    region: str | None,
    term: str,
    order: str,
    show_grids: bool,
    asked: str | None,
    output: Path | None,
) -> None:
    """List prices of a device-hour; with ACCELERATOR, all of its prices and the one chosen.

    Prices are dated list prices per accelerator, its share of the host included. The catalogue
    never reads a clock: "stale" is against its own newest price.

    `costsim prices refresh` fetches today's public lists (extra `costsim[prices]`) into a folder
    (-o FOLDER), which COSTSIM_PRICES=FOLDER lays over the catalogue, as it does any list of yours.
    """
    if accelerator == "refresh":
        _refresh(output, provider)
        return
    form = choose_format(asked, output, _FORMATS)
    if show_grids:
        if accelerator or provider or region:
            raise click.UsageError("--grids takes no accelerator, provider or region")
        write_result(_grids(form), output)
    elif accelerator:
        write_result(_one(_identity(accelerator), provider, region, term, form), output)
    else:
        write_result(_all(provider, region, term, order, form), output)


def _refresh(output: Path | None, provider: str | None) -> None:
    """Fetch today's lists into a folder; say what was written, kept and left out."""
    import json
    from datetime import date

    from platformdirs import user_data_path

    from costsim.costs.prices import OVERLAYS
    from costsim.costs.prices.refresh import refresh

    folder = output or user_data_path("costsim") / "prices"
    found = refresh(folder, date.today(), [provider] if provider else [])
    for name, reason in found.kept.items():
        note(f"{name}: kept as it was: {reason}")
    if found.written:
        note(f"plan with these prices by {OVERLAYS}={folder}")
    click.echo(json.dumps(found.to_dict(), indent=2, sort_keys=True))
    if not found.written:
        raise click.exceptions.Exit(1)


def _identity(name: str) -> str:
    """Return the id of the hardware catalogue behind an alias; other names as they are."""
    from costsim.costs.prices import priced_accelerators
    from costsim.errors import UnknownNameError
    from costsim.hardware.catalog import load_accelerator

    if name in priced_accelerators():
        return name
    try:
        return load_accelerator(name).id
    except UnknownNameError:  # the price list says what it knows
        return name


_ORDERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "name": lambda entry: entry["accelerator_id"],
    "price": lambda entry: entry["usd_per_device_hour"],
    "age": lambda entry: (entry["as_of"] + "-01-01")[:10],  # a year alone is its first day
    "sellers": lambda entry: entry["providers"],
}


def _all(provider: str | None, region: str | None, term: Any, order: str, form: str) -> str:
    """Return the price that a plan would take, one accelerator a row."""
    from costsim.costs.prices import is_stale, newest_day, price_for, priced_accelerators
    from costsim.errors import UnknownNameError

    choices: list[dict[str, Any]] = []
    error: UnknownNameError | None = None
    for accelerator in priced_accelerators():
        try:
            choice = price_for(accelerator, provider, region, term)
        except UnknownNameError as unlisted:  # the others may be sold there
            error = unlisted
            continue
        choices.append(
            _price_entry(choice.price)
            | {
                "low_usd_per_device_hour": choice.low_usd_per_device_hour,
                "high_usd_per_device_hour": choice.high_usd_per_device_hour,
                "providers": len(choice.compared),
                "stale": is_stale(choice.price),
            }
        )
    if not choices and error:
        raise error
    choices.sort(key=_ORDERS[order], reverse=order in ("age", "sellers"))
    if form == "json":
        return _json({"newest": str(newest_day()), "prices": choices})
    if form == "csv":
        return _csv(choices)
    rows = [
        (
            entry["accelerator_id"],
            f"{entry['usd_per_device_hour']:.2f}",
            f"{entry['low_usd_per_device_hour']:.2f}-{entry['high_usd_per_device_hour']:.2f}",
            str(entry["providers"]),
            entry["provider"],
            entry["as_of"] + ("*" if entry["stale"] else ""),
        )
        for entry in choices
    ]
    _say_stale(sum(entry["stale"] for entry in choices))
    return _table(
        ("ACCELERATOR", "$/H", "LOW-HIGH", "SELLERS", "CHOSEN", "AS OF"), rows, right=(1, 2, 3)
    )


def _one(accelerator: str, provider: str | None, region: str | None, term: Any, form: str) -> str:
    """Return the listed prices of an accelerator, and the one that a plan would take."""
    from costsim.costs.prices import is_stale, newest_day, offers_of, price_for

    choice = price_for(accelerator, provider, region, term)
    offers = [
        offer
        for offer in offers_of(accelerator)
        if (provider in (None, offer.provider))
        and (region is None or offer.region in (region, "all"))
    ]
    entries = [_price_entry(offer) | {"stale": is_stale(offer)} for offer in offers]
    if form == "csv":
        return _csv(entries)
    if form == "json":
        return _json(
            {
                "accelerator_id": accelerator,
                "newest": str(newest_day()),
                "chosen": _price_entry(choice.price),
                "low_usd_per_device_hour": choice.low_usd_per_device_hour,
                "high_usd_per_device_hour": choice.high_usd_per_device_hour,
                "rule": choice.rule,
                "warnings": list(choice.warnings),
                "compared": [_price_entry(offer) for offer in choice.compared],
                "offers": entries,
            }
        )
    shown = offers if provider else _cheapest_by_provider_and_term(offers)
    rows = [
        (
            offer.provider,
            offer.term,
            f"{offer.usd_per_device_hour:.2f}",
            str(offer.devices),
            _clipped(offer.instance_type or "-"),
            offer.region or "-",
            offer.as_of + ("*" if is_stale(offer) else ""),
        )
        for offer in shown
    ]
    header = ("PROVIDER", "TERM", "$/H", "DEVICES", "INSTANCE", "REGION", "AS OF")
    _say_stale(sum(is_stale(offer) for offer in shown))
    for warning in choice.warnings:
        note(f"warning: {warning}")
    hidden = len(offers) - len(shown)
    more = f" ({hidden} dearer regions and instances: --provider)" if hidden else ""
    return "\n".join(
        (
            f"{accelerator}: dollars per device-hour{more}",
            "",
            _table(header, rows, right=(2, 3)),
            "",
            f"a plan takes {choice.price}",
            f"  spread {choice.low_usd_per_device_hour:.2f}"
            f" to {choice.high_usd_per_device_hour:.2f} $/h",
            f"  rule: {choice.rule}",
            f"  source: {choice.price.source}",
        )
    )


def _grids(form: str) -> str:
    """Return the carbon intensity of every grid."""
    from costsim.costs.grids import grids

    entries = [_grid_entry(grid) for grid in grids()]
    if form == "json":
        return _json({"grids": entries})
    if form == "csv":
        return _csv(entries)
    rows = [
        (
            grid.code,
            _clipped(grid.name),
            f"{grid.g_per_kwh:.0f}",
            f"{grid.low_g_per_kwh:.0f}-{grid.high_g_per_kwh:.0f}",
            grid.gas,
            grid.year,
            grid.kind,
        )
        for grid in grids()
    ]
    header = ("CODE", "NAME", "G/KWH", "LOW-HIGH", "GAS", "YEAR", "KIND")
    return _table(header, rows, right=(2, 3))


def _cheapest_by_provider_and_term(offers: Sequence[Price]) -> list[Price]:
    """Return the first, i.e. cheapest, offer of each provider and term, in that order."""
    first: dict[tuple[str, str], Price] = {}
    for offer in offers:
        first.setdefault((offer.provider, offer.term), offer)
    return list(first.values())


def _say_stale(count: int) -> None:
    if count:
        from costsim.costs.prices import STALE_DAYS, newest_day

        note(f"* may be more than {STALE_DAYS} days older than the newest price ({newest_day()})")


def _price_entry(price: Price) -> dict[str, Any]:
    return {
        "accelerator_id": price.accelerator_id,
        "provider": price.provider,
        "region": price.region,
        "instance_type": price.instance_type,
        "devices": price.devices,
        "term": price.term,
        "usd_per_device_hour": price.usd_per_device_hour,
        "as_of": price.as_of,
        "source": price.source,
        "note": price.note,
    }


def _grid_entry(grid: Grid) -> dict[str, Any]:
    return {
        "kind": grid.kind,
        "code": grid.code,
        "name": grid.name,
        "g_per_kwh": grid.g_per_kwh,
        "low_g_per_kwh": grid.low_g_per_kwh,
        "high_g_per_kwh": grid.high_g_per_kwh,
        "gas": grid.gas,
        "basis": grid.basis,
        "year": grid.year,
        "status": grid.status,
        "source": grid.source,
    }


def _json(content: dict[str, Any]) -> str:
    import json

    return json.dumps({"schema_version": _SCHEMA_VERSION, **content}, indent=2, ensure_ascii=False)


def _csv(entries: Sequence[dict[str, Any]]) -> str:
    import csv
    import io

    text = io.StringIO()
    writer = csv.DictWriter(text, list(entries[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(entries)
    return text.getvalue()


def _clipped(text: str) -> str:
    return text if len(text) <= _SHOWN_WIDTH else text[: _SHOWN_WIDTH - 3] + "..."


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], right: tuple[int, ...]) -> str:
    """Return aligned columns, those in `right` to the right."""
    widths = [max(len(row[place]) for row in (header, *rows)) for place in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    )
