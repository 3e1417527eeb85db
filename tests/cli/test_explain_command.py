import json
from pathlib import Path

import pytest

from costsim.architectures import load_model
from costsim.architectures.formulas import QUANTITIES
from costsim.cli import main


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["explain", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("gpt3_forward_flops", ["gpt3", "forward_flops"]),
        ("llama-3-70b", ["llama-3-70b"]),
        ("mistral_cache_bytes", ["mistral-7b-v0.1", "cache_bytes", "--sequence", "8192"]),
        ("gpt3_activation_bytes", ["gpt3", "activation_bytes", "--batch", "4", "--dtype", "fp32"]),
    ],
)
def test_text(capsys: pytest.CaptureFixture[str], golden, name: str, arguments: list[str]) -> None:
    golden(f"explain_{name}.txt", _run(capsys, *arguments))


def test_json_holds_formula_numbers_and_sources(capsys: pytest.CaptureFixture[str]) -> None:
    text = _run(capsys, "llama-3-70b", "--batch", "2", "--sequence", "4096", "--format", "json")
    entries = {entry["quantity"]: entry for entry in json.loads(text)["quantities"]}
    assert set(entries) == set(QUANTITIES)
    model = load_model("llama-3-70b")
    assert entries["training_flops"]["value"] == model.training_flops(2, 4096)
    assert entries["cache_bytes"]["value"] == model.cache_bytes(2, 4096)
    for entry in entries.values():
        assert entry["sources"]
        assert sum(part["value"] for part in entry["parts"]) == entry["value"]
        values = {name: symbol["value"] for name, symbol in entry["symbols"].items()}
        assert eval(entry["formula"], {"Min": min}, values) == entry["value"]


def test_quantities_in_the_help_are_all(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(_run(capsys, "--help").split())
    assert f"{', '.join(QUANTITIES)}." in text


def test_latex(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    written = _run(capsys, "gpt2", "cache_bytes", "--format", "latex")
    assert written == "\\text{cache\\_bytes} = 4 L b h s\n"
    assert _run(capsys, "gpt2", "cache_bytes", "-o", str(tmp_path / "formula.tex")) == ""
    assert (tmp_path / "formula.tex").read_text() == written


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["gpt3", "parameter"], 1, "did you mean `parameters`"),
        (["gtp3"], 1, "did you mean `gpt3`"),
        (["gpt3", "--dtype", "fp9"], 1, "unknown number format `fp9`"),
        (["gpt3", "--batch", "0"], 2, "--batch"),
        (["gpt3", "--sequence", "-1"], 2, "--sequence"),
        ([], 2, "missing argument"),
    ],
)
def test_a_wrong_question_is_an_error(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    assert main(["explain", *arguments]) == code
    output = capsys.readouterr()
    assert output.out == ""
    assert message.lower() in output.err.lower()
