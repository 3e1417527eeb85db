"""`costsim fit`: whether a model can be trained on a device with the software that is used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from costsim.cli import _complete
from costsim.cli._output import choose_format, write_result
from costsim.cli._tables import aligned, to_json

if TYPE_CHECKING:
    from costsim.planning.fitting import Fit

FORMATS = ("table", "json")
_DOES_NOT_FIT = 3


def _words(context: click.Context, option: click.Parameter, value: str | None) -> tuple[str, ...]:
    del context, option
    return tuple(part.strip() for part in (value or "").split(",") if part.strip())


def _rate(context: click.Context, option: click.Parameter, value: str | None) -> float | None:
    del context, option
    if value is None:
        return None
    from costsim.units import parse_quantity

    return parse_quantity(value, "bytes_per_s")


def _pairs(
    context: click.Context, option: click.Parameter, value: tuple[str, ...]
) -> dict[str, Any]:
    del context
    found: dict[str, Any] = {}
    for one in value:
        name, equals, choice = one.partition("=")
        if not equals:
            raise click.BadParameter(f"`{one}` is not NAME=VALUE, such as loss=fused_linear")
        found[name] = _value(choice)
    return found


def _value(text: str) -> bool | float | str:
    """Return the value of a choice: a switch, a number or a word."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return float(text)
    except ValueError:
        return text


@click.command()
@click.argument("model", shell_complete=_complete.models)
@click.option(
    "--hardware",
    required=True,
    metavar="ID",
    help="Accelerator or system.",
    shell_complete=_complete.hardware,
)
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True, help="Devices.")
@click.option("--software", default="hf-trainer", show_default=True, help="A training stack.")
@click.option(
    "--method",
    default="full",
    show_default=True,
    help="full, frozen, lora, dora, qlora; with an objective: qlora,dpo.",
)
@click.option(
    "--objective",
    default="sft",
    show_default=True,
    help="sft, dpo, kto, orpo, reward, ppo, grpo, rloo, distill.",
)
@click.option("--sequence", type=click.IntRange(min=1), default=2048, show_default=True)
@click.option("--micro-batch", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--accumulation", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--precision", default="bf16", show_default=True)
@click.option("--optimizer", default="adamw", show_default=True)
@click.option("--recompute", help="none, full, …  [default: the stack's]")
@click.option(
    "--zero", type=click.IntRange(0, 3), help="ZeRO stage; 3 = FSDP.  [default: the stack's]"
)
@click.option("--tp", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--cp", type=click.IntRange(min=1), default=1, show_default=True, help="Ulysses.")
@click.option("--offload", default="none", show_default=True, help="What the host's memory keeps.")
@click.option("--nvme", callback=_rate, metavar="RATE", help="Of a node's drives: 12 GB/s.")
@click.option("--rank", type=click.IntRange(min=1), default=16, show_default=True)
@click.option("--targets", callback=_words, help="Adapted projections.  [default: all-linear]")
@click.option("--modules-to-save", callback=_words, help="embed_tokens, lm_head, norm.")
@click.option("--trained", callback=_words, help="Of method frozen: last:K, norms, lm_head, …")
@click.option("--storage", help="Format of frozen weights: nf4, nf4-double, int8, gptq-int4, …")
@click.option("--reference", type=click.Choice(["shared", "separate", "precomputed"]))
@click.option("--teacher", help="Model that is distilled.")
@click.option("--engine", type=click.Choice(["none", "colocated", "asleep"]), help="Of rollouts.")
@click.option("--engine-share", type=click.FloatRange(0, 1), default=0.3, show_default=True)
@click.option(
    "--choice", "choices", multiple=True, callback=_pairs, help="Of the stack: loss=fused_linear."
)
@click.option("--devices", "table", is_flag=True, help="List every device of the catalog.")
@click.option("--format", "asked", type=click.Choice(FORMATS), help="Default: table.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
def command(
    model: str,
    hardware: str,
    table: bool,
    asked: str | None,
    output: Path | None,
    **options: Any,
) -> int:
    """Tell whether MODEL fits, how far that goes, and the cheapest changes that make it fit."""
    from costsim.planning.fitting import fit

    options["nvme_bytes_per_s"] = options.pop("nvme")
    form = choose_format(asked, output, FORMATS)
    if not options["targets"]:
        del options["targets"]
    found = fit(model, hardware, **options)
    if form == "json":
        document = found.to_dict()
        if table:
            document["devices"] = found.devices()
        write_result(to_json(document), output)
    else:
        write_result(_report(found, table=table), output)
    return 0 if found.fits else _DOES_NOT_FIT


def _report(found: Fit, *, table: bool) -> str:
    from costsim.units import format_bytes

    answer = found.answer
    setup, stack = answer.setup, answer.job.stack
    assert stack is not None
    verdict = "fits" if found.fits else "does not fit"
    lines = [
        f"{answer.job.model.name} {verdict} on {setup.count} x "
        f"{answer.job.system.accelerator.name} with {stack.name} ({stack.release})",
        f"{setup.method} {setup.objective}, sequences of {setup.sequence:,} tokens, micro-batch "
        f"{setup.micro_batch}: probability {answer.probability:.0%}",
        "",
    ]
    capacity = format_bytes(answer.capacity_bytes)
    rows = [
        (
            "allocated",
            format_bytes(answer.allocated_bytes),
            f"at its worst moment: {answer.moment}",
        ),
        ("reserved", format_bytes(answer.reserved_bytes), "by the allocator"),
        ("total", format_bytes(answer.total_bytes), f"of {capacity} on the device"),
        (
            "80 %",
            f"{format_bytes(answer.low_bytes)} to {format_bytes(answer.high_bytes)}",
            "of measured peaks",
        ),
    ]
    if answer.host_bytes:
        has = answer.host_capacity_bytes
        known = "memory not known" if has is None else f"of {format_bytes(has)}"
        rows.append(("host", format_bytes(answer.host_bytes), f"a node, {known}"))
    lines += aligned(("MEMORY", "A DEVICE", ""), rows).splitlines()
    parts = [(n, format_bytes(v), "") for n, v in answer.parts_bytes.items() if v]
    lines += ["", *aligned(("PART", "AT THE PEAK", ""), parts).splitlines()]
    limits = [
        ("largest micro-batch", f"{found.largest_micro_batch:,}", ""),
        ("longest sequence", f"{found.longest_sequence:,}", "tokens"),
        ("fewest devices", str(found.fewest_devices or "none"), "sharded over them"),
        ("smallest device", found.smallest_device or "none", "of the catalog"),
    ]
    lines += ["", *aligned(("LIMIT", "", ""), limits).splitlines()]
    if found.changes:
        changes = [
            (c.text, format_bytes(c.total_bytes), f"{c.probability:.0%}", f"x {c.time_ratio:.2f}")
            for c in found.changes
        ]
        header = ("CHANGE", "TOTAL", "FITS", "TIME OF A SAMPLE")
        lines += ["", *aligned(header, changes).splitlines()]
    elif not answer.host_fits:
        hint = "`--offload nvme --nvme RATE` keeps it on drives, `--count` shares it among nodes"
        lines += ["", "what is offloaded does not fit in a node's memory", f"hint: {hint}"]
    elif not found.fits:
        lines += ["", "no change that is known here makes it fit"]
    if table:
        rows = [
            (d["id"], format_bytes(d["memory_bytes"]), f"{d['probability']:.0%}")
            for d in found.devices()
        ]
        lines += ["", *aligned(("DEVICE", "MEMORY", "FITS"), rows).splitlines()]
    return "\n".join(lines) + "\n"
