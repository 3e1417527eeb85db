"""Rows that train copies of a model: what is read of them, what follows, and how near it comes."""

from __future__ import annotations

from pathlib import Path

import pytest

from costsim.training.samples import InputPipeline, waiting_s, with_waiting
from costsim.validation.entries import Entry
from costsim.validation.kinds.copies import predict_copies
from costsim.validation.named import named_model
from costsim.validation.quality import samples_to_quality
from costsim.validation.replicated import copies_of, profile_of
from costsim.validation.runs import Run
from costsim.validation.score import validate

COLUMNS = (
    *("id", "family", "model", "params_B", "layers", "hidden", "heads", "vocab", "seq_len"),
    *("accelerator_id", "hardware", "n_devices", "nodes", "precision", "framework"),
    *("global_batch", "micro_batch", "samples_per_s_per_gpu", "gpu_hours", "task"),
)
MLPERF = {
    "family": "vision",
    "model": "resnet50",
    "accelerator_id": "nvidia-a100-sxm4-80gb",
    "n_devices": 8,
    "framework": "MxNet NVIDIA Release 22.04",
    "global_batch": 3264,
    "task": "time-to-quality",
}
EXAMPLE = {
    "family": "vision",
    "model": "resnet50",
    "accelerator_id": "nvidia-a100-sxm4-80gb",
    "n_devices": 1,
    "precision": "amp-fp16",
    "framework": "PyTorch (NVIDIA DeepLearningExamples)",
    "task": "train-throughput",
}


def run(**values: str | float) -> Run:
    text = {key: value for key, value in values.items() if isinstance(value, str)}
    number = {key: float(v) for key, v in values.items() if not isinstance(v, str)}
    return Run.of("a", 2, text, number)


def step_s(**values: str | float) -> float:
    (found,) = predict_copies([run(**values)])
    assert not isinstance(found, str)
    return found.step_time_s


def read(tmp_path: Path, *rows: dict[str, str | float]) -> list[Entry]:
    lines = [",".join(COLUMNS)]
    for index, row in enumerate(rows):
        cells = {"id": f"r{index}", **row}
        lines.append(",".join(str(cells.get(column, "")) for column in COLUMNS))
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(lines) + "\n")
    return list(validate(path).entries)


def test_samples_to_quality_are_the_reference_points() -> None:
    assert samples_to_quality("resnet50", 3264) == pytest.approx(35.2 * 1_281_167)
    assert samples_to_quality("retinanet-resnext50", 100) == pytest.approx(4 * 1_170_301)
    between = samples_to_quality("stable-diffusion-2", 1448)
    assert between is not None
    assert 2_875_077 < between < 4_016_574
    assert samples_to_quality("resnet18", 256) is None


def test_larger_batches_of_images_take_more_samples() -> None:
    found = [samples_to_quality("resnet50", 2**power) for power in range(11, 17)]
    known = [value for value in found if value is not None]
    assert known == sorted(known)


@pytest.mark.parametrize(
    ("written", "model", "parameters"),
    [
        ("bert-large-uncased", "bert-large", 335_141_888),
        ("resnext101_32x4d", "resnext101-32x4d", 44_177_704),
        ("efficientnet-widese-b4", "efficientnet-widese-b4", 34_927_246),
        ("vit_b_16", "vit-b-16", 86_567_656),
    ],
)
def test_names_of_runs_files_lead_to_the_catalog(written: str, model: str, parameters: int) -> None:
    found = named_model(run(model=written))
    assert not isinstance(found, str)
    assert (found.model.name, found.model.parameters) == (model, parameters)


def test_an_encoder_without_a_name_has_the_shape_of_its_row() -> None:
    shape = {"layers": 12, "hidden": 768, "heads": 12, "vocab": 30522}
    found = named_model(run(family="encoder", model="our-encoder", **shape))
    assert not isinstance(found, str)
    assert found.model.parameters == 109_482_240  # BERT-base
    assert isinstance(named_model(run(family="encoder", model="our-encoder")), str)


def test_stable_diffusion_trains_on_latents_of_512_pixels() -> None:
    found = named_model(run(model="stable-diffusion-2"))
    assert not isinstance(found, str)
    assert "encoders" in found.left_out
    assert found.model.forward_flops(1) < 0.5 * found.model.forward_flops(1, image=768)


def test_code_of_competitions_is_told_by_task_or_framework() -> None:
    assert profile_of(run(**MLPERF)) == "tuned"
    assert profile_of(run(framework="NGC MXNet 22.09")) == "tuned"
    assert profile_of(run(**EXAMPLE)) == "eager"


