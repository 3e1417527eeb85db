"""Training counted in samples: what is planned of it, by hand and against predicted rows."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import costsim
from costsim.architectures.pictures import divides, native_image, sees_latents, with_image
from costsim.cli import main
from costsim.errors import CostsimError, InfeasiblePlanError, SpecError
from costsim.planning.plans import Plan
from costsim.planning.workloads.training.timelines import plan_timeline
from costsim.resources import packaged_yaml
from costsim.validation.kinds.copies import CopiesPrediction, predict_copies
from costsim.validation.runs import Run

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"
NAMES = ("resnet50-training", "bert-pretraining", "stable-diffusion-training")
A100 = "nvidia-a100-sxm4-80gb"
PLAIN: dict[str, Any] = {"tp": 1, "pp": 1, "zero": 0, "recompute": "none"}
RESNET: dict[str, Any] = {
    "kind": "training",
    "samples": "10 M samples",
    "global_batch": 4096,
    "precision": "fp16",
    "optimizer": "sgd_momentum",
}
BERT: dict[str, Any] = {
    "kind": "training",
    "samples": 1e8,
    "sequence": 128,
    "global_batch": 4096,
    "precision": "fp16",
}


def planned(model: str, workload: dict[str, Any], devices: Any = 8, **more: Any) -> Plan:
    return costsim.plan(
        {
            "name": model,
            "model": model,
            "workload": workload,
            "hardware": {"system": A100, "devices": devices},
            "price": "2 $/h",
            **more,
        }
    )


def predicted(**values: str | float) -> CopiesPrediction:
    text = {key: value for key, value in values.items() if isinstance(value, str)}
    number = {key: float(v) for key, v in values.items() if not isinstance(v, str)}
    (found,) = predict_copies([Run.of("a", 2, {"accelerator_id": A100, **text}, number)])
    assert isinstance(found, CopiesPrediction)
    return found


EXAMPLES = "PyTorch (NVIDIA DeepLearningExamples)"
COMPETITION = "MxNet NVIDIA Release 22.04"
# a row of a runs file, and the same as a scenario
TWINS: dict[str, tuple[dict[str, str | float], str, dict[str, Any]]] = {
    "pictures in plain PyTorch": (
        {"family": "vision", "model": "resnet50", "framework": EXAMPLES, "precision": "amp-fp16"},
        "resnet50",
        RESNET | {"software": "eager"},
    ),
    "pictures in a competition": (
        {"family": "vision", "model": "resnet50", "framework": COMPETITION, "precision": "fp16"},
        "resnet50",
        RESNET | {"software": "tuned"},
    ),
    "short texts": (
        {
            "family": "encoder",
            "model": "bert-large",
            "framework": EXAMPLES,
            "precision": "fp16",
            "seq_len": 128,
        },
        "bert-large",
        BERT | {"software": "eager"},
    ),
    "texts without padding": (
        {
            "family": "encoder",
            "model": "bert-large",
            "framework": COMPETITION,
            "precision": "fp16",
            "seq_len": 512,
        },
        "bert-large",
        BERT | {"software": "tuned", "sequence": 512, "real_tokens": "50 %"},
    ),
    "diffusion": (
        {
            "family": "diffusion",
            "model": "stable-diffusion-2",
            "framework": COMPETITION,
            "precision": "fp16",
        },
        "stable-diffusion-2.1-unet",
        BERT | {"software": "tuned", "image": 512, "sequence": None},
    ),
}


@pytest.mark.parametrize("devices", [1, 8, 32])
@pytest.mark.parametrize("name", TWINS)
def test_a_plan_takes_what_the_same_row_is_predicted_to(name: str, devices: int) -> None:
    row, model, workload = TWINS[name]
    each = 4
    row = row | {"n_devices": devices, "global_batch": each * devices}
    workload = {k: v for k, v in workload.items() if v is not None}
    strategy = PLAIN | {"micro_batch": each}
    plan = planned(model, workload | {"global_batch": each * devices}, devices, strategy=strategy)
    found = predicted(**row)
    assert plan.best.value("step_time_s") == pytest.approx(found.step_time_s, rel=1e-12)
    assert plan.best.value("memory_bytes_per_device") == pytest.approx(found.memory_bytes)


def flops_of_a_sample(plan: Plan) -> float:
    best = plan.best
    peak = 312e12 * best.devices
    return (
        best.value("mfu_ratio") * peak * best.value("step_time_s") / plan.best.run.job.global_batch
    )


def test_work_is_what_is_published_of_resnet50() -> None:
    """torchvision: 25,557,032 parameters, 4.09 G multiply-adds; the image asks for no gradient."""
    plan = planned("resnet50", RESNET)
    assert plan.best.run.job.model.parameters == 25_557_032
    stem = 2 * 112 * 112 * 64 * 3 * 7 * 7
    assert flops_of_a_sample(plan) == pytest.approx(3 * 2 * 4_089_184_256 - stem, rel=1e-12)


def test_work_is_that_of_bert_by_hand() -> None:
    """24·h² + 4·s·h a token and layer forward (Narayanan et al. 2021), thrice in all; a pooler."""
    plan = planned("bert-large", BERT | {"software": "tuned"})
    assert plan.best.run.job.model.parameters == 335_141_888
    hidden, layers, tokens = 1024, 24, 128
    forward = layers * tokens * (24 * hidden**2 + 4 * tokens * hidden) + 2 * hidden**2
    assert flops_of_a_sample(plan) == pytest.approx(3 * forward, rel=1e-3)


def test_steps_and_rates_are_of_samples() -> None:
    epochs = {k: v for k, v in RESNET.items() if k != "samples"}
    plan = planned("resnet50", epochs | {"epochs": 90, "dataset_samples": 1_281_167})
    best = plan.best
    assert best.run.steps == math.ceil(90 * 1_281_167 / 4096)
    assert best.value("samples_per_s") == pytest.approx(4096 / best.value("step_time_s"))
    assert best.value("device_hours") == pytest.approx(best.value("days") * 24 * 8)
    assert "tokens_per_s" not in best.to_dict()


@given(st.integers(2, 20))
@settings(max_examples=5, deadline=None)
def test_time_and_money_scale_with_samples(times: int) -> None:
    one = planned("resnet18", RESNET | {"samples": 4096 * 1000}, strategy=PLAIN)
    more = planned("resnet18", RESNET | {"samples": 4096 * 1000 * times}, strategy=PLAIN)
    for quantity in ("days", "device_hours", "energy_kwh", "co2e_t"):
        assert more.best.value(quantity) == pytest.approx(times * one.best.value(quantity))
    assert more.best.value("step_time_s") == one.best.value("step_time_s")


@pytest.mark.parametrize(
    ("model", "workload"),
    [
        ("resnet50", RESNET | {"software": "eager"}),
        ("vit-b-16", RESNET | {"software": "tuned"}),
        ("bert-large", BERT | {"software": "tuned"}),
        ("stable-diffusion-1.5-unet", RESNET | {"software": "tuned"}),
    ],
)
def test_more_devices_are_never_slower_nor_more_efficient(
    model: str, workload: dict[str, Any]
) -> None:
    plans = [planned(model, workload, count, strategy=PLAIN) for count in (1, 2, 4, 8, 16, 64)]
    steps_s = [plan.best.value("step_time_s") for plan in plans]
    assert steps_s == sorted(steps_s, reverse=True)
    device_s = [plan.best.value("device_hours") for plan in plans]
    assert device_s == sorted(device_s)


def test_larger_images_and_longer_texts_take_longer() -> None:
    sides = [planned("resnet50", RESNET | {"image": side}) for side in (160, 224, 288)]
    texts = [planned("bert-base", BERT | {"sequence": length}) for length in (128, 256, 512)]
    for plans in (sides, texts):
        steps_s = [plan.best.value("step_time_s") for plan in plans]
        assert steps_s == sorted(steps_s)
    wide = planned("resnet50", RESNET | {"image": [224, 448]})
    assert native_image(wide.best.run.job.model) == (224, 448)


def test_a_step_waits_for_the_slower_of_loader_and_node() -> None:
    """By hand: 4,096 images on 8 devices of one node, and a soft maximum of the fourth power."""
    free = {"input": {"sample": "0 s", "node_sample": "0 s"}}
    alone_s = planned("resnet50", RESNET | free, strategy=PLAIN).best.value("step_time_s")
    cases = ((1e-3, 1e-5, 4096 / 8 * 1e-3), (1e-5, 1e-3, 4096 * 1e-3))
    for sample_s, node_sample_s, waited_s in cases:
        pipeline = {"sample": f"{sample_s} s", "node_sample": f"{node_sample_s} s"}
        plan = planned("resnet50", RESNET | {"input": pipeline}, strategy=PLAIN)
        step_s = plan.best.value("step_time_s")
        assert step_s == pytest.approx((alone_s**4 + waited_s**4) ** 0.25)
        assert plan.best.run.time_parts_s["input"] == pytest.approx(step_s - alone_s)
        assert sum(plan.best.run.time_parts_s.values()) == pytest.approx(step_s)


def test_only_pictures_are_waited_for_unless_it_is_said() -> None:
    assert planned("resnet50", RESNET).best.run.time_parts_s["input"] > 0
    assert planned("resnet50", RESNET | {"software": "tuned"}).best.run.time_parts_s["input"] == 0
    diffusion = RESNET | {"global_batch": 64}
    assert planned("stable-diffusion-1.5-unet", diffusion).best.run.time_parts_s["input"] == 0
    assert planned("bert-base", BERT).best.run.time_parts_s["input"] == 0
    slow = BERT | {"input": {"sample": "10 ms"}}
    assert planned("bert-base", slow).best.run.time_parts_s["input"] > 0


def test_intervals_are_those_of_the_software() -> None:
    limits = packaged_yaml("hardware_specs", "calibration/vision.yaml")["training_intervals"]
    compare = [{"name": "plain", "software": "eager"}]
    plan = planned("resnet50", RESNET | {"software": "tuned"}, compare=compare)
    for candidate, name in ((plan.best, "tuned"), (plan.candidates[1], "eager")):
        step = candidate.figures["step_time_s"]
        assert step.low == pytest.approx(step.value * limits[name]["low_ratio"])
        assert step.high == pytest.approx(step.value * limits[name]["high_ratio"])
    assert plan.candidates[1].run.time_parts_s["input"] > 0


def test_images_are_copied_and_divided_only_where_work_divides() -> None:
    for model in ("resnet50", "stable-diffusion-1.5-unet"):
        found = planned(model, RESNET).details.search.evaluation.strategies
        assert set(found.tp) == set(found.pp) == set(found.cp) == {1}
        assert {0, 1, 2, 3} == set(found.zero)
    found = planned("vit-b-16", RESNET | {"software": "tuned"}).details.search.evaluation.strategies
    assert {1, 2, 4} == set(found.tp)
    assert found.micro_batch.max() == 4096 / 2  # of two replicas
    assert divides(costsim.load_model("dit-xl-2"), 16)
    assert not divides(costsim.load_model("stable-diffusion-1.5-unet"), 8)


def test_a_model_made_for_another_image_is_that_of_the_catalog() -> None:
    small, large = costsim.load_model("vit-b-16"), costsim.load_model("vit-b-16-384")
    resized = with_image(small, 384)
    assert resized.parameters == large.parameters
    assert resized.forward_flops(1) == large.forward_flops(1)
    net = costsim.load_model("resnet50")
    assert with_image(net, (160, 288)).forward_flops(2) == net.forward_flops(2, image=(160, 288))
    towers = costsim.load_model("clip-vit-base-patch16")
    assert native_image(with_image(towers, 448)) == (448, 448)
    assert native_image(costsim.load_model("gpt2")) is None
    assert sees_latents(costsim.load_model("flux.1-dev"))
    assert not sees_latents(costsim.load_model("stable-diffusion-vae"))


def test_a_timeline_waits_first_and_ends_with_the_step() -> None:
    plan = planned("resnet50", RESNET, strategy=PLAIN)
    found = plan_timeline(plan)
    waited_s = plan.best.run.time_parts_s["input"]
    first = min(found.slices, key=lambda one: one.start_s)
    assert (first.name, first.start_s, first.end_s) == ("input", 0.0, waited_s)
    assert max(one.end_s for one in found.slices) == pytest.approx(plan.best.value("step_time_s"))


def test_fewest_devices_meet_a_deadline() -> None:
    workload = RESNET | {"samples": 115e6}
    plan = planned("resnet50", workload, "fewest", limits={"deadline": "1 h"})
    assert plan.best.value("days") <= 1 / 24
    half = planned("resnet50", workload, plan.best.devices // 2)
    assert half.best.value("days") > 1 / 24


def test_what_divides_nothing_is_infeasible() -> None:
    with pytest.raises(InfeasiblePlanError, match="4,095"):
        planned("resnet50", RESNET | {"global_batch": 4095})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("format_name", ["table", "json", "markdown", "html", "csv"])
def test_scenarios_are_planned_and_told_in_samples(
    name: str, format_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(SCENARIOS / f"{name}.yaml"), "--format", format_name]) == 0
    text = capsys.readouterr().out
    if format_name == "json":
        best = json.loads(text)["best"]
        assert best["low"]["samples_per_s"] < best["samples_per_s"] < best["high"]["samples_per_s"]
    else:
        assert "sample" in text
        assert "token/s" not in text
        assert "B tokens" not in text


def test_explanations_and_traces_of_samples(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(SCENARIOS / "resnet50-training.yaml")
    assert main(["explain", path, "step_time_s"]) == 0
    assert "read and decoded" in capsys.readouterr().out
    assert main(["trace", path]) == 0
    assert '"input"' in capsys.readouterr().out


FILE = """\
name: ResNet-50
model: resnet50
workload:
  kind: training
  epochs: 90
  dataset_samples: 1281167
  global_batch: 4096
