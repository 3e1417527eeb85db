"""Offload: states or activations kept in the host's memory or on its drives, at what links cost.

States travel to the device for the update and back (paged optimizers; Rajbhandari et al. 2021,
ZeRO-Infinity, arXiv 2104.07857). Activations of layers leave during the forward pass and return
during the backward pass, behind computation where that takes as long.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from costsim.errors import SpecError
from costsim.hardware.systems import System

Offload: TypeAlias = Literal[
    "none", "optimizer", "activations", "all", "parameters", "states", "everything", "nvme"
]

OFFLOADS: tuple[Offload, ...] = get_args(Offload)
"""What is kept in the host's memory, in the order of the columns that index it."""

OFFLOADED: dict[str, frozenset[str]] = {
    "none": frozenset(),
    "optimizer": frozenset({"optimizer"}),
    "activations": frozenset({"activations"}),
    "all": frozenset({"optimizer", "activations"}),
    "parameters": frozenset({"parameters"}),
    "states": frozenset({"parameters", "optimizer"}),
    "everything": frozenset({"parameters", "optimizer", "activations"}),
    "nvme": frozenset({"parameters", "optimizer"}),
}
"""Parts that each takes: `states` is FSDP's CPU offload and ZeRO-Infinity's of both; `nvme` the
same on a node's drives."""

NVME = OFFLOADS.index("nvme")
DRIVE_PASSES = {"optimizer": 2, "gradients": 2, "parameters": 3}
"""How often a step moves what is on drives: states and gradients are read and written; parameters
read forward and backward, and written after the update (Rajbhandari et al. 2021, ZeRO-Infinity,
arXiv 2104.07857, §5.2)."""

HOST_LINK_RATIO = 0.85
"""Share of a host link's printed bandwidth that copies of pinned memory reach. Assumed from public
runs of CUDA's bandwidthTest: 25 to 26 of 31.5 GB/s over PCIe 4, 55 of 63 GB/s over PCIe 5."""

LAYERS_RESIDENT = 2
"""Layers whose activations a device holds while others travel: the one at work and the next."""


def host_rate_bytes_per_s(system: System) -> float:
    """Return the rate between a device and its host, one direction.

    Raises:
        SpecError: where the catalog does not know the link.
    """
    printed = system.accelerator.host_link_bytes_per_s
    if printed is None:
        raise SpecError(
            f"the link of {system.accelerator.name} to its host is not known",
            hint="state `links: pcie` or `links: host` in its file, or offload nothing",
        )
    return HOST_LINK_RATIO * printed


def host_bytes_per_device(system: System) -> float | None:
    """Return each device's share of its host's memory; None where it is not known."""
    if system.host_memory_bytes is None:
        return None
    return system.host_memory_bytes / system.devices_per_node
