"""Reading a scenario: a file, a mapping, and values set from the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from costsim.documents import Document, load_document, parse_as, read_document
from costsim.errors import Location, Problem, SpecError, suggestion
from costsim.planning.scenario import Scenario


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
    return Read(parse_as(document, Scenario), document, folder)


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


def check_divisions(read: Read, heads: int, kv_heads: int, depth: int) -> None:
    """Check every stated degree against what it has to divide.

    Raises:
        SpecError: with one problem for each degree that can never be legal.
    """
    scenario = read.scenario
    devices = scenario.hardware.devices
    counts = devices if isinstance(devices, tuple) else (scenario.hardware.at_most,)
    batch = scenario.workload.global_batch
    problems: list[Problem] = []
    named = [(("strategy",), scenario.strategy)]
    named += [(("compare", str(i)), choice) for i, choice in enumerate(scenario.compare)]
    for place, choice in named:
        for axis, limit, what in (
            ("tp", heads, f"the {heads} attention heads"),
            ("pp", None, f"the {depth} layers"),
            ("dp", batch, f"the global batch of {batch:,}"),
            ("cp", None, ""),
        ):
            for value in getattr(choice, axis) or ():
                trouble, fitting = _trouble(axis, value, limit, what, counts, kv_heads, depth)
                if trouble:
                    path = [int(step) if step.isdigit() else step for step in (*place, axis)]
                    hint = "use one of " + ", ".join(map(str, fitting)) if fitting else None
                    problems.append(Problem(trouble, read.document.locate(path), hint))
    if problems:
        raise SpecError(problems)


def _trouble(
    axis: str,
    value: int,
    limit: int | None,
    what: str,
    counts: Sequence[int],
    kv_heads: int,
    depth: int,
) -> tuple[str, list[int]]:
    """Return what is wrong with a degree (or nothing) and the degrees that would be right."""

    def legal(degree: int) -> bool:
        if limit is not None and limit % degree:
            return False
        if axis == "tp" and kv_heads % degree and degree % kv_heads:
            return False
        if axis == "pp" and degree > depth:
            return False
        return any(count % degree == 0 for count in counts)

    if legal(value):
        return "", []
    fitting = [d for d in range(1, min(max(counts), 4096) + 1) if legal(d)][:12]
    if limit is not None and limit % value:
        return f"{axis} = {value} does not divide {what}", fitting
    if axis == "tp" and kv_heads % value and value % kv_heads:
        return f"{axis} = {value} does not divide the {kv_heads} key-value heads", fitting
    if axis == "pp" and value > depth:
        return f"{axis} = {value} is more than {what}", fitting
    counted = " or ".join(f"{count:,}" for count in counts)
    return f"{axis} = {value} does not divide the {counted} devices", fitting
