"""Nets of images and videos count as PyTorch's libraries do: every figure that they give."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from costsim.architectures import Architecture, load_model, model_names
from costsim.architectures.architecture import backward_flops, forward_flops
from costsim.architectures.formulas import formula
from costsim.architectures.operators import Attention, Convolution, Linear
from costsim.architectures.operators.maps import Distances
from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.families import FAMILIES
from costsim.architectures.workload import Workload

COUNTS = Path(__file__).resolve().parent.parent / "data" / "vision_counts.json"
MEASURED = json.loads(COUNTS.read_text())


def _named(name: str, image: tuple[int, ...]) -> Architecture:
    """Return the catalog's model: one with learned positions has an entry for each image size."""
    variant = f"{name}-{image[-1]}".replace("_", "-")
    return load_model(variant if variant in model_names() else name)


@pytest.mark.parametrize("row", MEASURED["torchvision 0.29.1"], ids=lambda row: row[0])
def test_torchvision(row: tuple[str, list[int], int, int]) -> None:
    name, image, parameters, flops = row
    model = _named(name, tuple(image))
    assert model.parameters == parameters
    assert model.forward_flops(1, image=tuple(image)) == flops
    assert model.forward_flops(8, image=tuple(image)) == 8 * flops - 7 * _once(model, image)


def _once(model: Architecture, image: list[int]) -> int:
    """FLOPs that a whole batch needs once: of Swin V2's position biases."""
    two = model.forward_flops(2, image=tuple(image))
    return 2 * model.forward_flops(1, image=tuple(image)) - two


@pytest.mark.parametrize("row", MEASURED["diffusers 0.42.1"], ids=lambda row: row[0])
def test_diffusers(row: tuple[str, int, int]) -> None:
    name, parameters, flops = row
    model = load_model(name)
    assert model.parameters == parameters
    assert model.forward_flops(1) == flops


def test_every_row_of_the_oracle_in_every_column(shared: Path) -> None:
    found: list[str] = []
    with (shared / "validation" / "oracle" / "vision_oracle.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        found += _differences(row)
    assert len(rows) > 50
    assert found == []


def _differences(row: Mapping[str, str]) -> list[str]:
    image = tuple(int(side) for side in row["resolution"].split("x"))
    model = _named(row["name"], image)
    blocks = model.blocks(Workload(1, 1, image=image))
    forward = forward_flops(blocks)
    operators = [(block.count, operator) for block in blocks for operator in block.operators]
    convolutions = [(n, op) for n, op in operators if isinstance(op, Convolution)]
    figures: dict[str, int] = {
        "params": model.parameters,
        "fwd_flops_b1": forward,
        "fwdbwd_flops_b1_convfix": forward + backward_flops(blocks),
        "n_conv": sum(n for n, _ in convolutions),
        "grouped_convs": sum(n for n, op in convolutions if op.groups > 1),
        "conv_out_bytes_fp32": sum(
            4 * n * op.output_positions * op.outputs for n, op in convolutions
        ),
        "matmul_out_bytes_fp32": sum(4 * n * _product_elements(op) for n, op in operators),
    }
    return [
        f"{row['name']} {image}: {figure} is {ours}, PyTorch says {row[figure]}"
        for figure, ours in figures.items()
        if ours != int(row[figure])
    ]


def _product_elements(operator: Any) -> int:
    """Values that the matrix products of an operator give."""
    if isinstance(operator, Linear):
        return operator.rows * operator.outputs
    if isinstance(operator, Attention):
        queries = operator.batch * operator.query_heads * operator.tokens
        return operator.scores + queries * operator.value_dim
    if isinstance(operator, Distances):
        return operator.places * operator.rows * operator.keys
    return 0


@pytest.mark.parametrize(
    ("name", "parameters", "multiply_adds", "relative"),
    [
        ("resnet50", 25_557_032, 4.1e9, 0.01),  # He et al. 2015, as torchvision counts it
        ("mobilenet-v1", 4_231_976, 569e6, 0.001),  # Howard et al. 2017, table 8
        ("mobilenet-v2", 3_504_872, 300e6, 0.01),  # Sandler et al. 2018, table 4
        ("efficientnet-b0", 5_288_548, 390e6, 0.02),  # Tan & Le 2019, table 2
        ("vgg16", 138_357_544, 15.5e9, 0.005),  # Simonyan & Zisserman 2014
        ("swin-t", 28_288_354, 4.5e9, 0.01),  # Liu et al. 2021, table 1
        ("convnext-tiny", 28_589_128, 4.5e9, 0.01),  # Liu et al. 2022, table 1
        ("dit-s-2", 33_000_000, 6.06e9, 0.005),  # Peebles & Xie 2022, table 4
        ("dit-b-2", 130_000_000, 23.01e9, 0.005),
        ("dit-l-2", 458_000_000, 80.71e9, 0.005),
        ("dit-xl-2", 675_000_000, 118.64e9, 0.0005),
    ],
)
def test_published_figures(
    name: str, parameters: int, multiply_adds: float, relative: float
) -> None:
    model = load_model(name)
    assert model.parameters == pytest.approx(parameters, rel=0.01)
    assert model.forward_flops(1) == pytest.approx(2 * multiply_adds, rel=relative)


def test_every_family_is_in_the_catalog() -> None:
    named = {type(load_model(name).description) for name in model_names()}
    from costsim.architectures.vision.families import family_class

    # Families of published files alone: read from their own configuration, not by name.
    of_files = {family_class("hunyuan-dit")}
    assert {family_class(name) for name in FAMILIES} - of_files <= named


@pytest.mark.parametrize("name", ["resnet50", "swin-v2-t", "flux.1-dev", "maxvit-t"])
def test_other_sizes_of_image(name: str) -> None:
    model = load_model(name)
    assert isinstance(model.description, ImageNet)
    side = model.description.image[-1]
    assert model.forward_flops(1, image=side) == model.forward_flops(1)
    assert model.forward_flops(1, image=(2 * side, side)) > 1.9 * model.forward_flops(1)
    assert model.parameters == load_model(name).parameters


@pytest.mark.parametrize("name", ["resnet50", "vit-b-16", "swin-t", "dit-xl-2", "flux.1-dev"])
@pytest.mark.parametrize("quantity", ["parameters", "forward_flops", "activation_bytes"])
def test_closed_forms_have_the_value_of_the_count(name: str, quantity: str) -> None:
    found = formula(load_model(name), quantity)
    values = {free: meaning.value for free, meaning in found.symbols.items()}
    assert int(found.expression.subs(values)) == found.value
