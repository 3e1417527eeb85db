"""Launch files of a plan: those of a training run by framework, those of a service by engine.

What the settings of a format cannot say stands in comments of its file, so that `costsim init
--from` makes the same plan of it (`costsim.launching.carried`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from costsim.errors import CostsimError, SpecError, suggestion
from costsim.launching import read_launch_text
from costsim.launching.carried import ABOUT, KEY, Carried, left_out
from costsim.launching.writing import core, trainers
from costsim.launching.writing.manifests import compose, dynamo, kubernetes, llm_d
from costsim.launching.writing.recipe import Recipe, recipe_of
from costsim.launching.writing.service import Replicas, replicas_of
from costsim.launching.writing.serving import benchmark, script
from costsim.launching.writing.slurm import slurm
from costsim.planning.launch import launch_table
from costsim.planning.plans import Plan

Writer = Callable[[Recipe], dict[str, str]]

TRAINING: Mapping[str, Writer] = {
    "megatron": core.megatron,
    "bridge": core.bridge,
    "torchtitan": trainers.torchtitan,
    "deepspeed": trainers.deepspeed,
    "fsdp": trainers.fsdp,
}
"""Writers of training files; the first file of each holds its settings."""

_OF_SOFTWARE = {
    "megatron-core": "megatron",
    "megatron-2022": "megatron",
    "megatron-deepspeed": "deepspeed",
    "deepspeed": "deepspeed",
    "nemo": "bridge",
    "torchtitan": "torchtitan",
    "compiled": "torchtitan",
}
"""Format of a profile of training software; others are plain PyTorch, which FSDP's fits."""

_TOKENS_ONLY = ("megatron", "bridge", "torchtitan")


def launch_files(
    plan: Plan[Any, Any], written: Mapping[str, Any], formats: Sequence[str] = ()
) -> dict[str, str]:
    """Return the launch files of a plan's best candidate, by name.

    Args:
        plan: of training or of a service.
        written: its scenario as given (`costsim.planning.study.read`).
        formats: to write; left out, that of the scenario's framework; `all` for each that can be.

    Raises:
        SpecError: for a format that is unknown, or cannot say such a plan.
    """
    if plan.kind == "training":
        return _training(plan, written, formats)
    return _service(plan, written, formats)


def _service(
    plan: Plan[Any, Any], written: Mapping[str, Any], formats: Sequence[str]
) -> dict[str, str]:
    own = replicas_of(plan, written, None)
    if own is None:
        raise SpecError(
            f"no server of `kind: {plan.kind}` is known that would run this plan",
            hint="launch files are written of training, and of services of "
            + ", ".join(launch_table()),
        )
    for name in formats:
        if name not in (*launch_table(), "all"):
            hint = suggestion(name, (*launch_table(), "all"))
            raise SpecError(f"`{name}` is no engine that launch files are written for", hint=hint)
    names = list(launch_table()) if "all" in formats else list(formats) or [own.software]
    first = cast("Replicas", replicas_of(plan, written, names[0]))
    files: dict[str, str] = {}
    for name in names:
        for file, text in script(cast("Replicas", replicas_of(plan, written, name))).items():
            files[file] = _whole(text, file, own.scenario)
    for write in (compose, kubernetes, llm_d, dynamo, benchmark):
        files |= write(first)
    return files


def _training(
    plan: Plan[Any, Any], written: Mapping[str, Any], formats: Sequence[str]
) -> dict[str, str]:
    recipe = recipe_of(plan, written)
    names = _chosen(recipe, formats)
    files: dict[str, str] = {}
    for name in names:
        made = TRAINING[name](recipe)
        first = next(iter(made))
        made[first] = _whole(made[first], first, recipe.scenario)
        files |= made
    return files | slurm(recipe, names[0])


def _chosen(recipe: Recipe, formats: Sequence[str]) -> list[str]:
    able = [n for n in TRAINING if recipe.counts == "tokens" or n not in _TOKENS_ONLY]
    if not formats:
        usual = _OF_SOFTWARE.get(recipe.software, "fsdp")
        return [usual if usual in able else "fsdp"]
    if "all" in formats:
        return able
    for name in formats:
        if name not in TRAINING:
            hint = suggestion(name, (*TRAINING, "all"))
            raise SpecError(f"`{name}` is no format of training launch files", hint=hint)
        if name not in able:
            raise SpecError(
                f"`{name}` files train on tokens, not on samples", hint="one of " + ", ".join(able)
            )
    return list(dict.fromkeys(formats))


def _whole(text: str, name: str, scenario: Mapping[str, Any]) -> str:
    """Return a file's text with what its settings leave out."""
    try:
        read = read_launch_text(text, Path(name)).scenario
    except CostsimError as error:  # a bug here, not the user's
        raise RuntimeError(f"{name} cannot be read back: {error}") from error
    return _with_lines(text, name, left_out(scenario, read))


def _with_lines(text: str, name: str, lines: Sequence[Carried]) -> str:
    if not lines:
        return text
    if name.endswith(".json"):
        said = [ABOUT, *(str(line) for line in lines)]
        return json.dumps({**json.loads(text), KEY: said}, indent=2) + "\n"
    return "\n".join([text.rstrip(), "", f"# {ABOUT}", *(f"# {line}" for line in lines)]) + "\n"
