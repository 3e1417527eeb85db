"""The report of a sensitivity: what moves a plan's cost and time, and what would flip it."""

from __future__ import annotations

from collections.abc import Sequence

from costsim.decisions.sensitivity import Flip, Moved, Sensitivity
from costsim.planning.figures import said
from costsim.reporting.model import (
    Answer,
    Cell,
    Column,
    Note,
    Provenance,
    Reach,
    Report,
    Section,
    Table,
    Tornado,
)
from costsim.reporting.plans.answer import subtitle

_DAY_S = 86_400.0
_NOTHING = 1e-9  # elasticity below which an input moves nothing but rounding


def sensitivity_report(
    found: Sensitivity, moved: Sequence[Moved], by: float, flips: Sequence[Flip] = ()
) -> Report:
    """Return the report of inputs changed by a share `by` each way, and of what flips the choice.

    Args:
        found: the plan as it is, and how it was changed.
        moved: what each input moves, the widest first.
        by: share that each was changed by.
        flips: nearest changes that make another way win; empty where nobody asked.
    """
    base, made = found.base, found.base.provenance
    sections = [_cost(found, moved, by), *_time(found, moved, by), _elasticities(moved, by)]
    if flips:
        sections.append(_flips(flips))
    return Report(
        title=f"What moves: {base.name}",
        subtitle=f"{subtitle(base)} · {said(base.best.value('cost_usd'), 'usd')}",
        answer=Answer(_answer(moved, by, flips)),
        sections=tuple(sections),
        provenance=Provenance(made["tool_version"], made["catalog_date"], made["input_hash"]),
        notes=(
            Note(
                "assumption",
                "each figure is of a plan made anew with one input changed, the search included",
            ),
        ),
    )


def _answer(moved: Sequence[Moved], by: float, flips: Sequence[Flip]) -> str:
    known = [one for one in moved if one.cost_elasticity is not None]
    text = "Nothing moves the cost."
    if known:
        most = max(known, key=lambda one: abs(one.cost_elasticity or 0.0))
        text = (
            f"The cost answers most to {most.name}: 1% more of it moves the cost by "
            f"{most.cost_elasticity:+.2f}%, between {-by:.0%} and {by:+.0%}."
        )
    nearest = next((one for one in flips if one.factor is not None), None)
    if nearest is not None and nearest.factor is not None:
        text += (
            f" The nearest change that would flip the choice is {nearest.name} times "
            f"{nearest.factor:.3f}; {nearest.to or 'nothing'} then wins."
        )
    return text


def _cost(found: Sensitivity, moved: Sequence[Moved], by: float) -> Section:
    reaches = tuple(
        Reach(one.name, one.low and one.low[0], one.high and one.high[0])
        for one in moved
        if one.cost_elasticity is None or abs(one.cost_elasticity) > _NOTHING
    )
    cost = found.base.best.value("cost_usd")
    chart = Tornado("Cost, with each input changed", cost, reaches, caption=_STAR)
    intro = f"Each input {by:.0%} lower and {by:.0%} higher, all else as it is."
    return Section("What moves the cost", intro, (chart,))


def _time(found: Sensitivity, moved: Sequence[Moved], by: float) -> tuple[Section, ...]:
    days = found.base.best.figures.get("days")
    turning = [one for one in moved if abs(one.time_elasticity or 0.0) > _NOTHING]
    if days is None or not turning:
        return ()
    turning.sort(key=lambda one: -abs(one.time_elasticity or 0.0))
    reaches = tuple(
        Reach(one.name, one.low and one.low[1] * _DAY_S, one.high and one.high[1] * _DAY_S)
        for one in turning
    )
    title = "Time, with each input changed"
    chart = Tornado(title, days.value * _DAY_S, reaches, "seconds")
    return (Section("What moves the time", f"The same {by:.0%} both ways.", (chart,)),)


_STAR = "Where another way wins at an end, its figure is shown; the table below says so."


def _elasticities(moved: Sequence[Moved], by: float) -> Section:
    rows: list[tuple[Cell, ...]] = []
    for one in moved:
        ends = [word for word, other in zip(("lower", "higher"), one.other, strict=True) if other]
        rows.append((one.name, one.cost_elasticity, one.time_elasticity, " and ".join(ends)))
    columns = (
        Column("Input"),
        Column("Of cost", "number"),
        Column("Of time", "number"),
        Column("Another way wins"),
    )
    intro = f"% that cost and time move for 1% of the input, from {-by:.0%} to {by:+.0%}."
    return Section("Elasticities", intro, (Table("Elasticities", columns, tuple(rows)),))


def _flips(flips: Sequence[Flip]) -> Section:
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            one.name,
            one.factor,
            "no change to 4 times" if one.factor is None else one.to or "nothing fits",
        )
        for one in flips
    )
    columns = (Column("Input"), Column("Flips at", "number", "x"), Column("To"))
    intro = "The nearest change of each input, up to four times, that makes another way win."
    return Section("What would flip the choice", intro, (Table("Flips", columns, rows),))
