"""The report of a validation: how far estimates are from measurements, and where they miss."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version

from costsim.reporting.model import (
    Answer,
    Axis,
    Cell,
    Column,
    KeyFigure,
    Note,
    Point,
    Provenance,
    Report,
    Scatter,
    Section,
    Table,
)
from costsim.validation.entries import Entry
from costsim.validation.score import BREAKDOWNS, Validation

_WORST = 12  # entries listed as misses
_CLOUD = 400  # points of the scatter
_TITLES = {
    "quantity": "By quantity",
    "source": "By source",
    "hardware": "By hardware",
    "family": "By family",
}


def validation_report(found: Validation, *, charts: bool = True) -> Report:
    """Return the report of `found`; `charts` also show every scored step time as a point."""
    points = (_scatter(found),) if charts else ()
    return Report(
        title=f"Validation on {found.name}",
        subtitle="predicted from the configuration alone; measurements only score",
        answer=_answer(found),
        sections=(
            Section(
                "Accuracy",
                "Errors are |predicted / measured − 1|; near-identical rows (a group) count once.",
                tuple(_breakdown(found, by) for by in BREAKDOWNS),
            ),
            Section("Predicted against measured", blocks=(*points, _worst(found))),
        ),
        provenance=Provenance(tool_version=version("costsim")),
        notes=_notes(found),
    )


def _answer(found: Validation) -> Answer:
    summary, brier = found.summary, found.fit_brier
    if summary.median_abs_error is None:
        text = f"{summary.predicted:,} quantities are predicted; none was measured."
        return Answer(text)
    text = (
        f"Half of the predictions are within {summary.median_abs_error:.1%} of the measurement, "
        f"nine of ten within {summary.p90_abs_error:.0%}."
    )
    return Answer(
        text,
        (
            KeyFigure("Median error", summary.median_abs_error, "ratio"),
            KeyFigure("9 of 10 within", summary.p90_abs_error, "ratio"),
            KeyFigure("Bias", summary.bias, "ratio", explanation="negative: predicted too small"),
            KeyFigure(
                "Inside 80 % intervals",
                summary.interval_coverage,
                "ratio",
                explanation="should be near 80 %",
            ),
            *(
                [
                    KeyFigure(
                        "Brier score of fits",
                        brier,
                        "ratio",
                        explanation="of the probability that a peak fits; a coin has 25 %",
                    )
                ]
                if brier is not None
                else []
            ),
            KeyFigure("Scored", summary.n, "count", "quantities"),
            KeyFigure("Unsupported", summary.unsupported, "count", "quantities"),
        ),
    )


def _breakdown(found: Validation, by: str) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            name or "not stated",
            part.n,
            part.unsupported,
            part.median_abs_error,
            part.p90_abs_error,
            part.bias,
            part.interval_coverage,
        )
        for name, part in found.breakdown(by).items()
    ]
    return Table(
        _TITLES[by],
        (
            Column(by),
            Column("scored", "count"),
            Column("unsupported", "count"),
            Column("median error", "ratio"),
            Column("9 of 10 within", "ratio"),
            Column("bias", "ratio"),
            Column("inside interval", "ratio"),
        ),
        tuple(rows),
    )


def _scored(found: Validation) -> list[Entry]:
    return [e for e in found.entries if e.status == "scored" and e.measured]


def _scatter(found: Validation) -> Scatter:
    steps = [e for e in _scored(found) if e.quantity == "step_time_s"]
    shown = steps[:: max(1, len(steps) // _CLOUD)]
    return Scatter(
        "Step time",
        Axis("Measured", "seconds", log=True),
        Axis("Predicted", "seconds", log=True),
        tuple(Point("", entry.measured, entry.predicted) for entry in shown),
    )


def _ratio(entry: Entry) -> float:
    assert entry.predicted is not None
    assert entry.measured
    return entry.predicted / entry.measured


def _worst(found: Validation) -> Table:
    """List the largest misses, one a group."""
    by_group: dict[tuple[str, str], Entry] = {}
    for entry in _scored(found):
        by_group.setdefault((entry.run.group, entry.quantity), entry)
    misses = sorted(by_group.values(), key=lambda entry: -abs(_ratio(entry) - 1))[:_WORST]
    return Table(
        "Largest misses",
        (
            Column("row"),
            Column("quantity"),
            Column("predicted", "number"),
            Column("measured", "number"),
            Column("error", "ratio"),
            Column("assumed and searched"),
        ),
        tuple(
            (e.run.id, e.quantity, e.predicted, e.measured, _ratio(e) - 1, e.reason) for e in misses
        ),
    )


def _notes(found: Validation) -> tuple[Note, ...]:
    reasons = Counter(e.reason for e in found.entries if e.status == "unsupported")
    return tuple(
        Note("excluded", f"{count:,} quantities are not predicted: {reason}")
        for reason, count in reasons.most_common()
    )
