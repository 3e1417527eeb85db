"""What an option of compression runs on and does, whatever it is used for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Service:
    """Devices that do a workload with one model, and how fast.

    Attributes:
        fleet: in words, such as "4 x TP2".
        devices: of the fleet.
        replica_devices: of one of its equal parts.
        hours: that the devices are held.
        latency_s: of a generated token, of a batch, or of a step of training.
        first_s: to the first token, where there is one.
        rate_per_s: units that one part does in a second.
        units: tokens or samples in all.
        details: further figures by name, keys with their units.
        time_low_ratio: between this and `time_high_ratio` times the estimated time lie 8 of 10
            measured runs of the kind.
        time_high_ratio: see there.
    """

    fleet: str
    devices: int
    replica_devices: int
    hours: float
    latency_s: float
    first_s: float | None
    rate_per_s: float
    units: float
    details: dict[str, float | int | str]
    time_low_ratio: float
    time_high_ratio: float
