"""The named models have the parameters that their authors state; names lead to them."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from costsim.architectures import aliases_of, load_model, model_names
from costsim.architectures.catalog import published_parameters
from costsim.documents import load_document, parse_as
from costsim.errors import SpecError, UnknownNameError
from costsim.resources import data_folder

MODELS = data_folder("scenarios") / "models"


def _agrees(parameters: int, published: int) -> bool:
    """A count of many digits is exact; a rounded one (175 B, 1.3 B) leaves what was rounded."""
    digits = len(str(published).rstrip("0"))
    if digits > 6:
        return parameters == published
    unit = 10 ** (int(math.log10(published)) + 1 - max(digits, 2))
    return abs(parameters - published) <= max(unit / 2, 0.02 * published)


@pytest.mark.parametrize("name", model_names())
def test_parameters_are_the_published_ones(name: str) -> None:
    published = published_parameters(name)
    assert published is not None
    assert _agrees(load_model(name).parameters, published)


@pytest.mark.parametrize("name", model_names())
def test_packaged_file_is_valid_and_names_its_source(name: str) -> None:
    from costsim.architectures.spec import ModelSpec, check_shape

    document = load_document(MODELS / f"{name}.yaml")
    spec = parse_as(document, ModelSpec)
    assert spec.source
    if spec.vision is None and spec.huggingface is None:
        check_shape(spec.given(), document)
    # what a user would get from a copy of the file
    assert load_model(MODELS / f"{name}.yaml").description == load_model(name).description


def test_aliases_lead_to_models_and_hide_none() -> None:
    aliases = load_document(MODELS / "aliases.yaml").value
    assert set(aliases.values()) <= set(model_names())
    assert not set(aliases) & set(model_names())


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("gpt3-175b", "gpt3-175b"),
        ("GPT-3", "gpt3-175b"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("Qwen/Qwen2.5-32B", "qwen2.5-32b"),
        (" llama 2 70b ", "llama-2-70b"),
        ("megatron_530b", "megatron-530b"),
    ],
)
def test_a_name_is_found_however_it_is_written(written: str, name: str) -> None:
    assert load_model(written).name == name


def test_names_are_sorted_by_family_and_size() -> None:
    pythia = [name for name in model_names() if name.startswith("pythia")]
    assert pythia[0] == "pythia-70m"
    assert pythia[-1] == "pythia-12b"


def test_aliases_of_a_model() -> None:
    assert "gpt3" in aliases_of("gpt3-175b")


@pytest.mark.parametrize("name", ["gpt5-175b", "lama-2-7b", "aliases", "../models/gpt2", "", "."])
def test_an_unknown_name_is_an_error(name: str) -> None:
    with pytest.raises((UnknownNameError, SpecError)):
        load_model(name)


def test_a_misspelt_name_gets_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match="did you mean `llama-2-70b`"):
        load_model("lama-2-70b")


def test_a_missing_file_is_an_error() -> None:
    with pytest.raises(SpecError, match="no such file"):
        load_model("models/none.yaml")


def test_a_folder_in_the_way_does_not_hide_a_catalog_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gpt2").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_model("gpt2").parameters == 124_439_808
    with pytest.raises(SpecError, match=r"config\.json"):
        load_model("./gpt2")


def test_loading_by_name_imports_neither_pydantic_nor_numpy_nor_sympy() -> None:
    code = (
        "import sys; from costsim import load_model; m = load_model('gpt3-175b'); m.parameters;"
        "m.forward_flops(); m.cache_bytes();"
        "sys.exit(any(name in sys.modules for name in ('pydantic', 'numpy', 'sympy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_known_totals() -> None:
    gpt3 = load_model("gpt3-175b")
    assert round(gpt3.parameters / 1e9, 1) == 174.6
    assert gpt3.depth == 96
    assert gpt3.context_limit == 2048
    # tokens × layers × (key and value) × heads × width × bytes
    assert load_model("llama-3-70b").cache_bytes(1, 8192) == 8192 * 80 * 2 * 8 * 128 * 2