hardware:
  system: nvidia-a100-sxm4-80gb
  devices: 8
"""
TEXT = (("resnet50", "bert-base"), ("4096\n", "4096\n  sequence: 512\n"))

# what is changed, (line, column) of the first error, how many there are, words of message and hint
BAD: dict[str, tuple[tuple[tuple[str, str], ...], tuple[int, int], int, str, str]] = {
    "tokens and epochs": (
        (("  epochs", "  tokens: 1 B tokens\n  epochs"),),
        (6, 3),
        2,
        "`tokens` and `epochs`",
        "keep `tokens`",
    ),
    "tokens and an image": (
        (("  epochs: 90\n  dataset_samples: 1281167\n", "  tokens: 1e9\n  image: 224\n"),),
        (6, 3),
        1,
        "`image` belongs to training that is counted in samples",
        "`samples`",
    ),
    "samples twice": (
        (("  epochs: 90", "  samples: 1e9"),),
        (6, 3),
        1,
        "`samples` and `dataset_samples`",
        "keep `samples`",
    ),
    "epochs of nothing": (
        (("  dataset_samples: 1281167\n", ""),),
        (5, 3),
        1,
        "not how many",
        "dataset_samples",
    ),
    "data nobody reads": ((("  epochs: 90\n", ""),), (5, 3), 1, "how often", "epochs: 90"),
    "no amount": (
        (("  epochs: 90\n  dataset_samples: 1281167\n", "  image: 224\n"),),
        (4, 3),
        1,
        "how much",
        "samples",
    ),
    "misspelt": ((("  epochs", "  epoch"),), (5, 3), 1, "workload.epoch", "`epochs`"),
    "image of a text": (
        (*TEXT, ("  epochs", "  image: 224\n  epochs")),
        (5, 10),
        1,
        "bert-base sees no images",
        "leave `image` out",
    ),
    "length of an image": (
        (("4096\n", "4096\n  sequence: 512\n"),),
        (8, 13),
        1,
        "no `sequence`",
        "`image` is the size",
    ),
    "text without a length": (
        (("resnet50", "bert-base"),),
        (4, 3),
        1,
        "how long a sample is",
        "sequence: 512",
    ),
    "beyond the positions": (
        (*TEXT, ("512", "1024")),
        (8, 13),
        1,
        "positions for 512",
        "at most 512",
    ),
    "three sides of a still": (
        (("4096\n", "4096\n  image: [8, 224, 224]\n"),),
        (8, 10),
        1,
        "height and width",
        "224",
    ),
    "an image that shrinks to nothing": (
        (("resnet50", "stable-diffusion-1.5-unet"), ("4096\n", "4096\n  image: 4\n")),
        (8, 10),
        1,
        "to nothing",
        "512 x 512",
    ),
    "software of language models": (
        (("4096\n", "4096\n  software: megatron-core\n"),),
        (8, 13),
        1,
        "megatron-core",
        "`eager`, `tuned`",
    ),
    "no unit of time": (
        (("4096\n", "4096\n  input: {sample: 400}\n"),),
        (8, 19),
        1,
        "has no unit",
        "20 ms",
    ),
    "stages of images": (
        (("devices: 8\n", "devices: 8\nstrategy: {pp: 2}\n"),),
        (11, 16),
        1,
        "not cut into stages",
        "use one of 1",
    ),
    "convolutions divided": (
        (("devices: 8\n", "devices: 8\nstrategy: {tp: 2}\n"),),
        (11, 16),
        1,
        "convolutions stay whole",
        "use one of 1",
    ),
    "an image model of tokens": (
        (
            (
                "  epochs: 90\n  dataset_samples: 1281167\n",
                "  tokens: 1e9\n  sequence: 512\n",
            ),
        ),
        (2, 8),
        1,
        "not counted in tokens",
        "`samples`",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_mistakes_are_named_at_their_place(name: str, tmp_path: Path) -> None:
    changes, (line, column), count, message, hint = BAD[name]
    text = FILE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "scenario.yaml"
    path.write_text(text)
    with pytest.raises(CostsimError) as caught:
        costsim.plan(path)
    assert isinstance(caught.value, SpecError)
    problems = caught.value.problems
    assert len(problems) == count, problems
    place = problems[0].location
    assert place is not None
    assert (place.line, place.column) == (line, column), problems[0]
    assert message in problems[0].message
    assert problems[0].hint is not None
    assert hint in problems[0].hint
