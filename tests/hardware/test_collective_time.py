"""Times of collectives: measured ones, bandwidth arithmetic, tiers and laws."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.errors import SpecError
from costsim.hardware import load_hardware, system_ids
from costsim.hardware.collectives import collective_time_s
from measured_kernels import errors_of, excerpt

A100 = load_hardware("dgx-a100-80", 1024)
H100 = load_hardware("dgx-h100", 1024)
RACK = load_hardware("gb200-nvl72")
POD = load_hardware("tpu-v5p-pod", 1024)
OPERATIONS = (
    *("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "send_recv"),
)
HOME = {
    "nvidia-a100-sxm4-80gb": "dgx-a100-80",
    "nvidia-h100-sxm5-80gb": "dgx-h100",
    "nvidia-h200-sxm-141gb": "dgx-h200",
    "nvidia-b200-sxm-180gb": "dgx-b200",
    "nvidia-b300-sxm-270gb": "dgx-b300",
    "nvidia-gb200": "gb200-nvl72",
    "nvidia-gb300": "gb300-nvl72",
}


@pytest.mark.parametrize("operation", ["all_reduce", "all_gather", "reduce_scatter", "all_to_all"])
def test_held_out_sizes_are_timed_closely(operation: str) -> None:
    ratios = []
    for accelerator, _, rows in excerpt(operation):
        if accelerator in HOME:
            system = load_hardware(HOME[accelerator])
            time_s = collective_time_s(system, operation, rows["bytes"], rows["ranks"])
            ratios.append(time_s / rows.time_s)
    assert errors_of(ratios) <= 0.10


@pytest.mark.parametrize("system", system_ids())
def test_every_system_times_every_collective(system: str) -> None:
    loaded = load_hardware(system)
    for operation in OPERATIONS:
        times = collective_time_s(loaded, operation, 1e8, np.array([1, 2, 4, 16]))
        assert times[0] == 0.0
        if loaded.tiers:
            assert np.all(np.isfinite(times))
            assert np.all(times[1:] > 0)


@given(
    operation=st.sampled_from(OPERATIONS),
    size=st.floats(1, 1e10),
    factor=st.floats(1, 10),
    group=st.integers(2, 1024),
    stride=st.sampled_from([1, 2, 4, 8, 16, 64]),
)
def test_more_bytes_never_take_less_time(operation, size, factor, group, stride) -> None:
    for system in (A100, H100, RACK, POD):
        for algorithm in ("library", "one-shot"):
            one, more = collective_time_s(
                system, operation, np.array([size, size * factor]), group, stride, algorithm
            )
            assert 0 < one <= more * (1 + 1e-12)


@given(
    operation=st.sampled_from(OPERATIONS),
    size=st.floats(1, 1e10),
    group=st.sampled_from([2, 4, 8, 16, 128]),
    stride=st.sampled_from([1, 8]),
)
def test_time_falls_or_stays_as_a_link_widens(operation, size, group, stride) -> None:
    for index in range(2):
        tier = H100.tiers[index]
        wider = dataclasses.replace(tier, bandwidth_bytes_per_s=2 * tier.bandwidth_bytes_per_s)
        tiers = tuple(wider if i == index else t for i, t in enumerate(H100.tiers))
        faster = dataclasses.replace(H100, tiers=tiers)
        assert collective_time_s(faster, operation, size, group, stride) <= collective_time_s(
            H100, operation, size, group, stride
        ) * (1 + 1e-12)


@given(size=st.floats(1, 1e10), group=st.sampled_from([2, 4, 8]))
def test_bus_bandwidth_stays_below_the_links(size: float, group: int) -> None:
    """A ring all-reduce sends 2(n-1)/n of the buffer; gathering and scattering half of that."""
    link = A100.tiers[0].bandwidth_bytes_per_s
    reduce_s = collective_time_s(A100, "all_reduce", size, group)
    gather_s = collective_time_s(A100, "all_gather", size, group)
    assert reduce_s >= 2 * (group - 1) / group * size / link
    assert gather_s >= (group - 1) / group * size / link
    assert gather_s < reduce_s < 2.2 * gather_s


def test_groups_leave_the_node_by_stride() -> None:
    """Eight ranks side by side stay on NVLink; eight a node apart go through their NICs."""
    inside, outside = collective_time_s(H100, "all_reduce", 1e9, 8, np.array([1, 8]))
    assert inside < 1e9 * 2 / 300e9
    assert outside > 2 * 7 / 8 * 1e9 / H100.tiers[1].bandwidth_bytes_per_s


def test_a_whole_node_shares_the_wire_between_its_ranks() -> None:
    """Sixteen ranks of two nodes: each carries an eighth through its own NIC."""
    time_s = collective_time_s(A100, "all_reduce", 1e9, 16)
    nic_s = 2 * (1 / 2) * (1e9 / 8) / A100.tiers[1].bandwidth_bytes_per_s
    nvlink_s = 2 * (7 / 8) * 1e9 / A100.tiers[0].bandwidth_bytes_per_s
    assert max(nic_s, nvlink_s) <= time_s <= 2.5 * max(nic_s, nvlink_s)


def test_two_node_latency_is_near_the_measured_one() -> None:
    """vidur@7d47513: the smallest all-reduce of 16 ranks on two A100 nodes takes 65 us."""
    cluster = load_hardware("aws-p4d.24xlarge", 16)
    assert collective_time_s(cluster, "all_reduce", 2048, 16) == pytest.approx(65e-6, rel=0.25)


def test_one_shot_kernels_win_small_messages_only() -> None:
    """A custom all-reduce of 8 H100 takes 3.3 us at its floor, NCCL 15.5 (aiconfigurator)."""
    sizes = np.array([256.0, 1e9])
    library = collective_time_s(H100, "all_reduce", sizes, 8)
    custom = collective_time_s(H100, "all_reduce", sizes, 8, 1, "one-shot")
    assert custom[0] == pytest.approx(3.3e-6, rel=0.2)
    assert library[0] == pytest.approx(15.5e-6, rel=0.2)
    assert custom[1] == pytest.approx(library[1], rel=0.1)


def test_a_torus_uses_the_axes_a_group_spans() -> None:
    line, cube = collective_time_s(POD, "all_gather", 1e9, np.array([16, 1024]))
    assert line > 2.5 * cube * (15 / 16) / (1023 / 1024)


def test_a_chain_is_as_slow_as_its_slowest_neighbours() -> None:
    inside, across = collective_time_s(H100, "send_recv", 1e8, np.array([2, 4]), 4)
    assert inside < 1e8 / 200e9
    assert across > 1e8 / H100.tiers[1].bandwidth_bytes_per_s


@given(st.sampled_from(OPERATIONS), st.floats(1, 1e10), st.floats(1, 8))
def test_oversubscribed_links_are_links_of_a_fraction(
    operation: str, size: float, ratio: float
) -> None:
    """What switches carry is what counts: as if every device had a port of 1/ratio."""
    system = load_hardware("dgx-h100").with_count(64)
    shared = system.oversubscribed(ratio)
    outer = system.tiers[-1]
    narrow = dataclasses.replace(outer, bandwidth_bytes_per_s=outer.bandwidth_bytes_per_s / ratio)
    narrowed = dataclasses.replace(system, tiers=(*system.tiers[:-1], narrow))
    for group, stride in ((8.0, 8.0), (64.0, 1.0)):
        times = [collective_time_s(s, operation, size, group, stride) for s in (shared, narrowed)]
        assert float(times[0]) == pytest.approx(float(times[1]), rel=1e-9)
    inside = [collective_time_s(s, operation, size, 8.0, 1.0) for s in (shared, system)]
    assert float(inside[0]) == float(inside[1])


def test_oversubscription_is_one_or_more() -> None:
    with pytest.raises(SpecError, match="1 \\(none\\) or more"):
        load_hardware("dgx-h100").oversubscribed(0.5)
    with pytest.raises(SpecError, match="single device"):
        load_hardware("cpu-epyc-9654-single").oversubscribed(2)
