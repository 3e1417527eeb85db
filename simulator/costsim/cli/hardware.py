"""`costsim hardware`: the catalog of accelerators and systems, each number with its source."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from costsim.cli import _complete
from costsim.cli._output import choose_format, write_result
from costsim.cli._tables import aligned, to_csv, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from costsim.hardware import Accelerator, Figure, System, Tier

_FORMATS = ("table", "json", "csv")
_WIDTH = 96  # of running text

# column of the list -> header, its unit, and SI units in one of it
_COLUMNS = {
    "bf16": ("BF16", "TFLOP/s", 1e12),
    "fp8": ("FP8", "TFLOP/s", 1e12),
    "memory": ("MEMORY", "GB", 1e9),
    "bandwidth": ("BANDW.", "GB/s", 1e9),
    "link": ("LINK", "GB/s", 1e9),
    "tdp": ("TDP", "W", 1.0),
    "year": ("YEAR", "", 1.0),
}


@click.command()
@click.argument("name", required=False, metavar="[ID]", shell_complete=_complete.hardware)
@click.option("--systems", is_flag=True, help="List systems instead of accelerators.")
@click.option(
    "--sort",
    type=click.Choice(["id", *_COLUMNS]),
    default="id",
    show_default=True,
    help="Order of the accelerators; numbers largest first.",
)
@click.option("--format", "asked", type=click.Choice(_FORMATS), help="Default: table.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
def command(
    name: str | None, systems: bool, sort: str, asked: str | None, output: Path | None
) -> None:
    """List accelerators; with ID (or an alias), every number of it with its basis and source.

    Peaks are dense; links are one direction per device; GB is 10^9 bytes.
    """
    form = choose_format(asked, output, _FORMATS)
    if name and systems:
        raise click.UsageError("--systems lists all systems; leave it out to describe one")
    if name:
        text = _describe(name, form)
    else:
        text = _list_systems(form) if systems else _list_accelerators(sort, form)
    write_result(text, output)


def _list_accelerators(sort: str, form: str) -> str:
    from costsim.hardware import accelerator_ids, load_accelerator

    devices = [load_accelerator(identity) for identity in accelerator_ids()]
    if sort != "id":
        devices.sort(key=lambda device: -(_columns(device)[sort] or 0.0))
    if form == "json":
        return to_json({"accelerators": [_accelerator_entry(device) for device in devices]})
    if form == "csv":
        flat = [_flat_entry(device) for device in devices]
        return to_csv(list(flat[0]), [list(entry.values()) for entry in flat])
    header = ("ID", *(label for label, _, _ in _COLUMNS.values()))
    units = ("", *(unit for _, unit, _ in _COLUMNS.values()))
    rows = [
        (device.id, *(_scaled(value, column) for column, value in _columns(device).items()))
        for device in devices
    ]
    table = aligned(header, [units, *rows], right=range(1, len(header)))
    return (
        f"{table}\n\n{len(devices)} accelerators; - is not published. Dense peaks, one-way links."
    )


def _columns(device: Accelerator) -> dict[str, float | None]:
    """Return the columns of the list in SI units."""
    return {
        "bf16": device.peaks_flops_per_s.get("bf16"),
        "fp8": device.peaks_flops_per_s.get("fp8"),
        "memory": device.memory_bytes,
        "bandwidth": device.memory_bandwidth_bytes_per_s,
        "link": device.scale_up_bytes_per_s,
        "tdp": device.tdp_w,
        "year": device.launch_year,
    }


def _scaled(value: float | None, column: str) -> str:
    if value is None:
        return "-"
    number = value / _COLUMNS[column][2]
    return f"{number:.1f}" if number % 1 and number < 100 else f"{number:.0f}"


def _list_systems(form: str) -> str:
    from costsim.hardware import load_hardware, system_ids

    found = [load_hardware(identity) for identity in system_ids()]
    if form == "json":
        return to_json({"systems": [_system_entry(system) for system in found]})
    header = ("id", "accelerator", "devices", "devices_per_node", "node_power_w", "max_devices")
    if form == "csv":
        rows = [
            (s.id, s.accelerator.id, s.count, s.devices_per_node, s.node_power_w, s.max_devices)
            for s in found
        ]
        return to_csv(header, rows)
    table = aligned(
        ("ID", "ACCELERATOR", "A NODE", "TIERS: DEVICES AT GB/s PER DEVICE, ONE WAY"),
        [
            (s.id, s.accelerator.id, str(s.devices_per_node), " > ".join(map(_brief, s.tiers)))
            for s in found
        ],
        right=(2,),
    )
    return f"{table}\n\n{len(found)} systems"


def _brief(tier: Tier) -> str:
    devices = "any" if tier.devices is None else str(tier.devices)
    return f"{tier.kind} {devices} at {tier.bandwidth_bytes_per_s / 1e9:.4g}"


def _describe(name: str, form: str) -> str:
    from costsim.errors import UnknownNameError
    from costsim.hardware import load_accelerator, load_hardware

    system = load_hardware(name)
    try:
        device = load_accelerator(name)
    except UnknownNameError:  # the name of a system
        entry = {"system": _system_entry(system)}
        figures = dict(_system_figures(system))
        text = [f"{system.id}: {system.name}", ""]
        text += [f"accelerator      {system.accelerator.id}", *_system_lines(system)]
    else:
        entry = {"accelerator": _accelerator_entry(device), "default_system": system.id}
        figures = dict(device.figures)
        text = [f"{device.id}: {device.name}", *_accelerator_lines(device, system)]
    if form == "json":
        records = {path: _figure_entry(figure) for path, figure in figures.items()}
        return to_json({**entry, "figures": records})
    if form == "csv":
        columns = ("figure", "value", "unit", "basis", "source", "read_on", "note")
        rows = [(path, *_figure_entry(figure).values()) for path, figure in figures.items()]
        return to_csv(columns, rows)
    return "\n".join([*text, "", *_figure_lines(figures)])


def _accelerator_lines(device: Accelerator, system: System) -> list[str]:
    from costsim.hardware import aliases_of

    about = (device.vendor, device.architecture, device.form_factor, device.status)
    lines = [", ".join(part for part in about if part)]
    names = aliases_of(device.id)
    if names:
        lines += textwrap.wrap(f"also: {', '.join(names)}", _WIDTH, break_on_hyphens=False)
    if device.note:
        lines += textwrap.wrap(f"note: {device.note}", _WIDTH)
    return [*lines, "", f"default system   {system.id}: {system.name}", *_system_lines(system)]


def _system_lines(system: System) -> list[str]:
    lines = [f"devices          {system.count}, {system.devices_per_node} a node"]
    if system.node_power_w is not None:
        lines.append(f"node power       {system.node_power_w / 1e3:.4g} kW, rated maximum")
    if system.host_cpu:
        lines.append(f"host             {system.host_cpu}")
    if system.nics:
        lines.append(f"network          {system.nics}")
    lines.append(f"basis            {system.basis}: {system.source}")
    if system.note:
        lines += textwrap.wrap(
            f"note             {system.note}", _WIDTH, subsequent_indent=" " * 17
        )
    for tier in system.tiers:
        devices = "any number of" if tier.devices is None else f"{tier.devices:,}"
        shape = f" ({'x'.join(map(str, tier.shape))})" if tier.shape else ""
        ratio = tier.oversubscription_ratio
        shared = f", {ratio:.4g} to 1 oversubscribed" if ratio > 1 else ""
        lines.append(
            f"{tier.kind:<16} {devices} devices{shape} at "
            f"{tier.bandwidth_bytes_per_s / 1e9:.4g} GB/s one way each{shared}: {tier.name}"
        )
    return lines


def _figure_lines(figures: Mapping[str, Figure]) -> list[str]:
    """Return the figures as a table, their sources by number, then notes and sources."""
    from costsim.hardware import source_titles

    titles = source_titles()
    keys = {path: _source_keys(figure.source, titles) for path, figure in figures.items()}
    listed = dict.fromkeys(key for of_one in keys.values() for key in of_one)
    numbers = {key: str(place) for place, key in enumerate(listed, 1)}
    rows = [
        (
            path,
            f"{figure.value:g}" if figure.value < 1e6 else f"{figure.value:.0f}",
            "" if figure.unit in ("year", "units", "ratio") else figure.unit,
            figure.basis,
            ", ".join(numbers[key] for key in keys[path]),
        )
        for path, figure in figures.items()
    ]
    if not rows:
        return ["no figures"]
    lines = [aligned(("FIGURE", "VALUE", "UNIT", "BASIS", "SOURCES"), rows, right=(1,))]
    notes = [f"{path}: {figure.note}" for path, figure in figures.items() if figure.note]
    for heading, entries in (
        ("NOTES", notes),
        ("SOURCES", [f"{numbers[key]:>2} {titles.get(key, key)}" for key in numbers]),
    ):
        if entries:
            lines += ["", heading]
            lines += [
                line
                for entry in entries
                for line in textwrap.wrap(entry, _WIDTH, subsequent_indent="   ") or [entry]
            ]
    return lines


def _source_keys(source: str, titles: Mapping[str, str]) -> list[str]:
    """Return the keys of sources.yaml that `source` joins, or the text that it is."""
    keys = source.split(", ")
    if all(key in titles for key in keys):
        return keys
    return [source] if source else []


def _system_figures(system: System) -> Iterator[tuple[str, Figure]]:
    yield from system.figures.items()
    for place, tier in enumerate(system.tiers):
        for key, figure in tier.figures.items():
            yield f"tiers.{place}.{key}", figure


def _figure_entry(figure: Figure) -> dict[str, Any]:
    return {
        "value": figure.value,
        "unit": figure.unit,
        "basis": figure.basis,
        "source": figure.source,
        "read_on": figure.read_on,
        "note": figure.note,
    }


def _accelerator_entry(device: Accelerator) -> dict[str, Any]:
    return {
        "id": device.id,
        "name": device.name,
        "vendor": device.vendor,
        "architecture": device.architecture,
        "form_factor": device.form_factor,
        "status": device.status,
        "launch_year": device.launch_year,
        "peaks_flops_per_s": dict(device.peaks_flops_per_s),
        "memory_bytes": device.memory_bytes,
        "memory_usable_bytes": device.memory_usable_bytes,
        "memory_bandwidth_bytes_per_s": device.memory_bandwidth_bytes_per_s,
        "l2_bytes": device.l2_bytes,
        "compute_units": device.compute_units,
        "clock_hz": device.clock_hz,
        "tdp_w": device.tdp_w,
        "scale_up_bytes_per_s": device.scale_up_bytes_per_s,
        "scale_up_devices": device.scale_up_devices,
        "scale_out_bytes_per_s": device.scale_out_bytes_per_s,
        "pcie_bytes_per_s": device.pcie_bytes_per_s,
        "sparsity_ratio": device.sparsity_ratio,
        "default_system": device.default_system,
    }


def _flat_entry(device: Accelerator) -> dict[str, Any]:
    """Return the entry with a column for the peak of each dtype."""
    from costsim.hardware.accelerators import DTYPES

    entry = _accelerator_entry(device)
    peaks = entry.pop("peaks_flops_per_s")
    return entry | {f"peak_{dtype}_flops_per_s": peaks.get(dtype) for dtype in DTYPES}


def _system_entry(system: System) -> dict[str, Any]:
    return {
        "id": system.id,
        "name": system.name,
        "accelerator": system.accelerator.id,
        "devices": system.count,
        "devices_per_node": system.devices_per_node,
        "max_devices": system.max_devices,
        "node_power_w": system.node_power_w,
        "host_cpu": system.host_cpu,
        "host_memory_bytes": system.host_memory_bytes,
        "basis": system.basis,
        "source": system.source,
        "tiers": [
            {
                "name": tier.name,
                "kind": tier.kind,
                "devices": tier.devices,
                "shape": list(tier.shape),
                "bandwidth_bytes_per_s": tier.bandwidth_bytes_per_s,
                "latency_s": tier.latency_s,
                "in_network_reduction": tier.in_network_reduction,
                "oversubscription_ratio": tier.oversubscription_ratio,
            }
            for tier in system.tiers
        ],
    }
