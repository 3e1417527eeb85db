"""A study read and checked: all that a worker needs to plan any of its points, as plain text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from costsim.documents import Document, load_document, parse_as
from costsim.errors import Location, Problem, SpecError
from costsim.paths import exists, is_file
from costsim.planning.sources import check_named_files
from costsim.planning.study import Source, kind_of, read
from costsim.planning.workload import KINDS, workload_type
from costsim.resources import data_folder
from costsim.sweeps.points import Place, Points, Settings, points_of, problems_at
from costsim.sweeps.spec import Range, StudyFile

_AXIS = "<vary> "  # how a document calls the place of what a study sets in it
_MOST_CHECKED = 200  # values of an axis that are read before the first point is planned


@dataclass(frozen=True, slots=True)
class Sweep:
    """A study: its scenario, its points and what is recorded of each.

    Attributes:
        document: of the scenario before anything is varied.
        record_places: of the entries to record.
        stated: whether the study states what to record.
        payload: the study as JSON, from which `opened` makes an equal one elsewhere.
        digest: of everything that results depend on; another digest means another study.
    """

    name: str
    document: Document
    points: Points
    record: tuple[str, ...]
    payload: str
    digest: str = ""
    stated: bool = False
    record_places: tuple[Location, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of results, in order."""
        return ("point", *self.points.keys, *self.record, "status", "error")

    def scenario_at(self, index: int) -> Document:
        """Return the scenario of a point."""
        return _set(self.document, self.points.at(index))


def read_study(
    source: Source,
    settings: Sequence[str] = (),
    calibration: str | Path | None = None,
    *,
    allow_outside: bool = False,
) -> Sweep:
    """Return a study, its scenario read with `path=value` settings applied.

    Raises:
        SpecError: with everything that is wrong with the study, each at its place.
    """
    study, spec = _study(source)
    points, wrong = points_of(spec)
    columns = ("point", *points.keys, "status", "error")
    wrong += [
        (f"`{name}` is a column already", ("record", place), None)
        for place, name in enumerate(spec.record)
        if name in columns or name in spec.record[:place]
    ]
    if wrong:
        raise SpecError(problems_at(wrong, study.locate))
    outside = allow_outside or isinstance(source, Mapping)
    scenario = _scenario(study, spec, outside)
    document, _ = read(scenario, settings, calibration, allow_outside=outside)
    _check(study, spec, document, points, outside)
    told = {"study": study.value, "scenario": document.value, "file": _absolute(document.file)}
    payload = json.dumps(told, default=str)
    places = tuple(study.locate(("record", place)) for place in range(len(spec.record)))
    return Sweep(
        spec.name,
        document,
        points,
        spec.record,
        payload,
        _digest(study, document),
        stated="record" in spec.model_fields_set,
        record_places=places,
    )


@lru_cache(maxsize=4)
def opened(payload: str) -> Sweep:
    """Return the study that a payload tells of; it was checked where the payload was made."""
    told = json.loads(payload)
    spec = parse_as(Document(told["study"], "<study>"), StudyFile)
    document = Document(told["scenario"], told["file"])
    return Sweep(spec.name, document, points_of(spec)[0], spec.record, payload)


def _study(source: Source) -> tuple[Document, StudyFile]:
    if isinstance(source, Document):
        document = source
    elif isinstance(source, Mapping):
        document = Document(deepcopy(dict(source)), "<study>")
    else:
        document = load_document(study_path(source))
    return document, parse_as(document, StudyFile)


def study_path(source: str | Path) -> Path:
    """Return the file of a study: a path, or the name of one that costsim comes with."""
    path = Path(source)
    if path.suffix or exists(path) or len(path.parts) != 1:
        return path
    packaged = data_folder("scenarios") / "studies" / f"{path.name}.yaml"
    return packaged if is_file(packaged) else path


def _scenario(study: Document, spec: StudyFile, outside: bool) -> Document | Path:
    """Return the scenario of a study; a path starts at the study's folder."""
    if isinstance(spec.scenario, dict):
        return study.part("scenario")
    folder = Path(study.file).parent if study.file != "<study>" else Path()
    named = folder / spec.scenario
    if not outside and exists(named) and not named.resolve().is_relative_to(folder.resolve()):
        raise SpecError(
            "`scenario` names a file outside the study's folder",
            location=study.locate(("scenario",)),
            hint="move it into the folder, or sweep with `--allow-outside`",
        )
    return named if exists(named) or "/" in spec.scenario else Path(spec.scenario)