def test_padding_of_bert_is_left_out_at_512_tokens_only() -> None:
    row = MLPERF | {"family": "encoder", "model": "bert-large", "global_batch": 448}
    long, short = copies_of(run(**row, seq_len=512)), copies_of(run(**row, seq_len=128))
    assert not isinstance(long, str)
    assert not isinstance(short, str)
    assert (long.job.sequence, short.job.sequence) == (256, 128)
    assert "padding" in " ".join(long.assumed)


def test_a_missing_batch_is_one_that_memory_holds() -> None:
    small, large = copies_of(run(**EXAMPLE)), copies_of(run(**EXAMPLE | {"model": "vgg19"}))
    assert not isinstance(small, str)
    assert not isinstance(large, str)
    assert (small.batch, small.stated) == (256, False)
    assert "global_batch 256" in small.assumed
    tiny = EXAMPLE | {"model": "efficientnet-b7"}
    found = copies_of(run(**tiny))
    assert not isinstance(found, str)
    assert found.batch < 256


def test_pictures_bound_what_devices_could_do() -> None:
    pipeline = InputPipeline(device_sample_s=1e-3, node_sample_s=5e-4)
    assert waiting_s(pipeline, 100, 800) == pytest.approx(0.4)
    assert waiting_s(pipeline, 100, 100) == pytest.approx(0.1)
    assert with_waiting(0.2, 0.0) == 0.2
    assert max(0.2, 0.4) < with_waiting(0.2, 0.4) < 0.6
    single = 256 / step_s(**EXAMPLE)
    node = 8 * 256 / step_s(**EXAMPLE | {"n_devices": 8})
    assert node < 8 * single


def test_diffusion_and_encoders_wait_for_no_pictures() -> None:
    row = MLPERF | {"family": "diffusion", "model": "stable-diffusion-2", "global_batch": 256}
    copies = copies_of(run(**row | {"framework": "PyTorch"}))
    assert not isinstance(copies, str)
    assert copies.samples == (0, 0)


def test_more_samples_take_longer_and_more_devices_less() -> None:
    assert step_s(**MLPERF) < step_s(**MLPERF | {"global_batch": 6528})
    assert step_s(**MLPERF | {"n_devices": 64}) < step_s(**MLPERF)


def test_fewer_samples_than_devices_are_predicted() -> None:
    row = MLPERF | {"model": "maskrcnn-resnet50", "n_devices": 384, "global_batch": 256}
    assert 0 < step_s(**row) < step_s(**row | {"n_devices": 128})


def test_entries_of_a_run_to_quality(tmp_path: Path) -> None:
    found = {
        entry.quantity: entry
        for entry in read(tmp_path, MLPERF | {"samples_per_s_per_gpu": 3000.0, "gpu_hours": 4.0})
    }
    assert set(found) == {"step_time_s", "samples_per_s", "memory_gb_per_gpu", "gpu_hours"}
    step, rate, hours = (found[q] for q in ("step_time_s", "samples_per_s", "gpu_hours"))
    assert step.measured == pytest.approx(3264 / 24_000)
    assert rate.measured == 24_000
    assert step.predicted is not None
    assert rate.predicted == pytest.approx(3264 / step.predicted)
    assert rate.predicted is not None
    assert hours.predicted == pytest.approx(35.2 * 1_281_167 / rate.predicted * 8 / 3600)
    for entry in (step, rate, hours):
        assert entry.low is not None
        assert entry.high is not None
        assert entry.predicted is not None
        assert entry.low < entry.predicted < entry.high


def test_rows_keep_their_order_among_others(tmp_path: Path) -> None:
    language = {
        "family": "llm-dense",
        "params_B": 1.0,
        "layers": 16,
        "hidden": 2048,
        "heads": 16,
        "vocab": 50304,
        "seq_len": 2048,
        "accelerator_id": "nvidia-a100-sxm4-80gb",
        "n_devices": 8,
        "precision": "bf16",
        "global_batch": 64,
    }
    found = [entry.run.id for entry in read(tmp_path, EXAMPLE, language, MLPERF)]
    assert list(dict.fromkeys(found)) == ["r0", "r1", "r2"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"model": "nonesuch-9"}, "nonesuch-9"),
        ({"model": ""}, "model"),
        ({"task": "full-run", "gpu_hours": 10.0}, "global_batch"),
        ({"precision": "int3"}, "int3"),
        ({"accelerator_id": "", "hardware": ""}, "accelerator_id"),
    ],
)
def test_what_cannot_be_predicted_says_why(
    change: dict[str, str | float], word: str, tmp_path: Path
) -> None:
    found = read(tmp_path, EXAMPLE | change)
    assert all(entry.status == "unsupported" for entry in found)
    assert word in found[0].reason


def test_a_whole_run_without_a_rule_has_no_hours(tmp_path: Path) -> None:
    found = {e.quantity: e for e in read(tmp_path, MLPERF | {"model": "resnet18"})}
    assert found["step_time_s"].predicted is not None
    assert found["gpu_hours"].status == "unsupported"
