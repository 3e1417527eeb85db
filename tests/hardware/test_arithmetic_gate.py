"""Numbers of a sheet must follow from each other: what no source can print, none may claim.

Operations per unit and cycle are those of the vendors' architecture white papers, dense, one
multiply-add = 2: (fp32 vector, fp16 matrix with fp32 accumulation).
"""

from __future__ import annotations

import math

import pytest

from costsim.hardware import Accelerator, accelerator_ids, load_accelerator

PER_UNIT_CYCLE = {
    "Pascal": (128, 256),  # P100: 64 cores; fp16 packed two by two
    "Volta": (128, 1024),  # 8 tensor cores of 64 multiply-adds
    "Turing": (128, 1024),
    "Ampere GA100": (128, 2048),  # 4 tensor cores of 256
    "Ampere GA102": (256, 1024),
    "Ada": (256, 1024),
    "Hopper": (256, 4096),  # 4 tensor cores of 512
    "Blackwell GB100": (256, 8192),
    "Blackwell Ultra": (256, 8192),
    "Blackwell GB202": (256, 1024),
    "CDNA2": (128, 1024),
    "CDNA3": (256, 2048),
    "CDNA4": (256, 4096),
    "RDNA3": (256, 512),
}
HALF_RATE = {"nvidia-rtx-3090", "nvidia-rtx-4090", "nvidia-rtx-5090", "nvidia-l40"}  # market cut
# MHz at which matrix units are rated, below the boost clock; the H100's is in its sheet's note.
MATRIX_CLOCK_MHZ = dict.fromkeys(
    (
        *("nvidia-h100-sxm5-80gb", "nvidia-h800-sxm5-80gb", "nvidia-h200-sxm-141gb"),
        *("nvidia-gh200-96gb", "nvidia-gh200-144gb"),
    ),
    1830,
)
# The sheet's rate is for a matrix clock that nobody prints: it may only be below the boost clock's.
UNPRINTED_CLOCK = {
    *("nvidia-h100-pcie-80gb", "nvidia-h100-nvl-94gb", "nvidia-h200-nvl-141gb"),
    *("nvidia-b200-sxm-180gb", "nvidia-gb200"),
}
# Sheets whose vendor cut the rates below the silicon: export variants and the AWS-only A10G.
CUT_BY_VENDOR = {"nvidia-h20-96gb", "nvidia-a10g"}
# TPU: matrix units per chip, their side, MHz (Google's papers and documentation).
TPU_MATRIX_UNITS = {
    "google-tpu-v2": (2, 128, 700),
    "google-tpu-v3": (4, 128, 940),
    "google-tpu-v4i": (4, 128, 1050),
    "google-tpu-v4": (8, 128, 1050),
    "google-tpu-v5e": (4, 128, 1500),
    "google-tpu-v5p": (8, 128, 1750),
}
# CPU: (fp64, fp32, bf16) operations per core and cycle.
CPU_PER_CORE_CYCLE = {
    "cpu-xeon-8480p": (32, 64, 2048),
    "cpu-epyc-9654": (16, 32, 64),
    "cpu-i9-10940x": (32, 64, None),
}
# (faster, slower): ratio other than 2, as the vendor states it
STATED_RATIOS = {
    ("fp8", "bf16"): {
        "aws-inferentia2": 1,
        "aws-trainium1": 1,
        "aws-trainium2": 1.95,
        "aws-trainium3": 3.75,
        "google-tpu-v6e": 1,
        "intel-gaudi3": 1,
        "nvidia-vr200": 4.375,
    },
    ("fp4", "fp8"): {
        "aws-trainium3": 1,  # MXFP4 runs at the MXFP8 rate
        "nvidia-b300-sxm-270gb": 3.11,
        "nvidia-gb300": 3,
        "nvidia-rtx-5090": 4,
    },
    ("bf16", "tf32"): {
        "aws-inferentia2": 1,
        "aws-trainium1": 1,
        "aws-trainium2": 1,
        "aws-trainium3": 1,
        "intel-gaudi3": 3.656,  # its note: bf16 runs at the fp8 rate
    },
}
ALL = [load_accelerator(identity) for identity in accelerator_ids()]
WITH_UNITS = [
    device
    for device in ALL
    if device.compute_units and device.clock_hz and not device.id.startswith("cpu-")
]


def ops_of(device: Accelerator) -> tuple[int, int]:
    (found,) = (o for name, o in PER_UNIT_CYCLE.items() if device.architecture.startswith(name))
    return found


@pytest.mark.parametrize("device", WITH_UNITS, ids=lambda device: device.id)
def test_units_times_clock_times_operations_is_the_peak(device: Accelerator) -> None:
    vector, matrix = ops_of(device)
    assert device.compute_units
    assert device.clock_hz
    if device.id in HALF_RATE:
        matrix //= 2
    fp32 = device.compute_units * device.clock_hz * vector
    fp16 = device.compute_units * device.clock_hz * matrix
    peaks = device.peaks_flops_per_s
    if device.id in CUT_BY_VENDOR:
        assert peaks["fp16"] < fp16
        return
    assert peaks["fp32"] == pytest.approx(fp32, rel=0.02)
    if device.id in UNPRINTED_CLOCK:
        assert 0.85 * fp16 < peaks["fp16"] < fp16
        return
    clock_hz = MATRIX_CLOCK_MHZ.get(device.id, device.clock_hz / 1e6) * 1e6
    assert peaks["fp16"] == pytest.approx(fp16 * clock_hz / device.clock_hz, rel=0.02)


