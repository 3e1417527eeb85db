"""Published configuration files: each has the parameters of the class that it names."""

from __future__ import annotations

import contextlib
import copy
import csv
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from costsim import load_model
from costsim.errors import CostsimError, SpecError

FACTS: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).resolve().parent.parent / "data" / "published_configs.json").read_text()
)
"""Sizes of releases and their parameters, counted from the class (transformers 5.24) or by hand."""

NATIVE: list[dict[str, Any]] = json.loads(
    (Path(__file__).resolve().parent.parent / "data" / "native_excerpt.json").read_text()
)
"""Small models of transformers 5.24, run with eager attention and its loop over experts."""

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 100,
}
HEAD = 100 * 64


@pytest.mark.parametrize("name", sorted(FACTS))
def test_a_release_has_its_parameters(name: str) -> None:
    assert load_model(FACTS[name]["config"]).parameters == FACTS[name]["parameters"]


@pytest.mark.parametrize("row", NATIVE, ids=lambda row: row["class"])
def test_small_models_count_as_the_library_does(row: dict[str, Any]) -> None:
    model = load_model(row["config"])
    assert model.parameters == row["parameters"]
    for shape, flops in row["forward"].items():
        assert model.forward_flops(*map(int, shape.split("x"))) == flops, shape
    for shape, flops in row["training"].items():
        assert model.training_flops(*map(int, shape.split("x"))) == flops, shape
    for past, flops in row["decode"].items():
        assert model.decode_flops(1, int(past)) == flops, past


