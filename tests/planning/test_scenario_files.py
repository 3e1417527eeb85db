"""Where scenarios come from, and that they read no file that is not theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

import costsim
from costsim.cli import main
from costsim.planning.sources import packaged_scenarios, scenario_path
from costsim.planning.study import read

TEXT = """\
name: X
model: {model}
workload: {{kind: training, tokens: 1 B tokens, sequence: 1024, global_batch: 64}}
hardware: {{system: nvidia-h100-sxm5-80gb, devices: 8}}
calibration: {calibration}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret.yaml").write_text("password: hunter2\n", encoding="utf-8")
    inside = tmp_path / "scenarios"
    inside.mkdir()
    return inside


def scenario(folder: Path, model: str = "gpt2-xl", calibration: str = "null") -> Path:
    path = folder / "x.yaml"
    path.write_text(TEXT.format(model=model, calibration=calibration), encoding="utf-8")
    return path


@pytest.mark.parametrize("named", ["../secret.yaml", "link.yaml", "ABSOLUTE"])
@pytest.mark.parametrize("key", ["model", "calibration"])
def test_files_outside_the_folder_are_not_read(
    folder: Path, named: str, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "link.yaml").symlink_to(folder.parent / "secret.yaml")
    named = named.replace("ABSOLUTE", str(folder.parent / "secret.yaml"))
    path = scenario(folder, **{key: named})
    assert main(["plan", str(path)]) == 1
    said = capsys.readouterr().err
    assert "outside the scenario's folder" in said
    assert f"{path}:{2 if key == 'model' else 5}:" in said
    assert "hunter2" not in said
    assert main(["explain", str(path), "cost_usd"]) == 1
    assert "hunter2" not in capsys.readouterr().err


def test_the_user_may_name_any_file(folder: Path) -> None:
    path = scenario(folder)
    outside = str(folder.parent / "secret.yaml")
    read(path, [f"model={outside}"])
    read(path, [], outside)
    read(scenario(folder, model="../secret.yaml"), allow_outside=True)
    read({"model": outside})


def test_names_with_slashes_that_are_no_files_stay_names(folder: Path) -> None:
    read(scenario(folder, model="meta-llama/Llama-3.1-8B"))
    read(scenario(folder, model="models/mine.json"))


@pytest.mark.parametrize("name", packaged_scenarios())
def test_packaged_scenarios_have_names(name: str) -> None:
    assert scenario_path(name).is_file()
    read(name)


def test_a_packaged_scenario_is_planned_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "resnet50-images", "--format", "json"]) == 0
    assert '"best"' in capsys.readouterr().out
    assert costsim.plan("resnet50-images").best.devices >= 1
    assert main(["plan", "gpt33"]) == 1
    assert "no such file" in capsys.readouterr().err
