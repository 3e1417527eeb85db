"""Every model of the catalogue is planned and reported in every format, or refused clearly.

One in a hundred in the fast suite; `pytest -m slow` plans the rest, in chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from costsim import estimate_inference, load_hardware, plan
from costsim.architectures import Architecture, load_model, model_names
from costsim.errors import CostsimError
from costsim.reporting.plans import plan_report
from costsim.reporting.registry import FORMATS, render

_CHUNKS = 50
_SAMPLED = 25  # a chunk of the fast suite


def _training(model: Architecture, tokens: int) -> dict[str, Any]:
    work: dict[str, Any] = {"kind": "training", "global_batch": 64}
    if model.reads_tokens:
        work |= {"tokens": 1e9, "sequence": tokens, "software": "megatron-core"}
    else:
        work |= {"epochs": 1, "dataset_samples": 100_000, "software": "eager"}
    strategy = {"pp": 1, "cp": 1, "micro_batch": 1}
    hardware = {"system": "nvidia-h100-sxm5-80gb", "devices": 64}
    return {"workload": work, "hardware": hardware, "strategy": strategy}


def _service(model: Architecture, tokens: int) -> dict[str, Any] | None:
    if not model.cache_bytes(1, 1):
        return None
    lengths = {"input_tokens": max(1, tokens // 2), "output_tokens": max(1, tokens // 4)}
    work = {"kind": "inference", "requests_per_s": 1, **lengths}
    return {"workload": work, "hardware": {"system": "nvidia-h200-sxm-141gb", "precision": "bf16"}}


def _forward(model: Architecture, tokens: int) -> dict[str, Any]:
    work: dict[str, Any] = {"kind": "forward", "requests_per_s": 1, "max_batch": 2}
    work |= {"sequence": tokens} if model.reads_tokens else {}
    return {"workload": work, "hardware": {"system": "nvidia-h200-sxm-141gb"}}


def _planned(name: str) -> None:
    model = load_model(name)
    tokens = min(1024, model.context_limit or 1024)
    for make in (_training, _service, _forward):
        scenario = make(model, tokens)
        if scenario is None:
            continue
        problems = _problems({"name": name, "model": name, **scenario})
        assert all(problem.message for problem in problems)


def _problems(scenario: dict[str, Any]) -> Sequence[Any]:
    """Return what is wrong with a scenario: nothing where there is a plan."""
    try:
        made = plan(scenario)
    except CostsimError as error:
        return error.problems or ["an error without a problem"]
    assert made.to_dict()["best"]
    report = plan_report(made)
    assert all(render(report, form) for form in FORMATS)
    return ()


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(_CHUNKS))
def test_every_model_has_a_plan_or_one_clear_error(chunk: int) -> None:
    for name in model_names()[chunk::_CHUNKS]:
        _planned(name)


@pytest.mark.parametrize("name", model_names()[_SAMPLED::_CHUNKS][::2])
def test_some_models_have_a_plan_or_one_clear_error(name: str) -> None:
    _planned(name)


@pytest.mark.parametrize(
    "phase",
    ["decode", *(pytest.param(phase, marks=pytest.mark.slow) for phase in ("forward", "prefill"))],
)
def test_every_model_is_estimated_without_a_length(phase: Any) -> None:
    system = load_hardware("nvidia-h100-sxm5-80gb", count=1)
    for name in model_names():
        assert estimate_inference(load_model(name), system, phase=phase).latency_s > 0
