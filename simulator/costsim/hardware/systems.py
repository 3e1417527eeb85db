"""Accelerators joined into a machine: tiers of links, from the innermost out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from costsim.errors import SpecError, suggestion
from costsim.hardware.accelerators import Accelerator
from costsim.hardware.sheet import Figure, Sheet

# How the devices of a tier reach each other, which decides the collectives that run there.
TIER_KINDS = (
    "nvlink-switch",  # any device to any other at the full rate
    "nvlink-mesh",  # point-to-point links, the rate is shared between neighbours
    "nvlink-bridge",
    "xgmi-mesh",  # fully connected; a pair has 1/(devices - 1) of the rate
    "ualink-switch",
    "neuronlink-switch",
    "ethernet-mesh",  # Gaudi: fully connected over Ethernet ports
    "pcie",
    "torus",  # `shape` = its dimensions; the rate is the sum over a device's links
    "infiniband",
    "ethernet",
)
_KEYS = (
    *("id", "name", "accelerator", "basis", "source", "year", "devices", "devices_per_node"),
    *("count", "power", "host", "nics", "note", "tiers"),
)
_TIER_KEYS = (
    *("name", "kind", "devices", "shape", "bandwidth", "latency", "in_network_reduction"),
    "oversubscription",
)


@dataclass(frozen=True, slots=True)
class Tier:
    """One level of links.

    Attributes:
        name: for people, such as "NVLink4 through NVSwitch3".
        kind: one of `TIER_KINDS`.
        devices: how many devices one domain of this tier holds; None = without bound.
        bandwidth_bytes_per_s: per device, one direction, as printed (not what is achieved).
        latency_s: of one message, where a source prints it.
        in_network_reduction: whether its switches can add (NVLink SHARP).
        oversubscription_ratio: what its devices can send together over what its switches carry.
        shape: dimensions of a torus, counted in domains of the tier inside; () for other kinds.
        figures: its numbers as printed ("bandwidth", "devices").
    """

    name: str
    kind: str
    devices: int | None
    bandwidth_bytes_per_s: float
    latency_s: float | None = None
    in_network_reduction: bool = False
    oversubscription_ratio: float = 1.0
    shape: tuple[int, ...] = ()
    figures: Mapping[str, Figure] = field(
        default_factory=dict[str, Figure], hash=False, compare=False, repr=False
    )

    @property
    def carried_bytes_per_s(self) -> float:
        """Bandwidth of a device, one direction, when all others send as well."""
        return self.bandwidth_bytes_per_s / self.oversubscription_ratio


@dataclass(frozen=True, slots=True)
class System:
    """`count` equal accelerators and the links between them.

    Attributes:
        tiers: innermost first; empty for a single device.
        devices_per_node: devices under one operating system.
        node_power_w: rated maximum of a node: its devices, host, network and their share of the
            rack's switches.
        host_memory_bytes: of one node.
        basis: how far to trust its shape; "composed" = built from the accelerator's sheet.
    """

    id: str
    name: str
    accelerator: Accelerator
    count: int
    tiers: tuple[Tier, ...]
    devices_per_node: int
    node_power_w: float | None
    host_cpu: str
    host_memory_bytes: float | None
    nics: str
    basis: str
    source: str
    note: str
    figures: Mapping[str, Figure] = field(hash=False, compare=False, repr=False)

    def __repr__(self) -> str:
        return f"<System {self.id!r}: {self.count:,} x {self.accelerator.name}>"

    @property
    def nodes(self) -> int:
        """Nodes that `count` devices fill, the last perhaps in part."""
        return math.ceil(self.count / self.devices_per_node)

    @property
    def max_devices(self) -> int | None:
        """Devices that the links can join; None = without bound."""
        return self.tiers[-1].devices if self.tiers else 1

    def with_count(self, count: int) -> System:
        """Return the system with `count` devices.

        Raises:
            SpecError: if `count` is not a whole number above 0, or more than its links can join.
        """
        if isinstance(count, bool) or count < 1 or count != int(count):
            raise SpecError(f"the number of devices must be a whole number above 0, not {count}")
        if self.max_devices is not None and count > self.max_devices:
            most = f"joins at most {self.max_devices:,} devices"
            raise SpecError(
                f"`{self.id}` {'is a single device' if not self.tiers else most}, "
                f"{count:,} asked for",
                hint="no link beyond is known: describe it in a system file of your own "
                "(COSTSIM_HARDWARE, see docs/hardware.md)",
            )
        return dataclasses.replace(self, count=int(count))

    def oversubscribed(self, ratio: float) -> System:
        """Return the system whose outermost links carry 1/`ratio` of what its devices can send.

        Raises:
            SpecError: if it has no links, or `ratio` is below 1.
        """
        if not ratio >= 1:
            raise SpecError(f"an oversubscription is 1 (none) or more, not {ratio:g}")
        if not self.tiers:
            raise SpecError(f"`{self.id}` is a single device: it has no links to oversubscribe")
        last = dataclasses.replace(self.tiers[-1], oversubscription_ratio=ratio)
        return dataclasses.replace(self, tiers=(*self.tiers[:-1], last))


def single_device(accelerator: Accelerator) -> System:
    """Return one device alone: the system of an accelerator whose file names none."""
    return System(
        id=accelerator.id,
        name=f"{accelerator.name}, alone",
        accelerator=accelerator,
        count=1,
        tiers=(),
        devices_per_node=1,
        node_power_w=None,
        host_cpu="",
        host_memory_bytes=None,
        nics="",
        basis="composed",
        source="the accelerator's file names no default_system",
        note="",
        figures={},
    )


def read_system(sheet: Sheet, accelerator: Accelerator | None) -> System | None:
    """Return the system that a catalog file describes; None if `sheet.problems` says why.

    `accelerator` is None where the file names one that is not known, which the caller has noted.
    """
    sheet.allow(_KEYS)
    for key in ("id", "name"):
        sheet.text(key, required=True)
    devices = sheet.whole("devices")
    per_node = sheet.whole("devices_per_node")
    for key, value in (("devices", devices), ("devices_per_node", per_node)):
        if value is None and sheet.mapping.get(key) is None:
            sheet.problem(f"missing key `{key}`")
    power_w, power = sheet.figure("power", "w")
    host = sheet.part("host")
    host.allow(("cpu", "memory"))
    memory_bytes, memory = host.figure("memory", "bytes")
    tiers = _read_tiers(sheet)
    count = sheet.whole("count") or devices
    if sheet.problems or not (accelerator and devices and per_node and count):
        return None
    figures = {"power": power, "host.memory": memory}
    share = per_node / devices  # the file states power and memory of all `devices`
    return System(
        id=sheet.text("id"),
        name=sheet.text("name"),
        accelerator=accelerator,
        count=count,
        tiers=tiers,
        devices_per_node=per_node,
        node_power_w=None if power_w is None else power_w * share,
        host_cpu=host.text("cpu"),
        host_memory_bytes=None if memory_bytes is None else memory_bytes * share,
        nics=sheet.text("nics"),
        basis=sheet.text("basis") or "stated",
        source=sheet.text("source"),
        note=sheet.text("note"),
        figures={path: figure for path, figure in figures.items() if figure is not None},
    )


def _read_tiers(sheet: Sheet) -> tuple[Tier, ...]:
    tiers: list[Tier] = []
    inner = 1
    parts = sheet.parts("tiers")
    for index, part in enumerate(parts):
        part.allow(_TIER_KEYS)
        kind = part.text("kind", required=True)
        if kind and kind not in TIER_KINDS:
            part.problem(f"unknown kind of link `{kind}`", "kind", suggestion(kind, TIER_KINDS))
        bandwidth, bandwidth_figure = part.figure("bandwidth", "bytes_per_s", required=True)
        held, devices_figure = part.figure("devices", "count")
        latency_s, latency_figure = part.figure("latency", "s")
        devices = None if held is None else round(held)
        if devices is not None and devices <= inner:
            part.problem(
                f"a domain of {devices} devices is no larger than the {inner} of the tier inside",
                "devices",
            )
        if devices is None and index < len(parts) - 1:
            part.problem("only the outermost tier may leave out `devices`")
        ratio, ratio_figure = part.figure("oversubscription", "count")
        if ratio is not None and ratio < 1:
            part.problem("`oversubscription` is 1 (none) or more", "oversubscription")
        shape = _read_shape(part, kind, devices, inner)
        inner = devices or inner
        if bandwidth is None:
            continue
        figures = {
            "bandwidth": bandwidth_figure,
            "devices": devices_figure,
            "latency": latency_figure,
            "oversubscription": ratio_figure,
        }
        tiers.append(
            Tier(
                name=part.text("name") or kind,
                kind=kind,
                devices=devices,
                bandwidth_bytes_per_s=bandwidth,
                latency_s=latency_s,
                in_network_reduction=part.flag("in_network_reduction"),
                oversubscription_ratio=ratio or 1.0,
                shape=shape,
                figures={key: figure for key, figure in figures.items() if figure is not None},
            )
        )
    return tuple(tiers)


def _read_shape(part: Sheet, kind: str, devices: int | None, inner: int) -> tuple[int, ...]:
    """Return the dimensions of a torus, whose product is the domains of the tier inside."""
    raw: Any = part.mapping.get("shape", [])
    shape = tuple(cast("list[Any]", raw)) if isinstance(raw, list) else (raw,)
    if not all(isinstance(length, int) and length > 0 for length in shape):
        part.problem("`shape` must be a list of whole numbers above 0", "shape")
        return ()
    if (kind == "torus") != bool(shape):
        part.problem("a torus, and nothing else, has a `shape` such as [4, 4]", "kind")
    elif shape and devices is not None and math.prod(shape) * inner != devices:
        part.problem(
            f"a shape of {' x '.join(map(str, shape))} over {inner} devices holds "
            f"{math.prod(shape) * inner}, not {devices}",
            "shape",
        )
    return shape
