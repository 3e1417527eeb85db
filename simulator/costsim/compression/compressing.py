"""Applying recipes to a model, in an order that makes sense."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from costsim.architectures import Architecture, load_model
from costsim.compression.making import Making, making_of
from costsim.compression.published import as_published
from costsim.compression.recipes import Given, Measured, Recipe, load_recipes
from costsim.compression.steps import STAGES, Step, stage_of
from costsim.errors import CostsimError, Problem, SpecError

_WHY = {
    "student": "puts another model in this one's place",
    "shapes": "changes shapes",
    "operators": "replaces operators",
    "zeros": "sets weights to zero",
    "formats": "quantizes",
    "adapters": "puts adapters beside weights",
}


@dataclass(frozen=True, slots=True)
class Applied:
    """A recipe, the model that it made, and what making it takes."""

    recipe: Recipe
    model: Architecture
    making: tuple[Making, ...]

    @property
    def name(self) -> str:
        return self.recipe.name


@dataclass(frozen=True, slots=True)
class Compression:
    """A model before and after recipes; what they leave as it is is stored in `dtype`."""

    before: Architecture
    applied: tuple[Applied, ...]
    dtype: str

    def __repr__(self) -> str:
        return f"<Compression {' + '.join((self.before.name, *self.names))}>"

    @property
    def after(self) -> Architecture:
        """The compressed model."""
        return self.applied[-1].model if self.applied else self.before

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the recipes."""
        return tuple(applied.name for applied in self.applied)

    @property
    def making(self) -> tuple[Making, ...]:
        """What has to be run to make the model."""
        return tuple(making for applied in self.applied for making in applied.making)

    @property
    def quality(self) -> tuple[Measured, ...]:
        """What was measured of this very compression: nothing where recipes are combined."""
        return self.applied[0].recipe.quality if len(self.applied) == 1 else ()


def compress(
    model: Architecture | str, recipes: str | Sequence[Given], dtype: str = "bf16"
) -> Compression:
    """Apply recipes to a model, one after the other.

    Args:
        model: an architecture, or what `load_model` takes.
        recipes: what `load_recipe` takes, or a list of it; a text may join names by commas.
        dtype: number format of what no recipe changes.

    Raises:
        SpecError: where a recipe does not go with the model, or comes too late.
        UnknownNameError: for a recipe or format that is not known.
    """
    before = as_published(load_model(model))
    listed = load_recipes(recipes)
    check_order(listed)
    applied: list[Applied] = []
    current: Architecture = before
    for recipe in listed:
        makings: list[Making] = []
        done = 0
        try:
            for step in recipe.steps:
                made: Architecture = cast("Step", step).apply(current, dtype)
                made.blocks()  # what a pass cannot do shows when it is done
                makings += making_of(step, before=current, after=made, original=before)
                current, done = made, done + 1
        except CostsimError as error:
            raise SpecError(
                [
                    replace(
                        problem,
                        message=f"{recipe.name}: {problem.message}",
                        location=problem.location or recipe.place(done),
                    )
                    for problem in error.problems
                ]
            ) from None
        name = f"{before.name} + {' + '.join([*(a.name for a in applied), recipe.name])}"
        current = replace(current, name=name)
        applied.append(Applied(recipe, current, tuple(makings)))
    return Compression(before, tuple(applied), dtype)


def check_order(recipes: Sequence[Recipe]) -> None:
    """Check that each step of `recipes` comes at a stage at which it still can.

    Raises:
        SpecError: with every step that comes too late.
    """
    problems: list[Problem] = []
    latest, by = 0, ""
    for recipe in recipes:
        for number, step in enumerate(recipe.steps):
            stage = stage_of(step)
            if stage is None:
                continue
            place = STAGES.index(stage)
            if place < latest:
                then = _WHY[STAGES[latest]]
                problems.append(
                    Problem(
                        f"`{recipe.name}` {_WHY[stage]}, which must come before `{by}`, "
                        f"which {then}",
                        recipe.place(number),
                        hint="the order is: " + ", ".join(STAGES),
                    )
                )
            else:
                latest, by = place, recipe.name
    if problems:
        raise SpecError(problems)
