"""Every figure of the compression oracle, which was taken from PyTorch 2.13 (see its ORACLE.md)."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from compression_models import MODELS, Perceptron, bert, llama
from costsim.architectures import Architecture, load_model
from costsim.architectures.tensors import Weight
from costsim.compression.compressing import compress
from costsim.compression.effects import Figures, figures
from costsim.compression.formats import Format, plain
from costsim.compression.sparsity import Pattern, Unstructured

EXACT = 0.0
CONTAINER = 0.005  # torch.save's own structure

ROWS = list(
    csv.DictReader(
        (Path(__file__).resolve().parent.parent / "data" / "compression_oracle.csv")
        .read_text()
        .splitlines()
    )
)


@cache
def model_of(name: str) -> Architecture:
    return MODELS[name]()


def linear_weights(model: Architecture) -> list[Weight]:
    """Matrices of nn.Linear modules, a tied head's included, one entry a layer."""
    return [
        weight
        for block in model.blocks()
        for operator in block.operators
        for weight in operator.weights()
        if weight.matrix and not weight.lookup
        for _ in range(block.count)
    ]


def linear_tensors(model: Architecture) -> list[tuple[int, ...]]:
    return [shape for weight in linear_weights(model) for shape in weight.shapes]


@cache
def stored(name: str, method: str) -> tuple[Figures, Format | None]:
    model = model_of(name)
    if method in ("fp32", "bf16"):
        return figures(model, method), None
    if method.startswith("int8_dynamic"):
        made = compress(model, "int8-dynamic", "fp32")
        return figures(made.after, "fp32"), None
    bits, group = re.match(r"int(\d)_group(\d+)", method).groups()  # type: ignore[union-attr]
    if name == "gpt2_small":
        # Its layers are Conv1D, not nn.Linear, and its head is tied: nothing is quantized.
        return figures(model, "bf16"), None
    recipe = {
        "name": method,
        "steps": [
            {"kind": "quantize", "format": f"int{bits}-g{group}", "matrices": "linear"},
        ],
    }
    return figures(compress(model, [recipe]).after), plain("bf16")


def storage(row: dict[str, str]) -> tuple[float, float]:
    found, _ = stored(row["model"], row["method"])
    content = found.contents
    scales = content.get("scales and zeros", 0)
    packed = sum(size for name, size in content.items() if name.startswith("int"))
    values: dict[str, tuple[float, float]] = {
        "params": (found.parameters, EXACT),
        "linear_weight_params": (
            sum(w.elements for w in linear_weights(model_of(row["model"]))),
            EXACT,
        ),
        "payload_bytes": (found.weights_bytes, EXACT),
        "q_bytes": (packed, EXACT),
        "scale_bytes": (scales, EXACT),
        "file_bytes": (found.file_bytes, CONTAINER),
    }
    return values[row["metric"]]


def pruning(row: dict[str, str]) -> tuple[float, float]:
    model = model_of(row["model"])
    tensors = linear_tensors(model)
    if row["method"].startswith("2:4"):
        pattern, dense = Pattern(plain("bf16")), plain("bf16")
        values = {
            "dense_bytes": sum(dense.stored_bytes(shape) for shape in tensors),
            "value_bytes": sum(pattern.value_bytes(shape) for shape in tensors),
            "metadata_bytes": sum(pattern.index_bytes(shape) for shape in tensors),
            "total_bytes": sum(pattern.stored_bytes(shape) for shape in tensors),
        }
        return values[row["metric"]], EXACT
    ratio, single = float(row["method"].split()[1]), plain("fp32")

    def filed(layout: str) -> int:
        form = Unstructured(single, ratio, layout)  # type: ignore[arg-type]
        return sum(form.disk_bytes(shape) for shape in tensors)

    if row["metric"] == "dense_file_bytes":
        return figures(model, "fp32").file_bytes, CONTAINER
    values = {
        "linear_nnz": sum(Unstructured(single, ratio).kept(shape) for shape in tensors),
        "dense_fp32_bytes": filed("dense"),
        "csr_bytes_fp32_int32": filed("csr"),
        "coo_bytes_fp32_int64": filed("coo"),
        "bitmap_bytes_fp32": filed("bitmap"),
    }
    return values[row["metric"]], EXACT


