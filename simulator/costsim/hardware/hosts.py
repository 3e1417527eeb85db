"""Hosts: how long what one core does takes, against the hosts that constants were fitted on.

Python and the driver launch kernels from one thread, so that a launch takes as long as that core
needs for some ten thousand instructions.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from costsim.hardware.systems import System
from costsim.resources import packaged_yaml


def host_ratio(system: System) -> float:
    """Return the time of a call on a core of `system`'s host over that on the reference core.

    A host whose processor is not known has the core that is usual for its accelerator's year.
    """
    return _ratio(system.host_cpu, system.accelerator.launch_year)


@cache
def _ratio(cpu: str, year: int | None) -> float:
    table = packaged_yaml("hardware_specs", "calibration/hosts.yaml")
    usual: str = next(row["name"] for row in table["years"] if (year or 0) <= row["until"])
    if year is None:
        usual = table["reference"]
    speeds = {row["name"]: _speed(row) for row in table["cores"]}
    reference = _named(speeds, table["reference"])
    found = _named(speeds, cpu)
    assert reference is not None
    return reference / (found or _named(speeds, usual) or reference)


def _named(speeds: Mapping[str, float], cpu: str) -> float | None:
    return next((speed for name, speed in speeds.items() if name in cpu), None)


def _speed(row: Mapping[str, Any]) -> float:
    return row["clock_hz"] * row["instructions_ratio"]
