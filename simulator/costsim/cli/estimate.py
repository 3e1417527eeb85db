"""`costsim estimate`: FLOPs, memory, throughput and latency of one model on one device or group."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from costsim.cli import _complete
from costsim.cli._notes import say_notes
from costsim.cli._output import choose_format, write_result
from costsim.cli._tables import aligned, to_csv, to_json

if TYPE_CHECKING:
    from costsim.architectures import Architecture
    from costsim.hardware import System

FORMATS = ("table", "json", "csv")
_PHASES = ("training", "forward", "prefill", "decode")


def _batches(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(text) for text in value.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise click.BadParameter(f"`{value}` is not a list of batch sizes, such as 1,8,32")
    return sizes


@click.command()
@click.argument("model", shell_complete=_complete.models)
@click.option(
    "--hardware",
    required=True,
    metavar="ID",
    help="Accelerator or system.",
    shell_complete=_complete.hardware,
)
@click.option("--phase", type=click.Choice(_PHASES), default="forward", show_default=True)
@click.option(
    "--batch",
    "batches",
    default="1",
    show_default=True,
    callback=_batches,
    help="Samples in a pass, or a list to sweep: 1,8,32.",
)
@click.option(
    "--sequence",
    type=click.IntRange(min=1),
    help="Tokens of each sample; for decode, those in the cache.  [default: 2048, or the limit]",
)
@click.option(
    "--precision", help="Of products and weights.  [default: as it is published, or bf16]"
)
@click.option("--optimizer", default="adam", show_default=True, help="For training.")
@click.option(
    "--devices",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Devices that the layers are divided over (TP).",
)
@click.option("--format", "asked", type=click.Choice(FORMATS), help="Default: table.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
def command(
    model: str,
    hardware: str,
    phase: str,
    batches: tuple[int, ...],
    sequence: int | None,
    precision: str | None,
    optimizer: str,
    devices: int,
    asked: str | None,
    output: Path | None,
) -> None:
    """Estimate MODEL (a name, config.json or YAML) on one device, or on a group of them."""
    from costsim.answers import estimate_row
    from costsim.architectures import load_model
    from costsim.compression.published import published_precision
    from costsim.hardware import load_hardware
    from costsim.inference.phases import usual_sequence

    form = choose_format(asked, output, FORMATS)
    described = load_model(model)
    say_notes(described)
    system = load_hardware(hardware, count=devices)
    tokens = sequence or usual_sequence(described, phase)
    rows = [
        estimate_row(described, system, phase, batch, tokens, precision, optimizer)
        for batch in batches
    ]
    if precision is None:
        precision = "bf16" if phase == "training" else published_precision(described)
    if form == "json":
        head = {"model": described.name, "hardware": system.id, "devices": devices, "phase": phase}
        counted = {"parameters": described.parameters, "sequence": tokens, "precision": precision}
        notes = list(described.notes)
        write_result(to_json({**head, **counted, "notes": notes, "batches": rows}), output)
    elif form == "csv":
        flat = _flat(rows)
        write_result(to_csv(list(flat[0]), [list(row.values()) for row in flat]), output)
    else:
        write_result(_table(described, system, phase, tokens, precision, rows), output)


def _flat(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows whose mappings are columns of their own."""
    flat: list[dict[str, Any]] = []
    for row in rows:
        entry: dict[str, Any] = {}
        for name, value in row.items():
            if isinstance(value, dict):
                stem, _, unit = name.rpartition("_")
                stem = stem.removesuffix("_by_part")
                parts = cast("dict[str, float]", value)
                entry |= {f"{stem}_{part}_{unit}": figure for part, figure in parts.items()}
            else:
                entry[name] = value
        flat.append(entry)
    return flat


def _table(
    model: Architecture,
    system: System,
    phase: str,
    tokens: int,
    precision: str,
    rows: list[dict[str, Any]],
) -> str:
    from costsim.units import format_bytes, format_duration, format_flops, format_si

    many = f"{system.count} x " if system.count > 1 else ""
    device = f"{many}{system.accelerator.name}"
    each = f"{tokens:,} tokens, " if model.reads_tokens else ""
    items = "TOKENS/S" if model.reads_tokens else "SAMPLES/S"
    lines = [
        f"{model.name} on {device}: {phase}, {each}{precision}",
        f"{format_si(model.parameters)} parameters, {format_si(model.active_parameters)} active",
        "",
    ]
    table = [
        (
            f"{row['batch']:,}",
            format_flops(row["flops"]),
            format_duration(row["latency_s"]),
            format_si(row["items_per_s"]),
            f"{row['mfu_ratio']:.1%}",
            format_bytes(row["memory_bytes_per_device"]),
            "yes" if row["fits"] else "no",
        )
        for row in rows
    ]
    heads = ("BATCH", "FLOPS", "LATENCY", items, "MFU", "MEMORY", "FITS")
    lines.append(aligned(heads, table, right=range(6)))
    for title, key, show in (
        ("MEMORY BY PART", "memory_by_part_bytes", format_bytes),
        ("TIME BY PART", "time_by_part_s", format_duration),
    ):
        last = rows[-1]
        parts = [(name, show(value)) for name, value in last[key].items() if value]
        lines += [
            "",
            f"{title} (batch {last['batch']:,})",
            aligned(("PART", ""), parts, right=(1,)),
        ]
    return "\n".join(lines)
