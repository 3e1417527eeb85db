"""A plan → its launch files → `init --from` → the same plan; only names that frameworks know."""

from __future__ import annotations

import errno
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import costsim
from costsim.architectures import load_model
from costsim.cli import main
from costsim.errors import CostsimError, InfeasiblePlanError, SpecError
from costsim.launching import read_launch_text
from costsim.launching.carried import carried_lines
from costsim.launching.shell import read_script
from costsim.launching.writing import TRAINING, launch_files
from costsim.planning.study import read

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"
NAMES = json.loads((Path(__file__).parents[1] / "data" / "launch_names.json").read_text())
MAIN = {
    "megatron": "megatron.sh",
    "bridge": "bridge.yaml",
    "torchtitan": "torchtitan.toml",
    "deepspeed": "deepspeed.json",
    "fsdp": "trainer.yaml",
}
SMALL: dict[str, Any] = {
    "name": "a small run",
    "model": "llama-3.2-1b",
    "workload": {"kind": "training", "tokens": 1e9, "sequence": 2048, "global_batch": 64},
    "hardware": {"system": "dgx-h100", "devices": 16},
    "price": "2 $/h",
}


def files_of(scenario: dict[str, Any], *formats: str) -> dict[str, str]:
    return launch_files(costsim.plan(scenario), scenario, formats)


def known(framework: str) -> set[str]:
    return set(NAMES[framework]["names"])


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_training_scenario_comes_back(path: Path) -> None:
    written = read(path)[0].value
    if written["workload"]["kind"] != "training":
        pytest.skip("a service")
    plan = costsim.plan(path)
    files = launch_files(plan, written, ["all"])
    mains = [name for name in MAIN.values() if name in files]
    assert len(mains) == (5 if "tokens" in written["workload"] else 2)
    for name in mains:
        again = costsim.plan(read_launch_text(files[name], Path(name)).scenario)
        assert again.best.run.strategy == plan.best.run.strategy, name
        assert again.best.value("cost_usd") == plan.best.value("cost_usd"), name
        assert again.best.value("days") == plan.best.value("days"), name


runs = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["llama-3.2-1b", "gpt2-xl", "olmoe-1b-7b"]),
        "devices": st.sampled_from([1, 8, 16]),
        "precision": st.sampled_from(["bf16", "fp16", "fp8", "fp32"]),
        "strategy": st.fixed_dictionaries(
            {},
            optional={
                "tp": st.sampled_from([1, 2, 4]),
                "pp": st.sampled_from([1, 2]),
                "cp": st.sampled_from([1, 2]),
                "zero": st.sampled_from([0, 1, 2, 3]),
                "recompute": st.sampled_from(["none", "selective", "full", "feed_forward"]),
                "offload": st.sampled_from(["none", "optimizer"]),
                "cp_exchange": st.sampled_from(["ring", "all_to_all"]),
            },
        ),
        "optimizer": st.sampled_from(["adam", "adamw", "sgd", "muon", "adafactor"]),
        "format": st.sampled_from(sorted(TRAINING)),
    }
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(runs)
def test_a_plan_comes_back_through_every_format(run: dict[str, Any]) -> None:
    scenario = {
        **SMALL,
        "model": run["model"],
        "workload": {
            **SMALL["workload"],
            "sequence": 1024,
            "precision": run["precision"],
            "optimizer": run["optimizer"],
        },
        "hardware": {"system": "dgx-h100", "devices": run["devices"]},
        "strategy": run["strategy"],
    }
    try:
        plan = costsim.plan(scenario)
    except (InfeasiblePlanError, CostsimError):
        return
    name = MAIN[run["format"]]
    text = launch_files(plan, scenario, [run["format"]])[name]
    again = costsim.plan(read_launch_text(text, Path(name)).scenario)
    assert again.best.run.strategy == plan.best.run.strategy
    assert again.best.value("cost_usd") == plan.best.value("cost_usd")


def test_settings_say_what_their_format_can() -> None:
    """The strategy is in the settings themselves, not in comments, as far as names exist."""
    scenario = {
        **SMALL,
        "strategy": {"tp": 2, "pp": 2, "sp": True, "zero": 1, "recompute": "full"},
    }
    files = files_of(scenario, "all")
    said = {
        "megatron.sh": {"tp": 2, "pp": 2, "sp": True, "zero": 1, "recompute": "full"},
        "bridge.yaml": {"tp": 2, "pp": 2, "sp": True, "zero": 1, "recompute": "full"},
        "torchtitan.toml": {"tp": 2, "pp": 2, "recompute": "full"},
        "deepspeed.json": {"tp": 2, "zero": 1},
        "trainer.yaml": {"recompute": "full"},
    }
    for name, wanted in said.items():
        lines = {one.path for one in carried_lines(files[name].replace('\\"', '"'))}
        assert not {f"strategy.{axis}" for axis in wanted} & lines, name
        strategy = read_launch_text(files[name], Path(name)).scenario["strategy"]
        assert {axis: strategy[axis] for axis in wanted} == wanted, name


def test_an_edited_setting_counts_more_than_the_comment() -> None:
    text = files_of(SMALL, "megatron")["megatron.sh"]
    edited = re.sub(r"--train-iters \d+", "--train-iters 100", text)
    found = read_launch_text(edited, Path("megatron.sh"))
    assert found.scenario["workload"]["tokens"] == 100 * 64 * 2048
    assert found.unused["costsim: workload.tokens"] == "the settings of the file say otherwise"


