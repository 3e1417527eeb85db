"""Calibration on synthetic clusters whose true constants are known, and its overlay in plans."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import pytest

import costsim
from costsim.cli import main
from costsim.errors import SpecError
from costsim.planning.overlays import read_overlay
from costsim.training.overlay import Overlay
from costsim.validation.calibrating import SPREADS, calibrate
from costsim.validation.kinds.language import predict
from costsim.validation.predict import Prediction
from costsim.validation.runs import read_runs
from costsim.validation.score import validate

SCENARIO = Path(__file__).parents[2] / "scenarios" / "gpt3.yaml"
ROW = {
    "family": "llm-dense", "params_B": 8, "layers": 32, "hidden": 4096, "ffn": 14336, "heads": 32,
    "kv_heads": 8, "vocab": 128256, "accelerator_id": "nvidia-h100-sxm5-80gb",
    "framework": "megatron-core", "precision": "bf16", "pp": 1, "vp": 1, "cp": 1,
    "zero_or_fsdp": "distributed optimizer", "recompute": "none",
}  # fmt: skip
STEP = "step_time_s"
SHAPES = [(8192, 2), (4096, 1), (2048, 2), (16384, 1), (65536, 2), (4096, 4)]


def cluster(folder: Path, truth: Overlay, rows: int = 6, scatter: float = 0.0) -> Path:
    """Write a runs file whose step times are those of true constants, and a little besides."""
    path = folder / "runs.csv"
    lines = [
        ROW | {"id": f"run-{i}", "seq_len": length, "tp": tp, "dp": 16 // tp, "n_devices": 16,
               "micro_batch": 1, "global_batch": 64, "step_time_s": ""}
        for i, (length, tp) in enumerate(SHAPES[:rows])
    ]  # fmt: skip
    _write(path, lines)
    for index, (line, found) in enumerate(
        zip(lines, predict(read_runs(path).runs, truth), strict=True)
    ):
        assert isinstance(found, Prediction), found
        line["step_time_s"] = found.step_time_s * (1 + scatter * (-1) ** index)
    _write(path, lines)
    return path


def _write(path: Path, lines: list[dict[str, object]]) -> None:
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def overlay(losses: Mapping[str, float]) -> Overlay:
    return Overlay({"hopper": losses}, {})


def test_slower_cluster_is_found(tmp_path: Path) -> None:
    truth = overlay({"sustained_ratio": 0.65, "sustained_attention_ratio": 0.55})
    found = calibrate(cluster(tmp_path, truth, scatter=0.01))
    assert found.rows == found.groups == 6
    assert found.after < 0.02 < 0.1 < found.before
    assert found.left_out is not None
    assert found.after <= found.left_out < found.before / 2
    refined = found.overlay.losses["hopper"]
    assert refined["sustained_ratio"] == pytest.approx(0.65, rel=0.08)
    assert refined["sustained_attention_ratio"] == pytest.approx(0.55, rel=0.15)


def test_rows_that_agree_change_nothing(tmp_path: Path) -> None:
    found = calibrate(cluster(tmp_path, overlay({})))
    assert found.before == found.after == pytest.approx(0, abs=1e-9)
    assert (found.overlay.losses, found.overlay.software) == ({}, {})


@pytest.mark.parametrize("scatter", [0.0, 0.1, 0.3])
def test_intervals_are_as_wide_as_rows_left_out_ask_for(tmp_path: Path, scatter: float) -> None:
    """The least that holds ⌈0.8 · 7⌉ = 6 of six groups, and no less than repeated runs differ."""
    found = calibrate(cluster(tmp_path, overlay({}), scatter=scatter))
    low, high = found.overlay.within["hopper"]
    assert low * high == pytest.approx(1, abs=1e-3)
    assert high >= 1.06
    assert high > 1 + 0.7 * scatter
    entries = [e for e in validate(tmp_path / "runs.csv", found.overlay).entries if e.low]
    ratios = [(e.low / e.predicted, e.high / e.predicted) for e in entries if e.quantity == STEP]
    assert ratios == [pytest.approx((low, high))] * 6


def test_hidden_transfers_cost_no_more_than_exposed_ones(tmp_path: Path) -> None:
    found = calibrate(cluster(tmp_path, overlay({"contention_ratio": 0.9, "sustained_ratio": 0.5})))
    refined = next(c.refined for c in found.constants if c.field == "contention_ratio")
    assert 0 < refined <= 1
    assert found.overlay.losses["hopper"].get("contention_ratio", 0.0) <= 1


def test_few_rows_keep_the_packaged_interval(tmp_path: Path) -> None:
    assert calibrate(cluster(tmp_path, overlay({}), rows=3)).overlay.within == {}


def test_one_row_is_believed_in_part(tmp_path: Path) -> None:
    truth = overlay({"sustained_ratio": 0.4})
    one = calibrate(cluster(tmp_path, truth, rows=1))
    all_rows = calibrate(cluster(tmp_path, truth))
    assert one.left_out is None
    assert all_rows.after < one.after < one.before
    packaged, refined = next(
        (c.packaged, c.refined) for c in one.constants if c.field == "sustained_ratio"
    )
    assert 0.4 < refined < packaged


def test_every_constant_has_a_spread(tmp_path: Path) -> None:
    found = calibrate(cluster(tmp_path, overlay({}), rows=1))
    assert {c.field for c in found.constants} <= SPREADS.keys()


def test_overlay_file_predicts_what_it_was_fitted_on(tmp_path: Path) -> None:
    runs = cluster(tmp_path, overlay({"sustained_ratio": 0.6}))
    output = tmp_path / "overlay.yaml"
    assert main(["calibrate", str(runs), "-o", str(output)]) == 0
    before = validate(runs).summary.median_abs_error
    after = validate(runs, read_overlay(output)).summary.median_abs_error
    assert before is not None
    assert after is not None
    assert after < before / 3


def test_calibration_changes_plans_and_their_timelines(tmp_path: Path) -> None:
    output = tmp_path / "ours.yaml"
    output.write_text("losses: {ampere: {sustained_ratio: 0.5}}\n")
    plain = costsim.plan(SCENARIO)
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(SCENARIO.read_text() + "calibration: ours.yaml\n")
    slower = costsim.plan(scenario)
    assert slower.best.value("step_time_s") > 1.3 * plain.best.value("step_time_s")
    compared = [p.candidates[1].value("step_time_s") for p in (plain, slower)]
    assert compared[1] > 1.3 * compared[0]  # of another software, on the same devices
    trace = tmp_path / "trace.json"
    arguments = ["trace", str(SCENARIO), "--calibration", str(output), "-o", str(trace)]
    assert main(arguments) == 0
    assert f'"step_time_s":{slower.best.value("step_time_s")}' in trace.read_text()


def test_unknown_constants_are_errors_at_their_places(tmp_path: Path) -> None:
    path = tmp_path / "overlay.yaml"
    path.write_text("losses:\n  hoper: {sustained_ratio: 1}\nsoftware:\n  fsdp: {speed: 2}\n")
    with pytest.raises(SpecError) as error:
        read_overlay(path)
    first, second = error.value.problems
    assert first.location is not None
    assert first.location.line == 2
    assert "`hopper`" in (first.hint or "")
    assert "`speed`" in second.message


def test_runs_without_measurements_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    line = {"id": "a", "seq_len": 4096, "tp": 1, "dp": 8, "n_devices": 8, "global_batch": 8}
    _write(path, [ROW | line | {"micro_batch": 1, "step_time_s": ""}])
    with pytest.raises(SpecError, match="no row with a measured step"):
        calibrate(path)
