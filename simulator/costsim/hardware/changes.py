"""A machine with stated figures in place of printed ones: what a next device would give."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from costsim.errors import SpecError
from costsim.hardware.sheet import Figure
from costsim.hardware.systems import System

_STATED = "the scenario"


@dataclass(frozen=True, slots=True)
class HardwareChange:
    """Figures of a device and its links in place of printed ones; None keeps the printed one.

    Attributes:
        peak: every dense peak over the printed one, a ratio.
        memory: capacity in bytes; what drivers report of it keeps its share.
        memory_bandwidth: of its memory, bytes/s.
        scale_up: of the innermost links, bytes/s of a device, one direction.
        scale_out: of the outermost links (the network), likewise.
        power: rated power of a device in W; a node's changes by as much a device.
    """

    peak: float | None = None
    memory: float | None = None
    memory_bandwidth: float | None = None
    scale_up: float | None = None
    scale_out: float | None = None
    power: float | None = None


def changed(system: System, change: HardwareChange) -> System:
    """Return the system with the stated figures.

    How near software comes to a peak or a bandwidth stays as measured on the printed device. The
    price stays too: a scenario states it by itself.

    Raises:
        SpecError: if the links that are to change are not there.
    """
    device, figures = system.accelerator, dict(system.accelerator.figures)
    parts: dict[str, Any] = {}
    if change.peak is not None:
        peaks = {name: rate * change.peak for name, rate in device.peaks_flops_per_s.items()}
        parts["peaks_flops_per_s"] = peaks
        for name, rate in peaks.items():
            figures[f"peaks.{name}"] = _figure(rate / 1e12, "TFLOP/s")
    if change.memory is not None:
        usable = change.memory * device.memory_usable_bytes / device.memory_bytes
        parts |= {"memory_bytes": change.memory, "memory_usable_bytes": usable}
        figures["memory.capacity"] = _figure(change.memory / 1e9, "GB")
        figures["memory.usable"] = _figure(usable / 1e9, "GB")
    if change.memory_bandwidth is not None:
        parts["memory_bandwidth_bytes_per_s"] = change.memory_bandwidth
        figures["memory.bandwidth"] = _figure(change.memory_bandwidth / 1e9, "GB/s")
    node_w = system.node_power_w
    if change.power is not None:
        parts["tdp_w"] = change.power
        figures["power.tdp"] = _figure(change.power, "W")
        if node_w is not None and device.tdp_w is not None:
            node_w += (change.power - device.tdp_w) * system.devices_per_node
    tiers = list(system.tiers)
    up, out = change.scale_up, change.scale_out
    if up is not None:
        _need(system, 2 if out is not None else 1, "scale_up")
        tiers[0] = dataclasses.replace(tiers[0], bandwidth_bytes_per_s=up, figures={})
        parts["scale_up_bytes_per_s"] = up
        figures["links.scale_up"] = _figure(up / 1e9, "GB/s")
    if out is not None:
        _need(system, 2, "scale_out")
        tiers[-1] = dataclasses.replace(tiers[-1], bandwidth_bytes_per_s=out, figures={})
        parts["scale_out_bytes_per_s"] = out
        figures["links.scale_out"] = _figure(out / 1e9, "GB/s")
    accelerator = dataclasses.replace(device, **parts, figures=figures)
    return dataclasses.replace(
        system,
        name=f"{system.name}, changed",
        accelerator=dataclasses.replace(accelerator, name=f"{device.name}, changed"),
        tiers=tuple(tiers),
        node_power_w=node_w,
        basis="stated",
    )


def _need(system: System, tiers: int, name: str) -> None:
    if len(system.tiers) < tiers:
        have = "one kind of links" if system.tiers else "no links"
        raise SpecError(
            f"`{system.id}` has {have}, so `{name}` changes nothing of its own",
            hint="`costsim hardware` shows the links of a system",
        )


def _figure(value: float, unit: str) -> Figure:
    return Figure(value, unit, "stated", _STATED)
