"""Accelerator records: equal to the reference sheet, sourced, strict about one's own files."""

from __future__ import annotations

import csv
import pickle
import re
from pathlib import Path

import pytest

from costsim.errors import SpecError, UnknownNameError
from costsim.hardware import accelerator_ids, load_accelerator, source_titles

# column of the reference sheet -> figure, and SI units in one of the column's
COLUMNS = {
    "fp64_vector_tflops": ("peaks.fp64", 1e12),
    "fp64_matrix_tflops": ("peaks.fp64_matrix", 1e12),
    "fp32_vector_tflops": ("peaks.fp32", 1e12),
    "fp32_matrix_tflops": ("peaks.fp32_matrix", 1e12),
    "tf32_dense_tflops": ("peaks.tf32", 1e12),
    "bf16_dense_tflops": ("peaks.bf16", 1e12),
    "fp16_dense_tflops": ("peaks.fp16", 1e12),
    "fp8_dense_tflops": ("peaks.fp8", 1e12),
    "int8_dense_tops": ("peaks.int8", 1e12),
    "fp4_dense_tflops": ("peaks.fp4", 1e12),
    "int4_dense_tops": ("peaks.int4", 1e12),
    "mem_nameplate_gb": ("memory.capacity", 1e9),
    "mem_usable_mib": ("memory.usable", 2**20),
    "mem_bw_gb_s": ("memory.bandwidth", 1e9),
    "l2_mb": ("memory.l2", 1e6),
    "llc_mb": ("memory.last_level_cache", 1e6),
    "sram_mb": ("memory.sram", 1e6),
    "compute_units": ("compute.units", 1),
    "boost_clock_mhz": ("compute.clock", 1e6),
    "tdp_w": ("power.tdp", 1),
    "scaleup_gb_s_one_way": ("links.scale_up", 1e9),
    "scaleup_domain_size": ("links.scale_up_domain", 1),
    "scaleout_gbit_s_per_device": ("links.scale_out", 1e9 / 8),
    "pcie_gb_s_one_way": ("links.pcie", 1e9),
    "sparsity_factor": ("compute.sparsity", 1),
    "sparsity_factor_fp4": ("compute.sparsity_fp4", 1),
    "launch_year": ("launch_year", 1),
}
FIELDS = {
    "memory.capacity": "memory_bytes",
    "memory.usable": "memory_usable_bytes",
    "memory.bandwidth": "memory_bandwidth_bytes_per_s",
    "memory.l2": "l2_bytes",
    "compute.units": "compute_units",
    "compute.clock": "clock_hz",
    "compute.sparsity": "sparsity_ratio",
    "power.tdp": "tdp_w",
    "links.scale_up": "scale_up_bytes_per_s",
    "links.scale_up_domain": "scale_up_devices",
    "links.scale_out": "scale_out_bytes_per_s",
    "links.pcie": "pcie_bytes_per_s",
    "launch_year": "launch_year",
}
BASES = {"checked", "contested", "single", "recalled", "derived"}


