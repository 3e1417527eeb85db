"""Recipes by name, file or text: what is done to a model, and what is known of its effect."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, TypeAlias, cast

from pydantic import AfterValidator, PrivateAttr

from costsim.compression.formats import format_named
from costsim.compression.steps import AnyStep, Spec, Step
from costsim.documents import Document, load_document, parse_as, read_document
from costsim.errors import Location, SpecError, UnknownNameError, suggestion
from costsim.paths import is_file
from costsim.quantities import invalid
from costsim.resources import data_folder

Given: TypeAlias = "str | Mapping[str, Any] | Recipe"

NONE = "none"
_PATTERN = re.compile(r"[1-9]\d*:[1-9]\d*")
_SUFFIXES = (".yaml", ".yml", ".json")


def _some(steps: tuple[AnyStep, ...]) -> tuple[AnyStep, ...]:
    if not steps:
        raise invalid("a recipe has a step at least", "`none` is what does nothing")
    return steps


class Measured(Spec):
    """A change of quality that somebody measured and published."""

    model: str
    """What it was measured on."""
    metric: str
    """What was measured, and on what data."""
    before: float | None = None
    """Without the recipe."""
    after: float | None = None
    """With it."""
    low: float | None = None
    """Least change, as a ratio of the value without it, where only a range is published."""
    high: float | None = None
    """Largest change."""
    source: str
    """Where it was published."""

    @property
    def change(self) -> tuple[float, float]:
        """Least and largest change, as ratios of the value without the recipe."""
        if self.before is not None and self.after is not None:
            ratio = self.after / self.before - 1
            return ratio, ratio
        return (self.low or 0.0), (self.high or 0.0)


class Recipe(Spec):
    """Steps that are applied one after the other."""

    name: str = ""
    """What reports call it; the name of the file, if left out."""
    description: str = ""
    """What it does, in a sentence."""
    source: str = ""
    """Where it was published."""
    steps: Annotated[tuple[AnyStep, ...], AfterValidator(_some)]
    """What is done, in this order."""
    quality: tuple[Measured, ...] = ()
    """What was measured of the model's quality; without an entry it is unknown."""
    _places: tuple[Location, ...] = PrivateAttr(())

    def place(self, step: int) -> Location | None:
        """Return where a step stands in the recipe's file; None where it comes from none."""
        return self._places[step] if step < len(self._places) else None

    def of_file(self, document: Document) -> Recipe:
        """Return the recipe, knowing where in a document its steps stand."""
        self._places = tuple(document.locate(("steps", i)) for i in range(len(self.steps)))
        return self


