"""What a model runs on: accelerators, systems as tiers of links, and how long work takes there."""

from costsim.hardware.accelerators import Accelerator
from costsim.hardware.catalog import (
    accelerator_ids,
    aliases_of,
    load_accelerator,
    load_hardware,
    source_titles,
    system_ids,
)
from costsim.hardware.sheet import Figure
from costsim.hardware.systems import System, Tier

__all__ = [
    "Accelerator",
    "Figure",
    "System",
    "Tier",
    "accelerator_ids",
    "aliases_of",
    "load_accelerator",
    "load_hardware",
    "source_titles",
    "system_ids",
]
