"""Where each kind of new line goes: one is added in a copy of the project, and works there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SERVICE = """\
name: s
model: llama-3.1-8b
workload: {kind: inference, requests_per_s: 2, input_tokens: 500, output_tokens: 50, engine: mine}
hardware: {system: nvidia-h100-sxm5-80gb, replica_devices: [1]}
price: 2 $/h
"""
TRAINING = """\
name: t
model: gpt2
workload:
  {kind: training, tokens: 1 B tokens, sequence: 512, global_batch: 64, optimizer: twice}
hardware: {system: nvidia-a100-sxm4-80gb, devices: 8}
price: 2 $/h
"""
BURST = """\
from typing import ClassVar, Literal

from costsim.planning.workloads.job import Job, JobScenario, JobWorkload


class Burst(Job):
    kind: Literal["burst"]


class BurstScenario(JobScenario):
    workload: Burst


class BurstWorkload(JobWorkload):
    scenario_type: ClassVar[type] = BurstScenario
"""
SHOUT = """\
from costsim.reporting.registry import Rendered


def render(report, options):
    return Rendered(report.answer.text.upper())
"""

SECTION = """

def parameters(plan):
    figure = KeyFigure("Parameters", plan.best.option.model.parameters, "count")
    return Section("Size", blocks=(KeyFigures((figure,)),))


SECTIONS = (*SECTIONS, parameters)
"""
CONFIG = {
    "model_type": "mine",
    "architectures": ["MineForCausalLM"],
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project with one new line of each kind."""
    top = tmp_path_factory.mktemp("project")
    for name in ("simulator", "hardware_specs", "scenarios", "reports"):
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, top / name, ignore=skip)

    def edit(path: str, old: str, new: str) -> None:
        file = top / path
        text = file.read_text(encoding="utf-8")
        assert text.count(old) == 1, (path, old)
        file.write_text(text.replace(old, new), encoding="utf-8")

    # An engine: its releases, and its flags.
    engines = top / "hardware_specs/engines"
    own = (engines / "vllm.yaml").read_text(encoding="utf-8")
    own = re.sub(r"^id: .*\nname: .*\nalso: .*\n", "id: mine\nname: Mine\n", own)
    (engines / "mine.yaml").write_text(own, encoding="utf-8")
    launch = top / "hardware_specs/engines/launch.yaml"
    with launch.open("a", encoding="utf-8") as file:
        file.write(
            "mine:\n  source: a test\n  engines: [mine]\n  command: mine {model}\n  quantizes: {}\n"
            '  caches: {}\n  drafts: {}\n  flags: [[max_tokens, "--most {max_tokens}"]]\n'
        )
    # An optimizer: a line.
    edit(
        "simulator/costsim/training/optimizers.py",
        '        Optimizer("sgd", 0),\n',
        '        Optimizer("sgd", 0),\n        Optimizer("twice", 4),\n',
    )
    # A format of reports: a module and a line.
    (top / "simulator/costsim/reporting/shout.py").write_text(SHOUT)
    edit(
        "simulator/costsim/reporting/registry.py",
        '    "csv": Format(',
        '    "shout": Format("costsim.reporting.shout", (".shout",)),\n    "csv": Format(',
    )
    # A kind of workload: a module and a line.
    (top / "simulator/costsim/planning/workloads/burst.py").write_text(BURST)
    edit(
        "simulator/costsim/planning/workload.py",
        "KINDS = {\n",
        'KINDS = {\n    "burst": "costsim.planning.workloads.burst:BurstWorkload",\n',
    )
    # An accelerator and how it is linked: a file each; what it costs: a row.
    sheets = top / "hardware_specs"
    own = (sheets / "accelerators/nvidia-l4.yaml").read_text(encoding="utf-8")
    own = own.replace("id: nvidia-l4\n", "id: my-chip\n").replace("l4-pcie-8", "my-node")
    (sheets / "accelerators/my-chip.yaml").write_text(own, encoding="utf-8")
    own = (sheets / "systems/l4-pcie-8.yaml").read_text(encoding="utf-8")
    own = own.replace("id: l4-pcie-8\n", "id: my-node\n").replace("nvidia-l4\n", "my-chip\n")
    (sheets / "systems/my-node.yaml").write_text(own, encoding="utf-8")
    with (sheets / "prices/cloud/aws.csv").open("a", encoding="utf-8") as file:
        file.write("my-chip,mine.8x,us-east-1,8,on_demand,24,2026-07-20,a test,\n")
    # A precision: a line.
    edit(
        "simulator/costsim/training/precision.py",
        '    "fp32": Precision("fp32", "fp32", "fp32", 4, 4, 0, 4, 4, 4, 4),\n',
        '    "fp32": Precision("fp32", "fp32", "fp32", 4, 4, 0, 4, 4, 4, 4),\n'
        '    "wide": Precision("wide", "fp32", "fp32", 4, 4, 0, 4, 4, 4, 4),\n',
    )
    # A section of reports: a function and its line in the table.
    sections = top / "simulator/costsim/reporting/plans/__init__.py"
    text = sections.read_text(encoding="utf-8")
    text = text.replace("import Note,", "import KeyFigure, KeyFigures, Note,")
    head, table, rest = text.partition("\n\ndef plan_report")
    sections.write_text(head + SECTION + table + rest, encoding="utf-8")
    # A type of model whose layers are built already: a line.
    edit(
        "simulator/costsim/architectures/huggingface/decoders/dense.py",
        '    "seed_oss": _seed_oss,\n',
        '    "seed_oss": _seed_oss,\n    "mine": _plain,\n',
    )
    return top


