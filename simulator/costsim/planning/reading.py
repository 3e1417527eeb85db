"""Reading a scenario: a file, a mapping, and values set from the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from costsim.documents import Document, load_document, parse_as, read_document
from costsim.errors import Location, Problem, SpecError, suggestion
from costsim.planning.counting import check_counted, check_counted_once
from costsim.planning.scenario import Scenario, StrategyChoices

if TYPE_CHECKING:
    from costsim.training.space import Limits


@dataclass(frozen=True, slots=True)
class Read:
    """A scenario with the document it came from and the folder its paths start at."""

    scenario: Scenario
    document: Document
    folder: Path


def read_scenario(source: str | Path | Mapping[str, Any], settings: Sequence[str] = ()) -> Read:
    """Read a scenario from a YAML file or a mapping; `settings` are `path=value` overrides.

    Raises:
        SpecError: with every problem of the file, each at its line and column.
    """
    if isinstance(source, Mapping):
        document, folder = Document(deepcopy(dict(source)), "<scenario>"), Path()
    else:
        document, folder = load_document(source), Path(source).parent
    if not isinstance(document.value, dict):
        raise SpecError(
            "a scenario is a mapping of keys to values",
            location=document.locate(),
            hint="`costsim init` writes one to start from",
        )
    if document.steps(("compression",)):
        raise SpecError(
            "the scenario compares options of compression",
            location=document.locate(("compression",), key=True),
            hint="`costsim.planning.plan_compressed`, or `costsim plan`, compares them",
        )
    document = with_settings(document, settings)
    _check_kind(document)
    check_counted_once(document)
    scenario = parse_as(document, Scenario)
    check_counted(document, scenario)
    return Read(scenario, document, folder)


def _check_kind(document: Document) -> None:
    """Refuse what is no training in one error: all other keys would be called unknown."""
    scenario: Any = document.value
    workload: Any = cast("dict[str, Any]", scenario).get("workload")
    kind: Any = cast("dict[str, Any]", workload).get("kind") if isinstance(workload, dict) else None
    if not isinstance(kind, str) or kind == "training":
        return
    if serves(cast("dict[str, Any]", scenario)):
        raise SpecError(
            "the scenario plans a service",
            location=document.locate(("workload", "kind")),
            hint="`costsim.planning.plan_serving`, or `costsim plan`, plans it",
        )
    raise SpecError(
        f"`workload.kind`: `{kind}` is no kind of workload",
        location=document.locate(("workload", "kind")),
        hint=suggestion(kind, ("training", "inference", "forward")),
    )


def compares_compression(source: str | Path | Mapping[str, Any]) -> bool:
    """Return whether a scenario lists options of compression."""
    value: Any = source if isinstance(source, Mapping) else load_document(source).value
    return isinstance(value, Mapping) and "compression" in value


def serves(source: str | Path | Mapping[str, Any]) -> bool:
    """Return whether a scenario plans a service."""
    value: Any = source if isinstance(source, Mapping) else load_document(source).value
    if not isinstance(value, dict):
        return False
    scenario = cast("dict[str, Any]", value)
    workload: Any = scenario.get("workload")
    if "compression" in scenario or not isinstance(workload, dict):
        return False
    return cast("dict[str, Any]", workload).get("kind") in ("inference", "forward")


def with_settings(document: Document, settings: Sequence[str]) -> Document:
    """Return `document` with every `path=value` applied.

    Raises:
        SpecError: for one that is not of that form, or leads into a value.
    """
    for setting in settings:
        document = _set(document, setting)
    return document


def _set(document: Document, setting: str) -> Document:
    """Apply one `path=value`, the value read as YAML."""
    path, equals, text = setting.partition("=")
    if not equals or not path.strip():
        raise SpecError(
            f"`{setting}` is not of the form path=value",
            location=Location("--set"),
            hint="for example --set hardware.devices=512",
        )
    place = f"--set {path.strip()}"
    value = read_document(text, place).value if text.strip() else None
    return document.with_value(path.strip().split("."), value, place)


@dataclass(frozen=True, slots=True)
class _Axis:
    """What the values of one axis have to divide: `whole` where it is given, and the devices."""

    name: str
    whole: int | None = None
    what: str = ""
    devices: bool = True
    most: int | None = None
    also: tuple[int, ...] = ()  # it divides these too, or is a multiple of them (repeated heads)

    def trouble(self, value: int, counts: Sequence[int]) -> str:
        """Return what is wrong with a value; nothing where it can be legal."""
        if self.whole is not None and self.whole % value:
            return f"{self.name} = {value} does not divide {self.what}"
        for also in self.also:
            if also % value and value % also:
                return f"{self.name} = {value} does not divide the {also} key-value heads"
        if self.most is not None and value > self.most:
            return f"{self.name} = {value} is more than {self.what}"
        if self.devices and not any(count % value == 0 for count in counts):
            counted = " or ".join(f"{count:,}" for count in counts)
            return f"{self.name} = {value} does not divide the {counted} devices"
        return ""


def check_divisions(read: Read, limits: Limits) -> None:
    """Check every stated degree against what it has to divide.

    Raises:
        SpecError: with one problem for each degree that can never be legal.
    """
    scenario = read.scenario
    devices = scenario.hardware.devices
    counts = devices if isinstance(devices, tuple) else (scenario.hardware.at_most,)
    batch = f"the global batch of {limits.global_batch:,}"
    layers, experts = f"the {limits.depth} layers", f"the {limits.experts} experts"
    heads = f"the {limits.heads} attention heads"
    pieces: int | None = None
    if limits.images:
        layers, pieces = "a net of images, which is not cut into stages", 1
        heads = heads if limits.heads > 1 else "a net of images, whose convolutions stay whole"
    axes = (
        _Axis("tp", limits.heads, heads, also=limits.groups),
        _Axis("pp", pieces, layers, most=limits.depth),
        _Axis("vp", limits.depth, layers, devices=False),
        _Axis("dp", limits.global_batch, batch),
        _Axis("ep", limits.experts, experts if limits.experts > 1 else "a model without experts"),
        _Axis("micro_batch", limits.global_batch, batch, devices=False),
    )
    problems: list[Problem] = []
    places: list[tuple[tuple[str | int, ...], StrategyChoices]] = [
        (("strategy",), scenario.strategy),
        *((("compare", index), choice) for index, choice in enumerate(scenario.compare)),
    ]
    for place, choice in places:
        # Where positions are exchanged for heads, and not otherwise, ranks divide the heads too.
        switched = choice.cp_exchange == ("all_to_all",)
        ring = _Axis("cp", pieces, "a net of images, which have no sequence")
        for axis in (*axes, _Axis("cp", limits.heads, heads) if switched else ring):
            for value in getattr(choice, axis.name) or ():
                message = axis.trouble(value, counts)
                if not message:
                    continue
                top = min(axis.whole or max(counts), 4096)
                fitting = [d for d in range(1, top + 1) if not axis.trouble(d, counts)][:12]
                hint = "use one of " + ", ".join(map(str, fitting)) if fitting else None
                where = read.document.locate((*place, axis.name))
                problems.append(Problem(message, where, hint))
    if problems:
        raise SpecError(problems)
