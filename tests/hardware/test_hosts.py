"""How fast hosts launch: by their processor's published figures, else by the accelerator's year."""

from __future__ import annotations

from dataclasses import replace

import pytest

from costsim.hardware.catalog import load_hardware, system_ids
from costsim.hardware.hosts import host_ratio


def test_reference_host_is_one() -> None:
    assert host_ratio(load_hardware("dgx-h100")) == 1


def test_older_cores_take_longer() -> None:
    """EPYC 7742: 3.4 GHz of Zen 2; the reference has 3.8 GHz and 1.40 / 1.05 the work a clock."""
    ampere, volta = load_hardware("dgx-a100-80"), load_hardware("dgx-1-v100")
    assert host_ratio(ampere) == pytest.approx(3.8 * 1.40 / (3.4 * 1.05))
    assert host_ratio(volta) > host_ratio(ampere) > 1


def test_host_that_is_not_named_is_usual_for_its_year() -> None:
    system = load_hardware("dgx-a100-80")
    assert host_ratio(replace(system, host_cpu="")) == host_ratio(system)
    later = replace(system.accelerator, launch_year=2024)
    assert host_ratio(replace(system, host_cpu="", accelerator=later)) == 1
    unknown = replace(system.accelerator, launch_year=None)
    assert host_ratio(replace(system, host_cpu="", accelerator=unknown)) == 1


def test_every_system_has_a_host() -> None:
    for name in system_ids():
        assert 0.5 < host_ratio(load_hardware(name)) < 2, name
