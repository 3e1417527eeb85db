"""A study: a scenario read, and every name that it uses looked up, whatever its workload."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from costsim.architectures import load_model
from costsim.architectures.architecture import Architecture
from costsim.costs.energy import Estimate, device_power_w
from costsim.costs.footprint import Footprint, footprint_of
from costsim.costs.grids import Grid, Pue, pue_for
from costsim.costs.ownership import (
    PurchasePrice,
    ownership_choice,
    ownership_usd_per_device_hour,
    purchase_price,
)
from costsim.costs.prices import Lists, Price, PriceChoice, price_for, price_lists
from costsim.costs.site import Location, locate, read_grid
from costsim.currencies import currency
from costsim.documents import Document, load_document, parse_as, read_document
from costsim.errors import CostsimError, SpecError, suggestion
from costsim.errors import Location as ErrorPlace
from costsim.hardware import System, load_hardware
from costsim.hardware.changes import HardwareChange, changed
from costsim.planning.lookup import Lookup
from costsim.planning.options import Option, options_of
from costsim.planning.overlays import read_overlay
from costsim.planning.scenario import ListPrice, Owned, Scenario, Site
from costsim.planning.sources import check_named_files, scenario_path
from costsim.training.overlay import Overlay
from costsim.units import HOURS_PER_MONTH

_SECONDS_PER_YEAR = 12 * HOURS_PER_MONTH * 3600.0
_TITLE_WORDS = 72  # characters that a title has room for beside its own

Source = str | Path | Mapping[str, Any] | Document


@dataclass(frozen=True, slots=True)
class Place:
    """A system that the workload may run on, with what it costs and draws there."""

    named: str
    system: System
    price: PriceChoice
    power_w: Estimate  # of one device at work, with its share of the node
    site: Location  # grid and building of the price
    footprint: Footprint  # what it leaves behind besides the grid's emissions


@dataclass(frozen=True, slots=True)
class Study:
    """A scenario with every name looked up; frozen, and all that planning is told.

    Attributes:
        scenario: as written.
        document: that it was read from, for the places of later errors.
        folder: that paths in it start at.
        model: before any compression.
        options: of compression, each with its model.
        places: systems to compare.
        maker: what compressed models are made on.
        overlay: constants that measured steps refined, where the scenario names a file.
        lists: price lists that the scenario lays over the catalogue.
    """

    scenario: Scenario
    document: Document
    folder: Path
    model: Architecture
    options: tuple[Option, ...]
    places: tuple[Place, ...]
    maker: Place
    overlay: Overlay | None
    lists: Lists = ()

    @property
    def several(self) -> bool:
        """Whether options or places are compared."""
        return len(self.options) * len(self.places) > 1


def read(
    source: Source,
    settings: Sequence[str] = (),
    calibration: str | Path | None = None,
    *,
    allow_outside: bool = False,
) -> tuple[Document, Path]:
    """Return the document of a scenario with `path=value` settings applied, and its folder.

    Raises:
        SpecError: if it cannot be read, is no mapping, a setting is not of that form, or the file
            names another outside its folder and that is not allowed.
    """
    if isinstance(source, Document):
        document, folder = source, Path(source.file).parent
    elif isinstance(source, Mapping):
        document, folder = Document(deepcopy(dict(source)), "<scenario>"), Path()
    else:
        path = scenario_path(source)
        document, folder = load_document(path), path.parent
    if not isinstance(document.value, dict):
        raise SpecError(
            "a scenario is a mapping of keys to values",
            location=document.locate(),
            hint="`costsim init` writes one to start from",
        )
    for setting in settings:
        document = _set(document, setting)
    document = _retitled(document, settings)
    if calibration is not None:
        path = str(Path(calibration).resolve())
        document = document.with_value(["calibration"], path, "--calibration")
    if not isinstance(source, Mapping) and not allow_outside:
        check_named_files(document, folder)
    return document, folder


def kind_of(document: Document, known: Sequence[str]) -> str:
    """Return the kind of workload that a scenario plans.

    Raises:
        SpecError: where it is none of `known`, or not stated.
    """
    scenario = cast("dict[str, Any]", document.value)
    workload: Any = scenario.get("workload")
    if not isinstance(workload, dict):
        what = "missing `workload`" if workload is None else "`workload`: must be a mapping"
        raise SpecError(
            what,
            location=document.locate(("workload",)),
            hint=f"`workload: {{kind: …}}`, of kind {', '.join(known)}",
        )
    kind: Any = cast("dict[str, Any]", workload).get("kind")
    if kind is None:
        raise SpecError(
            "missing `workload.kind`",
            location=document.locate(("workload",)),
            hint=f"one of {', '.join(known)}",
        )
    if kind not in known:
        raise SpecError(
            f"`workload.kind`: `{kind}` is no kind of workload",
            location=document.locate(("workload", "kind")),
            hint=suggestion(str(kind), known),
        )
    return str(kind)


def study_of(
    document: Document,
    folder: Path,
    scenario_type: type[Scenario],
    prepare: Callable[[Any, Architecture, Lookup], Architecture],
) -> tuple[Study, Lookup]:
    """Look up what every kind of scenario names; unknown names are noted, not raised.

    The study is whole only once the lookup has been finished.

    Args:
        document: of the scenario.
        folder: that its paths start at.
        scenario_type: what it is read as.
        prepare: what the workload makes of the model before it is compressed.

    Raises:
        SpecError: with every key that is unknown or of a wrong form.
    """
    scenario = parse_as(document, scenario_type)
    lookup = Lookup(document)
    model = lookup.attempt(
        ("model",), partial(load_scenario_model, scenario.model, folder, document)
    )
    if model is not None:
        model = prepare(scenario, model, lookup)
    count = scenario.most_devices
    written = scenario.site.grid
    grid = (
        None if written is None else lookup.attempt(("site", "grid"), partial(read_grid, written))
    )
    if scenario.currency is not None:
        lookup.attempt(("currency",), partial(currency, scenario.currency))
    read_lists = partial(price_lists, scenario.prices, folder)
    lists = lookup.attempt(("prices",), read_lists) or ()
    places = [
        _place(name, index, scenario, lookup, count, grid, lists)
        for index, name in enumerate(scenario.hardware.system)
    ]
    maker = places[0]
    if scenario.making.system is not None:
        maker = _place(scenario.making.system, None, scenario, lookup, count, grid, lists)
    overlay = None
    if scenario.calibration is not None:
        path = folder / scenario.calibration
        overlay = lookup.attempt(("calibration",), partial(read_overlay, path))
    options = () if model is None else options_of(model, scenario.compression, folder, lookup)
    # What is missing here is among the problems, so that nobody sees it once they are raised.
    found: Any = (scenario, document, folder, model, options, tuple(places), maker)
    return Study(*found, overlay=overlay, lists=lists), lookup  # pyright: ignore[reportCallIssue]


def _place(
    named: str,
    index: int | None,
    scenario: Scenario,
    lookup: Lookup,
    count: int,
    grid: Grid | None,
    lists: Lists,
) -> Place:
    where = ("making", "system") if index is None else ("hardware", "system", index)
    system = lookup.attempt(where, partial(load_hardware, named, count))
    if system is not None and index is not None and scenario.hardware.change is not None:
        stated = HardwareChange(**scenario.hardware.change.model_dump())
        system = lookup.attempt(("hardware", "change"), partial(changed, system, stated))
    if system is None:
        return cast("Place", None)
    accelerator = system.accelerator.id
    power = lookup.attempt(where, partial(_power, system, scenario.site))
    rented = ("price",) if lookup.document.steps(("price",)) else where
    if scenario.own is None:
        price = lookup.attempt(rented, partial(_price, accelerator, scenario.price, lists))
    elif power is not None:
        pue = _pue(scenario.site.pue) or pue_for()
        price = lookup.attempt(("own",), partial(owned, accelerator, scenario, power, pue, lists))
    else:
        price = None
    site = None if price is None else locate(price.price, grid, _pue(scenario.site.pue))
    return Place(
        named,
        system,
        cast("PriceChoice", price),
        cast("Estimate", power),
        cast("Location", site),
        cast("Footprint", None if price is None else _footprint(price.price, scenario.site)),
    )


def _footprint(price: Price, site: Site) -> Footprint:
    return footprint_of(
        price.provider,
        price.accelerator_id,
        market_g_per_kwh=site.market,
        water_l_per_kwh=site.water,
        embodied_kg_per_device=site.embodied,
        lifetime_years=None if site.lifetime is None else site.lifetime / _SECONDS_PER_YEAR,
        profile=site.grid_profile or (),
    )


def _price(accelerator_id: str, stated: float | ListPrice, lists: Lists) -> PriceChoice:
    if isinstance(stated, ListPrice):
        return price_for(accelerator_id, stated.provider, stated.region, stated.term, lists=lists)
    return price_for(accelerator_id, quote=stated)


def owned(
    accelerator_id: str, scenario: Scenario, power_w: Estimate, pue: Pue, lists: Lists = ()
) -> PriceChoice:
    """Return what a device-hour costs the owner of a device, and how it compares with renting.

    Raises:
        UnknownNameError: if no purchase price is known or stated.
    """
    own = cast("Owned", scenario.own)
    if own.purchase is None:
        bought = purchase_price(accelerator_id)
    else:
        stated = own.purchase
        bought = PurchasePrice(
            accelerator_id, stated, stated, "server_share", "", "stated in the scenario"
        )
    cost = ownership_usd_per_device_hour(
        bought,
        power_w=power_w,
        pue=pue,
        years=own.years,
        utilisation_ratio=own.utilization,
        electricity_usd_per_kwh=own.electricity,
        network_ratio=own.network,
        residual_ratio=own.residual,
        interest_per_year_ratio=own.interest,
        operation_per_year_ratio=own.operation,
    )
    try:
        rent = _price(accelerator_id, scenario.price, lists)
    except CostsimError:
        rent = None
    return ownership_choice(accelerator_id, bought, cost, own.utilization, rent)


def _power(system: System, site: Site) -> Estimate:
    """Return the stated power of a device, or what its ratings give."""
    stated = site.device_power
    if stated is not None:
        return Estimate(stated, stated, stated, f"{stated:,.0f} W a device, stated in the scenario")
    rating = system.node_power_w
    if rating is None and system.accelerator.tdp_w is None:
        raise SpecError(
            f"no power of {system.accelerator.name} is published",
            hint="state what a device draws: `site: {device_power: 500 W}`",
        )
    return device_power_w(
        system.accelerator.tdp_w,
        rating / system.devices_per_node if rating else None,
        system.accelerator.id,
    )


def _pue(stated: float | None) -> Pue | None:
    if stated is None:
        return None
    return Pue(stated, stated, stated, "stated in the scenario", "the scenario")


def load_scenario_model(
    named: str | dict[str, Any], folder: Path, document: Document
) -> Architecture:
    """Load a model; a path starts at the scenario's folder, a description stands in `document`."""
    is_path = isinstance(named, str) and (
        "/" in named or named.endswith((".json", ".yaml", ".yml"))
    )
    if is_path:
        return load_model(folder / str(named))
    return load_model(named if isinstance(named, str) else document.part("model"))


def _set(document: Document, setting: str) -> Document:
    """Apply one `path=value`, the value read as YAML."""
    path, equals, text = setting.partition("=")
    if not equals or not path.strip():
        raise SpecError(
            f"`{setting}` is not of the form path=value",
            location=ErrorPlace("--set"),
            hint="for example --set hardware.devices=512",
        )
    place = f"--set {path.strip()}"
    value = read_document(text, place).value if text.strip() else None
    return document.with_value(path.strip().split("."), value, place)


def _retitled(document: Document, settings: Sequence[str]) -> Document:
    """Let the title say what was changed, so that it never speaks of what was planned before."""
    name = cast("dict[str, Any]", document.value).get("name")
    changed = [setting.strip() for setting in settings]
    if not changed or not isinstance(name, str) or any(s.startswith("name=") for s in changed):
        return document
    words = ", ".join(changed)
    if len(words) > _TITLE_WORDS:
        words = f"{len(changed)} values changed" if len(changed) > 1 else "one value changed"
    return document.with_value(["name"], f"{name} ({words})", "--set")
