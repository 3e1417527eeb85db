"""A search by bounds finds what evaluating everything finds, and a bound is never above a time."""

from __future__ import annotations

import os

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import costsim
from costsim.errors import InfeasiblePlanError
from costsim.planning.strategies import WORTH_A_LOOK, Search, search
from costsim.training.bounds import least_kernels_s, least_step_s
from costsim.training.evaluate import evaluate
from costsim.training.job import Job
from costsim.training.offload import OFFLOADS
from costsim.training.precision import precision
from costsim.training.profile import profile
from costsim.training.recompute import RECOMPUTE
from costsim.training.schedule import SCHEDULES
from costsim.training.software import software
from costsim.training.space import Choices, Space, limits_of_job
from costsim.training.stages import stages

MODELS = ("gpt2", "llama-3.2-1b", "qwen1.5-moe-a2.7b", "gpt2-xl")
DEVICES = ("nvidia-a100-sxm4-40gb", "nvidia-l4", "nvidia-h100-sxm5-80gb")
EXAMPLES = int(os.environ.get("COSTSIM_SEARCHES", "40"))


@st.composite
def questions(draw: st.DrawFn) -> tuple[Job, int, Choices]:
    """Return a job, a number of devices and what may be chosen."""
    model = costsim.load_model(draw(st.sampled_from(MODELS)))
    devices = draw(st.sampled_from((1, 2, 4, 6, 8, 16, 24, 32)))
    system = costsim.load_hardware(draw(st.sampled_from(DEVICES)), count=devices)
    stack = draw(st.sampled_from(("megatron-2022", "megatron-core", "deepspeed", "fsdp")))
    batch = draw(st.sampled_from((8, 24, 32, 96)))
    job = Job(
        *(model, system, batch, 512, precision("bf16"), "adam", software(stack)),
        nvme_bytes_per_s=25e9,
    )

    def some(values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(draw(st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True)))

    choices = Choices(
        schedule=some(SCHEDULES),
        recompute=some(RECOMPUTE),
        offload=some(OFFLOADS),
        zero=draw(st.sampled_from((None, (0, 1), (2,), (1, 3)))),
    )
    return job, devices, choices


def answer(job: Job, devices: int, choices: Choices, reserve: float, whole: int) -> Search | str:
    """Return what a search finds, or why it finds nothing."""
    try:
        return search(job, [devices], choices, reserve, whole)
    except InfeasiblePlanError as error:
        return str(error)


def near(found: Search) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the strategies within sight of the best, in their order, and their times."""
    step_s = found.evaluation.step_time_s[found.order]
    inside = found.order[step_s <= WORTH_A_LOOK * step_s[0]]
    return found.evaluation.strategies.take(inside).columns(), found.evaluation.step_time_s[inside]


@settings(max_examples=EXAMPLES, deadline=None)
@given(questions(), st.sampled_from((0.0, 0.3, 0.7)))
def test_a_bounded_search_finds_what_brute_force_finds(
    question: tuple[Job, int, Choices], reserve: float
) -> None:
    job, devices, choices = question
    whole, bounded = (answer(job, devices, choices, reserve, most) for most in (10**9, 0))
    if isinstance(whole, str) or isinstance(bounded, str):
        assert whole == bounded
        return
    expected, expected_s = near(whole)
    found, found_s = near(bounded)
    assert np.array_equal(found_s, expected_s)
    assert all(np.array_equal(found[axis], expected[axis]) for axis in expected)
    # All are accounted for, once each.
    assert bounded.searched == whole.searched == len(whole.evaluation)
    assert len(bounded.order) + sum(bounded.rejected.values()) == bounded.searched


@settings(max_examples=EXAMPLES, deadline=None)
@given(questions())
def test_a_bound_is_never_above_the_time(question: tuple[Job, int, Choices]) -> None:
    job, devices, choices = question
    space = Space.of(limits_of_job(job), [devices], choices)
    if not len(space):
        return
    strategies = space.strategies()
    assert len(strategies) == len(space)
    step_s = evaluate(job, strategies).step_time_s
    profiled, _ = profile(job, strategies)
    held = stages(job.model, strategies.pp, strategies.vp, strategies.copies)
    kernels_s = least_kernels_s(job, strategies, held, profiled)
    least_s = least_step_s(job, strategies, held, profiled)
    assert (kernels_s <= step_s * (1 + 1e-12)).all()
    assert (least_s <= step_s * (1 + 1e-12)).all()
