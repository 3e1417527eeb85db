"""The studies that costsim comes with, and the hardware that they change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import costsim
from costsim.errors import SpecError
from costsim.hardware.changes import HardwareChange, changed
from costsim.sweeps.study import read_study

STUDIES = Path(__file__).resolve().parents[2] / "scenarios" / "studies"


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_studies_are_read_by_name(path: Path) -> None:
    study = read_study(path.stem)
    assert study.points.count > 5
    assert study.name


def test_owning_pays_above_some_utilization() -> None:
    rows = costsim.sweep("rent-or-own").rows()
    assert {row["status"] for row in rows} == {"ok"}
    owned = [row["usd_per_device_hour"] for row in rows if row["own"]]
    # What is paid a year is the same but for electricity, so an hour costs about 1/utilization.
    assert owned == sorted(owned, reverse=True)
    assert 2.5 < owned[0] / owned[-1] < 3.0
    for row in rows:
        hours = row["days"] * 24 * 64
        assert row["cost_usd"] == pytest.approx(row["usd_per_device_hour"] * hours, rel=0.05)


def test_printed_figures_stated_again_change_nothing() -> None:
    system = costsim.load_hardware("nvidia-h100-sxm5-80gb", 64)
    device = system.accelerator
    same = changed(
        system,
        HardwareChange(
            peak=1.0,
            memory=device.memory_bytes,
            memory_bandwidth=device.memory_bandwidth_bytes_per_s,
            scale_up=system.tiers[0].bandwidth_bytes_per_s,
            scale_out=system.tiers[-1].bandwidth_bytes_per_s,
            power=device.tdp_w,
        ),
    )
    names = {"name": "", "basis": ""}
    printed = replace(device, name="", scale_up_bytes_per_s=None, scale_out_bytes_per_s=None)
    again = replace(same.accelerator, name="", scale_up_bytes_per_s=None)
    again = replace(again, scale_out_bytes_per_s=None)
    assert replace(same, accelerator=again, **names) == replace(
        system, accelerator=printed, **names
    )


def test_each_change_speeds_up_what_it_should(study: Path) -> None:
    """Faster parts never make a step longer, and some make it shorter."""
    base = study.parent / "base.yaml"

    def step(*settings: str) -> float:
        return costsim.plan(base, settings).best.value("step_time_s")

    plain = step()
    for setting in (
        "hardware.change.memory_bandwidth=4 TB/s",
        "hardware.change.scale_up=900 GB/s",
        "hardware.change.peak=2",
    ):
        assert step(setting) < plain, setting
    assert step("hardware.change.scale_out=800 Gb/s") == plain  # one node sends nothing outside
    assert step("hardware.change.memory_bandwidth=1 TB/s") > plain
    assert step("hardware.change.memory=160 GB") == plain


def test_links_that_are_not_there_are_no_change() -> None:
    single = costsim.load_hardware("cpu-epyc-9654-single")
    with pytest.raises(SpecError, match="no links"):
        changed(single, HardwareChange(scale_up=1e9))
