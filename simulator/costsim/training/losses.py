"""Losses: what a whole step takes beyond its kernels and transfers timed by themselves.

A kernel timed alone runs at boost clocks, with warm caches, and with nobody else on its chip. In a
step the chip holds its power limit, kernels follow one another with gaps, transfers take some of
the compute units, and a thousand devices wait for the slowest. The constants, of
`hardware_specs/calibration/losses.yaml`, were fitted on measured steps by
benchmarks/calibration/fit_training.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from costsim.hardware.accelerators import Accelerator
from costsim.hardware.calibration import class_of
from costsim.hardware.kernels import load_kernel_model
from costsim.hardware.systems import System
from costsim.resources import packaged_yaml

_FLOPS_PER_J_BY_DTYPE = {"bf16": 1.0, "fp16": 1.0, "fp8": 2.0, "int8": 2.0, "fp4": 4.0}
"""Products that a joule pays for, over those in 16 bits: half the bits, half the work."""


@dataclass(frozen=True, slots=True)
class Losses:
    """Losses of one class of accelerators.

    Attributes:
        sustained_ratio: rate of matrix products in a step over that of products timed alone.
        sustained_narrow_ratio: the same of products in 8 bits and fewer, which draw less power,
            and whose operands other kernels quantize on their way.
        sustained_attention_ratio: the same of attention.
        routing_ratio: time of the products and passes of a layer of experts over that of its
            kernels with equal shares, where routing is even: padding, permutation.
        natural_ratio: time of products, passes and exchanges of experts that are chosen as it
            comes over that with equal shares: all wait for the rank in demand.
        contention_ratio: time that a hidden transfer adds to the computation it hides behind.
        straggler_ratio: k of 1 + k·(L/(L + 1))·√L, what L = log₂(nodes) doublings of the machine
            add by waiting for the slowest.
    """

    sustained_ratio: float
    sustained_narrow_ratio: float
    sustained_attention_ratio: float
    routing_ratio: float
    natural_ratio: float
    contention_ratio: float
    straggler_ratio: float


def _table() -> dict[str, Any]:
    return packaged_yaml("hardware_specs", "calibration/losses.yaml")


def losses(system: System) -> Losses:
    """Return the losses of `system`'s accelerator: of its class, or of the nearest that has any."""
    table = _table()
    name = measured_class(class_of(system.accelerator.architecture))
    return Losses(**(table["classes"][name] if name else table["generic"]))


def measured_class(name: str) -> str | None:
    """Return the class whose measured steps tell of class `name`: itself or its nearest sibling.

    None where neither was measured.
    """
    table = _table()
    while name not in table["classes"]:
        if name not in table["siblings"]:
            return None
        name = table["siblings"][name]
    return name


@lru_cache(maxsize=256)
def powered(accelerator: Accelerator) -> Accelerator:
    """Return the device with the peaks that its rated power pays for in a whole step.

    A device with more watts for each FLOP/s of its peak than the one that its class was measured
    on keeps a higher clock under load, one with fewer a lower; none runs faster than alone. Where
    no step of its class or of a sibling was measured, a joule pays for as many products as of
    others: a higher peak then helps as far as the power goes, and no further.
    """
    if accelerator.tdp_w is None:
        return accelerator
    table = _table()
    name = measured_class(class_of(accelerator.architecture))
    found = Losses(**(table["classes"][name] if name else table["generic"]))
    peaks, kernels = dict(accelerator.peaks_flops_per_s), load_kernel_model(accelerator)
    clock = _clock(accelerator, name)
    for dtype, peak in peaks.items():
        if dtype not in _FLOPS_PER_J_BY_DTYPE:
            continue
        narrow = _FLOPS_PER_J_BY_DTYPE[dtype]
        sustained = found.sustained_narrow_ratio if narrow > 1 else found.sustained_ratio
        if name:
            peaks[dtype] = peak * min(clock, max(1.0, 1 / sustained))
            continue
        paid = narrow * table["power"]["flops_per_j"] * accelerator.tdp_w
        peaks[dtype] = min(peak, paid / (kernels.gemm_constants(dtype).compute_ratio * sustained))
    return replace(accelerator, peaks_flops_per_s=peaks)


def _clock(accelerator: Accelerator, name: str | None) -> float:
    """Return the clock that a device keeps under load over that of its class's reference."""
    power, peak = _table()["power"], accelerator.peaks_flops_per_s.get("bf16")
    reference = power["reference_w_per_tflops"].get(name)
    if reference is None or peak is None or accelerator.tdp_w is None:
        return 1.0
    return (accelerator.tdp_w / (peak / 1e12) / reference) ** power["clock_exponent"]
