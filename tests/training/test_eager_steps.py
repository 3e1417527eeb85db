"""Steps of plain PyTorch on a CPU: against measured ones, and against the machine it runs on."""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import costsim
from costsim.architectures import Architecture
from costsim.architectures.tracing import from_torch
from costsim.errors import UnknownNameError
from costsim.hardware.accelerators import Accelerator
from costsim.hardware.catalog import load_accelerator
from costsim.training.eager import as_measured, eager_time_s

CPU = load_accelerator("cpu-epyc-9654")


def layers(width: int, depth: int) -> nn.Module:
    pairs = [part for _ in range(depth) for part in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(*pairs)


def of_case(case: str) -> tuple[Architecture, int, int] | None:
    """Return model, batch and sequence of a measured case whose dimensions its name tells."""
    kind, *numbers = case.split("_")
    values = [int(re.sub(r"\D", "", text)) for text in numbers if text[-1].isdigit()]
    if kind == "mlp":
        width, depth, batch = values
        return from_torch(layers(width, depth), torch.empty(batch, width)), batch, 1
    if case == "resnet18_b1_224":
        return costsim.load_model("resnet18"), 1, 1
    if kind == "gpt2":
        return costsim.load_model("gpt2"), values[0], values[1]
    return None


def test_measured_steps(shared: Path) -> None:
    ratios: list[float] = []
    known: dict[str, tuple[Architecture, int, int] | None] = {}
    path = shared / "validation" / "oracle" / "cpu_steps.csv"
    for row in csv.DictReader(path.read_text().splitlines()):
        case = row["case"]
        known.setdefault(case, of_case(case))
        found = known[case]
        if found is None:
            continue
        device = as_measured(
            CPU,
            flops_per_s=float(row["gemm_flops_per_s"]),
            bytes_per_s=float(row["copy_bytes_per_s"]),
            units=int(row["threads"]),
        )
        model, batch, sequence = found
        predicted = eager_time_s(
            model, device, batch=batch, sequence=sequence, optimizer=row["optimizer"] or None
        )
        ratios.append(predicted / float(row["wall_s_min"]))
    assert len(ratios) >= 36
    errors = np.abs(np.array(ratios) - 1)
    assert np.median(errors) < 0.25
    assert np.quantile(errors, 0.9) < 0.5


def least_s(action: Callable[[], object], times: int = 5) -> float:
    found: list[float] = []
    for _ in range(times):
        start = time.process_time()
        action()
        found.append(time.process_time() - start)
    return min(found)


@pytest.fixture(scope="module")
def this_machine() -> Accelerator:
    """A CPU described by the rates of products and copies that this one measures, one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    left, right = torch.rand(1024, 1024), torch.rand(1024, 1024)
    source, target = torch.rand(2**24), torch.empty(2**24)
    try:
        return as_measured(
            CPU,
            flops_per_s=2 * 1024**3 / least_s(lambda: left @ right),
            bytes_per_s=2 * source.nbytes / least_s(lambda: target.copy_(source)),
            units=1,
        )
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("optimizer", [None, "sgd", "adamw"])
@pytest.mark.parametrize(("width", "batch"), [(1024, 256), (512, 512)])
def test_this_machine(
    this_machine: Accelerator, width: int, batch: int, optimizer: str | None
) -> None:
    """CPU seconds of real steps over predicted ones: a bound for any machine, however busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        module, inputs = layers(width, 4), torch.rand(batch, width)
        made = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}
        update = made[optimizer](module.parameters(), lr=1e-4) if optimizer else None

        def step() -> None:
            if update is None:
                with torch.no_grad():
                    module(inputs)
                return
            update.zero_grad()
            module(inputs).sum().backward()
            update.step()

        step()
        measured_s = least_s(step)
    finally:
        torch.set_num_threads(threads)
    model = from_torch(module, inputs)
    predicted_s = eager_time_s(model, this_machine, batch=batch, optimizer=optimizer)
    assert 1 / 3 < measured_s / predicted_s < 3


def test_unknown_optimizer_is_suggested() -> None:
    with pytest.raises(UnknownNameError) as error:
        eager_time_s(costsim.load_model("gpt2"), CPU, batch=1, sequence=8, optimizer="adamx")
    assert "`adam`" in (error.value.problems[0].hint or "")
