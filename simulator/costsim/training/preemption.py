"""Instances that are taken back while they are used: waiting for others, or going on with fewer."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from costsim.training.goodput import Reliability

_MOST = 1 - 1e-15  # of a probability of no success, where a logarithm is still finite


@dataclass(frozen=True, slots=True)
class Replacement:
    """What a run does when an instance of `instance_devices` is taken back.

    Another comes after `wait_s`, beyond a restart; an elastic run goes on meanwhile with the
    devices that are left.
    """

    instance_devices: int
    wait_s: float
    elastic: bool

    def outage_s(self, restart_s: float, devices: float, replica_devices: float) -> float:
        """Return how long all devices stand still for one instance taken back, in seconds.

        Waiting, that is a restart and the wait. An elastic run restarts twice, to shrink and to
        grow again, and meanwhile lacks the replicas that the instance held part of; it waits where
        that is less. All devices are taken to be paid for throughout.

        Args:
            restart_s: time of a restart.
            devices: of the run.
            replica_devices: that one replica of the model is divided over.
        """
        waiting_s = restart_s + self.wait_s
        held = math.ceil(self.instance_devices / replica_devices) * replica_devices
        if not self.elastic or held >= devices:
            return waiting_s
        return min(waiting_s, 2 * restart_s + self.wait_s * held / devices)


def with_replacement(
    rates: Reliability, replacement: Replacement, devices: float, replica_devices: float
) -> Reliability:
    """Return the rates of a run whose preemptions take longer than a restart.

    With M the mean time between interruptions, r_i the outage after kind i and s the stretch of
    work, an attempt succeeds with probability e^-(r_i + s)/M; the mean wait for a success,
    M (1/E[e^-(r_i + s)/M] - 1), is that of one outage r with e^-r/M = E[e^-r_i/M], which becomes
    the restart of both kinds: exact for the mean.

    Args:
        rates: of failures and preemptions together.
        replacement: what happens after a preemption.
        devices: of the run.
        replica_devices: that one replica of the model is divided over.
    """
    mtbf_s = rates.device_mtbf_s / devices
    outage_s = replacement.outage_s(rates.restart_s, devices, replica_devices)
    never = rates.preempted_ratio * math.expm1(-(outage_s - rates.restart_s) / mtbf_s)
    restart_s = rates.restart_s - mtbf_s * math.log1p(max(never, -_MOST))
    return replace(rates, restart_s=restart_s)
