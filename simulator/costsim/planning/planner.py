"""Planning: a scenario of any kind in, the best plan for it and what it costs out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from costsim.errors import CostsimError, InfeasiblePlanError, Problem
from costsim.planning.accounts import accounts_of
from costsim.planning.compare import Comparison, compare
from costsim.planning.exchange import exchange_notes
from costsim.planning.objectives import Goal, Stated, goal_of
from costsim.planning.options import Option
from costsim.planning.plans import Candidate, Plan
from costsim.planning.study import Place, Source, Study, kind_of, read, study_of
from costsim.planning.workload import KINDS, Candidates, Workload, workload_type
from costsim.remarks import Excluded

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Found:
    """What one option can do at one place."""

    option: Option
    place: Place
    candidates: Candidates

    @property
    def best(self) -> Candidate[Any]:
        return self.candidates.ways[0]


def plan(
    source: Source,
    settings: Sequence[str] = (),
    calibration: str | Path | None = None,
    *,
    allow_outside: bool = False,
    change: Callable[[Study], Study] | None = None,
) -> Plan[Any, Any]:
    """Plan a scenario, whatever its workload.

    Args:
        source: path of a scenario's YAML, the name of one that costsim comes with, a mapping,
            or a document already read, whose paths start at the folder of its file.
        settings: overrides such as `hardware.devices=512`.
        calibration: overlay file of `costsim calibrate` to apply.
        allow_outside: whether a scenario file may name files outside its own folder.
        change: what to make of the study before it is planned, such as another price.

    Raises:
        SpecError: where the scenario must change; lists all its problems.
        InfeasiblePlanError: where nothing fits or keeps what is promised; names the nearest fix.
    """
    kind, study, workload = studied(
        source, settings, calibration, allow_outside=allow_outside, change=change
    )
    found: list[_Found] = []
    refused: list[tuple[str, str]] = []
    errors: list[InfeasiblePlanError] = []
    for option in study.options:
        for place in study.places:
            label = _label(study, option, place)
            _LOG.info("searching %s", label)
            try:
                ways = workload.candidates(option, place)
            except InfeasiblePlanError as error:
                _LOG.info("%s cannot run it: %s", label, _reason(error))
                errors.append(error)
                refused.append((label, _reason(error)))
                continue
            except CostsimError as error:  # such as a format that one of several devices lacks
                if not study.several:
                    raise
                errors.append(InfeasiblePlanError(error.problems))
                refused.append((label, _reason(error)))
                continue
            _log_ways(label, ways)
            if ways.ways:
                found.append(_Found(option, place, ways))
            else:
                refused.append((label, "nothing keeps what is promised"))
    if not found:
        if len(study.options) > 1:
            raise InfeasiblePlanError([Problem(f"{label}: {why}") for label, why in refused])
        raise workload.refusal(next(iter(study.options)), errors)
    goal = study.scenario.objective
    if goal is None:
        found.sort(key=lambda one: _preference(one, study, workload))
    else:
        found = _by_goal(found, study, goal_of(goal, kind))
    limit = study.scenario.limits.quality_loss
    allowed = [one for one in found if limit is None or one.option.loss.worst <= limit]
    if not allowed:
        problems = [Problem(f"{label}: {why}") for label, why in refused]
        none = Problem("no option's published loss of quality is within the limit")
        raise InfeasiblePlanError([*problems, none])
    chosen = allowed[0]
    everything = [
        way for one in found if one.option is chosen.option for way in one.candidates.ways
    ]
    front = () if goal is None else _front(everything, goal_of(goal, kind))
    details, beside, notes = workload.conclude(chosen.best, chosen.candidates, everything)
    others = [one.best for one in found if one is not chosen]
    shown = {one.label: one for one in (chosen.best, *beside, *front, *others)}
    rejected: dict[str, int] = {}
    for one in found:
        for reason, count in one.candidates.rejected.items():
            rejected[reason] = rejected.get(reason, 0) + count
    return Plan(
        name=study.scenario.name,
        kind=kind,
        unit=workload.unit,
        scenario=study.scenario.model_dump(mode="json", exclude_none=True),
        best=chosen.best,
        candidates=tuple(shown.values()),
        details=details,
        searched=sum(one.candidates.searched for one in found),
        feasible=sum(one.candidates.feasible for one in found),
        rejected=rejected,
        refused=tuple(refused),
        comparison=_comparison(study, workload, found, chosen) if len(study.options) > 1 else None,
        notes=tuple(dict.fromkeys((*_chosen_for(kind, goal), *notes, *_notes(study, chosen)))),
        sources=_sources(study, workload, chosen.best),
        accounts=accounts_of(
            study.scenario, chosen.best.budget, chosen.best.value("days"), chosen.best.devices
        ),
        front=tuple(one.label for one in front),
    )


def studied(
    source: Source,
    settings: Sequence[str] = (),
    calibration: str | Path | None = None,
    *,
    allow_outside: bool = False,
    change: Callable[[Study], Study] | None = None,
) -> tuple[str, Study, Workload]:
    """Return the kind of a scenario, what it says with all names looked up, and its workload.

    Raises:
        SpecError: with everything that is wrong, each at its place.
    """
    document, folder = read(source, settings, calibration, allow_outside=allow_outside)
    kind = kind_of(document, list(KINDS))
    chosen = workload_type(kind)
    chosen.check(document)
    study, lookup = study_of(document, folder, chosen.scenario_type, chosen.prepare)
    if change is not None and not lookup.problems:
        study = change(study)
    _LOG.info("looked up what %s names", document.file)
    workload = chosen(study, lookup)
    if (stated := study.scenario.objective) is not None:
        lookup.attempt(("objective",), partial(goal_of, stated, kind))
    lookup.finish()
    return kind, study, workload


def _log_ways(label: str, ways: Candidates) -> None:
    counts = "%s: %s legal ways, %s can run"
    _LOG.info(counts, label, f"{ways.searched:,}", f"{ways.feasible:,}")
    for reason, count in ways.rejected.items():
        _LOG.info("%s: %s rejected: %s", label, f"{count:,}", reason)


def _reason(error: CostsimError) -> str:
    """Return the first problem of an error in words."""
    return next((problem.message for problem in error.problems), "no reason is known")


def _label(study: Study, option: Option, place: Place) -> str:
    name = place.system.accelerator.name
    return f"{option.name} on {name}" if len(study.options) > 1 else name


def _preference(
    found: _Found, study: Study, workload: Workload
) -> tuple[bool, bool, float, float, tuple[float, ...], str]:
    """What is better comes first: within limits, cheaper, surer of its quality, then faster."""
    best, short = found.best, found.candidates.short
    loss = best.option.loss.worst
    faster = (best.devices, *workload.latencies(best))
    return short, _late(best, study), best.value("cost_usd"), loss, faster, best.label


def _late(way: Candidate[Any], study: Study) -> bool:
    limits = study.scenario.limits
    taken_s = way.figures["days"].quantile(limits.probability) * 86_400
    return limits.deadline is not None and taken_s > limits.deadline


def _by_goal(found: Sequence[_Found], study: Study, goal: Goal) -> list[_Found]:
    """Return options at places with their ways, the best of all by `goal` first.

    What exceeds a limit, or the devices there are, comes after what does not.
    """
    limits = study.scenario.limits

    def exceeded(one: _Found, way: Candidate[Any]) -> tuple[bool, bool, bool]:
        cost = way.figures["cost_usd"].quantile(limits.probability)
        over = limits.cost is not None and cost > limits.cost
        return one.candidates.short, _late(way, study), over

    every = [(one, way) for one in found for way in one.candidates.ways]
    place = {index: rank for rank, index in enumerate(goal.ranked([way for _, way in every]))}
    order = sorted(range(len(every)), key=lambda index: (exceeded(*every[index]), place[index]))
    kept = [index for index in order if exceeded(*every[index]) == exceeded(*every[order[0]])]
    best = kept[goal.ranked([every[index][1] for index in kept])[0]]
    order = [best, *(index for index in order if index != best)]
    ways: dict[int, list[Candidate[Any]]] = {}
    for index in order:
        ways.setdefault(id(every[index][0]), []).append(every[index][1])
    again = {id(one): one for one in found}
    return [
        replace(again[key], candidates=replace(again[key].candidates, ways=tuple(mine)))
        for key, mine in ways.items()
    ]


def _chosen_for(kind: str, goal: Stated | None) -> tuple[str, ...]:
    return () if goal is None else (f"chosen for the least {goal_of(goal, kind).says()}",)


def _front(ways: Sequence[Candidate[Any]], goal: Goal) -> tuple[Candidate[Any], ...]:
    return tuple(ways[index] for index in goal.front(ways))


def _comparison(
    study: Study, workload: Workload, found: Sequence[_Found], chosen: _Found
) -> Comparison:
    ranked = [one.best for one in found]
    by_label = {one.best.label: one.place for one in found}

    def evaluate(of: Candidate[Any], count: int) -> Candidate[Any] | None:
        option = of.option.part(count)
        same = (o for o in study.options if o.compression.names == option.compression.names)
        option = next(same, option)
        known = [o.best for o in found if o.option is option and o.place is by_label[of.label]]
        if known:
            return known[0]
        try:
            ways = workload.candidates(option, by_label[of.label]).ways
        except CostsimError:
            return None
        return ways[0] if ways else None

    return compare(ranked, chosen.best, workload, evaluate)


def _notes(study: Study, chosen: _Found) -> tuple[str, ...]:
    best = chosen.best
    found = [f"{run.what}: {run.note}" for run in best.made]
    if study.scenario.solve_for is not None:
        found.append(
            f"`solve_for: {study.scenario.solve_for}` is answered by `costsim solve`; this plans "
            "what is stated"
        )
    if best.made:
        found.append(
            "teachers and calibration run forward with their layers divided over devices without "
            "loss"
        )
    if len(study.options) > 1 and study.scenario.limits.quality_loss is None:
        found.append("no limit of quality is stated: the cheapest is called best whatever it loses")
    if study.lists:
        names = ", ".join(path.name for path in study.lists)
        unused = best.price.price.provider == "stated"
        found.append(
            Excluded(f"prices of {names} are not used: the price is stated")
            if unused
            else f"prices of {names} are laid over the catalogue"
        )
    found += exchange_notes(study.document, study.scenario.currency, study.lists)
    return (*found, *best.option.model.notes, *best.price.warnings, *chosen.place.site.notes)


def _sources(study: Study, workload: Workload, best: Candidate[Any]) -> dict[str, str]:
    price = best.price.price
    place = next(one for one in study.places if one.price is best.price)
    grid, pue = place.site.grid, place.site.pue
    return {
        "model": study.model.source,
        "hardware": f"{best.system.id}: {best.system.basis}",
        "price": f"{price}; {price.source}",
        "grid": f"{grid}; {grid.source}",
        "pue": f"{pue.value_ratio:.2f} ({pue.basis}); {pue.source}",
        "power": place.power_w.basis,
        **workload.sources(best),
        **best.option.sources,
    }
