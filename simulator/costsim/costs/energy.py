"""Power, energy and carbon of a run, each with a low and a high.

Power is taken where a meter would stand: accelerators with their share of host, fans and network,
then times the PUE of the building. A run's report often counts less (accelerators at their rated
power only); `reported_energy` says what such a report would print.

The constants, and how far off each is with its own row left out (tests/costs/test_energy.py):

| node              | measured in training            | of its rating |
|-------------------|---------------------------------|---------------|
| V100 (DGX-1)      | 330 W a device (GPT-3)          | 0.754         |
| H100 (HGX, 8 GPU) | 76 % of 10.2 kW, 8.4 kW at most | 0.76, 0.82    |
| A100 (Jean Zay)   | 637 W a device (BLOOM)          | 0.784         |
"""

from __future__ import annotations

from dataclasses import dataclass

from costsim.costs.grids import Grid, Pue
from costsim.errors import SpecError

NODE_LOAD_RATIO = 0.76
"""Power of a node in training over its rating: 76 % of 10.2 kW on 8 x H100 (arXiv 2506.14551)."""

NODE_LOAD_LOW_RATIO = 0.66
"""0.76 less the spread of one chip over training runs: 245 W (Switch) of a median 289 W, TPU v3
(arXiv 2104.10350 table 4), i.e. -13 %."""

NODE_LOAD_HIGH_RATIO = 0.82
"""The most drawn in training: 8.4 kW of 10.2 kW on 8 x H100 (arXiv 2412.08602)."""

RATING_PER_TDP = 1.69
"""Rating of a node over the rated power of its accelerators where the node is unknown: median of
the eight rated DGX and NVL72 systems of the hardware catalogue."""

RATING_PER_TDP_LOW = 1.31
"""The least of those systems: GB300 NVL72, 132 kW for 72 x 1400 W."""

RATING_PER_TDP_HIGH = 2.03
"""The most of those systems: DGX A100, 6.5 kW for 8 x 400 W."""

REPORTED_PUE = 1.1
"""PUE that model reports count with: LLaMA (arXiv 2302.13971) and Patterson et al. (2104.10350)."""

_W_PER_KW = 1e3
_G_PER_TONNE = 1e6


@dataclass(frozen=True, slots=True)
class Estimate:
    """A quantity with its interval; the name of the variable that holds it ends in the unit."""

    value: float
    low: float
    high: float
    basis: str = ""

    def __mul__(self, other: Estimate | float) -> Estimate:
        """Multiply; of two estimates the ends multiply, as if they erred together (the widest)."""
        if not isinstance(other, Estimate):
            return Estimate(self.value * other, self.low * other, self.high * other, self.basis)
        basis = "; ".join(part for part in (self.basis, other.basis) if part)
        return Estimate(
            self.value * other.value, self.low * other.low, self.high * other.high, basis
        )


@dataclass(frozen=True, slots=True)
class SystemPower:
    """Power per chip of a system whose nodes have no published rating, as its maker measured it."""

    value_w: float
    low_w: float
    high_w: float
    source: str


MEASURED_SYSTEM_POWER: dict[str, SystemPower] = {
    "google-tpu-v3": SystemPower(
        289.0, 245.0, 310.0, "arXiv 2104.10350 table 4: median and span of five training runs"
    ),
    "google-tpu-v4": SystemPower(
        326.0, 276.0, 350.0, "GLaM, arXiv 2112.06905; span as of TPU v3 training runs"
    ),
}
"""Power per chip in training with host, memory, network and fans, before PUE."""


