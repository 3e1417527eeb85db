"""Instances that are taken back while they are used: what that adds to failures of hardware."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from costsim.training.goodput import Reliability

_MOST = 1 - 1e-15  # of a probability of no success, where a logarithm is still finite


@dataclass(frozen=True, slots=True)
class Preemption:
    """How often an instance is taken back, and how long its replacement takes.

    `elastic`: training goes on with the devices that are left until it has come.
    """

    instance_mtbf_s: float
    instance_devices: int
    replaced_s: float
    elastic: bool
    source: str


def outage_s(one: Preemption, restart_s: float, devices: float, replica_devices: float) -> float:
    """Return how long all devices stand still for one instance taken back, in seconds.

    Waiting, that is a restart and the wait. An elastic run restarts twice, to shrink and to grow
    again, and meanwhile lacks the replicas of the data that the instance held part of; it waits
    where that is less. All devices are taken to be paid for throughout.

    Args:
        one: the preemption.
        restart_s: time of a restart.
        devices: of the run.
        replica_devices: that one replica of the model is divided over.
    """
    waiting_s = restart_s + one.replaced_s
    held = math.ceil(one.instance_devices / replica_devices) * replica_devices
    if not one.elastic or held >= devices:
        return waiting_s
    return min(waiting_s, 2 * restart_s + one.replaced_s * held / devices)


def with_preemption(
    rates: Reliability, one: Preemption, devices: float, replica_devices: float
) -> Reliability:
    """Return the rates of a run whose instances may be taken back, failures included.

    The two kinds come independently, so their rates add. With M the joint mean time between
    interruptions, r_i the restart after kind i and s the stretch of work, an attempt succeeds with
    probability e^-(r_i + s)/M; the mean wait for a success, M (1/E[e^-(r_i + s)/M] - 1), is that of
    one restart r with e^-r/M = E[e^-r_i/M], which is returned: exact for the mean.

    Args:
        rates: of failing hardware.
        one: the preemption.
        devices: of the run.
        replica_devices: that one replica of the model is divided over.
    """
    failing, preempted = 1 / rates.device_mtbf_s, 1 / one.instance_mtbf_s / one.instance_devices
    both = failing + preempted
    share, joint_s = preempted / both, 1 / both / devices
    longer_s = outage_s(one, rates.restart_s, devices, replica_devices) - rates.restart_s
    never = max(share * math.expm1(-longer_s / joint_s), -_MOST)
    restart_s = rates.restart_s - joint_s * math.log1p(never)
    return replace(
        rates,
        device_mtbf_s=1 / both,
        restart_s=restart_s,
        source=f"{rates.source}; {one.source}",
    )