@pytest.mark.parametrize("model", ["llama-3.2-1b", "gpt3-175b", "qwen2.5-7b", "qwen3-8b"])
def test_the_arguments_of_a_decoder_have_its_parameters(model: str) -> None:
    scenario = {**SMALL, "model": model, "hardware": {"system": "dgx-h100", "devices": 256}}
    scenario["workload"] = {**SMALL["workload"], "global_batch": 256}
    text = files_of(scenario, "megatron")["megatron.sh"]
    bare = "\n".join(line for line in text.splitlines() if not line.startswith("# costsim"))
    described = read_launch_text(bare, Path("megatron.sh")).scenario["model"]
    assert load_model(described).parameters == load_model(model).parameters


@pytest.mark.parametrize("zero", [0, 1, 2, 3])
def test_only_names_that_the_frameworks_know(zero: int) -> None:
    scenario = {
        **SMALL,
        "strategy": {"tp": 2, "pp": 2, "cp": 2, "zero": zero, "offload": "optimizer"},
    }
    files = files_of(scenario, "all")
    options = {
        name.lstrip("-").replace("-", "_")
        for name in read_script(files["megatron.sh"]).options
        if name.startswith("--")
    }
    core = known("megatron-core") | known("megatron-lm")
    assert options <= core | known("torchrun")
    bridge = yaml.safe_load(files["bridge.yaml"])
    for table in ("model", "train", "ddp", "optimizer"):
        assert bridge[table].keys() <= core, table
    titan = tomllib.loads(files["torchtitan.toml"])
    for table in ("training", "parallelism"):
        assert {f"{table}.{key}" for key in titan[table]} <= known("torchtitan")
    arguments = yaml.safe_load(files["trainer.yaml"]).keys()
    beside = {"model_name_or_path", "max_length"}  # of TRL's SFTConfig and ModelConfig
    assert arguments <= known("transformers") | beside
    accelerate = yaml.safe_load(files["accelerate.yaml"])
    names = accelerate.keys() | accelerate.get("fsdp_config", {}).keys()
    assert names <= known("accelerate")


def test_the_slurm_script_asks_for_what_is_planned() -> None:
    text = files_of({**SMALL, "strategy": {"zero": 3}})["slurm.sh"]
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", text, re.MULTILINE))
    assert int(asked["nodes"]) * int(asked["gpus-per-node"]) == 16
    assert re.fullmatch(r"\d+-\d\d:00:00", asked["time"])
    assert "bash megatron.sh" in text


def test_files_go_into_a_folder_beside_what_lies_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "launch"
    folder.mkdir()
    (folder / "mine.txt").write_text("kept", encoding="utf-8")
    scenario = tmp_path / "s.yaml"
    scenario.write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    assert main(["plan", str(scenario), "-o", f"{folder}/", "--launch", "all"]) == 0
    assert (folder / "mine.txt").read_text(encoding="utf-8") == "kept"
    assert {path.name for path in folder.iterdir()} == {
        *MAIN.values(),
        "mine.txt",
        "accelerate.yaml",
        "deepspeed.sh",
        "slurm.sh",
    }
    output = capsys.readouterr()
    assert "wrote megatron.sh" in output.err
    assert "a small run" in output.out
    mine = tmp_path / "mine.yaml"
    assert main(["init", str(mine), "--from", str(folder / "torchtitan.toml")]) == 0
    capsys.readouterr()
    assert main(["plan", str(mine), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["best"]
    assert found["cost_usd"] == costsim.plan(scenario).best.value("cost_usd")


def test_errors_leave_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenario = tmp_path / "s.yaml"
    scenario.write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    plan = ["plan", str(scenario), "-o"]
    assert main([*plan, f"{tmp_path}/new/", "--launch", "megatorn"]) == 1
    assert "did you mean `megatron`" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    assert main([*plan, f"{tmp_path}/no/such/", "--launch", "megatron"]) == 2
    assert "cannot make the folder" in capsys.readouterr().err
    assert main([*plan, f"{scenario}/", "--launch", "megatron"]) == 2
    assert "is a file, not a folder" in capsys.readouterr().err
    assert main([*plan, f"{tmp_path}/plan.json", "--launch", "megatron"]) == 2
    assert "writes into a folder" in capsys.readouterr().err
    (tmp_path / "half" / "slurm.sh").mkdir(parents=True)
    assert main([*plan, f"{tmp_path}/half/", "--launch", "megatron"]) == 2
    assert "is a folder, not a file" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "half").iterdir()] == ["slurm.sh"]


@pytest.mark.parametrize("fails_at", [0, 1])
def test_a_folder_that_cannot_be_written_is_one_error(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    fails_at: int,
) -> None:
    """As of a read-only folder, or a disk that is full after the first file."""
    folder = tmp_path / "launch"
    scenario = tmp_path / "s.yaml"
    scenario.write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    write, calls = Path.write_bytes, iter(range(9))

    def refused(path: Path, *text: Any, **more: Any) -> int:
        if next(calls) == fails_at:
            raise PermissionError(errno.EACCES, "Permission denied")
        return write(path, *text, **more)

    monkeypatch.setattr(Path, "write_bytes", refused)
    assert main(["plan", str(scenario), "-o", f"{folder}/"]) == 2
    assert capsys.readouterr().err.count("cannot write") == 1
    assert not folder.exists()


def test_samples_are_for_formats_that_count_them() -> None:
    path = SCENARIOS / "resnet50-training.yaml"
    plan, written = costsim.plan(path), read(path)[0].value
    with pytest.raises(SpecError, match="on tokens, not on samples"):
        launch_files(plan, written, ["megatron"])
    assert "trainer.yaml" in launch_files(plan, written)
