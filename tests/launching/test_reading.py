"""Launch files become scenarios: every setting used, or named as unused with a reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from costsim.cli import main
from costsim.errors import SpecError
from costsim.launching import Imported, read_launch, to_yaml
from costsim.launching.shell import read_script

MEGATRON = r"""#!/bin/bash
# Pre-train a model of 175 B parameters
export CUDA_DEVICE_MAX_CONNECTIONS=1
GPUS_PER_NODE=8
NUM_NODES=${SLURM_NNODES:-128}
TP=8
DISTRIBUTED_ARGS=(
    --nproc_per_node $GPUS_PER_NODE   # a node
    --nnodes $NUM_NODES
    --master_addr $MASTER_ADDR
)
GPT_MODEL_ARGS=(
    --num-layers 96
    --hidden-size 12288
    --num-attention-heads 96
    --seq-length 2048
    --max-position-embeddings 2048
    --vocab-size 51200
)
TRAINING_ARGS="--micro-batch-size 1 --global-batch-size 1536 \
    --train-samples 146484375 --fp16 --lr 6.0e-5 --use-distributed-optimizer"
MODEL_PARALLEL_ARGS=(
    --tensor-model-parallel-size ${TP}
    --pipeline-model-parallel-size 16
    --num-layers-per-virtual-pipeline-stage 2
    --sequence-parallel
)
torchrun ${DISTRIBUTED_ARGS[@]} pretrain_gpt.py \
    ${GPT_MODEL_ARGS[@]} \
    $TRAINING_ARGS \
    ${MODEL_PARALLEL_ARGS[@]} \
    --recompute-activations --wandb-project "a b"
"""


def written(folder: Path, name: str, text: str) -> Imported:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_launch(path)


def given_names(imported: Imported) -> set[str]:
    return imported.used.keys() | imported.unused.keys()


def test_a_megatron_script(tmp_path: Path) -> None:
    found = written(tmp_path, "train.sh", MEGATRON)
    scenario = found.scenario
    assert scenario["hardware"] == {"devices": 1024}
    assert scenario["strategy"] == {
        "tp": 8,
        "pp": 16,
        "vp": 3,
        "micro_batch": 1,
        "sp": True,
        "zero": 1,
        "recompute": "selective",
    }
    assert scenario["workload"]["tokens"] == 146484375 * 2048
    assert scenario["workload"]["precision"] == "fp16"
    assert scenario["model"]["layers"] == 96
    assert {"lr", "wandb_project", "master_addr"} <= found.unused.keys()
    assert [hint.split(":")[0] for hint in found.missing] == ["hardware.system"]


def test_the_scenario_of_a_script_is_planned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.sh").write_text(MEGATRON, encoding="utf-8")
    mine = tmp_path / "mine.yaml"
    assert main(["init", str(mine), "--from", str(tmp_path / "train.sh")]) == 0
    assert "still to state: hardware.system" in capsys.readouterr().err
    sets = ["--set", "hardware.system=dgx-a100-80", "--format", "json"]
    assert main(["plan", str(mine), *sets]) == 0
    strategy = json.loads(capsys.readouterr().out)["best"]["strategy"]
    assert (strategy["tp"], strategy["pp"], strategy["vp"], strategy["dp"]) == (8, 16, 3, 8)


def test_deepspeed_json(tmp_path: Path) -> None:
    config = {
        "train_batch_size": 512,
        "train_micro_batch_size_per_gpu": 4,
        "gradient_accumulation_steps": 2,
        "zero_optimization": {
            "stage": 3,
            "offload_optimizer": {"device": "cpu", "pin_memory": True},
            "overlap_comm": True,
        },
        "bf16": {"enabled": True},
        "fp16": {"enabled": "auto"},
        "optimizer": {"type": "AdamW", "params": {"lr": "auto"}},
        "gradient_clipping": 1.0,
    }
    found = written(tmp_path, "ds.json", json.dumps(config))
    assert found.scenario["workload"] == {
        "kind": "training",
        "software": "deepspeed",
        "global_batch": 512,
        "precision": "bf16",
        "optimizer": "adamw",
    }
    assert found.scenario["strategy"] == {"micro_batch": 4, "zero": 3, "offload": "optimizer"}
    assert found.scenario["hardware"]["devices"] == 64
    assert "`auto`" in found.unused["fp16.enabled"]
    assert "zero_optimization.overlap_comm" in found.unused


def test_torchtitan_toml(tmp_path: Path) -> None:
    text = """
