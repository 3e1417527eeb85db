"""What a config.json may not say, what it leaves to defaults, and what is told about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.architectures import load_model
from costsim.architectures.huggingface import READERS
from costsim.errors import CostsimError, SpecError
from strategies import json_values, plain_text

SIZES = {
    "gpt2": {"n_embd": 64, "n_head": 4, "n_layer": 2, "vocab_size": 100, "n_positions": 32},
    "llama": {
        "hidden_size": 64,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "vocab_size": 100,
        "intermediate_size": 96,
        "max_position_embeddings": 64,
    },
}


def _file(folder: Path, config: Any, name: str = "config.json") -> Path:
    path = folder / name
    path.write_text(config if isinstance(config, str) else json.dumps(config, indent=2))
    return path


DECODERS = ("bloom", "gpt2", "gpt_neox", "llama", "mistral", "opt", "qwen2", "qwen3")


@pytest.mark.parametrize("model_type", DECODERS)
def test_a_config_of_defaults_is_a_model(model_type: str) -> None:
    model = load_model({"model_type": model_type})
    assert model.parameters > 0
    assert "library's default" in model.notes[0]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("hidden_size", "4096", "must be a whole number from 1 to 1,000,000,000, is `4096`"),
        ("hidden_size", None, "is null"),
        ("hidden_size", -64, "is -64"),
        ("hidden_size", 0, "is 0"),
        ("hidden_size", 64.0, "is 64.0"),
        ("hidden_size", 1e30, "is 1e\\+30"),
        ("hidden_size", 10**30, "is far too large"),
        ("hidden_size", True, "is true"),
        ("hidden_size", [64], "is a list"),
        ("hidden_size", {}, "is {}"),
        ("hidden_size", 66, "66 does not divide into 4 heads"),
        ("num_key_value_heads", 3, "3 does not divide the 4 of `num_attention_heads`"),
        ("tie_word_embeddings", "yes", "must be true or false, is `yes`"),
        ("tie_word_embeddings", 1, "must be true or false, is 1"),
        ("attention_dropout", "0.1", "must be between 0 and 1"),
        ("attention_dropout", 7, "must be between 0 and 1"),
        ("hidden_act", 3, "must be text, is 3"),
        ("add_cross_attention", True, "such models are not supported yet"),
        ("is_encoder_decoder", True, "such models are not supported yet"),
        ("layer_types", ["full_attention"], "names 1 layers, `num_hidden_layers` says 2"),
        ("layer_types", ["linear_attention", "full_attention"], "has `linear_attention`"),
        ("layer_types", "full_attention", "must be a list"),
    ],
)
def test_a_wrong_value_is_an_error_at_its_place(
    tmp_path: Path, key: str, value: Any, message: str
) -> None:
    config = {"model_type": "llama", **SIZES["llama"], key: value}
    path = _file(tmp_path, config)
    line = 2 + list(config).index(key)
    with pytest.raises(SpecError, match=message) as caught:
        load_model(path)
    (problem,) = caught.value.problems
    assert problem.location is not None
    assert (problem.location.file, problem.location.line) == (str(path), line)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_no_number_is_an_error(tmp_path: Path, number: str) -> None:
    path = _file(tmp_path, f'{{"model_type": "llama",\n "hidden_size": {number}}}')
    with pytest.raises(SpecError, match=r"config\.json:2:\d+: `hidden_size` must be a whole"):
        load_model(path)


def test_all_problems_are_told_at_once() -> None:
    config = {"model_type": "gpt2", "n_embd": "x", "n_layer": -1, "vocab_size": None}
    with pytest.raises(SpecError) as caught:
        load_model(config)
    assert len(caught.value.problems) == 3


def test_an_unsupported_type_says_how_to_go_on(tmp_path: Path) -> None:
    config = {"model_type": "llamma", "hidden_size": 64, "n_layer": 2, "rotor": 3}
    with pytest.raises(SpecError) as caught:
        load_model(_file(tmp_path, config))
    text = str(caught.value)
    assert "config.json:2:" in text
    assert "'llamma' is not supported" in text
    assert "recognised: `hidden_size`, `n_layer`" in text
    assert "not recognised: `rotor`" in text
    assert "did you mean `llama`" in text
    assert all(model_type in text for model_type in READERS)
    assert "YAML" in text
    assert "layers: 2, hidden: 64" in text


@pytest.mark.parametrize("config", [{}, {"hidden_size": 64}, {"model_type": 7}])
def test_a_missing_type_is_an_error(tmp_path: Path, config: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="model_type"):
        load_model(_file(tmp_path, config))


@pytest.mark.parametrize("text", ["", "[]", "3", '"llama"', "{", '{"a": 1, "a": 2}', "null"])
def test_a_file_that_is_no_mapping_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(SpecError, match=r"config\.json"):
        load_model(_file(tmp_path, text))


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="larger than"):
        load_model(_file(tmp_path, '{"model_type": "llama", "x": "' + "y" * 8_000_001 + '"}'))


def test_file_folder_and_mapping_are_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "tiny-llama"
    folder.mkdir()
    config = {"model_type": "llama", **SIZES["llama"]}
    path = _file(folder, config)
    by_file, by_folder, by_mapping = load_model(path), load_model(str(folder)), load_model(config)
    assert by_file.description == by_folder.description == by_mapping.description
    assert by_file.name == by_folder.name == "tiny-llama"
    assert by_file.source == str(path)


def test_notes_tell_what_was_taken_for_granted() -> None:
    sizes = {"model_type": "llama", **SIZES["llama"]}
    assert load_model(sizes).notes == (
        "not in the config, so the library's default: attention_bias false, num_key_value_heads 4, "
        "mlp_bias false, hidden_act `silu`, tie_word_embeddings false",
        "no `architectures` says which head it has: the usual one of its type is taken",
    )
    model = load_model(
        {
            **sizes,
            "architectures": ["LlamaForSequenceClassification"],
            "quantization_config": {"quant_method": "fp8"},
            "num_thoughts": 8,
            "auto_map": {"AutoModel": "own.py"},
        }
    )
    notes = "\n".join(model.notes)
    assert "not understood, taken to change nothing that is counted: num_thoughts" in notes
    assert "quantized (fp8: floats of 8 bits" in notes
    assert "code of its own" in notes


def test_both_spellings_of_gpt2() -> None:
    other = {
        "hidden_size": 64,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "vocab_size": 100,
        "max_position_embeddings": 32,
    }
    one, two = ({"model_type": "gpt2", **sizes} for sizes in (SIZES["gpt2"], other))
    assert load_model(one).description == load_model(two).description


def test_null_means_derived_where_the_library_has_it_so() -> None:
    sizes = {"model_type": "llama", **SIZES["llama"]}
    derived = load_model({**sizes, "num_key_value_heads": None, "head_dim": None})
    assert derived.description == load_model(sizes).description
    # Qwen3's head width is 128 unless the config says null
    qwen = {**sizes, "model_type": "qwen3", "num_key_value_heads": 4}
    assert load_model(qwen).description.layers[0][0].mixer.head_dim == 128
    assert load_model({**qwen, "head_dim": None}).description.layers[0][0].mixer.head_dim == 16


def test_opt_350m_projects_a_narrower_embedding() -> None:
    config = {
        "model_type": "opt",
        "hidden_size": 1024,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "ffn_dim": 4096,
        "word_embed_proj_dim": 512,
        "do_layer_norm_before": False,
    }
    # the count of the published checkpoint
    assert load_model(config).parameters == 331_196_416


def test_windows_of_qwen_start_above_the_first_layers() -> None:
    config = {
        "model_type": "qwen2",
        **SIZES["llama"],
        "num_key_value_heads": 2,
        "num_hidden_layers": 5,
        "use_sliding_window": True,
        "sliding_window": 8,
        "max_window_layers": 3,
    }
    token = 2 * 2 * 16 * 2  # key and value, heads, width, bytes
    assert load_model(config).cache_bytes(1, 100) == token * (3 * 100 + 2 * 7)
    types = ["sliding_attention", "full_attention", "full_attention", "sliding_attention"]
    listed = {**config, "layer_types": [*types, "full_attention"]}
    assert load_model(listed).cache_bytes(1, 100) == token * (3 * 100 + 2 * 7)
    unused = {**config, "use_sliding_window": False}
    assert load_model(unused).cache_bytes(1, 100) == token * 5 * 100


KEYS = sorted({key for sizes in SIZES.values() for key in sizes} | {
    "num_key_value_heads", "head_dim", "sliding_window", "use_sliding_window", "layer_types",
    "max_window_layers", "n_inner", "ffn_dim", "word_embed_proj_dim", "tie_word_embeddings",
    "attention_bias", "quantization_config", "architectures", "auto_map", "pruned_heads",
})  # fmt: skip


@given(
    st.sampled_from(DECODERS),
    st.dictionaries(
        st.sampled_from(KEYS) | plain_text,
        st.integers(-5, 200) | st.just(float("nan")) | json_values,
        max_size=8,
    ),
)
def test_any_config_is_a_model_or_an_error(model_type: str, values: dict[str, Any]) -> None:
    try:
        model = load_model({**values, "model_type": model_type})
    except CostsimError:
        return  # never another error
    totals = (model.parameters, model.forward_flops(1, 8), model.cache_bytes(1, 8))
    assert all(type(total) is int and total > 0 for total in totals)


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_file_is_a_model_or_an_error(tmp_path_factory: Any, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "config.json"
    path.write_bytes(content)
    with pytest.raises(CostsimError):
        load_model(path)
