"""What docs/architectures.md shows is true."""

from __future__ import annotations

import re
from pathlib import Path

from costsim.architectures import load_model

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "architectures.md"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


def test_python_examples_run(capsys) -> None:
    examples = _blocks("python")
    assert examples
    for example in examples:
        exec(example, {"__name__": __name__})
    shown = re.search(r"print\(.*\)  # (.*)", examples[0])
    assert shown is not None
    assert capsys.readouterr().out.strip() == shown[1]


def test_yaml_examples_are_models(tmp_path: Path) -> None:
    examples = _blocks("yaml")
    assert len(examples) == 3
    for index, example in enumerate(examples):
        path = tmp_path / f"example{index}.yaml"
        path.write_text(example)
        assert load_model(path).depth == 40
