"""Image models of Hugging Face transformers: every figure of PyTorch met, wrong configs told."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costsim.architectures import Architecture, load_model
from costsim.architectures.huggingface.vision import READERS
from costsim.errors import CostsimError, SpecError

COUNTS = Path(__file__).resolve().parent.parent / "data" / "vision_counts.json"
MEASURED = json.loads(COUNTS.read_text())
LIBRARY = MEASURED["transformers 5.23.0"]


def _shape(text: str) -> tuple[int, int, tuple[int, ...]]:
    """Return batch, tokens of a text and size of an image: b8_s77_3x224x224."""
    parts = text.split("_")
    tokens = next((int(part[1:]) for part in parts if part[0] == "s"), 2048)
    _, *image = (int(side) for side in parts[-1].split("x"))
    return int(parts[0][1:]), tokens, tuple(image)


def _differences(model: Architecture, row: Mapping[str, Any]) -> list[str]:
    found: list[str] = []

    def compare(figure: str, ours: int, theirs: str) -> None:
        if theirs and ours != int(float(theirs)):
            found.append(f"{row['name']}: {figure} is {ours}, PyTorch says {theirs}")

    compare("parameters", model.parameters, row["total_params"])
    compare("embedding parameters", model.embedding_parameters, row["embedding_params"])
    for pass_ in ("fwd1", "fwd2"):
        if row[f"{pass_}_flops"]:
            batch, tokens, image = _shape(row[f"{pass_}_shape"])
            ours = model.forward_flops(batch, tokens, image=image)
            compare(pass_, ours, row[f"{pass_}_flops"])
    if row["fwdbwd1_flops_convfix"]:
        batch, tokens, image = _shape(row["fwd1_shape"])
        ours = model.training_flops(batch, tokens, image=image)
        compare("forward and backward", ours, row["fwdbwd1_flops_convfix"])
    return found


@pytest.mark.parametrize("row", MEASURED["oracle"], ids=lambda row: row["name"])
@pytest.mark.parametrize("spelling", ["lm_configs", "lm_configs_short"])
def test_excerpt_of_the_oracle(row: dict[str, Any], spelling: str) -> None:
    assert _differences(load_model(row[spelling]), row) == []


def test_every_image_model_of_the_oracle(shared: Path) -> None:
    oracle = shared / "validation" / "oracle"
    csv.field_size_limit(1_000_000)
    found: list[str] = []
    read: set[str] = set()
    with (oracle / "lm_oracle.csv").open(newline="") as handle:
        for row in csv.DictReader(handle):
            if row["model_type"] not in READERS:
                assert row["kind"] not in ("image", "clip", "siglip"), row["name"]
                continue
            for spelling in ("lm_configs", "lm_configs_short"):
                folder = oracle / spelling / row["name"]
                if folder.is_dir():
                    read.add(row["model_type"])
                    model = load_model(folder)
                    found += _differences(model, row)
                    found += [note for note in model.notes if "not understood" in note]
    assert len(read) > 25
    assert found == []


@pytest.mark.parametrize("row", LIBRARY, ids=lambda row: row["config"]["model_type"])
def test_defaults_of_the_library(row: dict[str, Any]) -> None:
    model = load_model(row["config"])
    assert model.parameters == row["parameters"]
    assert model.forward_flops(1) == row["forward_flops"]
    assert not [note for note in model.notes if "not understood" in note]


@pytest.mark.parametrize("model_type", sorted(READERS))
def test_missing_keys_are_the_librarys(model_type: str) -> None:
    model = load_model({"model_type": model_type})
    assert model.parameters > 10**6
    assert model.forward_flops(2) > model.forward_flops(1) > 0


def test_a_model_without_a_head_has_no_classes() -> None:
    config: dict[str, Any] = {"model_type": "resnet", "num_labels": 1000}
    whole = load_model({**config, "architectures": ["ResNetForImageClassification"]})
    trunk = load_model({**config, "architectures": ["ResNetModel"]})
    assert whole.parameters == 25_557_032
    assert whole.parameters - trunk.parameters == 2048 * 1000 + 1000
    other = load_model({**config, "architectures": ["ResNetForSomething"]})
    assert any("ResNetForSomething" in note for note in other.notes)


def test_labels_may_be_counted_by_their_names() -> None:
    names = {str(index): f"label {index}" for index in range(7)}
    seven = load_model({"model_type": "vit", "id2label": names})
    two = load_model({"model_type": "vit"})
    assert seven.parameters - two.parameters == 5 * (768 + 1)


def test_two_towers_compare_every_image_with_every_text() -> None:
    clip = load_model({"model_type": "clip"})
    one, eight = clip.forward_flops(1, 77), clip.forward_flops(8, 77)
    assert eight - 8 * one == 2 * 512 * (64 - 8)
    assert clip.forward_flops(1, 16) < one
    assert clip.forward_flops(1, 5000) == one  # a text is cut at its longest
    assert clip.context_limit == 77


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "vit", "hidden_size": 770}, "does not divide"),
        ({"model_type": "vit", "image_size": 8}, "larger than"),
        ({"model_type": "vit", "image_size": [1, 2, 3]}, "height and width"),
        ({"model_type": "swin", "depths": [2, 2]}, "entries"),
        ({"model_type": "swin", "num_heads": [5, 6, 12, 24]}, "does not divide"),
        ({"model_type": "levit", "down_ops": [["Subsample", 1]]}, "nested list"),
        ({"model_type": "resnet", "hidden_sizes": []}, "entries"),
        ({"model_type": "mobilenet_v2", "output_stride": 5}, "8, 16 or 32"),
        ({"model_type": "clip", "vision_config": 3}, "mapping"),
        ({"model_type": "alexnet"}, "not supported"),
    ],
)
def test_values_that_make_no_model_are_told(config: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_model(config)


VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-3, 40)
    | st.sampled_from([10**9, 10**10, 10**30, 0.5, -1.0, math.inf, math.nan, "x", "", {}, [], [[]]])
    | st.lists(st.integers(-1, 9), max_size=5)
)


@given(st.sampled_from(LIBRARY + MEASURED["oracle"]), st.data())
@settings(max_examples=300)
def test_absurd_values_never_crash_nor_give_absurd_figures(
    row: dict[str, Any], data: st.DataObject
) -> None:
    config = dict(row.get("config") or row["lm_configs"])
    keys = data.draw(st.lists(st.sampled_from(sorted(config)), min_size=1, max_size=3))
    for key in keys:
        if data.draw(st.booleans()):
            config[key] = data.draw(VALUES)
        else:
            config.pop(key, None)
    try:
        model = load_model(config)
        figures = [model.parameters, model.forward_flops(1), model.training_flops(2)]
        figures += [model.activation_bytes(1), model.active_parameters]
    except CostsimError:
        return
    assert all(isinstance(figure, int) and figure >= 0 for figure in figures)
