"""Steps of plain PyTorch on a CPU: against measured ones, and against the machine it runs on."""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import costsim
from architectures.eager_reference import Case, model
from costsim.architectures import Architecture
from costsim.architectures.tracing import from_torch
from costsim.architectures.vision.vit import VisionTransformer
from costsim.errors import UnknownNameError
from costsim.hardware.accelerators import Accelerator
from costsim.hardware.catalog import load_accelerator
from costsim.training.eager import as_measured, eager_time_s

CPU = load_accelerator("cpu-epyc-9654")


def layers(width: int, depth: int) -> nn.Module:
    pairs = [part for _ in range(depth) for part in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(*pairs)


# Shapes that the case's name does not tell, by the file's columns of parameters and FLOPs.
VIT_TINY = VisionTransformer(patch=16, layers=12, hidden=192, heads=3, width=768)
LLAMA_SMALL = {
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 4000,
    "tie_word_embeddings": False,
}


@dataclass(frozen=True)
class Step:
    """A measured case: the model and what passes through it."""

    model: Architecture
    batch: int
    sequence: int = 1
    image: int | None = None

    @classmethod
    def of(cls, case: str) -> Step:
        kind, *numbers = case.split("_")
        values = [int(re.sub(r"\D", "", text)) for text in numbers if text[-1].isdigit()]
        match kind:
            case "mlp":
                width, depth, batch = values
                return cls(from_torch(layers(width, depth), torch.empty(batch, width)), batch)
            case "resnet18":
                return cls(costsim.load_model("resnet18"), values[0], image=values[1])
            case "vit":
                return cls(Architecture("vit-tiny", VIT_TINY), values[-1])
            case "llama":
                return cls(costsim.load_model(LLAMA_SMALL), values[0], values[1])
            case _:
                return cls(costsim.load_model("gpt2"), values[0], values[1])

    @property
    def forward_flops(self) -> int:
        sequence = self.sequence if self.image is None else None
        return self.model.forward_flops(self.batch, sequence, self.image)


def steps(shared: Path) -> list[tuple[Step, dict[str, str]]]:
    path = shared / "validation" / "oracle" / "cpu_steps.csv"
    rows = [*csv.DictReader(path.read_text().splitlines())]
    known = {case: Step.of(case) for case in {row["case"] for row in rows}}
    return [(known[row["case"]], row) for row in rows]


def test_shapes_are_those_measured(shared: Path) -> None:
    for step, row in steps(shared):
        assert step.model.parameters == int(row["params"])
        if row["pass"] == "forward":
            assert step.forward_flops == int(row["flops"])


def test_measured_steps(shared: Path) -> None:
    ratios: list[float] = []
    for step, row in steps(shared):
        device = as_measured(
            CPU,
            flops_per_s=float(row["gemm_flops_per_s"]),
            bytes_per_s=float(row["copy_bytes_per_s"]),
            units=int(row["threads"]),
        )
        predicted = eager_time_s(
            step.model,
            device,
            batch=step.batch,
            sequence=step.sequence,
            image=step.image,
            optimizer=row["optimizer"] or None,
        )
        ratios.append(predicted / float(row["wall_s_min"]))
    assert len(ratios) == 54
    errors = np.abs(np.array(ratios) - 1)
    assert np.median(errors) < 0.15
    assert np.quantile(errors, 0.9) < 0.3


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


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def measured_s(module: nn.Module, loss: Callable[[], Tensor], optimizer: str | None) -> float:
    """Return CPU seconds of a forward pass, or of a step with an optimizer's update."""
    made = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}
    update = made[optimizer](module.parameters(), lr=1e-4) if optimizer else None

    def step() -> None:
        if update is None:
            with torch.no_grad():
                loss()
            return
        update.zero_grad()
        loss().backward()
        update.step()

    step()
    return least_s(step)


@pytest.mark.parametrize("optimizer", [None, "sgd", "adamw"])
@pytest.mark.parametrize(("width", "batch"), [(1024, 256), (512, 512)])
def test_this_machine(
    this_machine: Accelerator, one_thread: None, width: int, batch: int, optimizer: str | None
) -> None:
    """CPU seconds of real steps over predicted ones: a bound for any machine, however busy."""
    module, inputs = layers(width, 4), torch.rand(batch, width)
    found_s = measured_s(module, lambda: module(inputs).sum(), optimizer)
    predicted_s = eager_time_s(
        from_torch(module, inputs), this_machine, batch=batch, optimizer=optimizer
    )
    assert 1 / 3 < found_s / predicted_s < 3


@pytest.mark.parametrize("optimizer", [None, "sgd", "adamw"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_attention_on_this_machine(
    this_machine: Accelerator, one_thread: None, family: str, optimizer: str | None
) -> None:
    """The same of layers with attention, rotation and norms, and of a loss over a vocabulary."""
    kv_heads = 2 if family == "llama" else 4
    sizes = {"layers": 3, "hidden": 256, "inner": 768, "vocabulary": 2000}
    case = Case(family, "sdpa", sequence=128, batch=2, heads=4, kv_heads=kv_heads, **sizes)
    module = model(case)
    for weight in module.parameters():
        if weight.ndim > 1:  # as GPT-2 is; logits of wide embeddings have denormal gradients
            nn.init.normal_(weight, std=0.02)
    ids = torch.randint(case.vocabulary, (case.batch, case.sequence))

    def loss() -> Tensor:
        return F.cross_entropy(module(ids).float().flatten(0, 1), ids.flatten())

    found_s = measured_s(module, loss, optimizer)
    predicted_s = eager_time_s(
        case.architecture,
        this_machine,
        batch=case.batch,
        sequence=case.sequence,
        optimizer=optimizer,
    )
    assert 1 / 3 < found_s / predicted_s < 3


def test_unknown_optimizer_is_suggested() -> None:
    with pytest.raises(UnknownNameError) as error:
        eager_time_s(costsim.load_model("gpt2"), CPU, batch=1, sequence=8, optimizer="adamx")
    assert "`adam`" in (error.value.problems[0].hint or "")