def test_every_number_of_the_reference_sheet_is_in_the_catalog(shared: Path) -> None:
    with (shared / "catalogs" / "accelerators.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["id"] for row in rows} <= set(accelerator_ids())
    compared = 0
    for row in rows:
        device = load_accelerator(row["id"])
        assert (device.name, device.vendor, device.architecture, device.form_factor) == (
            row["name"],
            row["vendor"],
            row["arch"],
            row["form_factor"],
        )
        for column, (path, size) in COLUMNS.items():
            figure = device.figures.get(path)
            if not row[column]:  # a missing number is absent, unless read or derived elsewhere
                elsewhere = figure is None or figure.basis == "derived" or path == "memory.usable"
                assert elsewhere, (row["id"], path)
                continue
            assert figure is not None, (row["id"], path)
            assert figure.value == float(row[column]), (row["id"], path)
            assert figure.basis == row[f"{column}__src"].split(":")[0]
            si = (
                device.peaks_flops_per_s[path.removeprefix("peaks.")]
                if path.startswith("peaks.")
                else getattr(device, FIELDS[path])
                if path in FIELDS
                else None
            )
            if si is not None:
                assert si == pytest.approx(float(row[column]) * size, rel=1e-12), (row["id"], path)
            compared += 1
    assert compared > 1000


@pytest.mark.parametrize("identity", accelerator_ids())
def test_every_figure_says_where_it_comes_from(identity: str) -> None:
    device = load_accelerator(identity)
    assert device.id == identity
    titles = source_titles()
    for path, figure in device.figures.items():
        assert figure.value > 0, path
        assert figure.unit, path
        assert figure.basis.removesuffix("/preliminary") in BASES, path
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", figure.read_on), path
        for key in figure.source.split(", "):
            assert key in titles, (path, key)


def test_all_generations_asked_for_are_there() -> None:
    for name in (
        *("p100-sxm2", "v100-sxm2-32gb", "t4", "a10", "a100-80gb", "l4", "l40s", "rtx-4090"),
        *("h100", "h200", "gh200-96gb", "b200", "gb200", "b300", "gb300", "mi250x", "mi300x"),
        *("mi325x", "mi350x", "mi355x", "tpu-v3", "tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e"),
        *("tpu-v7", "trainium1", "trainium2", "gaudi2", "gaudi3", "xeon-8480p"),
    ):
        load_accelerator(name)
    assert len(accelerator_ids()) >= 60


def test_a_dtype_without_a_rate_is_an_error_that_lists_those_with_one() -> None:
    with pytest.raises(UnknownNameError, match=r"no published dense bf16 rate") as caught:
        load_accelerator("v100-32gb").peak_flops_per_s("bf16")
    assert caught.value.problems[0].hint == "it has `fp64`, `fp32`, `fp16`"


def test_usable_memory_is_what_the_driver_reports_else_the_printed_capacity() -> None:
    assert load_accelerator("h100").memory_usable_bytes == 81559 * 2**20
    unknown = load_accelerator("gaudi2")
    assert unknown.memory_usable_bytes == unknown.memory_bytes
    assert unknown.figures["memory.usable"].basis == "derived"


def test_records_hash_and_travel_between_processes() -> None:
    device = load_accelerator("h100")
    assert hash(device) == hash(load_accelerator("H100"))
    assert pickle.loads(pickle.dumps(device)) == device


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / "accelerators" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_of_ones_own_may_write_numbers_short(tmp_path: Path) -> None:
    write(
        tmp_path,
        "next-chip",
        "id: next-chip\nname: Next\npeaks: {bf16: 500 TFLOP/s, int8: 1 POP/s}\n"
        "memory: {capacity: 64 GiB, bandwidth: {value: 2, unit: TB/s, source: the fair}}\n"
        "compute: {units: 10, clock: 1.5 GHz}\nlinks: {scale_out: 400 Gb/s}\n",
    )
    device = load_accelerator("Next_Chip", extra_folder=tmp_path)
    assert device.peaks_flops_per_s == {"bf16": 500e12, "int8": 1e15}
    assert device.memory_bytes == 64 * 2**30
    assert device.memory_bandwidth_bytes_per_s == 2e12
    assert device.figures["memory.bandwidth"].source == "the fair"
    assert (device.compute_units, device.clock_hz) == (10, 1.5e9)
    assert device.scale_out_bytes_per_s == 50e9
    assert device.tdp_w is None


def test_every_fault_of_a_file_is_told_with_its_place(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "wrong",
        "id: wrong\n"
        "name: Wrong\n"
        "vendr: me\n"
        "peaks:\n"
        "  bf61: 500 TFLOP/s\n"
        "  fp8: 1000\n"
        "  fp4: fast\n"
        "memory:\n"
        "  capacity: 64 GB/s\n"
        "  bandwidth: {value: -3, unit: TB/s}\n"
        "  l2: {value: 3, unti: MB}\n"
        "power: 300 W\n",
    )
    with pytest.raises(SpecError) as caught:
        load_accelerator("wrong", extra_folder=tmp_path)
    told = [str(problem).replace(str(path), "F") for problem in caught.value.problems]
    expected = (
        ("F:3:1: unknown key `vendr`", "did you mean `vendor`?"),
        ("F:5:3: unknown key `peaks.bf61`", "`bf16`"),
        ("F:6:8: `peaks.fp8`: has no unit", "TFLOP/s"),
        ("F:7:8: `peaks.fp4` is not a number with its unit", "TB/s"),
        ("F:9:13: `memory.capacity`:", "`80 GB`"),
        ("F:10:14: `memory.bandwidth` must be above 0, not -3", "leave out"),
        ("F:11:18: unknown key `memory.l2.unti`", "`unit`"),
        ("F:12:8: `power` must be a mapping of keys to values", ""),
    )
    for start, hint in expected:
        assert any(line.startswith(start) and hint in line for line in told), (start, told)


def test_a_file_must_say_what_cannot_be_guessed(tmp_path: Path) -> None:
    write(tmp_path, "thin", "id: thick\nmemory: {}\n")
    with pytest.raises(SpecError) as caught:
        load_accelerator("thin", extra_folder=tmp_path)
    text = str(caught.value)
    for message in (
        "missing key `name`",
        "missing key `memory.capacity`",
        "missing key `memory.bandwidth`",
        "`id` must be the name of its file, `thin`",
    ):
        assert message in text
