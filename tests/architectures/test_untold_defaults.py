"""A size that a config leaves out is the library's, and is told."""

from __future__ import annotations

from typing import Any

import pytest

from costsim import load_model

QWEN2_VL: dict[str, Any] = {
    "architectures": ["Qwen2VLForConditionalGeneration"],
    "model_type": "qwen2_vl",
    "text_config": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_attention_heads": 28,
        "num_hidden_layers": 28,
        "num_key_value_heads": 4,
        "tie_word_embeddings": False,
        "vocab_size": 152064,
    },
    "vision_config": {
        "depth": 32,
        "embed_dim": 1280,
        "hidden_size": 3584,
        "mlp_ratio": 4,
        "num_heads": 16,
        "patch_size": 14,
    },
}


@pytest.mark.parametrize("stated", [True, False])
def test_a_tower_without_its_width_has_the_library_s(stated: bool) -> None:
    """Its `hidden_size` is that of what it hands on, and no width of the tower."""
    vision = dict(QWEN2_VL["vision_config"])
    if not stated:
        del vision["embed_dim"]
    model = load_model(QWEN2_VL | {"vision_config": vision})
    assert model.parameters == 8_291_375_616  # Qwen2-VL-7B as published
    assert any("vision_config.embed_dim 1280" in note for note in model.notes) != stated


def test_labels_that_nothing_counts_are_told() -> None:
    config = {"model_type": "mobilenet_v2", "architectures": ["MobileNetV2ForImageClassification"]}
    assert any("num_labels 2" in note for note in load_model(config).notes)
    assert not any("num_labels" in note for note in load_model(config | {"num_labels": 7}).notes)
