"""Pipelines of images and video: operations against published models, and laws of time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from costsim import load_hardware
from costsim.errors import UnknownNameError
from costsim.inference.media import MediaJob, estimate_media, phase_power
from costsim.inference.pipelines import load_pipeline, pipeline_names

H100 = load_hardware("h100")


def job(name: str = "flux.1-dev", **changes: int | str) -> MediaJob:
    pipeline = load_pipeline(name)
    one = MediaJob(
        pipeline, H100, 1, pipeline.steps, pipeline.height, pipeline.width, pipeline.frames
    )
    return replace(one, **changes)


@pytest.mark.parametrize(
    ("name", "params", "modulated"),
    [
        ("black-forest-labs/FLUX.1-dev", 11.9e9, 19 * 12 + 38 * 3),
        ("stabilityai/stable-diffusion-3.5-large", 8.06e9, 38 * 12),
        ("PixArt-alpha/PixArt-Sigma-XL-2-1024-MS", 0.61e9, 0),
        ("Wan-AI/Wan2.1-T2V-14B-Diffusers", 14.3e9, 0),
        ("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", 1.42e9, 0),
        ("tencent/HunyuanVideo", 13.0e9, 20 * 12 + 40 * 3),
        ("zai-org/CogVideoX1.5-5B", 5.57e9, 84),  # of rank 512
    ],
)
def test_weights_of_blocks_are_nearly_those_of_the_model(
    name: str, params: float, modulated: int
) -> None:
    # Published totals, less what modulates by the step and acts on no token: 6 h² of each stream of
    # a joint block, 3 h² of a single one.
    pipeline = load_pipeline(name)
    assert pipeline.weights == pytest.approx(params - modulated * pipeline.hidden**2, rel=0.15)


def test_latents_of_an_image_and_a_clip() -> None:
    assert load_pipeline("FLUX.1-dev").tokens(1024, 1024, 1) == 64 * 64
    # Wan: 81 frames are 21 latent ones, 480 x 832 pixels 30 x 52 tokens.
    assert load_pipeline("Wan2.1-T2V-14B").tokens(480, 832, 81) == 21 * 30 * 52


@pytest.mark.parametrize("name", pipeline_names())
def test_more_of_anything_takes_longer(name: str) -> None:
    pipeline = load_pipeline(load_pipeline_name(name))
    one = MediaJob(pipeline, H100, 1, 10, pipeline.height, pipeline.width, pipeline.frames)
    first = estimate_media(one)
    assert first.latency_s > 0
    for change in ({"batch": 2}, {"steps": 20}, {"height": 2 * pipeline.height}):
        assert estimate_media(replace(one, **change)).latency_s > first.latency_s
    compiled, tuned = (estimate_media(replace(one, stack=s)) for s in ("compiled", "tuned"))
    assert tuned.latency_s < compiled.latency_s < first.latency_s


def load_pipeline_name(identity: str) -> str:
    """Return a name by which the pipeline called `identity` is found."""
    from costsim.inference.pipelines import _pipelines

    return _pipelines()[identity].names[0]


def test_devices_share_the_work_of_a_clip_but_not_more_than_it() -> None:
    clip = job("wan2.1-t2v-14b")
    alone = estimate_media(clip)
    four = estimate_media(replace(clip, ulysses=4, system=H100.with_count(4)))
    assert alone.latency_s / 4 < four.latency_s < alone.latency_s / 2.5
    assert four.exchange_s > 0 == alone.exchange_s


def test_power_lies_between_waiting_and_the_limit() -> None:
    power, found = phase_power(), estimate_media(job())
    limit = H100.accelerator.tdp_w
    assert limit is not None
    assert power.waiting * limit < found.power_w <= power.products * limit * 1.001
    energy = found.power_w * found.latency_s
    assert found.energy_j_per_sample == pytest.approx(energy)


def test_a_pipeline_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(UnknownNameError, match="unknown pipeline"):
        load_pipeline("some-other-model")
