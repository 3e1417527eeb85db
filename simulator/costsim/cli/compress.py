"""`costsim compress`: what recipes make of a model: parameters, bytes, FLOPs, before and after."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from costsim.cli import _complete
from costsim.cli._console import UsageError
from costsim.cli._notes import say_notes
from costsim.cli._output import choose_format, write_result
from costsim.cli._tables import aligned, to_csv, to_json

if TYPE_CHECKING:
    from costsim.architectures import Architecture
    from costsim.compression.compressing import Compression
    from costsim.compression.effects import Effects, Figures
    from costsim.hardware import System
    from costsim.inference.phases import Phase

FORMATS = ("table", "json", "csv")

# figure -> what the table calls it, and how it is shown
_ROWS = {
    "parameters": ("parameters", "count"),
    "trainable_parameters": ("  trained", "count"),
    "nonzero_parameters": ("  not zero", "count"),
    "active_parameters": ("  that one token uses", "count"),
    "weights_bytes": ("weights on the device", "bytes"),
    "disk_bytes": ("weights in a file", "bytes"),
    "cache_bytes": ("cache", "bytes"),
    "activation_bytes": ("activations kept to train", "bytes"),
    "forward_flops": ("forward FLOPs", "flops"),
    "training_flops": ("forward and backward FLOPs", "flops"),
}


_WIDTH = 96  # of running text
_LISTED = ("name", "description", "source")


@click.command()
@click.argument("model", required=False, shell_complete=_complete.models)
@click.option(
    "--recipe",
    "recipes",
    multiple=True,
    metavar="NAME[,NAME...]",
    help="Recipes, formats (int4-g64), patterns (2:4) or files, in order; repeatable.",
)
@click.option(
    "--hardware",
    metavar="ID",
    help="Accelerator or system: what runs how fast there.",
    shell_complete=_complete.hardware,
)
@click.option("--dtype", default="bf16", show_default=True, help="Of what stays as it is.")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--sequence",
    type=click.IntRange(min=1),
    help="Tokens of each sample.  [default: 2048, or the limit]",
)
@click.option("--list", "listed", is_flag=True, help="List the packaged recipes.")
@click.option("--format", "asked", type=click.Choice(FORMATS), help="Default: table.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
def command(
    model: str | None,
    recipes: tuple[str, ...],
    hardware: str | None,
    dtype: str,
    batch: int,
    sequence: int | None,
    listed: bool,
    asked: str | None,
    output: Path | None,
) -> None:
    """Show what recipes make of MODEL: parameters, bytes and FLOPs before and after.

    FLOPs, activations and cache are of --batch sequences of --sequence tokens. With --hardware,
    also the time of a prefill and of a decode step there.
    """
    form = choose_format(asked, output, FORMATS)
    if listed:
        write_result(_list(form), output)
        return
    if model is None or not recipes:
        missing = "MODEL" if model is None else "--recipe"
        raise UsageError(f"{missing} is missing", "`costsim compress --list` names the recipes")
    from costsim.compression.compressing import compress
    from costsim.compression.effects import effects
    from costsim.hardware import load_hardware

    compression = compress(model, list(recipes), dtype)
    say_notes(compression.before)
    system = load_hardware(hardware) if hardware else None
    accelerator = system.accelerator if system else None
    found = effects(compression, batch=batch, sequence=sequence, accelerator=accelerator)
    times = _times(compression, system, batch, found.sequence) if system else {}
    if form == "json":
        write_result(to_json(_content(found, system, times)), output)
    elif form == "csv":
        rows = [[name, *values] for name, values in _flat(found).items()]
        write_result(to_csv(["figure", "before", "after"], rows), output)
    else:
        write_result(_table(found, system, times), output)


def _list(form: str) -> str:
    from costsim.compression.recipes import load_recipe, recipe_names

    recipes = [load_recipe(name) for name in recipe_names()]
    if form == "json":
        return to_json({"recipes": [r.model_dump(include=set(_LISTED)) for r in recipes]})
    rows = [(recipe.name, recipe.description) for recipe in recipes]
    return to_csv(["name", "description"], rows) if form == "csv" else aligned(("NAME", ""), rows)


def _times(
    compression: Compression, system: System, batch: int, sequence: int
) -> dict[str, dict[str, float]]:
    """Return seconds of a pass before and after, by phase, on one device of `system`."""
    from costsim.compression.cache import cached_in
    from costsim.inference import estimate_inference

    models = (("before", compression.before), ("after", compression.after))
    generates = all(model.cache_bytes(1, 1) for _, model in models)
    phases: tuple[Phase, ...] = ("prefill", "decode") if generates else ("forward",)
    return {
        phase: {
            when: estimate_inference(
                model,
                system.with_count(1),
                phase=phase,
                batch=batch,
                sequence=_within(model, sequence, phase),
                precision=compression.dtype,
                cache_dtype=cached_in(model, compression.dtype),
            ).latency_s
            for when, model in models
        }
        for phase in phases
    }


def _within(model: Architecture, sequence: int, phase: Phase) -> int:
    """Return the tokens of a pass, of which a decode step adds one to those in the cache."""
    limit = model.context_limit
    return sequence if limit is None else min(sequence, limit - (phase == "decode"))


def _content(
    found: Effects, system: System | None, times: dict[str, dict[str, float]]
) -> dict[str, Any]:
    compression = found.compression
    making = [
        {
            "what": run.what,
            "model": run.model.name,
            "forward_tokens": run.forward_tokens,
            "training_tokens": run.training_tokens,
            "teacher": run.teacher.name if run.teacher else None,
            "teacher_tokens": run.teacher_tokens,
            "flops": run.flops(found.sequence),
            "stored_bytes": run.stored_bytes,
        }
        for run in compression.making
    ]
    content: dict[str, Any] = {
        "model": compression.before.name,
        "recipe": list(compression.names),
        "dtype": compression.dtype,
        "batch": found.batch,
        "sequence": found.sequence,
        "before": found.before.to_dict(),
        "after": found.after.to_dict(),
        "after_over_before": _ratios(found),
        "making": making,
        "quality": [
            {"metric": metric, "low": low, "high": high, "sources": sources}
            for metric, low, high, sources in _quality(compression)
        ]
        or "unknown",
        "notes": list(found.notes),
    }
    if system is not None:
        content["fits"] = _fits(found, system)
        content["hardware"] = system.accelerator.id
        content["time_s"] = times
    return content


def _fits(found: Effects, system: System) -> dict[str, bool]:
    """Return whether weights and cache fit on one device, before and after."""
    usable = system.accelerator.memory_usable_bytes
    both = (("before", found.before), ("after", found.after))
    return {when: held.weights_bytes + held.cache_bytes <= usable for when, held in both}


def _ratios(found: Effects) -> dict[str, float]:
    before, after = found.before.to_dict(), found.after.to_dict()
    return {name: after[name] / before[name] for name in _ROWS if before[name]}


def _quality(compression: Compression) -> list[tuple[str, float, float, list[str]]]:
    from costsim.compression.quality import expected

    return [
        (change.metric, change.low, change.high, list(change.sources))
        for change in expected(compression)
    ]


def _flat(found: Effects) -> dict[str, tuple[Any, Any]]:
    rows: dict[str, tuple[Any, Any]] = {}
    before, after = found.before.to_dict(), found.after.to_dict()
    for name, value in before.items():
        if isinstance(value, dict):
            for part in dict.fromkeys([*value, *after[name]]):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
                rows[f"{name}.{part}"] = (before[name].get(part, 0), after[name].get(part, 0))
        else:
            rows[name] = (value, after[name])
    return rows


def _table(found: Effects, system: System | None, times: dict[str, dict[str, float]]) -> str:
    from costsim.units import format_bytes, format_duration, format_flops, format_si

    shows = {"count": _count, "bytes": format_bytes, "flops": format_flops}
    compression, before, after = found.compression, found.before, found.after
    sample = f"{found.batch:,} x {found.sequence:,} tokens"
    lines = [f"{compression.before.name} + {' + '.join(compression.names) or 'none'}", ""]
    rows: list[tuple[str, str, str, str]] = []
    for name, (label, kind) in _ROWS.items():
        old, new = getattr(before, name), getattr(after, name)
        if not old and not new:
            continue
        show = shows[kind]
        rows.append((label, show(old), show(new), f"{new / old:.3f}" if old else ""))
    for phase, pair in times.items():
        row = (phase, format_duration(pair["before"]), format_duration(pair["after"]))
        rows.append((*row, f"{pair['after'] / pair['before']:.3f}"))
    if system is not None:
        old, new = ("yes" if fit else "no" for fit in _fits(found, system).values())
        rows.append(("weights and cache fit", old, new, ""))
    where = f" on {system.accelerator.name}" if system else ""
    lines += [aligned((f"{sample}{where}", "BEFORE", "AFTER", "RATIO"), rows, right=(1, 2, 3)), ""]
    lines += [_split("WEIGHTS BY PART", before, after, "parts"), ""]
    lines += [_split("WEIGHTS BY CONTENT", before, after, "contents"), ""]
    runs = [
        f"{run.what}: {format_si(run.forward_tokens + run.training_tokens)} tokens through "
        f"{run.model.name}"
        + (f", taught by {run.teacher.name}" if run.teacher else "")
        + f", {format_flops(run.flops(found.sequence))}"
        + (f", {format_bytes(run.stored_bytes)} of logits" if run.stored_bytes else "")
        for run in compression.making
    ]
    remarks = ["to make it: " + ("; ".join(runs) if runs else "nothing that the recipe states")]
    changes = _quality(compression)
    if not changes:
        remarks += ["quality: unknown (nothing published is on record for this)"]
    for metric, low, high, sources in changes:
        spread = f"{low:+.1%}" if low == high else f"{low:+.1%} to {high:+.1%}"
        remarks += [f"quality: {metric}: {spread} ({'; '.join(sources)})"]
    remarks += [f"note: {note}" for note in found.notes]
    lines += [line for text in remarks for line in textwrap.wrap(text, _WIDTH)]
    return "\n".join(lines)


def _count(number: float) -> str:
    return f"{number / 1e9:.2f} B" if number >= 1e9 else f"{number / 1e6:.2f} M"


def _split(title: str, before: Figures, after: Figures, name: str) -> str:
    from costsim.units import format_bytes

    old: dict[str, int] = getattr(before, name)
    new: dict[str, int] = getattr(after, name)
    rows = [
        (part, format_bytes(old.get(part, 0)), format_bytes(new.get(part, 0)))
        for part in dict.fromkeys([*old, *new])
    ]
    return aligned((title, "BEFORE", "AFTER"), rows, right=(1, 2))