@lru_cache(maxsize=1)
def recipe_names() -> tuple[str, ...]:
    """Return the names of the packaged recipes."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def load_recipe(given: Given) -> Recipe:
    """Return a recipe.

    Args:
        given: the name of a packaged recipe, with fields of its steps changed where they follow
            it (`prune-heads:ratio=0.25`); the path of a recipe's YAML; the name of a storage format
            (`int4-g64`); a pattern of zeros (`2:4`); a recipe's mapping; or a mapping of one name
            to the fields that change or to the first of them (`{distill: llama-3.1-8b}`).

    Raises:
        UnknownNameError: if there is none of that name.
        SpecError: if it is malformed.
    """
    if isinstance(given, Recipe):
        return given
    if isinstance(given, Mapping):
        return _from_mapping(given)
    text = given.strip()
    if text.lower().endswith(_SUFFIXES):
        document = load_document(text)
        return _named(parse_as(document, Recipe), Path(text).stem).of_file(document)
    if text == "2:4":
        return load_recipe("sparse-2-4").model_copy(update={"name": text})
    if _PATTERN.fullmatch(text):
        return _of_step(text, {"kind": "mask", "pattern": text, "matrices": "layers"})
    name, *settings = text.split(":")
    name = name.strip().lower()
    if is_file(_folder() / f"{name}.yaml") and re.fullmatch(r"[\w.+-]+", name):
        return _changed(name, _settings(settings, text))
    if not settings:
        try:
            format_named(name)
        except UnknownNameError:
            pass
        else:
            return _of_step(name, {"kind": "quantize", "format": name})
    hint = suggestion(name, recipe_names()) + "; a path, a format or a pattern (2:4) will do too"
    raise UnknownNameError(f"unknown recipe `{given}`", hint=hint)


def load_recipes(given: str | Sequence[Given]) -> tuple[Recipe, ...]:
    """Return the recipes of a list, or of a text that joins their names by commas or plus signs."""
    listed: list[Given] = []
    for item in (given,) if isinstance(given, str) else given:
        if isinstance(item, str) and not item.strip(" ,+"):
            raise SpecError("the name of a recipe is empty", hint="`none` is without compression")
        listed += _split(item) if isinstance(item, str) else [item]
    return tuple(load_recipe(item) for item in listed if item != NONE)


def _split(text: str) -> list[str]:
    """Split at commas, and at plus signs that do not join the values of a field."""
    parts: list[str] = []
    for part in text.split(","):
        if "=" in part or part.strip().lower().endswith(_SUFFIXES):
            parts.append(part.strip())
        else:
            parts += [piece.strip() for piece in part.split("+")]
    return [part for part in parts if part]


def _folder() -> Path:
    return data_folder("scenarios") / "recipes"


def _named(recipe: Recipe, name: str) -> Recipe:
    return recipe if recipe.name else recipe.model_copy(update={"name": name})


def _of_step(name: str, step: dict[str, Any]) -> Recipe:
    return Recipe.model_validate({"name": name, "steps": (step,)})


def _settings(settings: Sequence[str], text: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise SpecError(
                f"`{setting}` of `{text}` is not of the form field=value",
                hint="for example prune-heads:ratio=0.25",
            )
        fields[key.strip()] = read_document(value, f"recipe {text}").value
    return fields


def _changed(name: str, fields: Mapping[str, Any]) -> Recipe:
    """Return a packaged recipe with `fields` of its steps changed, each where a step has it."""
    document = load_document(_folder() / f"{name}.yaml")
    recipe = _named(parse_as(document, Recipe), name)
    if not fields:
        return recipe
    value = cast("dict[str, Any]", document.value)
    known = {field for step in recipe.steps for field in type(step).model_fields} - {"kind"}
    for field in fields:
        if field not in known:
            raise SpecError(
                f"no step of `{name}` has a field `{field}`", hint=suggestion(field, known)
            )
    steps = [
        {**given, **{f: v for f, v in fields.items() if f in type(step).model_fields}}
        for given, step in zip(value["steps"], recipe.steps, strict=True)
    ]
    shown = ":".join([name, *(f"{field}={value}" for field, value in fields.items())])
    # What was measured was measured without the change.
    changed = {**value, "name": shown, "steps": steps, "quality": []}
    return parse_as(Document(changed, f"recipe {shown}"), Recipe)


def _from_mapping(given: Mapping[str, Any]) -> Recipe:
    if "steps" in given:
        return _named(parse_as(Document(dict(given), "<recipe>"), Recipe), "recipe")
    if len(given) != 1:
        raise SpecError(
            "a recipe is a name, a mapping of one name to its fields, or a mapping with steps"
        )
    ((name, value),) = given.items()
    if isinstance(value, Mapping):
        return _changed_known(name, cast("Mapping[str, Any]", value))
    recipe = load_recipe(name)
    first = next(f for f in type(recipe.steps[0]).model_fields if f not in _COMMON)
    return _changed_known(name, {first: value})


_COMMON = frozenset(Step.model_fields) | {"kind"}


def _changed_known(name: str, fields: Mapping[str, Any]) -> Recipe:
    if not is_file(_folder() / f"{name}.yaml"):
        raise UnknownNameError(f"unknown recipe `{name}`", hint=suggestion(name, recipe_names()))
    return _changed(name, fields)
