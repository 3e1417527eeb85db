"""A model in YAML: the short form, what it extends, a config inside; and what it may not say."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from costsim.architectures import load_model
from costsim.architectures.decoder import DecoderSpec
from costsim.architectures.spec import ModelSpec
from costsim.errors import SpecError, UnknownNameError

SHORT = "layers: 2\nhidden: 64\nheads: 4\nvocabulary: 100\nmax_positions: 32\n"


def _write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_every_field_of_the_short_form_is_one_of_the_record() -> None:
    details = {"name", "source", "published_parameters", "extends", "huggingface", "vision"}
    assert set(ModelSpec.model_fields) - details == {field.name for field in fields(DecoderSpec)}


def test_short_form(tmp_path: Path) -> None:
    model = load_model(_write(tmp_path, SHORT + "source: a notebook\n"))
    assert model.name == "mine"
    assert model.source == "a notebook"
    layer = 12 * 64**2 + 13 * 64
    assert model.parameters == 2 * layer + (100 + 32 + 2) * 64
    assert load_model(_write(tmp_path, SHORT + "name: other")).name == "other"


def test_a_catalog_model_with_changed_fields(tmp_path: Path) -> None:
    model = load_model(_write(tmp_path, "extends: llama-3-70b\nlayers: 40\ntied: true\n"))
    whole = load_model("llama-3-70b")
    assert model.name == "mine"
    assert model.depth == 40
    assert model.forward_flops() < whole.forward_flops()
    derived = load_model({"extends": "gpt2", "hidden": 1024, "heads": 16, "layers": 24})
    assert derived.parameters == load_model("gpt2-medium").parameters


def test_a_file_that_extends_a_file_and_a_config(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    _write(tmp_path / "hub", '{"model_type": "gpt2", "n_layer": 3}', "config.json")
    _write(tmp_path, "extends: hub/config.json\nhuggingface: {n_layer: 4}\n", "base.yaml")
    top = _write(tmp_path, "extends: base.yaml\nhuggingface: {n_embd: 384}\n")
    assert load_model(top).depth == 4
    assert load_model(top).description.hidden == 384
    assert load_model(_write(tmp_path, "extends: hub\n")).depth == 3


def test_a_config_inside(tmp_path: Path) -> None:
    text = "source: the hub\nhuggingface:\n  model_type: gpt2\n  n_layer: 6\n"
    model = load_model(_write(tmp_path, text))
    assert model.parameters == load_model("distilgpt2").parameters
    with pytest.raises(SpecError, match=r"mine\.yaml:4:12: `n_layer`"):
        load_model(_write(tmp_path, text.replace("6", "six")))
    with pytest.raises(SpecError, match=r"mine\.yaml:3:15: `model_type`"):
        load_model(_write(tmp_path, text.replace("gpt2", "gpt9")))


def test_experts_and_latents_as_a_config_has_them(tmp_path: Path) -> None:
    """DeepSeek-V3 in the short form is the model that its published config describes."""
    text = """
layers: 61
hidden: 7168
heads: 128
vocabulary: 129280
feed_forward: 18432
gated: true
activation: silu
bias: false
norm: rms
positions: rotary
max_positions: 163840
tied: false
experts: {count: 256, top_k: 8, width: 2048, shared_width: 2048, first: 3}
latent: {latent_dim: 512, query_latent_dim: 1536, key_dim: 128, rotary_dim: 64, value_dim: 128}
"""
    mine, published = load_model(_write(tmp_path, text)), load_model("deepseek-v3")
    assert mine.parameters == published.parameters
    assert mine.active_parameters == published.active_parameters
    assert mine.forward_flops(2, 96) == published.forward_flops(2, 96)
    assert mine.decode_flops(1, 96) == published.decode_flops(1, 96)
    assert mine.cache_bytes(1, 96) == published.cache_bytes(1, 96)


def test_state_spaces_as_a_config_has_them(tmp_path: Path) -> None:
    """Mamba and a hybrid: the same in the short form as from the library's keys."""
    text = SHORT.replace("max_positions: 32", "positions: none") + "norm: rms\nbias: false\n"
    states = "state_space: {kind: mamba, width: 128, state_size: 16}\n"
    mine = load_model(_write(tmp_path, text + states))
    sizes = {"num_hidden_layers": 2, "hidden_size": 64, "vocab_size": 100, "state_size": 16}
    config = {"model_type": "mamba", **sizes, "expand": 2, "conv_kernel": 4, "time_step_rank": 4}
    published = load_model({**config, "tie_word_embeddings": True})
    assert mine.parameters == published.parameters
    assert mine.forward_flops(1, 32) == published.forward_flops(1, 32)
    assert mine.cache_bytes(1, 32) == published.cache_bytes(1, 32)
    hybrid = states.replace("}", ", attention_every: 2, network: true}")
    mixed = load_model(_write(tmp_path, text + hybrid))
    plain = load_model(_write(tmp_path, text))
    # One layer of each, with a network each.
    network = 2 * 64 * 256 + 64
    scanned = (published.parameters - 100 * 64 - 64) // 2
    attended = (plain.parameters - 100 * 64 - 64) // 2
    assert mixed.parameters == 100 * 64 + 64 + attended + scanned + network


