"""Resolving a service: every name that its scenario uses looked up, all unknown ones at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from costsim.architectures.architecture import Architecture
from costsim.compression.published import published_precision
from costsim.costs.grids import Grid, Pue, grid_for, pue_for
from costsim.costs.prices import PriceChoice, price_for
from costsim.documents import Document
from costsim.errors import CostsimError, Problem, SpecError
from costsim.hardware import System, load_hardware
from costsim.inference.engines import Engine, Speculation, load_engine
from costsim.inference.formats import format_named
from costsim.inference.traffic import Traffic
from costsim.planning.resolving import load_scenario_model
from costsim.planning.scenario import ListPrice
from costsim.planning.serving_scenario import Serving, ServingScenario
from costsim.planning.serving_traffic import pass_traffic, token_traffic


@dataclass(frozen=True, slots=True)
class ResolvedService:
    """What the names of a scenario stand for; `prices` go with `systems`."""

    model: Architecture
    engine: Engine
    systems: tuple[System, ...]
    prices: tuple[PriceChoice, ...]
    traffic: Traffic
    grid: Grid
    pue: Pue
    precisions: tuple[str, ...] = ("bf16",)


def resolve_service(scenario: ServingScenario, document: Document, folder: Path) -> ResolvedService:
    """Look every name of the scenario up.

    Raises:
        SpecError: with every name that is unknown, at its place in the file.
    """
    problems: list[Problem] = []
    found: dict[str, Any] = {}

    def attempt(name: str, path: tuple[str | int, ...], action: Callable[[], Any]) -> None:
        try:
            found[name] = action()
        except CostsimError as error:
            where = document.locate(path)
            problems.extend(p if p.location else replace(p, location=where) for p in error.problems)

    workload, hardware = scenario.workload, scenario.hardware
    attempt("model", ("model",), lambda: load_scenario_model(scenario.model, folder))
    engine = workload.engine if isinstance(workload, Serving) else "generic"
    attempt("engine", ("workload", "engine"), lambda: load_engine(engine))
    if isinstance(workload, Serving) and workload.speculation is not None:
        stated = workload.speculation
        place = ("workload", "speculation", "accepted")
        attempt(
            "speculation",
            place,
            lambda: Speculation(stated.tokens, stated.accepted, stated.draft),
        )
    for index, name in enumerate(hardware.precision or ()):
        place = ("hardware", "precision", index)
        attempt(f"precision {index}", place, partial(format_named, name))
    for index, name in enumerate(hardware.system):
        attempt(f"system {index}", ("hardware", "system", index), partial(load_hardware, name))
        if f"system {index}" in found:
            identity = found[f"system {index}"].accelerator.id
            attempt(f"price {index}", ("price",), partial(_price, identity, scenario.price))
    attempt("grid", ("site", "grid"), lambda: grid_for(scenario.site.grid))
    if isinstance(workload, Serving):
        attempt("traffic", ("workload",), partial(token_traffic, workload, folder))
    else:
        found["traffic"] = pass_traffic(workload)
    if "traffic" in found and "model" in found:
        check = partial(_check, found["model"], found["traffic"], workload)
        attempt("context", ("workload",), check)
    if problems:
        raise SpecError(problems)
    profile: Engine = found["engine"]
    if "speculation" in found:
        profile = replace(profile, speculation=found["speculation"])
    number = range(len(hardware.system))
    own = scenario.site.pue
    pue = pue_for() if own is None else Pue(own, own, own, "stated", "the scenario")
    return ResolvedService(
        found["model"],
        profile,
        tuple(found[f"system {i}"] for i in number),
        tuple(found[f"price {i}"] for i in number),
        found["traffic"],
        found["grid"],
        pue,
        hardware.precision or (published_precision(found["model"]),),
    )


def _price(accelerator_id: str, stated: float | ListPrice) -> PriceChoice:
    if isinstance(stated, ListPrice):
        return price_for(accelerator_id, stated.provider, stated.region, stated.term)
    return price_for(accelerator_id, quote=stated)


def _check(model: Architecture, traffic: Traffic, workload: object) -> None:
    """Check lengths against what the model is made for."""
    limit = model.context_limit
    if isinstance(workload, Serving):
        if not any(weight.lookup for block in model.blocks() for weight in block.weights()):
            raise SpecError(
                f"{model.name} generates no tokens", hint="`kind: forward` passes samples forward"
            )
        longest = int((traffic.input_tokens + traffic.output_tokens).max())
    else:
        longest = getattr(workload, "sequence", 0)
    if limit is not None and longest > limit:
        raise SpecError(
            f"{model.name} has positions for {limit:,} tokens, not {longest:,}",
            hint=f"a request may have at most {limit:,}",
        )