def run(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from costsim.cli import main; sys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": str(copy / "simulator")}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_new_engine_plans_and_launches(copy: Path) -> None:
    (copy / "s.yaml").write_text(SERVICE)
    found = run(copy, "plan", "s.yaml", "--format", "csv")
    assert found.returncode == 0, found.stderr
    said = run(copy, "plan", "s.yaml", "--format", "json").stdout
    assert "mine meta-llama/Llama-3.1-8B --most 768" in said


def test_a_new_format_is_chosen_by_name_and_suffix(copy: Path) -> None:
    (copy / "t.yaml").write_text(TRAINING)
    found = run(copy, "plan", "t.yaml", "--format", "shout")
    assert found.stdout.startswith("TRAINING TAKES"), found.stderr
    assert run(copy, "plan", "t.yaml", "-o", "t.shout").returncode == 0
    assert (copy / "t.shout").read_text().startswith("TRAINING TAKES")


def test_a_new_optimizer_holds_its_states(copy: Path) -> None:
    (copy / "t.yaml").write_text(TRAINING)
    usual = run(copy, "plan", "t.yaml", "--set", "workload.optimizer=adam", "--format", "json")
    assert '"optimizer": "adam"' in usual.stdout
    found = run(copy, "plan", "t.yaml", "--format", "json")
    assert '"optimizer": "twice"' in found.stdout, found.stderr


def test_a_new_kind_of_workload_is_planned(copy: Path) -> None:
    text = SERVICE.replace("kind: inference", "kind: job").replace("engine: mine", "within: 1 h")
    (copy / "b.yaml").write_text(text.replace("requests_per_s: 2", "requests: 3600"))
    job = run(copy, "plan", "b.yaml", "--format", "json")
    found = run(copy, "plan", "b.yaml", "--set", "workload.kind=burst", "--format", "json")
    assert found.returncode == 0, found.stderr
    told, made = json.loads(job.stdout), json.loads(found.stdout)
    assert made["workload"] == "burst"
    assert made["best"]["cost_usd"] == told["best"]["cost_usd"]
    assert "burst" in run(copy, "schema", "scenario").stdout


def test_a_new_accelerator_and_its_price_are_planned_with(copy: Path) -> None:
    (copy / "a.yaml").write_text(SERVICE.replace("nvidia-h100-sxm5-80gb", "my-chip"))
    unpriced = re.sub(r"price: .*\n", "", (copy / "a.yaml").read_text())
    (copy / "a.yaml").write_text(unpriced.replace("replica_devices: [1]", "replica_devices: [2]"))
    found = run(copy, "plan", "a.yaml", "--format", "json")
    assert found.returncode == 0, found.stderr
    best = json.loads(found.stdout)["best"]
    assert best["usd_per_hour"] == pytest.approx(24.0)  # its instance of 8, rented whole
    assert "my-chip" in run(copy, "hardware").stdout


def test_a_new_precision_is_trained_in(copy: Path) -> None:
    (copy / "t.yaml").write_text(TRAINING)
    plans = [
        run(copy, "plan", "t.yaml", "--set", f"workload.precision={name}", "--format", "json")
        for name in ("wide", "fp32")
    ]
    wide, fp32 = (json.loads(plan.stdout)["best"] for plan in plans)
    assert wide["cost_usd"] == fp32["cost_usd"]


def test_a_new_section_is_printed(copy: Path) -> None:
    (copy / "t.yaml").write_text(TRAINING)
    assert "## Size" in run(copy, "plan", "t.yaml", "--format", "markdown").stdout


def test_a_new_type_of_model_is_read(copy: Path) -> None:
    (copy / "config.json").write_text(json.dumps(CONFIG))
    found = run(copy, "estimate", "config.json", "--hardware", "h100", "--format", "json")
    assert found.returncode == 0, found.stderr
    layer = 256 * (256 + 2 * 128) + 256 * 256 + 3 * 256 * 512 + 2 * 256
    assert json.loads(found.stdout)["parameters"] == 2 * layer + 2 * 1000 * 256 + 256
