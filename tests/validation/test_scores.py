from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.validation.entries import Entry
from costsim.validation.packaged import packaged_runs
from costsim.validation.runs import Run
from costsim.validation.score import Validation, summarize, validate
from validation.runs_sample import ROW, written


def entry(group: str, predicted: float | None, measured: float | None) -> Entry:
    run = Run.of(f"{group}-{predicted}-{measured}", 1, {"group": group}, {})
    low = None if predicted is None else predicted * 0.9
    high = None if predicted is None else predicted * 1.1
    return Entry(run, "step_time_s", predicted, low, high, measured, "")


def test_a_group_counts_once_by_its_median() -> None:
    found = summarize(
        [
            entry("a", 1.0, 1.0),
            entry("a", 1.3, 1.0),
            entry("a", 9.0, 1.0),
            entry("b", 1.1, 1.0),
            entry("c", 1.0, None),
            entry("d", None, 1.0),
        ]
    )
    assert (found.n, found.predicted, found.unsupported) == (4, 5, 1)
    assert found.median_abs_error == pytest.approx(statistics.median([0.3, 0.1]))
    assert found.bias == pytest.approx(0.2)
    # Measured 1.0 lies in 0.9-1.1 and 0.99-1.21, not in the other two intervals.
    assert found.interval_coverage == pytest.approx((1 / 3 + 1) / 2)


@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), min_size=1, max_size=20))
def test_single_rows_are_scored_as_the_definition_says(pairs: list[tuple[float, float]]) -> None:
    found = summarize([entry(str(i), p, m) for i, (p, m) in enumerate(pairs)])
    errors = [abs(p / m - 1) for p, m in pairs]
    assert found.median_abs_error == pytest.approx(statistics.median(errors))


def test_nothing_measured_has_no_error() -> None:
    found = summarize([entry("a", 1.0, None)])
    assert found.median_abs_error is None
    assert found.interval_coverage is None


def test_every_row_has_an_entry_for_each_quantity_that_its_configuration_allows(
    tmp_path: Path,
) -> None:
    whole = ROW | {"id": "whole", "total_tokens": "3e11", "gpu_hours": "", "step_time_s": ""}
    wrong = ROW | {"id": "wrong", "layers": "many"}
    found = validate(written(tmp_path, ROW, whole, wrong))
    listed = {(e.run.id, e.quantity): e.status for e in found.entries}
    assert listed == {
        ("gpt-22b-selective", "step_time_s"): "scored",
        ("gpt-22b-selective", "memory_gb_per_gpu"): "predicted",
        ("whole", "step_time_s"): "predicted",
        ("whole", "memory_gb_per_gpu"): "predicted",
        ("whole", "gpu_hours"): "predicted",
        ("whole", "energy_mwh"): "predicted",
        ("wrong", "step_time_s"): "unsupported",
    }
    assert len(found.problems) == 1


def test_whole_projects_add_up(tmp_path: Path) -> None:
    """GPU-hours are steps times their length; energy is what the devices' rated power gives."""
    found = validate(written(tmp_path, ROW | {"total_tokens": "8192e6", "gpu_hours": "300"}))
    values = {e.quantity: e.predicted for e in found.entries}
    step_s, hours = values["step_time_s"], values["gpu_hours"]
    assert step_s is not None
    assert hours is not None
    useful = 1e6 * step_s * 8 / 3600
    assert useful <= hours < useful * 1.05  # interruptions and checkpoints of eight devices
    assert values["energy_mwh"] == pytest.approx(hours * 400 / 1e6, rel=0.15)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("tokens_per_s_per_gpu", 4 * 2048 / 8 / 1.10),
        ("tflops_per_gpu", None),
    ],
)
def test_speed_in_other_words_is_the_same_step(
    tmp_path: Path, column: str, value: float | None
) -> None:
    if value is None:
        # 72·B·s·L·h²·(1 + s/6h + V/12hL) FLOPs an iteration (Narayanan et al. 2021, without
        # recomputation), over 1.10 s and 8 devices.
        b, s, h, layers, v = 4, 2048, 6144, 48, 51200
        flops = 72 * b * s * layers * h * h * (1 + s / (6 * h) + v / (12 * h * layers))
        value = flops / 1.10 / 8 / 1e12
    (first, *_) = validate(
        written(tmp_path, ROW | {"step_time_s": "", column: repr(value)})
    ).entries
    assert first.measured == pytest.approx(1.10, rel=1e-3)


@pytest.fixture(scope="module")
def packaged() -> Validation:
    return validate(packaged_runs())


def test_packaged_runs_read_without_complaint(packaged: Validation) -> None:
    assert not packaged.problems
    assert not packaged.warnings
    assert all(entry.run.text["source"] for entry in packaged.entries)


def test_published_steps_of_megatron_are_met_without_constants_of_their_own(
    packaged: Validation,
) -> None:
    """Korthikanti et al. 2022, tables 4 and 5: 22B to 1T, full and selective recomputation."""
    errors = [
        abs(e.predicted / e.measured - 1)
        for e in packaged.entries
        if e.run.text["source_id"] == "megatron-recompute" and e.predicted and e.measured
    ]
    assert len(errors) == 8
    assert statistics.mean(errors) <= 0.06
    assert max(errors) <= 0.12


def test_most_packaged_steps_are_near(packaged: Validation) -> None:
    found = packaged.breakdown("quantity")["step_time_s"]
    assert found.median_abs_error is not None
    assert found.median_abs_error <= 0.09
    assert found.interval_coverage is not None
    assert found.interval_coverage >= 0.6


def test_the_document_has_the_shape_that_is_promised(packaged: Validation) -> None:
    document = packaged.to_dict()
    assert document["schema_version"] == 1
    assert set(document["rows"][0]) == {
        *("id", "quantity", "unit", "predicted", "low", "high", "measured", "status", "reason")
    }
    assert set(document["summary"]) == {
        *("n", "predicted", "unsupported", "median_abs_error", "p90_abs_error", "bias"),
        "interval_coverage",
    }