[model]
name = "llama3"
flavor = "8B"
[training]
local_batch_size = 2
global_batch_size = 256
seq_len = 8192
steps = 1000
[parallelism]
data_parallel_replicate_degree = 2
data_parallel_shard_degree = 8
tensor_parallel_degree = 4
pipeline_parallel_schedule = "Interleaved1F1B"
[activation_checkpoint]
mode = "selective"
[optimizer]
name = "AdamW"
lr = 3e-4
"""
    found = written(tmp_path, "titan.toml", text)
    assert found.scenario["model"] == "llama-3-8b"
    assert found.scenario["hardware"]["devices"] == 64
    assert found.scenario["strategy"]["zero"] == 3
    assert found.scenario["workload"]["tokens"] == 1000 * 256 * 8192
    assert "optimizer.lr" in found.unused


def test_a_nemo_recipe(tmp_path: Path) -> None:
    text = """
trainer: {num_nodes: 4, devices: 8, max_steps: 100, precision: bf16-mixed}
model:
  micro_batch_size: 1
  global_batch_size: 128
  tensor_model_parallel_size: 4
  pipeline_model_parallel_size: 2
  virtual_pipeline_model_parallel_size: null
  encoder_seq_length: 4096
  num_layers: 32
  optim: {name: distributed_fused_adam}
"""
    found = written(tmp_path, "recipe.yaml", text)
    assert found.format.startswith("NeMo")
    assert found.scenario["hardware"]["devices"] == 32
    assert found.scenario["workload"]["tokens"] == 100 * 128 * 4096
    assert found.scenario["workload"]["precision"] == "bf16"
    assert found.used["optim.name"] == "workload.optimizer"
    assert found.scenario["strategy"]["zero"] == 1


def test_a_vllm_command(tmp_path: Path) -> None:
    text = (
        "CUDA_VISIBLE_DEVICES=0,1 vllm serve org/My-Model --tensor-parallel-size 2 "
        "--kv-cache-dtype fp8 --max-model-len 8192 --port 80 --quantization fp8"
    )
    found = written(tmp_path, "serve.sh", text)
    assert found.scenario["model"] == "org/My-Model"
    assert found.scenario["hardware"] == {
        "precision": "fp8",
        "cache": "fp8",
        "replica_devices": 2,
    }
    assert found.used["tensor_parallel_size"] == "hardware.replica_devices"
    assert "workload.requests_per_s" in [hint.split(":")[0] for hint in found.missing]


@pytest.mark.parametrize(
    "text", ["", "echo hi", "python train.py", "{}", "a: 1", "[1]", "'open quote"]
)
@pytest.mark.parametrize("name", ["x.sh", "x.json", "x.yaml", "x.toml"])
def test_no_launch_file_is_one_clear_error(tmp_path: Path, text: str, name: str) -> None:
    with pytest.raises(SpecError):
        written(tmp_path, name, text)


@given(st.dictionaries(st.text(min_size=1, max_size=12), st.text(max_size=12), max_size=6))
def test_every_setting_is_used_or_named(tmp_path_factory: pytest.TempPathFactory, extra) -> None:
    config = {"train_batch_size": 8, "zero_optimization": {"stage": 1}, **extra}
    path = tmp_path_factory.mktemp("any") / "ds.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    found = read_launch(path)
    assert given_names(found) >= set(extra)
    read = yaml.safe_load(to_yaml(found))
    assert read["workload"]["kind"] == "training"
    assert read["workload"].get("global_batch") == found.scenario["workload"].get("global_batch")


def test_nothing_of_a_script_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    script = f"X=$(touch {mark})\n`touch {mark}`\nrun --num-layers $(touch {mark}) --hidden-size 8"
    found = written(tmp_path, "train.sh", script)
    assert not mark.exists()
    assert "num_layers" in found.unused


def test_variables_that_name_each_other_end() -> None:
    assert read_script("A=$B\nB=$A\nrun --x $A").options.keys() == {"--x"}
    script = "A=aa\n" + "".join(f"A{i}=$A{i - 1}$A{i - 1}\n" for i in range(1, 60)) + "r --x $A59"
    assert "--x" in read_script(script).options
