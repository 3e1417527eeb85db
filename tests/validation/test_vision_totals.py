"""Models known by their totals: laws of their time, and rows that say little."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.hardware.catalog import load_accelerator
from costsim.validation.entries import Entry
from costsim.validation.score import validate
from costsim.validation.totals import Mode, Totals, rates, step_time_s

GPU = load_accelerator("nvidia-rtx-3090")
CPU = load_accelerator("cpu-i9-10940x")
COLUMNS = (
    "id,model,mode,hardware,accelerator_id,precision,layout,dynamo,torch,cuda,batch,img_size,"
    "samples_per_s,step_time_ms,params_M,gmacs,macts"
)
RESNET = "resnet50,infer,,nvidia-rtx-3090,amp-fp16,nchw,False,2.4.0,124,256,224"

counts = st.floats(1e5, 1e12)


def totals(macs: float, activations: float, parameters: float, batch: float = 8) -> Totals:
    return Totals(*(np.array([x]) for x in (macs, activations, parameters, batch, 0.0)))


@given(counts, counts, counts, st.sampled_from(["infer", "train"]))
def test_never_faster_than_products_or_memory(
    macs: float, activations: float, parameters: float, mode: Mode
) -> None:
    (time_s,) = step_time_s(GPU, "fp16", mode, totals(macs, activations, parameters))
    products = 2 * macs * 8 * (3 if mode == "train" else 1)
    assert time_s >= products / GPU.peak_flops_per_s("fp16")
    least = 2 * 2 * activations * 8 + 2 * parameters  # written and read once, weights read
    assert time_s >= least / GPU.memory_bandwidth_bytes_per_s


@given(counts, counts, counts)
def test_training_takes_longer_than_a_forward_pass(macs: float, acts: float, params: float) -> None:
    for device, dtype in ((GPU, "fp16"), (CPU, "fp32")):
        one = totals(macs, acts, params)
        assert step_time_s(device, dtype, "train", one) > step_time_s(device, dtype, "infer", one)


@given(counts, counts, counts, st.floats(1.01, 10))
def test_more_rate_never_takes_longer(macs: float, acts: float, params: float, more: float) -> None:
    one = totals(macs, acts, params)
    before = step_time_s(GPU, "fp16", "infer", one)
    wider = replace(GPU, memory_bandwidth_bytes_per_s=GPU.memory_bandwidth_bytes_per_s * more)
    faster = replace(GPU, peaks_flops_per_s={"fp16": GPU.peak_flops_per_s("fp16") * more})
    assert step_time_s(wider, "fp16", "infer", one) <= before
    assert step_time_s(faster, "fp16", "infer", one) <= before


def test_no_rate_is_beyond_the_peak() -> None:
    assert all(
        rates(device, mode).compute_ratio <= 1
        for device in (GPU, CPU)
        for mode in ("infer", "train")
    )


def read(tmp_path: Path, *rows: str) -> list[Entry]:
    path = tmp_path / "vision.csv"
    path.write_text("\n".join([COLUMNS, *rows]) + "\n")
    return list(validate(path).entries)


def test_a_row_is_predicted_without_what_it_measured(tmp_path: Path) -> None:
    measured, blank = read(
        tmp_path, f"a,{RESNET},1000,256,25.56,4.11,11.11", f"b,{RESNET},,,25.56,4.11,11.11"
    )
    assert (measured.status, blank.status) == ("scored", "predicted")
    assert measured.predicted == blank.predicted
    assert measured.unit == "samples/s"
    assert blank.low is not None
    assert blank.high is not None
    assert blank.predicted is not None
    assert blank.low < blank.predicted < blank.high


def test_totals_come_from_a_row_of_the_same_size(tmp_path: Path) -> None:
    stated, twin = read(tmp_path, f"a,{RESNET},,,25.56,4.11,11.11", f"b,{RESNET},,,25.56,,")
    assert twin.predicted == stated.predicted
    assert "as many parameters" in twin.reason


def test_unknown_totals_are_typical_ones_with_a_wide_interval(tmp_path: Path) -> None:
    known, guessed = read(tmp_path, f"a,{RESNET},,,25.56,4.11,11.11", f"b,{RESNET},,,25.57,,")
    assert "typical" in guessed.reason

    def width(entry: Entry) -> float:
        assert entry.low is not None
        assert entry.high is not None
        return entry.high / entry.low

    assert width(guessed) > width(known)


def test_a_device_may_be_named_by_its_hardware(tmp_path: Path) -> None:
    row = "resnet50,infer,cpu-i9-10940x,,fp32,nchw,True,2.4.0,,1,224,,,25.56,4.11,11.11"
    other = "resnet50,infer,abacus,,fp32,nchw,True,2.4.0,,1,224,,,25.56,4.11,11.11"
    found, unknown = read(tmp_path, f"a,{row}", f"b,{other}")
    assert found.predicted is not None
    assert unknown.status == "unsupported"
    assert "abacus" in unknown.reason


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ("resnet50,dream,,nvidia-rtx-3090,amp,nchw,,,,1,224,,,25.56,4.11,11.11", "dream"),
        ("resnet50,infer,,nvidia-rtx-3090,amp,nchw,,,,,224,,,25.56,4.11,11.11", "batch"),
        ("resnet50,infer,,nvidia-rtx-3090,int3,nchw,,,,1,224,,,25.56,4.11,11.11", "int3"),
        ("resnet50,infer,,nvidia-rtx-3090,amp,nchw,,,,1,224,,,,,", "params_M"),
        ("resnet50,infer,,nvidia-rtx-3090,amp,nchw,,,,1,,,,25.56,,", "img_size"),
    ],
)
def test_what_is_missing_is_named(row: str, word: str, tmp_path: Path) -> None:
    (entry,) = read(tmp_path, f"a,{row}")
    assert entry.status == "unsupported"
    assert word in entry.reason
