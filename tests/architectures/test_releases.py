"""Releases by name: those that ship, and those in the local cache of the Hub."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from costsim.architectures import load_model, model_names
from costsim.architectures.files.hub import snapshot_of
from costsim.architectures.releases import release, releases
from costsim.errors import SpecError, UnknownNameError

# Names that round their size otherwise than to the nearest: experts' or active sizes, and such
# whose embedding is left out of what the name says.
_OTHERWISE = re.compile(
    r"(8x|17b|-a\d+b|gemma|llama-3\.2-1b|falcon3-1b|open_llama_3b|salamandra-2b|olmocr|-vl-)"
)


def test_two_hundred_published_configurations_ship() -> None:
    published = [name for name in model_names() if load_model(name).notes]
    assert len(releases()) + len(published) >= 200


@pytest.mark.parametrize("name", [one.name for one in releases().values()])
def test_a_release_makes_the_parameters_that_are_written_and_named(name: str) -> None:
    found = release(name)
    assert found is not None
    assert found.source
    model = load_model(name)
    assert model.parameters == found.parameters
    assert model.name == name.partition("/")[2]
    size = re.search(r"(?<![\d.])(\d+(?:\.\d+)?)([bm])(?![a-z])", name.lower())
    if size and not _OTHERWISE.search(name.lower()):
        stated = float(size[1]) * {"b": 1e9, "m": 1e6}[size[2]]
        assert abs(model.parameters / stated - 1) < 0.12


@pytest.mark.parametrize(
    ("name", "parameters"),
    [  # `model.safetensors.index.json` or the hub's own count of the release's tensors
        ("Qwen/Qwen2.5-Coder-7B-Instruct", 7_615_616_512),
        ("Qwen/QwQ-32B", 32_763_876_352),
        ("HuggingFaceTB/SmolLM2-135M", 134_515_008),
        ("HuggingFaceTB/SmolLM2-360M", 361_821_120),
        ("microsoft/phi-4", 14_659_507_200),
        ("microsoft/Phi-4-mini-instruct", 3_836_021_760),
        ("google/gemma-7b", 8_537_680_896),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", 70_553_706_496),
        ("tiiuae/Falcon3-7B-Base", 7_455_550_464),
        ("allenai/OLMo-2-1124-7B", 7_298_617_344),
        ("BSC-LT/salamandra-7b", 7_768_117_248),
    ],
)
def test_known_counts(name: str, parameters: int) -> None:
    assert load_model(name).parameters == parameters


def test_owner_and_case_do_not_matter_where_one_alone_has_the_name() -> None:
    assert load_model("qwq-32b").description == load_model("qwen/QWQ-32B").description
    with pytest.raises(UnknownNameError):
        load_model("somebody/qwq-32b")


def test_an_unknown_release_gets_suggestions_of_its_family() -> None:
    with pytest.raises(UnknownNameError) as unknown:
        load_model("Qwen/Qwen9-Coder-32B")
    assert "qwen" in str(unknown.value.problems[0].hint).lower()
    assert "llama" not in str(unknown.value.problems[0].hint).lower()


CONFIG = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 100,
}


def _cached(root: Path, name: str, commit: str, layers: int) -> Path:
    """Lay a release out as huggingface_hub does: links from a snapshot into blobs."""
    folder = root / f"models--{name.replace('/', '--')}"
    blob = folder / "blobs" / f"blob-{commit}"
    snapshot = folder / "snapshots" / commit
    for made in (blob.parent, snapshot, folder / "refs"):
        made.mkdir(parents=True, exist_ok=True)
    blob.write_text(json.dumps({**CONFIG, "num_hidden_layers": layers}))
    (snapshot / "config.json").symlink_to(Path("..") / ".." / "blobs" / blob.name)
    return folder


@pytest.mark.parametrize(
    ("variable", "below"),
    [("HF_HUB_CACHE", ""), ("HF_HOME", "hub"), ("XDG_CACHE_HOME", "huggingface/hub")],
)
def test_a_release_in_the_local_cache_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, below: str
) -> None:
    for other in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    folder = _cached(tmp_path / below, "Qwen/QwQ-32B", "a" * 40, 3)
    _cached(tmp_path / below, "Qwen/QwQ-32B", "b" * 40, 5)
    assert load_model("Qwen/QwQ-32B").depth in (3, 5)
    (folder / "refs" / "main").write_text("a" * 40)
    model = load_model("Qwen/QwQ-32B")
    assert (model.depth, model.name) == (3, "QwQ-32B")
    assert "a" * 40 in model.source
    assert load_model("Qwen/Qwen2.5-Coder-7B").depth == 28  # not in the cache: as it ships


@pytest.mark.parametrize(
    "name", ["../x/y", "a/../b", "a/b/c", "/etc/passwd", "a//b", "models--a/b\0"]
)
def test_no_name_leads_out_of_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert snapshot_of(name) is None


def test_a_cached_release_without_a_config_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    (tmp_path / "models--a--b" / "snapshots" / ("c" * 40)).mkdir(parents=True)
    with pytest.raises(SpecError, match="holds no config"):
        load_model("a/b")
