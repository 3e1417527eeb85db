"""Launch files of training and serving software: read into scenarios, written from plans.

`read_launch(path)` recognises Megatron-LM scripts, NeMo and Megatron-Bridge recipes, DeepSpeed
JSON, torchtitan TOML, Hugging Face TrainingArguments and commands of vLLM, SGLang and TensorRT-LLM
by what they hold.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from costsim.documents import read_document
from costsim.errors import Location, SpecError
from costsim.launching.carried import KEY, applied, carried_lines
from costsim.launching.imported import Imported as Imported
from costsim.launching.imported import refuse
from costsim.launching.megatron import read_megatron
from costsim.launching.serve import engine_of, read_engine
from costsim.launching.shell import read_script
from costsim.launching.trainers import flat, read_deepspeed, read_torchtitan, read_trainer

_MOST_BYTES = 4_000_000
_TITAN_TABLES = {"training", "parallelism", "activation_checkpoint"}
_SECTIONS = (
    "training",
    "trainer",
    "model",
    "train",
    "dataset",
    "ddp",
    "optimizer",
    "data",
    "parallelism",
)
_CORE_NAMES = (
    *("tensor_model_parallel_size", "num_layers", "micro_batch_size", "global_batch_size"),
)
_TRAINER_NAMES = ("per_device_train_batch_size", "gradient_accumulation_steps", "output_dir")


def read_launch(path: Path) -> Imported:
    """Return the scenario that a launch file describes, and what became of each setting.

    Raises:
        SpecError: if the file cannot be read, or is of no known format.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise SpecError(f"{path} is larger than {_MOST_BYTES:,} bytes: no launch file")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SpecError(f"{path} cannot be read: {reason}") from None
    return read_launch_text(text, path)


def read_launch_text(text: str, path: Path) -> Imported:
    """Return the same of a text; its path says what it is, and where errors are.

    Raises:
        SpecError: if it is of no known format.
    """
    if path.suffix in (".json", ".yaml", ".yml"):
        tree = read_document(text, str(path), json_syntax=path.suffix == ".json").value
        if not isinstance(tree, Mapping):
            raise refuse(str(path))
        settings = dict(cast("Mapping[str, Any]", tree))
        beside = settings.pop(KEY, None)
        if isinstance(beside, list):
            text = "\n".join(str(line) for line in cast("list[object]", beside))
        return applied(_of_tree(settings, path), carried_lines(text))
    if path.suffix == ".toml":
        return applied(_of_tree(_toml(text, path), path), carried_lines(text))
    return applied(_of_script(text, path), carried_lines(text))


def _of_script(text: str, path: Path) -> Imported:
    try:
        command = read_script(text)
    except ValueError as error:
        raise SpecError(f"{path} is no shell script that can be read: {error}") from None
    engine = engine_of(command, text)
    if engine is not None:
        return read_engine(command, engine)
    overrides = dict(word.split("=", 1) for word in command.words if "=" in word)
    if any("." in name for name in overrides):
        beside = {n.lstrip("-").replace("-", "_"): v for n, v in command.options.items()}
        return _of_tree({**overrides, **beside}, path)
    return _of_options(command.options, path)


def _of_options(options: Mapping[str, str], path: Path) -> Imported:
    values = {name.lstrip("-").replace("-", "_"): value for name, value in options.items()}
    if any(name in values for name in _CORE_NAMES):
        return read_megatron(values)
    if any(name in values for name in _TRAINER_NAMES):
        return read_trainer(values)
    raise refuse(str(path))


def _of_tree(tree: Mapping[str, Any], path: Path) -> Imported:
    names = flat(tree)
    last = {name.rpartition(".")[2] for name in names}
    if "zero_optimization" in tree or "train_micro_batch_size_per_gpu" in tree:
        return read_deepspeed(tree)
    if tree.keys() & _TITAN_TABLES and "training.seq_len" in names:
        return read_torchtitan(tree)
    if any(name in last for name in _CORE_NAMES):
        return read_megatron(_bared(names), "NeMo or Megatron-Bridge")
    if any(name in last for name in _TRAINER_NAMES):
        return read_trainer(_bared(names))
    raise refuse(str(path))


def _bared(names: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without their sections; the second of one name keeps its own."""
    found: dict[str, Any] = {}
    for name, value in names.items():
        bare = _bare(name.lstrip("-"))
        found[name if bare in found else bare] = value
    return found


def _bare(name: str) -> str:
    """A setting without the sections that NeMo and Megatron-Bridge put it into."""
    first, dot, rest = name.partition(".")
    return _bare(rest) if dot and first in _SECTIONS else name


def _toml(text: str, path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"no TOML: {error}", location=Location(str(path))) from None


def to_yaml(imported: Imported) -> str:
    """Return the scenario as YAML: what must still be stated on top, what was unused below."""
    import yaml

    lines = [f"# Read from {imported.format} settings. `costsim plan THIS_FILE` plans it."]
    lines += [_comment(f"STATE {hint}") for hint in imported.missing]
    body = yaml.safe_dump(
        {"name": f"Plan of {imported.format} settings", **imported.scenario}, sort_keys=False
    )
    unused = [_comment(f"{n}: {why}") for n, why in sorted(imported.unused.items())]
    tail = ["# Not used:", *unused] if unused else []
    return "\n".join([*lines, body.rstrip(), *tail]) + "\n"


def to_json(imported: Imported) -> str:
    """Return what became of every setting as JSON."""
    return json.dumps(
        {
            "format": imported.format,
            "scenario": imported.scenario,
            "used": imported.used,
            "unused": imported.unused,
            "missing": list(imported.missing),
        },
        indent=2,
        sort_keys=True,
        default=str,
    )


def _comment(text: str) -> str:
    """One line of a YAML comment, whatever a setting held."""
    return "#   " + " ".join("".join(c if c.isprintable() else " " for c in text).split())