def device_power_w(
    tdp_w: float | None,
    node_rating_w_per_device: float | None = None,
    accelerator_id: str | None = None,
) -> Estimate:
    """Return the power of one accelerator in training with its share of the node, before PUE.

    The best known of: what its maker measured, a share of the node's rating, its TDP times what
    nodes are rated above their accelerators.

    Args:
        tdp_w: rated power of the accelerator, W.
        node_rating_w_per_device: rated power of the node over its accelerators, W.
        accelerator_id: id of the hardware catalogue, for measured systems.

    Raises:
        SpecError: if neither is known.
    """
    measured = MEASURED_SYSTEM_POWER.get(accelerator_id or "")
    if measured:
        basis = f"measured system power per chip: {measured.source}"
        return Estimate(measured.value_w, measured.low_w, measured.high_w, basis)
    if node_rating_w_per_device is not None:
        rating = node_rating_w_per_device
        basis = f"{NODE_LOAD_RATIO} of the node's rating of {rating:.0f} W per device"
        low, high = rating, rating
    elif tdp_w is not None:
        rating, low, high = (
            tdp_w * ratio for ratio in (RATING_PER_TDP, RATING_PER_TDP_LOW, RATING_PER_TDP_HIGH)
        )
        basis = f"{NODE_LOAD_RATIO} of a node rated {RATING_PER_TDP} x TDP ({tdp_w:.0f} W)"
    else:
        raise SpecError(
            f"no power is known of {accelerator_id or 'the accelerator'}",
            hint="state its TDP in the hardware catalogue",
        )
    return Estimate(
        rating * NODE_LOAD_RATIO, low * NODE_LOAD_LOW_RATIO, high * NODE_LOAD_HIGH_RATIO, basis
    )


def energy_kwh(device_hours: float, power_w: Estimate, pue: Pue) -> Estimate:
    """Return the electricity of a run at the building's meter.

    Args:
        device_hours: accelerators times hours that they are held, lost time included.
        power_w: power of one accelerator with its share of the node.
        pue: overhead of the building.
    """
    overhead = Estimate(
        pue.value_ratio, pue.low_ratio, pue.high_ratio, f"PUE {pue.value_ratio:.2f} ({pue.basis})"
    )
    return power_w * (device_hours / _W_PER_KW) * overhead


def carbon_t(energy_kwh: Estimate, grid: Grid) -> Estimate:
    """Return the location-based emissions of electricity in tonnes of `grid.gas`."""
    intensity = Estimate(
        grid.g_per_kwh, grid.low_g_per_kwh, grid.high_g_per_kwh, f"{grid}; {grid.source}"
    )
    return energy_kwh * intensity * (1 / _G_PER_TONNE)


def reported_energy_kwh(
    device_hours: float, tdp_w: float | None, accelerator_id: str | None = None
) -> Estimate:
    """Return the energy that a report of a finished run would state.

    For comparison with reports only; a plan's energy is `energy_kwh`.
    Reports of runs on GPUs multiply device-hours by the rated power of the accelerators alone and
    a PUE of 1.0 to 1.1 (BLOOM, LLaMA); Google's state measured system power. The high end is what
    the building's meter would show.

    Raises:
        SpecError: if neither TDP nor measured power is known.
    """
    hours = device_hours / _W_PER_KW
    if accelerator_id in MEASURED_SYSTEM_POWER:
        return device_power_w(tdp_w, None, accelerator_id) * (hours * REPORTED_PUE)
    metered = device_power_w(tdp_w, None, accelerator_id)
    if tdp_w is None:
        raise SpecError(f"no TDP is known of {accelerator_id or 'the accelerator'}")
    basis = f"accelerators at their TDP of {tdp_w:.0f} W, PUE {REPORTED_PUE}, as reports count"
    return Estimate(
        tdp_w * hours * REPORTED_PUE, tdp_w * hours, metered.high * hours * REPORTED_PUE, basis
    )


def embodied_t(device_hours: float, kg_per_device: float, lifetime_hours: float) -> float:
    """Return the share of making the hardware that a run uses up, tonnes of CO2e.

    Args:
        device_hours: accelerators times hours.
        kg_per_device: emissions of making one accelerator with its share of the server, kg.
            Published: 318 for an A100 with its server's share (Chien et al. 2023, HotCarbon);
            150 in the account of BLOOM (arXiv 2211.02001).
        lifetime_hours: hours of use over which they are spread.
    """
    return device_hours / lifetime_hours * kg_per_device / 1e3