def structured(row: dict[str, str]) -> tuple[float, float]:
    if row["model"].startswith("mlp"):
        kept = float(row["method"].split()[-1])
        inner = round(2048 * kept)
        sliced = Architecture("mlp", Perceptron((512, inner, inner, 10)))
        return (
            sliced.parameters if row["metric"] == "params" else sliced.forward_flops(8, 1)
        ), EXACT
    heads, of_heads, ffn, of_ffn = (
        int(number)
        for number in re.match(r"heads=(\d+)/(\d+) .*ffn=(\d+)/(\d+)", row["method"]).groups()  # type: ignore[union-attr]
    )
    recipes = []
    if heads < of_heads:
        recipes.append({"prune-heads": {"ratio": 1 - heads / of_heads}})
    if ffn < of_ffn:
        recipes.append({"prune-neurons": {"ratio": 1 - ffn / of_ffn}})
    after = compress(llama(256, 4, 4, 2, 704), recipes).after
    return (after.parameters if row["metric"] == "params" else after.forward_flops(1, 128)), EXACT


def distillation(row: dict[str, str]) -> tuple[float, float]:
    if row["model"].startswith("gpt2"):
        teacher, student, batch = load_model("gpt2"), load_model("distilgpt2"), 1
    else:
        teacher, student, batch = bert(256, 4), bert(128, 2), 4
    values = {
        "teacher_params": teacher.parameters,
        "student_params": student.parameters,
        "teacher_fwd_flops": teacher.forward_flops(batch, 64),
        "student_fwd_flops": student.forward_flops(batch, 64),
        "step_flops": teacher.forward_flops(batch, 64) + student.training_flops(batch, 64),
    }
    return values[row["metric"]], EXACT


def lora(row: dict[str, str]) -> tuple[float, float]:
    model = model_of(row["model"])
    rank, targets, batch, sequence = re.match(  # type: ignore[union-attr]
        r"r=(\d+) targets=(\S+) b(\d+)_s(\d+)", row["method"]
    ).groups()
    shape = int(batch), int(sequence)
    adapted = compress(model, f"lora:rank={rank}:targets={targets}").after
    found = figures(adapted, "fp32", *shape)
    trained = [
        Weight(w.name, w.elements, shapes=w.shapes)
        for block in adapted.blocks()
        for w in block.weights()
        if not w.frozen
        for _ in range(block.count)
    ]
    tensors = sum(len(weight.tensors) for weight in trained)
    values = {
        "trainable_params": found.trainable_parameters,
        "total_params": found.parameters,
        "base_fwd_flops": model.forward_flops(*shape),
        "base_fwdbwd_flops": model.training_flops(*shape),
        "lora_fwd_flops": found.forward_flops,
        "lora_fwdbwd_flops": found.training_flops,
        "grad_bytes": 4 * found.trainable_parameters,
        "adamw_state_bytes": 8 * found.trainable_parameters + 4 * tensors,
    }
    return values[row["metric"]], EXACT


GROUPS: dict[str, Callable[[dict[str, str]], tuple[float, float]]] = {
    "storage": storage,
    "pruning": pruning,
    "structured": structured,
    "distillation": distillation,
    "lora": lora,
}


def test_the_table_has_all_groups() -> None:
    assert {row["group"] for row in ROWS} == set(GROUPS)


@pytest.mark.parametrize(
    "row", ROWS, ids=lambda row: f"{row['model']}-{row['method']}-{row['metric']}"
)
def test_figure_of_the_oracle(row: dict[str, str]) -> None:
    ours, tolerance = GROUPS[row["group"]](row)
    theirs = float(row["value"])
    if tolerance == EXACT:
        assert ours == theirs
    else:
        assert ours == pytest.approx(theirs, rel=tolerance)
