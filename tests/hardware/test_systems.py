"""Systems: equal to the reference sheet, tiers that nest, and counts that the links can join."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.errors import SpecError
from costsim.hardware import System, accelerator_ids, load_accelerator, load_hardware, system_ids
from costsim.hardware.systems import TIER_KINDS

ALL = [load_hardware(identity) for identity in system_ids()]
SPLIT_PORTS = {"gaudi3-hls-8", "gaudi2-hls-8"}  # 21 of 24 ports stay inside
SPLIT_TIERS = {"aws-trn2.48xlarge", "aws-trn2-ultraserver"}  # a torus, and a ring around it


def test_every_row_of_the_reference_sheet_is_in_the_catalog(shared: Path) -> None:
    with (shared / "catalogs" / "systems.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        system = load_hardware(row["id"])
        assert system.accelerator.id == row["accelerator_id"]
        assert system.count == int(row["n_accelerators"])
        nodes = system.count / system.devices_per_node
        outermost = system.tiers[-1]
        assert outermost.devices is None
        # gigabits per second and device, one way
        assert outermost.bandwidth_bytes_per_s == float(row["nic_gbit_s_per_accel"]) * 1e9 / 8
        if row["max_power_kw"]:
            assert system.node_power_w is not None
            assert system.node_power_w * nodes == pytest.approx(float(row["max_power_kw"]) * 1e3)
        if row["host_mem_gb"]:
            assert system.host_memory_bytes is not None
            assert system.host_memory_bytes * nodes == pytest.approx(
                float(row["host_mem_gb"]) * 1e9
            )
    assert len(rows) >= 12


@pytest.mark.parametrize("system", ALL, ids=lambda system: system.id)
def test_tiers_nest_and_slow_down_outwards(system: System) -> None:
    inner = 1
    for place, tier in enumerate(system.tiers):
        assert tier.kind in TIER_KINDS
        if tier.devices is None:
            assert place == len(system.tiers) - 1
        else:
            assert tier.devices > inner
            assert tier.devices % inner == 0
            if tier.kind == "torus":
                assert math.prod(tier.shape) * inner == tier.devices
            inner = tier.devices
        assert {"bandwidth"} <= set(tier.figures)
    speeds = [tier.bandwidth_bytes_per_s for tier in system.tiers]
    assert speeds == sorted(speeds, reverse=True)
    assert system.devices_per_node >= 1
    assert system.devices_per_node <= (system.max_devices or math.inf)


@pytest.mark.parametrize("system", ALL, ids=lambda system: system.id)
def test_the_innermost_tier_has_the_links_of_the_accelerator(system: System) -> None:
    if not system.tiers or system.id in SPLIT_PORTS | SPLIT_TIERS:
        return
    first, device = system.tiers[0], system.accelerator
    if first.kind == "pcie":
        assert first.bandwidth_bytes_per_s == device.pcie_bytes_per_s
    elif first.devices is not None:
        assert first.bandwidth_bytes_per_s == device.scale_up_bytes_per_s


def test_split_links_sum_to_those_of_the_accelerator() -> None:
    trn2 = load_hardware("aws-trn2-ultraserver")
    inside, between, _ = (tier.bandwidth_bytes_per_s for tier in trn2.tiers)
    assert inside + between == trn2.accelerator.scale_up_bytes_per_s
    for name in SPLIT_PORTS:
        system = load_hardware(name)
        inside, outside = (tier.bandwidth_bytes_per_s for tier in system.tiers)
        assert inside + outside == system.accelerator.scale_up_bytes_per_s


@pytest.mark.parametrize("system", ALL, ids=lambda system: system.id)
def test_a_node_draws_more_than_its_devices_are_rated_for_or_says_nothing(system: System) -> None:
    if system.node_power_w is None or system.accelerator.tdp_w is None:
        return
    devices_w = system.devices_per_node * system.accelerator.tdp_w
    assert devices_w < system.node_power_w < 3 * devices_w


@pytest.mark.parametrize("identity", accelerator_ids())
def test_every_accelerator_has_a_default_system_of_its_own(identity: str) -> None:
    system = load_hardware(identity)
    assert system.id == load_accelerator(identity).default_system
    assert system.accelerator.id == identity
    assert system.basis


def test_in_network_reduction_is_told_of_the_switches_that_can() -> None:
    assert load_hardware("h100").tiers[0].in_network_reduction
    assert load_hardware("gb200-nvl72").tiers[0].in_network_reduction
    for name in ("a100-80gb", "dgx-2", "mi300x", "l40s"):
        assert not any(tier.in_network_reduction for tier in load_hardware(name).tiers)


def test_nodes_of_the_rack_scale_systems_are_trays() -> None:
    rack = load_hardware("gb200")
    assert (rack.count, rack.devices_per_node, rack.nodes) == (72, 4, 18)
    assert rack.tiers[0].devices == 72


@given(count=st.integers(1, 100_000))
def test_with_count_changes_the_count_alone(count: int) -> None:
    system = load_hardware("h100", count)
    assert system.count == count
    assert system.nodes == -(-count // 8)
    assert system.with_count(8) == load_hardware("h100")


@pytest.mark.parametrize("count", [0, -8, True, 1.5])
def test_a_count_is_a_whole_number_above_zero(count: int) -> None:
    with pytest.raises(SpecError, match="whole number above 0"):
        load_hardware("h100", count)


@pytest.mark.parametrize(
    ("name", "most", "message"),
    [
        ("tpu-v3", 1024, "joins at most 1,024 devices, 1,025 asked for"),
        ("xeon-8480p", 1, "is a single device, 2 asked for"),
    ],
)
def test_no_more_devices_than_known_links_join(name: str, most: int, message: str) -> None:
    assert load_hardware(name, most).count == most
    with pytest.raises(SpecError, match=message):
        load_hardware(name, most + 1)


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / "systems" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_system_of_ones_own_over_a_packaged_accelerator(tmp_path: Path) -> None:
    write(
        tmp_path,
        "our-cluster",
        "id: our-cluster\nname: Ours\naccelerator: h100\ndevices: 8\ndevices_per_node: 8\n"
        "power: 11 kW\ntiers:\n"
        "  - {name: inside, kind: nvlink-switch, devices: 8, bandwidth: 450 GB/s}\n"
        "  - {name: outside, kind: ethernet, bandwidth: 100 Gb/s, latency: 8 us}\n",
    )
    system = load_hardware("our-cluster", 64, extra_folder=tmp_path)
    assert system.accelerator.id == "nvidia-h100-sxm5-80gb"
    assert system.node_power_w == 11e3
    assert system.tiers[1].bandwidth_bytes_per_s == 12.5e9
    assert system.tiers[1].latency_s == 8e-6


def test_every_fault_of_a_system_is_told_with_its_place(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "wrong",
        "id: wrong\n"
        "name: Wrong\n"
        "accelerator: h1000\n"
        "devices: none\n"
        "devices_per_node: 8\n"
        "tiers:\n"
        "  - {kind: nvlink-swich, devices: 8, bandwidth: 450 GB/s}\n"
        "  - {kind: torus, devices: 64, shape: [4, 4], bandwidth: 50 GB/s}\n"
        "  - {kind: ethernet, devices: 32, bandwidth: 100}\n"
        "  - {kind: pcie, devices: 100, shape: [4], bandwidth: 8 Gb/s}\n",
    )
    with pytest.raises(SpecError) as caught:
        load_hardware("wrong", extra_folder=tmp_path)
    told = [str(problem).replace(str(path), "F") for problem in caught.value.problems]
    for start in (
        "F:3:14: unknown accelerator `h1000`",
        "F:4:10: `devices` must be a whole number above 0",
        "F:7:12: unknown kind of link `nvlink-swich`",
        "F:8:39: a shape of 4 x 4 over 8 devices holds 128, not 64",
        "F:9:31: a domain of 32 devices is no larger than the 64 of the tier inside",
        "F:9:46: `tiers.2.bandwidth`: has no unit",
        "F:10:12: a torus, and nothing else, has a `shape`",
    ):
        assert any(line.startswith(start) for line in told), (start, told)
