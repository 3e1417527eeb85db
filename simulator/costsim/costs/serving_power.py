"""Power of a device that serves, by how much of its arithmetic it uses.

A device that decodes a few requests reads its memory at full rate and draws two thirds of its rated
power; the rest comes with arithmetic, up to the rated power. Measured at the devices themselves, so
hosts, fans and network are not in it (`costs.energy.device_power_w` has them).

Fitted on 191 steady states of H100 and B200 under vLLM, nine models (source `ml-energy-3.0` of the
validation tables): median error 10 %; 12 % with the rows of each model left out.
"""

from __future__ import annotations

from costsim.costs.energy import Estimate
from costsim.errors import SpecError

BASE_RATIO = 0.66
"""Power over rated power of a device that reads memory and hardly computes."""

PER_UTILIZATION = 0.80
"""What full use of the peak rate would add, over the rated power; the rated power is the end."""

LOW_RATIO, HIGH_RATIO = 0.67, 1.20
"""Measured over estimated power, P10 and P90; low are models whose devices wait for each other."""


def serving_power_w(tdp_w: float, utilization_ratio: float) -> Estimate:
    """Return the power of one device that serves, without its share of the node.

    Args:
        tdp_w: rated power of the device, W.
        utilization_ratio: FLOPs of the model's passes over what the peak rate could do.

    Raises:
        SpecError: if the rated power is not positive or the utilization is negative.
    """
    if tdp_w <= 0 or utilization_ratio < 0:
        raise SpecError(f"a device of {tdp_w} W cannot be used to {utilization_ratio:.0%}")
    power_w = tdp_w * min(BASE_RATIO + PER_UTILIZATION * utilization_ratio, 1.0)
    basis = f"{power_w / tdp_w:.2f} of {tdp_w:.0f} W at {utilization_ratio:.1%} of the peak"
    return Estimate(power_w, power_w * LOW_RATIO, min(power_w * HIGH_RATIO, tdp_w), basis)
