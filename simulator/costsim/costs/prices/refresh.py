"""Fetching today's list prices into a folder of one's own, to be laid over the catalogue.

The lists are those that the gpuhunt library reads (the extra `costsim[prices]`). A provider whose
list is missing, malformed or impossible is left as it was: the last good file stays, and the
answer says which and why.
"""

from __future__ import annotations

import csv
import io
import logging
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from costsim.costs.prices.observations import (
    COLUMNS,
    MOST_USD_PER_DEVICE_HOUR,
    read_prices,
)
from costsim.errors import CostsimError, SpecError
from costsim.resources import packaged_yaml

EXTRA = "costsim[prices]"
_PATIENCE_S = 30.0  # with a silent server
_LEAST_KEPT_RATIO = 0.5
"""A new list with fewer than this share of the offers of the last good one is half a download."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh did: offers written by provider, lists kept as they were, unknown devices."""

    folder: Path
    written: dict[str, int]
    kept: dict[str, str]
    left_out: dict[str, int] = field(default_factory=dict[str, int])

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {
            "folder": str(self.folder),
            "written_offers": self.written,
            "kept_as_it_was": self.kept,
            "offers_of_unknown_devices": self.left_out,
        }


def refresh(folder: Path, day: date, asked: Iterable[str] = ()) -> Refreshed:
    """Fetch the lists of all providers (or of those `asked` for) and write one CSV each.

    Args:
        folder: where `<provider>.csv` are written, each atomically.
        day: the day that the prices are of.
        asked: names of providers, as the catalogue calls them.

    Raises:
        SpecError: if the library is not installed, or a provider is unknown to it.
    """
    fetched, failures = _fetched()
    known = {*map(_provider, fetched), *failures}
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise SpecError(
            f"no public list of `{unknown[0]}` is known", hint="known: " + ", ".join(sorted(known))
        )
    items = {_provider(name): found.items for name, found in fetched.items()}
    written: dict[str, int] = {}
    kept: dict[str, str] = {}
    left_out: dict[str, int] = {}
    for provider in sorted(asked or known):
        if provider not in items:
            kept[provider] = failures[provider]
            continue
        try:
            rows = _rows(items[provider], provider, day, left_out)
            written[provider] = _write(folder / f"{provider}.csv", rows)
        except CostsimError as error:
            kept[provider] = error.problems[0].message
    return Refreshed(folder, written, kept, left_out)


def _fetched() -> tuple[dict[str, Any], dict[str, str]]:
    """Return the library's list of each provider, and why the others could not be fetched."""
    try:
        import gpuhunt
        from gpuhunt._internal.catalog import OFFLINE_PROVIDERS
    except ImportError:
        raise SpecError(
            "fetching prices needs the gpuhunt library", hint=f"pip install '{EXTRA}'"
        ) from None
    catalogue = gpuhunt.Catalog(balance_resources=False, auto_reload=False)
    heard = _Heard()
    log = logging.getLogger("gpuhunt")
    before, propagates = socket.getdefaulttimeout(), log.propagate
    socket.setdefaulttimeout(_PATIENCE_S)
    log.addHandler(heard)
    log.propagate = False
    try:
        catalogue.load()
    except gpuhunt.GPUHuntError as error:
        raise SpecError(
            f"no price list could be fetched: {error.__cause__ or error}",
            hint="the lists that are there stay as they are; try again with a network",
        ) from None
    finally:
        socket.setdefaulttimeout(before)
        log.removeHandler(heard)
        log.propagate = propagates
    missing = [name for name in OFFLINE_PROVIDERS if name not in catalogue.catalog]
    reasons = {_provider(name): heard.reasons.get(name, "it could not be read") for name in missing}
    return dict(catalogue.catalog), reasons


class _Heard(logging.Handler):
    """Why the library could not load a provider's list: it says so in its log alone."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.reasons: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info and record.exc_info[1]
        if error and isinstance(record.args, tuple) and record.args:
            self.reasons[str(record.args[0])] = f"{type(error).__name__}: {error}"


def _provider(name: str) -> str:
    return packaged_yaml("hardware_specs", "prices/gpuhunt.yaml")["providers"].get(name, name)


def _accelerator(name: str, memory_gb: float, instance: str) -> str | None:
    """Return the id of a listed device; None where the table has none."""
    by_memory = packaged_yaml("hardware_specs", "prices/gpuhunt.yaml")["devices"].get(name, {})
    found: str | list[tuple[str, str]] | None = by_memory.get(round(memory_gb))
    if found is None or isinstance(found, str):
        return found
    named = instance.lower()
    return next((device for word, device in found if word.lower() in named), None)


def _rows(
    items: Iterable[Any], provider: str, day: date, left_out: dict[str, int]
) -> list[dict[str, object]]:
    """Return the cheapest offer of each instance, region and term as rows of a price list."""
    found: dict[tuple[object, ...], dict[str, object]] = {}
    for item in items:
        if item.gpu_count < 1 or not item.gpu_name:
            continue
        accelerator = _accelerator(item.gpu_name, item.gpu_memory or 0, item.instance_name)
        if accelerator is None:
            label = f"{item.gpu_name} {item.gpu_memory or 0:g} GB"
            left_out[label] = left_out.get(label, 0) + 1
            continue
        if not 0 < item.price / item.gpu_count <= MOST_USD_PER_DEVICE_HOUR:
            continue  # a sentinel
        term = "spot" if item.spot else "on_demand"
        values = (
            accelerator,
            item.instance_name,
            item.location,
            item.gpu_count,
            term,
            item.price,
            day.isoformat(),
            f"gpuhunt list of {provider}",
            "",
        )
        row: dict[str, object] = dict(zip(COLUMNS, values, strict=True))
        key = values[:5]
        if key not in found or item.price < float(str(found[key]["usd_per_instance_hour"])):
            found[key] = row
    return [found[key] for key in sorted(found, key=str)]


def _write(path: Path, rows: list[dict[str, object]]) -> int:
    """Write a list where it is sound and not half of the last one; return its number of offers."""
    if not rows:
        raise SpecError("the list holds no device of the hardware catalogue")
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([row[column] for column in COLUMNS] for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text.getvalue(), encoding="utf-8", newline="")
        prices = read_prices(draft)
        before = len(read_prices(path)) if path.is_file() else 0
        if len(prices) < _LEAST_KEPT_RATIO * before:
            raise SpecError(f"only {len(prices)} offers where the last list has {before}")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return len(prices)
