"""Rows that leave cells open: models by name or by size, sequences, batches, networks."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costsim.planning.intervals import step_time_interval
from costsim.validation.configuration import Configuration, configuration_of
from costsim.validation.kinds.language import measured_step_time_s, predict
from costsim.validation.mixtures import mixture
from costsim.validation.predict import Prediction
from costsim.validation.proportions import proportioned
from costsim.validation.runs import Run, read_runs
from costsim.validation.score import validate
from costsim.validation.shapes import Shaped, architecture_of
from costsim.validation.written import written_model, written_size
from validation.runs_sample import ROW, written

UNSHAPED = ROW | dict.fromkeys(
    (
        *("layers", "hidden", "ffn", "heads", "kv_heads", "vocab", "params_B", "model"),
        *("tp", "pp", "vp", "cp", "dp", "micro_batch", "recompute", "zero_or_fsdp"),
    ),
    "",
)
OPEN = {"framework": "NeMo", "precision": "bf16", "n_devices": "64", "global_batch": "512"}


def run_of(folder: Path, **changes: str) -> Run:
    (run,) = read_runs(written(folder, UNSHAPED | OPEN | changes)).runs
    return run


def shaped(run: Run) -> Shaped:
    found = architecture_of(run)
    assert isinstance(found, Shaped), found
    return found


def configured(run: Run) -> Configuration:
    found = configuration_of(run)
    assert isinstance(found, Configuration), found
    return found


def predicted(run: Run) -> Prediction:
    (found,) = predict([run])
    assert isinstance(found, Prediction), found
    return found


@pytest.mark.parametrize(
    ("name", "params_B", "model"),
    [
        ("llama3-70b", "70.6", "llama-3-70b"),
        ("Meta-Llama/Llama3-8B-Instruct", "", "llama-3-8b"),
        ("GPT3 175B", "175", "gpt3-175b"),
        ("mixtral8x7b", "46.7", "mixtral-8x7b"),
        ("gemma2 27b it", "", "gemma-2-27b"),
    ],
)
def test_a_name_means_the_catalog_model(
    tmp_path: Path, name: str, params_B: str, model: str
) -> None:
    found = shaped(run_of(tmp_path, model=name, params_B=params_B))
    assert found.model.name == model
    assert not found.assumed


@pytest.mark.parametrize(
    ("name", "billions", "layers"),
    [("llama3-70b", 65.0, None), ("llama3-70b", 70.6, 40), ("lama3-70b", None, None)],
)
def test_a_name_of_another_model_is_not_taken(
    name: str, billions: float | None, layers: int | None
) -> None:
    assert written_model(name, billions, layers) is None


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("titan-200b", (200, None)),
        ("mine 1.5T", (1500, None)),
        ("Some/Net-350m-chat", (0.35, None)),
        ("mine-30b-a3b", (30, 3)),
        ("mixtral-8x7b", (None, None)),
        ("gpt-3", (None, None)),
    ],
)
def test_a_name_states_its_size(name: str, sizes: tuple[float | None, float | None]) -> None:
    assert written_size(name) == pytest.approx(sizes)


@pytest.mark.parametrize("cells", [{"params_B": "22"}, {"model": "mine-22b"}])
def test_a_size_alone_makes_a_decoder_of_as_many_parameters(
    tmp_path: Path, cells: dict[str, str]
) -> None:
    run = run_of(tmp_path, **cells)
    found = shaped(run)
    assert found.model.parameters == pytest.approx(22e9, rel=0.02)
    assert "a shape usual for 22B parameters" in found.assumed
    configuration = configured(run)
    assert configuration.guessed
    assert found.assumed in configuration.assumed


# Widths and depths of models that the law was not made from: Llama 1 13B, 33B and 65B
# (2302.13971), Chinchilla (2203.15556), Falcon-40B and OPT-30B (2205.01068).
@pytest.mark.parametrize(
    ("billions", "hidden", "layers"),
    [(13, 5120, 40), (32.5, 6656, 60), (65.2, 8192, 80), (70, 8192, 80), (41, 8192, 60)],
)
def test_proportions_are_near_those_of_published_models(
    billions: float, hidden: int, layers: int
) -> None:
    sizes = proportioned({}, billions, None, mixture=False)
    assert sizes["hidden"] == pytest.approx(hidden, rel=0.15)
    assert sizes["layers"] == pytest.approx(layers, rel=0.35)


@given(st.floats(0.02, 2000), st.booleans())
@settings(max_examples=60, deadline=None)
def test_proportions_hold_the_stated_parameters(billions: float, many: bool) -> None:
    if many and billions < 1:
        return
    sizes = proportioned({}, billions, None, mixture=many)
    hidden, heads = sizes["hidden"], sizes["heads"]
    assert hidden % heads == 0
    assert heads % sizes.get("kv_heads", heads) == 0
    tables = sizes["vocab"] * hidden
    network = 3 * hidden * sizes["ffn"] * sizes.get("experts", 1)
    attention = 2 * hidden * hidden * (1 + sizes.get("kv_heads", heads) / heads)
    layered = sizes["layers"] * (attention + network)
    error = min(abs((layered + n * tables) / (billions * 1e9) - 1) for n in (1, 2))
    assert error < 0.05


def test_what_is_stated_of_a_shape_stands() -> None:
    stated = {"layers": 30, "heads": 40, "vocab": 32000}
    sizes = proportioned(stated, 13, None, mixture=False)
    assert sizes.items() >= stated.items()
    assert sizes["hidden"] % 40 == 0


@pytest.mark.parametrize(("total", "active"), [(47, 13), (671, 37), (235, 22), (30.5, 3.3)])
def test_a_mixture_of_a_size_has_both_counts(total: float, active: float) -> None:
    sizes = proportioned({}, total, active, mixture=True)
    model = mixture(tuple(sorted(sizes.items())), total, active, "mine")
    assert model.parameters == pytest.approx(total * 1e9, rel=0.05)
    assert model.active_parameters == pytest.approx(active * 1e9, rel=0.15)


def test_an_assumed_shape_is_predicted_within_a_wider_interval(tmp_path: Path) -> None:
    path = written(tmp_path, UNSHAPED | OPEN | {"params_B": "22", "step_time_s": "5"})
    entry = next(e for e in validate(path).entries if e.quantity == "step_time_s")
    assert entry.status == "scored"
    assert "usual for 22B" in entry.reason
    assert entry.predicted is not None
    assert entry.low is not None
    assert entry.high is not None
    system = configured(run_of(tmp_path, params_B="22")).job.system
    low, high = step_time_interval(1.0, system, 8, 0.0)
    assert entry.low / entry.predicted < low
    assert entry.high / entry.predicted > high


def test_a_sequence_is_that_of_the_model_or_usual(tmp_path: Path) -> None:
    named = configured(run_of(tmp_path, model="llama3-8b", seq_len=""))
    assert named.job.sequence == 8192
    long = configured(run_of(tmp_path, model="llama-3.1-8b", seq_len=""))
    assert long.job.sequence == 2048
    assert "seq_len 2,048" in long.assumed
    assert long.guessed


@pytest.mark.parametrize("devices", [8, 440, 992, 10000, 12288, 13760])
def test_devices_share_an_assumed_batch(tmp_path: Path, devices: int) -> None:
    run = run_of(tmp_path, model="gpt3-175b", n_devices=str(devices), global_batch="")
    found = predicted(run)
    assert found.strategy.devices == devices
    assert found.configuration.job.global_batch % found.strategy.dp == 0


def test_rates_are_scored_with_an_assumed_batch_and_steps_are_not(tmp_path: Path) -> None:
    cells = {"model": "llama3-8b", "global_batch": "", "step_time_s": ""}
    rated = run_of(tmp_path, **cells | {"tokens_per_s_per_gpu": "8000"})
    prediction = predicted(rated)
    seconds = measured_step_time_s(rated, prediction)
    assert seconds == pytest.approx(prediction.tokens_per_step / (8000 * 64))
    timed = run_of(tmp_path, **cells | {"step_time_s": "3.0"})
    assert measured_step_time_s(timed, predicted(timed)) is None


def test_a_batch_that_ranks_cannot_share_is_the_next_they_can(tmp_path: Path) -> None:
    run = run_of(
        tmp_path, model="opt-175b", n_devices="992", global_batch="1024", tp="8", pp="1", cp="1"
    )
    found = configured(run)
    assert found.job.global_batch == 992
    assert "of 1,024 sequences 992, which 124 ranks share evenly" in found.assumed
    assert isinstance(predict([run])[0], Prediction)


def test_pods_are_joined_by_a_network_that_is_said(tmp_path: Path) -> None:
    cells = {"model": "gopher-280b", "accelerator_id": "google-tpu-v3", "framework": "jax"}
    one = configured(run_of(tmp_path, **cells, n_devices="1024", global_batch="3072"))
    assert len(one.job.system.tiers) == 1
    four = configured(run_of(tmp_path, **cells, n_devices="4096", global_batch="3072"))
    assert four.job.system.count == 4096
    assert any("pods of 1,024 devices" in said for said in four.assumed)
    assert four.guessed
