"""Losses: what a whole step takes beyond its kernels and transfers timed by themselves.

A kernel timed alone runs at boost clocks, with warm caches, and with nobody else on its chip. In a
step the chip holds its power limit, kernels follow one another with gaps, transfers take some of
the compute units, and a thousand devices wait for the slowest. The constants, of
`hardware_specs/calibration/losses.yaml`, were fitted on measured steps by
benchmarks/calibration/fit_training.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from costsim.hardware.calibration import class_of
from costsim.hardware.systems import System
from costsim.resources import data_folder


@dataclass(frozen=True, slots=True)
class Losses:
    """Losses of one class of accelerators.

    Attributes:
        sustained_ratio: rate of matrix products in a step over that of products timed alone.
        sustained_narrow_ratio: the same of products in 8 bits and fewer, which draw less power,
            and whose operands other kernels quantize on their way.
        sustained_attention_ratio: the same of attention.
        routing_ratio: time of the products and passes of a layer of experts over that of its
            kernels with equal shares: padding, permutation, experts in demand.
        contention_ratio: time that a hidden transfer adds to the computation it hides behind.
        straggler_ratio: k of 1 + k·(L/(L + 1))·√L, what L = log₂(nodes) doublings of the machine
            add by waiting for the slowest.
    """

    sustained_ratio: float
    sustained_narrow_ratio: float
    sustained_attention_ratio: float
    routing_ratio: float
    contention_ratio: float
    straggler_ratio: float


@cache
def _table() -> dict[str, Any]:
    import yaml

    path = data_folder("hardware_specs") / "calibration" / "losses.yaml"
    loaded: dict[str, Any] = yaml.load(
        path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
    return loaded


def losses(system: System) -> Losses:
    """Return the losses of the class of `system`'s accelerator, or those of all classes."""
    table = _table()
    name = class_of(system.accelerator.architecture)
    return Losses(**{**table["generic"], **table["classes"].get(name, {})})


def is_measured(system: System) -> bool:
    """Return whether whole steps were measured on the class of `system`'s accelerator."""
    return class_of(system.accelerator.architecture) in _table()["classes"]
