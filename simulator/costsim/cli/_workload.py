"""A scenario from flags, for a plan without a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from costsim.cli import _complete
from costsim.cli._console import UsageError

# Flag -> where it stands in a scenario, what it is, its help.
_COMMON: dict[str, tuple[str, Any, str]] = {
    "model": ("model", str, "Name, `owner/name`, config.json or YAML of a model."),
    "hardware": ("hardware.system", str, "Device or system, such as h100; repeat it to compare."),
    "devices": ("hardware.devices", int, "Number of devices."),
    "price": ("price", str, "Price of a device-hour, such as 2.5$/h."),
    "budget": ("limits.cost", str, "Most it may cost."),
    "deadline": ("limits.deadline", str, "Longest it may take."),
}
_KINDS: dict[str, dict[str, tuple[str, Any, str]]] = {
    "training": {
        "tokens": ("workload.tokens", str, "Tokens to train on, such as 1T."),
        "sequence": ("workload.sequence", int, "Tokens of a sequence."),
        "global-batch": ("workload.global_batch", str, "Sequences of a step, or `4M tokens`."),
    },
    "inference": {
        "requests-per-s": ("workload.requests_per_s", float, "Requests a second of a service."),
        "input-tokens": ("workload.input_tokens", int, "Tokens of a prompt."),
        "output-tokens": ("workload.output_tokens", int, "Tokens of an answer."),
        "ttft": ("workload.slo.ttft", str, "Longest time to the first token, such as `1 s`."),
        "tpot": ("workload.slo.tpot", str, "Longest time per output token, such as `50 ms`."),
    },
}
_NEEDED = {
    "training": ("tokens", "sequence", "global-batch"),
    "inference": ("requests-per-s", "input-tokens", "output-tokens"),
}


def workload_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags that a scenario can be stated by."""
    flags = {**_COMMON, **_KINDS["training"], **_KINDS["inference"]}
    for name, (_, kind, text) in reversed(flags.items()):
        command = click.option(
            f"--{name}",
            type=kind,
            help=text,
            multiple=name == "hardware",
            shell_complete={"model": _complete.models, "hardware": _complete.hardware}.get(name),
        )(command)
    return command


def scenario_of(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the scenario that flags state, as a file would; None where there are none.

    Raises:
        UsageError: where flags of two kinds of workload are given, or one is missing.
    """
    stated = {
        name.replace("_", "-"): value
        for name, value in given.items()
        if value is not None and value != ()
    }
    if not stated:
        return None
    kinds = [kind for kind, flags in _KINDS.items() if stated.keys() & flags.keys()]
    if len(kinds) > 1:
        raise UsageError("--tokens and --requests-per-s state two workloads", "plan one at a time")
    kind = kinds[0] if kinds else "training"
    missing = [name for name in ("model", "hardware", *_NEEDED[kind]) if name not in stated]
    if missing:
        words = "training" if kind == "training" else "a service"
        raise UsageError(
            f"{words} without a file needs --{', --'.join(missing)}",
            "a service states --requests-per-s, --input-tokens and --output-tokens"
            if not kinds
            else None,
        )
    scenario: dict[str, Any] = {"name": f"{stated['model']}, {kind}", "workload": {"kind": kind}}
    for name, value in stated.items():
        path = {**_COMMON, **_KINDS[kind]}[name][0].split(".")
        inner = scenario
        for key in path[:-1]:
            inner = inner.setdefault(key, {})
        inner[path[-1]] = value
    systems: tuple[str, ...] = given["hardware"]
    scenario["hardware"]["system"] = systems[0] if len(systems) == 1 else list(systems)
    batch = scenario["workload"].get("global_batch")
    if isinstance(batch, str) and batch.isdecimal():
        scenario["workload"]["global_batch"] = int(batch)
    return scenario