def _set(document: Document, settings: Settings) -> Document:
    for key, value in settings.items():
        document = document.with_value(key.split("."), value, f"{_AXIS}{key}")
    return document


def _check(
    study: Document, spec: StudyFile, document: Document, points: Points, outside: bool
) -> None:
    """Read the scenario at the first point, and with every listed value in it.

    Raises:
        SpecError: with every key and value that no scenario may have, at its place in the study.
    """
    if not outside:
        check_named_files(study, Path(document.file).parent)
    first = points.at(0)
    problems = list(_problems(_set_or_raise(study, spec, document, first)))
    found = {_moved(one, study, _place_of(spec, one)): None for one in problems}
    for key, value, place in _values(spec, points):
        try:
            changed = _set(document, {**first, key: value})
        except SpecError:
            continue  # of a list of rows whose first lacks the key: it is a row with an error
        for one in _problems(changed):
            if one.location == Location(f"{_AXIS}{key}"):
                found[_moved(one, study, place)] = None
    if found:
        raise SpecError(list(found))


def _set_or_raise(
    study: Document, spec: StudyFile, document: Document, settings: Settings
) -> Document:
    wrong: list[Problem] = []
    for key, value in settings.items():
        try:
            document = _set(document, {key: value})
        except SpecError as error:
            wrong += [_moved(one, study, _place_of(spec, one)) for one in error.problems]
    if wrong:
        raise SpecError(wrong)
    return document


def _problems(document: Document) -> tuple[Problem, ...]:
    """Return what is wrong with a scenario as written; names are not looked up."""
    try:
        chosen = workload_type(kind_of(document, list(KINDS)))
        chosen.check(document)
        parse_as(document, chosen.scenario_type)
    except SpecError as error:
        return error.problems
    return ()


def _values(spec: StudyFile, points: Points) -> Iterator[tuple[str, Any, Place]]:
    """Yield every listed value, and the ends of every range, with its key and place."""
    sampled = spec.sample.over if spec.sample else {}
    for where, axes, read_axes in (
        (("vary",), spec.vary, points.vary),
        (("sample", "over"), sampled, points.drawn),
    ):
        for key, axis in axes.items():
            if isinstance(axis, Range):
                told = read_axes[key]
                interval = cast(Any, told[0] if isinstance(told, tuple) else told)
                yield key, interval.at(0.0), (*where, key, "from")
                yield key, interval.at(1.0), (*where, key, "to")
                continue
            for number, value in enumerate(axis[:_MOST_CHECKED]):
                yield key, value, (*where, key, number)
    for number, row in enumerate(points.rows[:_MOST_CHECKED]):
        for key, value in row.items():
            yield key, value, ("list", number, key)


def _place_of(spec: StudyFile, problem: Problem) -> Place | None:
    """Return the place in the study of what a problem is about; None where it is the scenario."""
    file = problem.location.file if problem.location else ""
    if not file.startswith(_AXIS):
        return None
    key = file.removeprefix(_AXIS)
    if key in spec.vary:
        return ("vary", key)
    if spec.listed and key in spec.listed[0]:
        return ("list", 0, key)
    return ("sample", "over", key)


def _moved(problem: Problem, study: Document, place: Place | None) -> Problem:
    if place is None:
        return problem
    unknown = problem.message.startswith("unknown key")
    path = tuple(step for step in place if not (unknown and step in ("from", "to")))
    if unknown and isinstance(path[-1], int):
        path = path[:-1]
    return replace(problem, location=study.locate(path, key=unknown))


def _digest(study: Document, document: Document) -> str:
    """Return a hash of the study, its scenario, files that they name, catalogue and version."""
    from importlib.metadata import version

    from costsim.costs.prices import newest_day

    told = [study.value, document.value, version("costsim"), newest_day().isoformat()]
    found = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode())
    folder = Path(document.file).parent
    for text in sorted(set(_texts(told[:2]))):
        if len(text) < 4096 and text.strip() and is_file(folder / text):
            found.update(hashlib.sha256((folder / text).read_bytes()).digest())
    return found.hexdigest()


def _absolute(file: str) -> str:
    """Return the path of a file as workers find it, wherever they run."""
    return file if file.startswith("<") else str(Path(file).absolute())


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        inside = cast("dict[Any, Any] | list[Any]", value)
        for inner in inside.values() if isinstance(inside, dict) else inside:
            yield from _texts(inner)
