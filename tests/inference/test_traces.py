"""Traffic as recorded, as drawn, and what is said of files that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from costsim.errors import SpecError
from costsim.inference.traces import read_trace
from costsim.inference.traffic import diurnal_traffic, random_traffic

AZURE = "arrived_at,num_prefill_tokens,num_decode_tokens\n"  # Azure LLM inference traces 2023


def written(folder: Path, text: str, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_an_azure_trace_is_read_as_it_stands(tmp_path: Path) -> None:
    found = read_trace(written(tmp_path, AZURE + "0.0,374,44\n4.314579,396,109\n4.541877,879,55\n"))
    assert found.arrival_s.tolist() == [0.0, 4.314579, 4.541877]
    assert found.input_tokens.tolist() == [374, 396, 879]
    assert found.output_tokens.tolist() == [44, 109, 55]


def test_azures_own_columns_have_dates(tmp_path: Path) -> None:
    text = (
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,3180,8\n"
    )
    found = read_trace(written(tmp_path, text))
    assert found.arrival_s == pytest.approx([0.0, 0.052], abs=1e-6)


def test_a_detailed_result_of_vllm_bench_serve_is_traffic(tmp_path: Path) -> None:
    result = {"input_lens": [10, 20], "output_lens": [5, 6], "request_rate": 2.0}
    found = read_trace(written(tmp_path, json.dumps(result), "result.json"))
    assert found.arrival_s.tolist() == [0.0, 0.5]
    with pytest.raises(SpecError, match="no `input_lens` and `output_lens` in it"):
        read_trace(written(tmp_path, "{}", "empty.json"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        (AZURE, "no requests"),
        ("arrived_at,num_decode_tokens\n0,1\n", "missing column `input_tokens`"),
        (AZURE + "0.0,374,-44\n", "is negative"),
        (AZURE + "0.0,,44\n", "is empty"),
        (AZURE + "5.0,10,10\n4.0,10,10\n", "is before the 5 above it"),
        (AZURE + "0.0,many,10\n", "`many` is not a number"),
    ],
)
def test_a_bad_trace_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_trace(written(tmp_path, text))


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot read"):
        read_trace(tmp_path / "none.csv")


@pytest.mark.parametrize("burstiness", [0.3, 1.0, 4.0])
def test_gamma_arrivals_have_their_rate_and_their_burstiness(burstiness: float) -> None:
    found = random_traffic(5.0, 200_000, 100, 20, burstiness=burstiness, seed=1)
    between = np.diff(found.arrival_s)
    assert found.rate_per_s == pytest.approx(5.0, rel=0.02)
    assert (between.std() / between.mean()) ** 2 == pytest.approx(1 / burstiness, rel=0.03)


def test_a_day_peaks_in_its_middle() -> None:
    found = diurnal_traffic(2.0, 1.8, 100, 20, seed=1)
    assert len(found) == pytest.approx(2.0 * 86_400, rel=0.01)
    by_hour = np.histogram(found.arrival_s, 24, (0, 86_400))[0] / 3600
    assert by_hour.max() == pytest.approx(3.6, rel=0.05)
    assert by_hour.min() == pytest.approx(0.4, rel=0.15)


def test_a_rate_of_zero_is_an_error() -> None:
    with pytest.raises(SpecError, match="rate_per_s must be above 0, not 0"):
        random_traffic(0.0, 10, 100, 20)


def test_dealt_traffic_is_the_whole() -> None:
    found = random_traffic(5.0, 100, 100, 20, spread=0.5, seed=1)
    parts = found.dealt(3)
    assert sum(len(part) for part in parts) == 100
    assert sum(part.input_tokens.sum() for part in parts) == found.input_tokens.sum()
    assert found.at_rate(10.0).rate_per_s == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"input_lens": 3, "output_lens": [1]}', "not a list"),
        ('{"input_lens": ["a"], "output_lens": [1]}', "no number in range"),
        ('{"input_lens": [true], "output_lens": [1]}', "no number in range"),
        ('{"input_lens": [1e400], "output_lens": [1]}', "no number in range"),
        ('{"input_lens": [5], "output_lens": [NaN]}', "no number in range"),
        ('{"input_lens": [5], "output_lens": [[1]]}', "no number in range"),
        ('{"input_lens": [5], "output_lens": [1], "start_times": [null]}', "no number in range"),
        ('{"input_lens": [5], "output_lens": [1], "request_rate": 0}', "above 0"),
        ('{"input_lens": [5, 6], "output_lens": [1]}', "unequal length"),
        ('{"input_lens": [], "output_lens": []}', "or empty"),
    ],
)
def test_a_benchmark_result_of_other_types_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "bench.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=message):
        read_trace(path)


def test_requests_that_come_at_once_can_be_spread(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    text = '{"input_lens": [5, 6], "output_lens": [1, 2], "request_rate": Infinity}'
    path.write_text(text, encoding="utf-8")
    traffic = read_trace(path)
    assert list(traffic.arrival_s) == [0.0, 0.0]
    assert list(traffic.at_rate(4.0).arrival_s) == [0.0, 0.25]
    alone = traffic.part(slice(0, 1)).at_rate(2.0)
    assert list(alone.arrival_s) == [0.0]
    assert np.isfinite(alone.arrival_s).all()