def test_windows_that_differ(tmp_path: Path) -> None:
    model = load_model(_write(tmp_path, SHORT + "window_runs: [[null, 1], [8, 1]]\n"))
    assert model.cache_bytes(1, 100) == 2 * 64 * 2 * (100 + 7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SHORT + "head: 4\n", r"mine\.yaml:6:1: unknown key `head`"),
        (SHORT.replace("64", "66"), r"mine\.yaml:3:8: `hidden` 66 does not divide into 4 `heads`"),
        (SHORT.replace("64", "-64"), r"mine\.yaml:2:9: `hidden`"),
        (SHORT.replace("64", "'64'"), r"mine\.yaml:2:9: `hidden`"),
        (SHORT.replace("64", "1e30"), r"mine\.yaml:2:9: `hidden`"),
        (SHORT.replace("64", ".nan"), r"mine\.yaml:2:9: `hidden`"),
        (SHORT + "kv_heads: 3\n", r"mine\.yaml:6:11: 4 `heads` do not divide into 3 `kv_heads`"),
        (SHORT.replace("max_positions: 32", ""), "learned `positions` need `max_positions`"),
        (SHORT + "gated: maybe\n", r"mine\.yaml:6:8: `gated`"),
        (SHORT + "norm: batch\n", r"mine\.yaml:6:7: `norm`: `batch` is none of"),
        (SHORT + "norm: rms\nnorm_bias: true\n", "an RMS norm has no bias"),
        (SHORT + "shared_norm: true\n", "holds for `parallel` layers only"),
        (SHORT + "parallel: true\npost_norm: true\n", "normalize before"),
        (SHORT + "fused_gate: true\n", "holds for `gated` networks only"),
        (SHORT + "positions: alibi\nposition_rows: 3\n", "only learned `positions`"),
        (SHORT + "window: 8\nwindow_runs: [[8, 2]]\n", "not both"),
        (SHORT + "window_runs: [[8, 1]]\n", "do not add up to 2 `layers`"),
        (SHORT + "experts: {count: 2, top_k: 3}\n", r"mine\.yaml:6:28: a token cannot pass 3 of 2"),
        (SHORT + "experts: {count: 2}\n", "missing"),
        (SHORT + "experts: {count: 2, top_k: 1, wide: 3}\n", "unknown key `experts.wide`"),
        (SHORT + "state_space: {kind: mamba2, width: 8, state_size: 2}\n", "needs `heads`"),
        (
            SHORT + "state_space: {kind: mamba, width: 8, state_size: 2, heads: 2}\n",
            "only `mamba2`",
        ),
        (
            SHORT
            + "kv_heads: 2\nlatent: {latent_dim: 8, key_dim: 4, rotary_dim: 2, value_dim: 4}\n",
            "neither `kv_heads` nor `head_dim`",
        ),
        (SHORT + "huggingface: {model_type: gpt2}\n", "describes the whole model"),
        ("hidden: 64\n", "missing `layers`"),
        ("extends: llama-3-70b\nhuggingface: {n_layer: 3}\n", "as fields of the model"),
        ("extends: mine.yaml\n", r"mine\.yaml:1:10: `mine\.yaml` extends itself"),
        ("- 1\n", "must be a mapping"),
        ("", "is empty"),
        ("layers: 2\nlayers: 3\n", "duplicate key `layers`"),
    ],
)
def test_what_may_not_be_said(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_model(_write(tmp_path, text))


def test_an_unknown_base_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"mine\.yaml:1:10: unknown model `lama-3-70b`"):
        load_model(_write(tmp_path, "extends: lama-3-70b\n"))


def test_files_that_extend_each_other(tmp_path: Path) -> None:
    _write(tmp_path, "extends: two.yaml\n", "one.yaml")
    _write(tmp_path, "extends: one.yaml\n", "two.yaml")
    with pytest.raises(SpecError, match="extends itself"):
        load_model(tmp_path / "one.yaml")
