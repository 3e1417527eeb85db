"""From what modules did to blocks: sites become operators, layers of a list become blocks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from costsim.architectures.block import Block
from costsim.architectures.operators.base import Role
from costsim.architectures.tensors import Activation, Weight
from costsim.architectures.tracing.operators import Traced
from costsim.architectures.tracing.recorder import Pass, Site
from costsim.architectures.work import Gemm, Stream, Work

_LAYER = re.compile(r"(?:.*?\.)?\d+(?=\.|$)")  # "encoder.layers.3" of "encoder.layers.3.norm"


@dataclass(frozen=True, slots=True)
class Group:
    """A layer, or what stands between layers, as it ran once: `name` is a module's path."""

    name: str
    operators: tuple[Traced, ...]
    source: Activation
    part: Literal["stem", "layer", "head"]


def groups_of(
    sites: Iterable[Site], weights: Mapping[str, Sequence[Weight]], paths: Iterable[str]
) -> tuple[Group, ...]:
    """Return the groups of a module in the order in which they first ran.

    Args:
        sites: what was recorded, in the order of execution.
        weights: parameters by the path of the module that holds them.
        paths: of all modules.
    """
    name_of = _naming(paths)
    members: dict[str, list[Site]] = {}
    held: dict[str, dict[str, Sequence[Weight]]] = {}
    for path, some in weights.items():
        held.setdefault(name_of(path), {})[path] = some
    ran: dict[str, None] = {}
    for site in sites:
        name = name_of(site.path)
        members.setdefault(name, []).append(site)
        ran[name] = None
    # What did not run (the tower of a model that was shown text alone) is held all the same.
    idle = (name for name in held if name not in ran)
    return _parts(
        [
            (
                name,
                tuple(_operators(name, members.get(name, ()), held.get(name, {}))),
                next((site.source for site in members.get(name, ()) if site.source), 0),
            )
            for name in (*idle, *ran)
        ]
    )


def merged(traces: Sequence[tuple[Group, ...]]) -> list[tuple[int, int]]:
    """Return (index, count) of each run of groups that are equal in every one of `traces`."""
    found: list[tuple[int, int]] = []
    previous: list[Any] = []
    for index in range(len(traces[0])):
        contents = [(t[index].operators, t[index].source, t[index].part) for t in traces]
        if contents == previous:
            start, count = found[-1]
            found[-1] = (start, count + 1)
        else:
            found.append((index, 1))
        previous = contents
    return found


def blocks_of(groups: Sequence[Group], runs: Sequence[tuple[int, int]]) -> tuple[Block, ...]:
    """Return a block for each of `runs` of equal groups."""
    found: list[Block] = []
    for start, count in runs:
        group = groups[start]
        last = groups[start + count - 1].name
        name = group.name if count == 1 else f"{group.name} … {last.rpartition('.')[2]}"
        found.append(Block(name, group.operators, group.source, count, group.part))
    return tuple(found)


def _naming(paths: Iterable[str]) -> Callable[[str], str]:
    """Return the function from a module's path to its group's name.

    A group is a member of a list of layers with all that is inside; elsewhere it is the outermost
    module that has no list of layers in it.
    """
    trunk = {""}
    for path in paths:
        found = _LAYER.match(path)
        parts = found[0].split(".")[:-1] if found else []
        trunk.update(".".join(parts[:length]) for length in range(len(parts) + 1))

    @cache
    def name_of(path: str) -> str:
        found = _LAYER.match(path)
        if found:
            return found[0]
        parts = path.split(".")
        names = (".".join(parts[: length + 1]) for length in range(len(parts)))
        return next((name for name in names if name not in trunk), path)

    return name_of


def _operators(
    name: str, sites: Sequence[Site], weights: Mapping[str, Sequence[Weight]]
) -> list[Traced]:
    """Return the operators of a group: one for each module in it, in the order of execution."""
    members: dict[tuple[str, bool], list[Site]] = {}
    for site in sites:
        members.setdefault((_inside(site.path, name), site.unweighted), []).append(site)
    held = {_inside(path, name): some for path, some in weights.items()}
    for path in held:
        members.setdefault((path, False), [])
    found: list[Traced] = []
    for (path, unweighted), some in members.items():
        leaf = name.rpartition(".")[2] or "module"
        own_name = path or ("layer" if leaf.isdigit() else leaf)
        label = f"{own_name}.products" if unweighted else own_name
        own = () if unweighted else held.get(path, ())
        operator = Traced(
            name=label,
            forward=_work([site.passes["forward"] for site in some]),
            backward=_work([site.passes["backward"] for site in some]),
            held=tuple(_renamed(weight, path) for weight in own),
            kept=_kept(label, some),
            use=_role(some, unweighted),
        )
        if operator.forward or operator.backward or operator.held or operator.kept:
            found.append(operator)
    return found


def _inside(path: str, name: str) -> str:
    return path[len(name) :].lstrip(".")


def _renamed(weight: Weight, path: str) -> Weight:
    own = weight.name.rpartition(".")[2]
    return replace(weight, name=f"{path}.{own}" if path else own)


def _work(passes: Sequence[Pass]) -> tuple[Work, ...]:
    """Return products, equal turns of a loop as one, and everything else as one stream."""
    turns: dict[tuple[Work, str], int] = {}
    for one in passes:
        for product in one.products:
            turns[product] = turns.get(product, 0) + 1
    elements = sum(one.elements for one in passes)
    launches = sum(one.launches for one in passes)
    found: list[Work] = []
    for (work, _), times in turns.items():
        if isinstance(work, Gemm):
            # Turns of a loop, as one batched product that is launched so many times.
            found.append(replace(work, count=work.count * times))
            launches += times - 1
        else:
            found.extend([work] * times)
    if launches:
        found.append(Stream(elements, launches))
    return tuple(found)


def _kept(label: str, sites: Sequence[Site]) -> tuple[Activation, ...]:
    sizes: dict[Any, int] = {}
    for site in sites:
        for storage, elements in site.kept.items():
            sizes[storage] = sizes.get(storage, 0) + elements
    return tuple(
        Activation(f"{label}.kept.{storage}", elements, storage)
        for storage, elements in sorted(sizes.items())
    )


def _role(sites: Sequence[Site], unweighted: bool) -> Role:
    if unweighted:
        return "attention"
    return "matrix" if any(site.weighted for site in sites) else "other"


def _parts(made: Sequence[tuple[str, tuple[Traced, ...], int]]) -> tuple[Group, ...]:
    """Say which groups come before, make up, and come after the layers of the module."""
    listed = [index for index, (name, _, _) in enumerate(made) if _LAYER.fullmatch(name)]
    first, last = (listed[0], listed[-1]) if listed else (0, len(made))
    entry = next((source for _, _, source in made[first:] if source), 0)
    found: list[Group] = []
    for index, (name, operators, source) in enumerate(made):
        if not operators:
            continue
        part = "stem" if index < first else "head" if index > last else "layer"
        if part == "head":
            operators = tuple(
                replace(operator, use="head") if operator.use == "matrix" else operator
                for operator in operators
            )
        size = entry if part == "stem" else source
        found.append(Group(name or "module", operators, Activation("input", size), part))
    return tuple(found)