def test_shared_files_have_their_parameters(shared: Path) -> None:
    folder = shared / "validation" / "wild_configs"
    wrong: list[str] = []
    with (folder / "cases.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        if not row["file"] or not row["expected_params"]:
            continue
        found = load_model(folder / row["file"].replace(".hf_quant_config", "")).parameters
        if found != int(row["expected_params"]) + COUNTED_OTHERWISE.get(row["name"], 0):
            wrong.append(f"{row['name']}: {found:,}, not {int(row['expected_params']):,}")
    assert wrong == []


COUNTED_OTHERWISE = {
    # The row was counted with the library's 128,815 tokens: its class takes no flat keys. The file
    # says 128,896, which makes embedding and head so much larger.
    "stepfun-ai--Step-3.7-Flash-FP8": 2 * (128896 - 128815) * 4096,
    # EAGLE 3.1's `fc_norm` adds a norm of each of three states, which the row leaves out.
    "draft/qwen3-30B-A3B-eagle3.1": 3 * 2048,
}


@pytest.mark.parametrize(
    ("name", "scores"),
    [
        ("LlamaForCausalLM", HEAD),
        ("LlamaModel", 0),
        ("LlamaForSequenceClassification", 3 * 64),
        ("LlamaForTokenClassification", 3 * 64 + 3),
        ("LlamaForQuestionAnswering", 2 * 64 + 2),
    ],
)
def test_the_class_decides_the_head(name: str, scores: int) -> None:
    whole = load_model(LLAMA).parameters
    config = {**LLAMA, "architectures": [name], "num_labels": 3}
    assert load_model(config).parameters == whole - HEAD + scores


def test_labels_are_counted_by_their_names() -> None:
    config = {**LLAMA, "architectures": ["LlamaForSequenceClassification"]}
    two = load_model(config).parameters
    named = load_model({**config, "id2label": {str(index): "" for index in range(5)}})
    assert named.parameters == two + 3 * 64


@pytest.mark.parametrize("labels", [-1, 0, True, "two", 10**10])
def test_a_number_of_labels_that_is_none(labels: object) -> None:
    config = {**LLAMA, "architectures": ["LlamaForSequenceClassification"], "num_labels": labels}
    with pytest.raises(SpecError, match="`num_labels`"):
        load_model(config)


@pytest.mark.parametrize("key", ["n_routed_experts", "kv_lora_rank", "moe_intermediate_size"])
def test_a_size_that_is_not_used_is_an_error(key: str) -> None:
    with pytest.raises(SpecError, match=f"`{key}` is a size that models of type llama do not have"):
        load_model({**LLAMA, key: 8})
    assert load_model({**LLAMA, key: None}).parameters == load_model(LLAMA).parameters


def test_modules_that_predict_further_tokens_are_told() -> None:
    config = {
        "model_type": "deepseek_v3",
        "num_hidden_layers": 4,
        "num_nextn_predict_layers": 1,
    }
    (told,) = [note for note in load_model(config).notes if "further tokens" in note]
    # DeepSeek-V3's module: 11.5 B without the shared embedding and head (its report, section 2.2).
    assert "about 11,61" in told


BLOCK: dict[str, Any] = {
    "model_type": "qwen3",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 100,
}
STATES = 3 * 64 * 64 + 2 * 64  # three states projected, the norm of that, and of the end
LAYER = 2 * 64 * 64 + 2 * 64 * 32 + 2 * 16 + 3 * 64 * 96 + 2 * 64


@pytest.mark.parametrize(
    ("name", "more", "head"),
    [
        ("DFlashDraftModel", {}, 0),
        (
            "DFlashDraftModel",
            {"projector_type": "domino", "emb_dim": 8, "gru_hidden_dim": 24},
            3 * 24 * (64 + 24) + (64 + 24) * 8 + 8 * 100,
        ),
        (
            "DSparkDraftModel",
            {"markov_rank": 8, "enable_confidence_head": True},
            2 * 8 * 100 + 64 + 8 + 1,
        ),
    ],
)
def test_drafts_of_blocks(name: str, more: dict[str, Any], head: int) -> None:
    given = {"target_layer_ids": [1, 5, 9], **more}
    draft = load_model({**BLOCK, "architectures": [name], "dflash_config": given})
    assert draft.parameters == STATES + 2 * LAYER + head
    assert any("its target's embedding" in note for note in draft.notes)


def test_a_draft_that_is_not_known_is_an_error() -> None:
    with pytest.raises(SpecError, match="'MedusaModel' is no draft that can be read"):
        load_model({**BLOCK, "architectures": ["MedusaModel"]})


CLASSES: list[dict[str, Any]] = json.loads(
    (Path(__file__).resolve().parent.parent / "data" / "class_heads.json").read_text()
)
"""Small models of transformers 5.24 by class, with three labels, and their parameters."""


@pytest.mark.parametrize("row", CLASSES, ids=lambda row: row["class"])
def test_every_class_has_its_own_head(row: dict[str, Any]) -> None:
    assert load_model(row["config"]).parameters == row["parameters"]


def test_a_part_named_after_the_whole_is_read() -> None:
    text = {key: BLOCK[key] for key in BLOCK if key != "model_type"}
    vision: dict[str, Any] = {
        "model_type": "qwen3_vl",
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 4,
        "out_hidden_size": 64,
        "patch_size": 16,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [],
    }
    config: dict[str, Any] = {"model_type": "qwen3_vl", "text_config": text}
    named = load_model({**config, "vision_config": vision})
    bare = {key: vision[key] for key in vision if key != "model_type"}
    own = load_model({**config, "vision_config": {**bare, "model_type": "qwen3_vl_vision"}})
    assert (
        named.parameters
        == own.parameters
        == load_model({**config, "vision_config": bare}).parameters
    )


def test_flat_keys_of_a_type_whose_library_has_none_are_an_error() -> None:
    with pytest.raises(SpecError, match="`hidden_size` stands beside the parts"):
        load_model({"model_type": "qwen3_vl", "hidden_size": 64})


def test_a_dense_width_is_none_of_an_expert() -> None:
    plain = load_model({"model_type": "qwen2_moe"})
    wide = load_model({"model_type": "qwen2_moe", "intermediate_size": 2 * 5632})
    assert wide.active_parameters == plain.active_parameters  # no layer of it is dense


def test_defaults_of_nested_parts_are_told() -> None:
    told, _ = load_model({"model_type": "dbrx"}).notes
    assert "ffn_config.moe_num_experts 4" in told
    assert "attn_config.kv_n_heads 1" in told


def test_letters_say_which_layers_slide() -> None:
    sizes: dict[str, Any] = {**BLOCK, "model_type": "exaone4", "num_hidden_layers": 8}
    letters = load_model({**sizes, "sliding_window": 16, "sliding_window_pattern": "LLLG"})
    number = load_model({**sizes, "sliding_window": 16, "sliding_window_pattern": 4})
    assert letters.cache_bytes(1, 64) == number.cache_bytes(1, 64)
    with pytest.raises(SpecError, match="letters: L for a window, G for all"):
        load_model({**sizes, "sliding_window": 16, "sliding_window_pattern": "LLX"})


def test_longcat_is_as_large_as_its_report_says() -> None:
    model = load_model({"model_type": "longcat_flash"})  # whose defaults are the release's sizes
    assert 560e9 < model.parameters < 561e9  # LongCat-Flash technical report: 560 B
    assert 26e9 < model.active_parameters < 29e9  # 18.6 to 31.3 B, 27 on average


HOSTILE = (10**9, -1, 0, True, None, "x", 1.5, [], {}, [None], 10**30, float("nan"))


def _places(config: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in config.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from _places(cast("dict[str, Any]", value), (*path, key))


@pytest.mark.parametrize("name", sorted(FACTS)[::4])
def test_hostile_values_give_an_error_or_a_model(name: str) -> None:
    chance = random.Random(name)
    for path in _places(FACTS[name]["config"]):
        config = copy.deepcopy(FACTS[name]["config"])
        part = config
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = chance.choice(HOSTILE)
        with contextlib.suppress(CostsimError):
            assert load_model(config).parameters > 0
