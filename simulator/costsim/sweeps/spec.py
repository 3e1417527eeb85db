"""What a study file says: a scenario, what is varied in it and how, and what is recorded."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, RootModel, Tag

from costsim.planning.scenario import Spec

Bound = int | float | str
"""An end of a range: a number, or a number with its unit such as `2 $/h`."""


class Range(Spec):
    """Values between two ends; both have the same unit, or none."""

    start: Annotated[Bound, Field(alias="from")]
    """Lower end, such as `1 $/h`."""
    to: Bound
    """Upper end, in the same unit."""
    scale: Literal["linear", "log"] = "linear"
    """Whether values are equally far apart, or equally many times apart."""
    whole: bool = False
    """Whether to round to whole numbers."""


class Steps(Range):
    """Values at equal steps between two ends, both included."""

    steps: Annotated[int, Field(ge=2, strict=True)]
    """How many values."""


def _written(value: object) -> str | None:
    """Return how an axis is written, so that errors are of that form; None if neither."""
    if isinstance(value, (dict, Range)):
        return "range"
    if isinstance(value, (list, tuple)):
        return "values"
    return None


_NEITHER = {"message": "must be a list of values, or a range", "hint": "such as `[64, 128]`"}
_BY_FORM = Discriminator(_written, "costsim", "{message}", dict(_NEITHER))


Values = Annotated[tuple[Any, ...], Field(min_length=1), Tag("values")]
Varied = Annotated[Values | Annotated[Steps, Tag("range")], _BY_FORM]
Drawn = Annotated[Values | Annotated[Range, Tag("range")], _BY_FORM]


class Sample(Spec):
    """Points drawn at random, evenly spread over every axis."""

    latin_hypercube: Annotated[int, Field(ge=1, strict=True)]
    """How many points; each axis is cut into as many strata, and each holds one point."""
    seed: Annotated[int, Field(strict=True)]
    """Which draw; the same seed draws the same points on every machine."""
    over: Annotated[dict[str, Drawn], Field(min_length=1)]
    """By dotted key of the scenario: a range, or the values to choose from evenly."""


class StudyFile(Spec):
    """A scenario at many points: the product of `vary`, the rows of `list`, and `sample`."""

    name: str = ""
    """What the study asks."""
    scenario: str | dict[str, Any]
    """Path from the study's folder, name of a scenario that costsim comes with, or a scenario."""
    vary: dict[str, Varied] = Field(default_factory=dict[str, Varied])
    """By dotted key of the scenario: its values; every combination is a point."""
    listed: Annotated[
        tuple[Annotated[dict[str, Any], Field(min_length=1)], ...] | None,
        Field(alias="list", min_length=1),
    ] = None
    """Rows of values by dotted key, for combinations that are not a product."""
    sample: Sample | None = None
    """Points drawn at random."""
    record: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "system",
        "devices",
        "days",
        "cost_usd",
        "tokens_per_s",
        "energy_kwh",
        "co2e_t",
    )
    """Entries of the best candidate in the JSON of plans: a figure, or such as `strategy.tp`."""


class ResultRow(Spec):
    """What each row of JSON lines holds besides the varied keys and the recorded entries."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    point: int
    """Which point, from 0, in the order of the study."""
    status: Literal["ok", "over_limits", "infeasible", "error", "fault"]
    """`over_limits`: planned, but over a stated budget or deadline; `infeasible`: nothing fits;
    `error`: the scenario is wrong there; `fault`: costsim itself failed."""
    error: str | None
    """What is wrong, where the status is not `ok`."""


class SweepFiles(RootModel[StudyFile | ResultRow]):
    """A study, or a row of its results as JSON lines have them."""
