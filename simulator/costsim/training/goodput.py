"""Goodput: what interruptions, checkpoints and restarts leave of a machine's time.

A job works for an interval, writes a checkpoint, and goes on; an interruption throws it back to
the last checkpoint, after a restart that may itself be interrupted. Interruptions come at a
constant rate, so the time of an interval is a renewal process whose moments are known exactly:
nothing here is of first order, and a job that is interrupted every hour is priced as rightly as one
that is interrupted once a month.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from costsim.resources import packaged_yaml
from costsim.training.job import Job
from costsim.training.optimizers import optimizer

_MOST_EXPONENT = 300.0
"""Times between interruptions from which a stretch of work never ends: e^300 attempts."""
_LEAST_INTERVAL_S = 1.0
_NEVER_WRITTEN = 30.0
"""Times between interruptions that a checkpoint takes, from which u is 1 to the last digit."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """How often one device interrupts the job, and what an interruption and a checkpoint take.

    `preempted_ratio` is the share of interruptions that are instances taken back.
    """

    device_mtbf_s: float
    restart_s: float
    checkpoint_s: float
    source: str
    preempted_ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class Goodput:
    """Useful share of the paid time, and how it comes about.

    `mean_s` and `deviation_s` are of the time that one interval of `checkpoint_interval_s` of work
    takes with its checkpoint and its interruptions.
    """

    ratio: float
    interruptions_per_day: float
    checkpoint_interval_s: float
    mean_s: float
    deviation_s: float
    note: str
    source: str

    def wall_s(self, useful_s: float, probability: float | None = None) -> float:
        """Return the wall time of `useful_s` seconds of steps: its mean, or a quantile of it.

        Intervals are independent, so their moments add; the sum is taken to be gamma-distributed
        (quantiles by Wilson and Hilferty 1931), which it is nearer to than to a normal one where
        few intervals are skewed by long outages.

        Args:
            useful_s: time of the steps alone.
            probability: of the run taking no longer, such as 0.9; None for the mean.
        """
        intervals = useful_s / self.checkpoint_interval_s
        mean_s = intervals * self.mean_s
        if probability is None or self.deviation_s == 0.0 or intervals == 0.0:
            return mean_s
        shape = intervals * (self.mean_s / self.deviation_s) ** 2
        normal = NormalDist().inv_cdf(probability)
        stretch = 1 - 1 / (9 * shape) + normal / (3 * math.sqrt(shape))
        return max(mean_s * max(stretch, 0.0) ** 3, useful_s)


def published_reliability() -> dict[str, Any]:
    """Return the published rates of `hardware_specs/calibration/reliability.yaml`."""
    return packaged_yaml("hardware_specs", "calibration/reliability.yaml")


def checkpoint_bytes(job: Job) -> float:
    """Return bytes of a checkpoint of `job`: weights, master weights and moments, each once.

    However they are divided or repeated while training; frozen weights are not written again.
    """
    recipe, kind = (job.precision if job.frozen else job.recipe), optimizer(job.optimizer)
    total = 0.0
    for block in job.model.blocks():
        for weight in block.weights():
            if job.frozen and (weight.frozen or not job.adapted):
                continue
            copies = recipe.weight_bytes + recipe.master_bytes
            held = copies * float(weight.stored_elements)
            inner = block.part == "layer" and not weight.lookup
            held += sum(float(kind.state_bytes(s, 4, inner=inner)) for s in weight.tensors)
            total += float(block.count) * held
    return total


def reliability(
    checkpoint_bytes_per_device: float,
    *,
    device_mtbf_s: float | None = None,
    restart_s: float | None = None,
    checkpoint_s: float | None = None,
    spot_devices: int | None = None,
    preemption_s: float | None = None,
) -> Reliability:
    """Return the stated figures, filled up with published ones.

    A checkpoint stalls the devices for as long as each takes to write its share. Instances of
    `spot_devices` devices are also taken back by their provider, each after `preemption_s` seconds
    on the mean: rates of what interrupts a job add.
    """
    known = published_reliability()
    stated = [x is not None for x in (device_mtbf_s, restart_s, checkpoint_s)]
    if checkpoint_s is None:
        rate = float(known["checkpoint_bytes_per_s_per_device"]["value"])
        checkpoint_s = checkpoint_bytes_per_device / rate
    source = "stated in the scenario" if all(stated) else known["device_mtbf_s"]["source"]
    if device_mtbf_s is None:
        device_mtbf_s = float(known["device_mtbf_s"]["value"])
    preempted_ratio = 0.0
    if spot_devices is not None:
        if preemption_s is None:
            preemption_s = float(known["preemption_s"]["value"])
            source += f"; preemptions: {known['preemption_s']['source']}"
        preempted = 1 / (preemption_s * spot_devices)
        device_mtbf_s = 1 / (1 / device_mtbf_s + preempted)
        preempted_ratio = preempted * device_mtbf_s
    return Reliability(
        device_mtbf_s,
        known["restart_s"]["value"] if restart_s is None else restart_s,
        checkpoint_s,
        source,
        preempted_ratio,
    )


def goodput(devices: float, rates: Reliability) -> Goodput:
    """Return the useful share of time with checkpoints at the best interval."""
    mtbf_s = rates.device_mtbf_s / devices
    shortest_s = max(rates.checkpoint_s, _LEAST_INTERVAL_S)
    interval_s = max(best_interval_s(rates.checkpoint_s, mtbf_s), shortest_s)
    mean_s, deviation_s = interval_moments_s(
        interval_s, rates.checkpoint_s, rates.restart_s, mtbf_s
    )
    per_day = 86_400 / mtbf_s
    note = (
        f"{per_day:.2g} interruptions a day on {devices:,.0f} devices, a checkpoint every "
        f"{interval_s / 60:.0f} min of {rates.checkpoint_s:.0f} s, "
        f"{rates.restart_s / 60:.0f} min to restart"
    )
    return Goodput(
        interval_s / mean_s, per_day, interval_s, mean_s, deviation_s, note, rates.source
    )


def best_interval_s(checkpoint_s: float, mtbf_s: float) -> float:
    """Return the seconds of work between checkpoints that lose the least time.

    The mean time a second of work is least where (1 - u) e^(u + c) = 1, with u and c the interval
    and the checkpoint over the mean time between interruptions (Daly 2006, eq. 20; the restart
    does not matter). The first order, u = sqrt(2c), is Young's (1974).
    """
    c = checkpoint_s / mtbf_s
    if c <= 0:
        return 0.0
    if c > _NEVER_WRITTEN:
        return mtbf_s
    # log(1 - u) + u + c falls from c to minus infinity and is concave: from a u beyond its root,
    # Newton's steps approach it from above. sqrt(2c) is beyond it; so is 1 - e^(-1-c).
    u = min(math.sqrt(2 * c), -math.expm1(-1 - c))
    for _ in range(60):
        step = (math.log1p(-u) + u + c) * (1 - u) / u
        u += step
        if abs(step) <= 1e-14 * u:
            break
    return u * mtbf_s


def interval_moments_s(
    work_s: float, checkpoint_s: float, restart_s: float, mtbf_s: float
) -> tuple[float, float]:
    """Return mean and standard deviation of the time of one interval, in seconds.

    With the stretch s = work + checkpoint and the first attempt A = min(X, s), X exponential:
    T = A + [X < s] U, where U is the wait for restart + s without an interruption. The wait for a
    gap of length L in a Poisson process has mean M (e^x - 1) and variance
    M² (e^2x - 2 x e^x - 1), x = L / M.
    """
    s = min((work_s + checkpoint_s) / mtbf_s, _MOST_EXPONENT)
    x = min(s + restart_s / mtbf_s, _MOST_EXPONENT)
    fails = -math.expm1(-s)  # the first attempt
    again = math.expm1(x)
    again_square = _gap_variance(x) + again**2
    mean = fails + fails * again
    # Of A: E[A²] = 2 (1 - (1 + s) e^-s); with a failure, E[A; X < s] = 1 - (1 + s) e^-s.
    failed_time = _failed_time(s)
    square = 2 * failed_time + 2 * failed_time * again + fails * again_square
    variance = max(square - mean**2, 0.0)
    return mean * mtbf_s, math.sqrt(variance) * mtbf_s


def _failed_time(s: float) -> float:
    """1 - (1 + s) e^-s, without cancellation where s is small."""
    if s < 1e-3:
        return s * s * (1 / 2 - s / 3 + s * s / 8)
    return 1 - (1 + s) * math.exp(-s)


def _gap_variance(x: float) -> float:
    """e^2x - 2 x e^x - 1, without cancellation where x is small."""
    if x < 1e-2:
        return x**3 * (1 / 3 + x / 3 + 11 * x * x / 60)
    return math.exp(2 * x) - 2 * x * math.exp(x) - 1
