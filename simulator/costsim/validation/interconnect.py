"""Links of a cluster as a runs file describes them in words, laid over the catalog's system."""

from __future__ import annotations

import re
from dataclasses import replace

from costsim.hardware.catalog import load_hardware, system_ids
from costsim.hardware.systems import System, Tier

_BYTES_PER_GB = 1e9 / 8  # bytes a second in 1 Gb/s
_PORT_GB_S = {"edr": 100, "hdr": 200, "ndr": 400, "xdr": 800}  # InfiniBand, by generation
_NEXT_POD = "google-tpu-v4"
_LEAST_GB_S = 50  # slower ports serve storage and management

# "8x200Gb/s", "4x ConnectX-7 IB NDR 400Gb/Sec", "8xHDR200", "8x NVIDIA NDR": ports of a node.
_PORTS = re.compile(r"(\d+)\s*x\s*([^+]*)", re.I)
_RATE = re.compile(r"(\d+)\s*gbps|(edr|hdr|ndr|xdr)", re.I)
_OF_NODE = re.compile(r"(\d+)\s*gbps[^/]*/\s*node", re.I)
_EACH = re.compile(r"(\d+)\s*gbps\s*(?:\w+\s)?per (?:gpu|device|chip)", re.I)
_SPELLINGS = re.compile(r"g(?:b|bit)?\s*(?:/|p)\s*s(?:ec)?\b|gb(?:e|it)?\b|g(?= ?ethernet)", re.I)
_SLICES = re.compile(r"x(\d+) slices", re.I)


def slices(interconnect: str) -> int:
    """Return how many slices of a TPU pod the words describe; 1 if they do not."""
    found = _SLICES.search(interconnect)
    return int(found[1]) if found else 1


def scale_out_bytes_per_s(interconnect: str, devices_per_node: int) -> float | None:
    """Return the rate of links between nodes per device, one way; None where nothing is said."""
    words = _SPELLINGS.sub("gbps", interconnect)
    if found := _EACH.search(words):
        return float(found[1]) * _BYTES_PER_GB
    if found := _OF_NODE.search(words):
        return float(found[1]) * _BYTES_PER_GB / devices_per_node
    # Storage and management have ports of their own: the fastest other set carries the training.
    sets = [0.0]
    for part in re.split("[,;/]", words.replace("(", " ").replace(")", " ")):
        ports = _PORTS.search(part)
        if ports is None or re.search("storage|management", part, re.I):
            continue
        for rate, generation in _RATE.findall(ports[2])[-1:]:
            port = float(rate or _PORT_GB_S[generation.lower()])
            sets.append(float(ports[1]) * port * (port >= _LEAST_GB_S))
    return max(sets) * _BYTES_PER_GB / devices_per_node or None


def laid_over(system: System, interconnect: str, stated_bytes_per_s: float = 0.0) -> System:
    """Return `system` with the links between nodes, and the size of a slice, as described.

    What a column of its own states of a device's share of them counts where the words say no rate.
    """
    if not system.tiers:
        return system
    tiers = list(system.tiers)
    first, last = tiers[0], tiers[-1]
    number = slices(interconnect)
    if number > 1 and first.kind == "torus" and system.count % number == 0:
        held = system.count // number
        tiers[0] = replace(first, devices=held, shape=_compact(first, held))
    rate = scale_out_bytes_per_s(interconnect, system.devices_per_node) or stated_bytes_per_s
    # Ports of accelerators that are networks themselves are not those of their nodes.
    if rate and len(tiers) > 1 and first.kind not in ("torus", "ethernet-mesh"):
        kind = "ethernet" if re.search(r"roce|ethernet|gbe", interconnect, re.I) else last.kind
        kind = (
            "infiniband" if re.search(r"\bib\b|infiniband|omni-path", interconnect, re.I) else kind
        )
        tiers[-1] = replace(last, kind=kind, bandwidth_bytes_per_s=rate)
    return replace(system, tiers=tuple(tiers))


def node_of(accelerator: str, devices_per_node: float) -> System:
    """Return the system of an accelerator whose nodes hold so many, else its default one.

    Only single superchips are also built four to a node and joined inside.
    """
    system = load_hardware(accelerator)
    if system.devices_per_node == 1 and devices_per_node > 1:
        for name in system_ids():
            if name.startswith(accelerator.partition("-")[2]):
                other = load_hardware(name)
                if other.devices_per_node == devices_per_node:
                    return other
    return system


def joined(system: System, devices: int) -> tuple[System, str]:
    """Return `system` with `devices`, and what was assumed to join so many.

    Pods of a TPU whose network nobody prints are joined by one as fast as v4's, which is the next.

    Raises:
        SpecError: if other links join fewer.
    """
    most = system.max_devices
    if most is None or devices <= most or system.tiers[-1].kind != "torus":
        return system.with_count(devices), ""
    network = load_hardware(_NEXT_POD).tiers[-1]
    wider = replace(system, tiers=(*system.tiers, network))
    return wider.with_count(devices), f"pods of {most:,} devices on a network as that of TPU v4"


def _compact(tier: Tier, devices: int) -> tuple[int, ...]:
    """Return the most compact torus of `devices` in as many dimensions as `tier` has."""
    shape: list[int] = []
    left = devices
    for axes in range(len(tier.shape), 1, -1):
        nearest = round(left ** (1 / axes))
        shape.append(max(side for side in range(1, nearest + 1) if left % side == 0))
        left //= shape[-1]
    return (*shape, left)
