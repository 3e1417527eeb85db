"""Janus as released, against parameters that its published code and paper have."""

from __future__ import annotations

import pytest

from costsim.architectures import load_model
from costsim.errors import SpecError

TEXT = {
    "model_type": "llama",
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "vocab_size": 102400,
}


def janus(**changes):
    """Return Janus-1.3B (arXiv 2410.13848), with other `params` of parts."""
    params = {
        "vision": {"image_size": 384, "model_name": "siglip_large_patch16_384"},
        "aligner": {"depth": 2, "input_dim": 1024, "n_embed": 2048},
        "gen_vision": {"image_token_size": 16384, "n_embed": 8},
        "gen_aligner": {"depth": 2, "input_dim": 8, "n_embed": 2048},
        "gen_head": {"image_token_embed": 2048, "image_token_size": 16384, "n_embed": 2048},
    }
    parts = {
        f"{key}_config": {"params": {**own, **changes.get(key, {})}} for key, own in params.items()
    }
    return {"model_type": "multi_modality", "language_config": TEXT, **parts}


def held(model, name):
    blocks = [block for block in model.blocks() if block.name == name]
    return sum(weight.elements for block in blocks for weight in block.weights())


def test_its_parts_have_the_parameters_of_the_published_code():
    model = load_model(janus())
    # VQ-16 of LlamaGen (arXiv 2406.06525), as PyTorch counts the module of transformers.
    assert held(model, "tokenizer") == 71_883_403
    # Head 2,048 → 2,048 → 16,384, a table of 16,384 codes of 8, two layers to the text's width.
    assert held(model, "drawing") == 37_767_168 + 131_072 + (8 + 1 + 2048 + 1) * 2048
    # SigLIP-L/16: 303,688,704 as PyTorch counts it, and the pooling that the released code keeps.
    pooling = 1024 + 4 * (1024 + 1) * 1024 + 2 * 1024 + (1024 + 1) * 4096 + (4096 + 1) * 1024
    text = load_model(TEXT).parameters
    aligner = (1024 + 1 + 2048 + 1) * 2048
    seen = model.parameters - held(model, "tokenizer") - held(model, "drawing") - text - aligner
    assert seen == 303_688_704 + pooling


def test_it_caches_and_serves_as_its_text_model():
    model, text = load_model(janus()), load_model(TEXT)
    assert model.cache_bytes(2, 1000) == text.cache_bytes(2, 1000)
    assert model.depth >= text.depth


@pytest.mark.parametrize(
    ("part", "params", "key"),
    [
        ("vision", {"model_name": "another"}, "model_name"),
        ("aligner", {"input_dim": 1152}, "input_dim"),
        ("gen_aligner", {"input_dim": 16}, "input_dim"),
        ("gen_head", {"image_token_size": 8192}, "image_token_size"),
    ],
)
def test_parts_that_do_not_fit_are_named(part, params, key):
    with pytest.raises(SpecError, match=key):
        load_model(janus(**{part: params}))