@pytest.mark.parametrize("identity", TPU_MATRIX_UNITS)
def test_tpu_matrix_units_give_the_peak(identity: str) -> None:
    units, side, mhz = TPU_MATRIX_UNITS[identity]
    device = load_accelerator(identity)
    assert device.peak_flops_per_s("bf16") == pytest.approx(
        units * 2 * side**2 * mhz * 1e6, rel=0.02
    )
    assert device.clock_hz == mhz * 1e6


@pytest.mark.parametrize("identity", CPU_PER_CORE_CYCLE)
def test_cpu_cores_give_the_peak(identity: str) -> None:
    device = load_accelerator(identity)
    assert device.compute_units
    assert device.clock_hz
    for dtype, operations in zip(
        ("fp64", "fp32", "bf16"), CPU_PER_CORE_CYCLE[identity], strict=True
    ):
        if operations:
            peak = device.compute_units * device.clock_hz * operations
            assert device.peak_flops_per_s(dtype) == pytest.approx(peak, rel=0.02)


@pytest.mark.parametrize(("faster", "slower"), STATED_RATIOS)
def test_halving_the_width_doubles_the_rate_unless_the_vendor_states_otherwise(
    faster: str, slower: str
) -> None:
    stated = STATED_RATIOS[faster, slower]
    for device in ALL:
        peaks = device.peaks_flops_per_s
        if faster in peaks and slower in peaks:
            ratio = peaks[faster] / peaks[slower]
            assert ratio == pytest.approx(
                stated.get(device.id, 2), rel=0.02 if slower != "tf32" else 0.03
            ), device.id


@pytest.mark.parametrize("device", ALL, ids=lambda device: device.id)
def test_the_sheet_is_plausible(device: Accelerator) -> None:
    peaks = device.peaks_flops_per_s
    assert all(math.isfinite(peak) and 1e11 < peak < 1e17 for peak in peaks.values())
    assert 8e9 <= device.memory_bytes <= 7e12
    # GB printed for GiB is 7.4 % at most; a driver keeps a few per cent back
    assert 0.92 < device.memory_usable_bytes / device.memory_bytes < 2**30 / 1e9 * 1.01
    fastest = max(peaks.values(), default=math.nan)
    if fastest > 1e13:  # operations per byte that the devices of this table need to be busy
        assert 20 < fastest / device.memory_bandwidth_bytes_per_s < 2000
    if device.scale_up_bytes_per_s:
        assert device.scale_up_bytes_per_s < device.memory_bandwidth_bytes_per_s
    for link in (device.scale_out_bytes_per_s, device.pcie_bytes_per_s):
        assert link is None or link < device.memory_bandwidth_bytes_per_s / 2
    if device.scale_out_bytes_per_s and device.scale_up_bytes_per_s:
        assert device.scale_out_bytes_per_s < device.scale_up_bytes_per_s
    assert device.sparsity_ratio is None or 1 <= device.sparsity_ratio <= 4
    assert device.launch_year is not None
    assert 2016 <= device.launch_year <= 2026


# Figures that other catalogs get wrong: what theirs says is in the comment.
TRAPS = [
    ("h200", "bf16", 989.4e12),  # 1979 with sparsity
    ("gb200", "bf16", 2500e12),  # 4500-5000 with sparsity
    ("b200", "bf16", 2250e12),
    ("l40s", "fp8", 733e12),  # 1466 with sparsity
    ("l40s", "bf16", 362.05e12),  # 733 with sparsity
    ("rtx-a6000", "bf16", 154.8e12),  # 309.7 with sparsity
    ("mi300x", "bf16", 1307.4e12),  # 2614.9 with sparsity
    ("tpu-v4", "bf16", 275e12),  # 137.5 per core
    ("trainium2", "bf16", 667e12),  # 83 per core
]


@pytest.mark.parametrize(("name", "dtype", "peak"), TRAPS)
def test_no_sparse_or_per_core_peak(name: str, dtype: str, peak: float) -> None:
    assert load_accelerator(name).peak_flops_per_s(dtype) == pytest.approx(peak, rel=0.005)


def test_no_two_way_link_no_bits_for_bytes_no_die_for_device() -> None:
    one_way = {
        "v100-32gb": 150e9,
        "a100-80gb": 300e9,
        "h100": 450e9,
        "b200": 900e9,
        "gb200": 900e9,
        "mi300x": 448e9,  # 896 both ways
        "tpu-v5p": 600e9,  # 4,800 Gb/s read as GB/s elsewhere
        "tpu-v4": 300e9,
    }
    for name, bytes_per_s in one_way.items():
        assert load_accelerator(name).scale_up_bytes_per_s == bytes_per_s, name
    assert load_accelerator("mi300x").memory_bandwidth_bytes_per_s == 5.3e12
    assert load_accelerator("b200").memory_bytes == 180e9
    assert load_accelerator("mi250x").memory_bytes == 128e9
    assert load_accelerator("h100-nvl").memory_bytes == 94e9
    assert load_accelerator("h100").scale_out_bytes_per_s == 50e9  # 400 Gb/s
