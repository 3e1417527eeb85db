"""A batch script for Slurm that starts another launch file on every node."""

from __future__ import annotations

import math
from collections.abc import Mapping

from costsim.launching.writing.recipe import Recipe
from costsim.launching.writing.text import header, quoted

_SLACK = 1.1  # of the days that are planned: a job is stopped at the end of its time

_RUNS: Mapping[str, str] = {
    "megatron": "bash megatron.sh",
    "bridge": "torchrun {world} ${{SCRIPT:-train.py}} --config-file bridge.yaml",
    "torchtitan": "torchrun {world} -m torchtitan.train --job.config_file torchtitan.toml",
    "deepspeed": "torchrun {world} ${{SCRIPT:-train.py}} --deepspeed deepspeed.json",
    "fsdp": "accelerate launch --config_file accelerate.yaml --machine_rank $SLURM_NODEID "
    "--main_process_ip $MASTER_ADDR --main_process_port $MASTER_PORT ${{SCRIPT:-train.py}} "
    "--config trainer.yaml",
}


def slurm(recipe: Recipe, started: str) -> dict[str, str]:
    """Return the batch script that starts a format's files."""
    hours = math.ceil(recipe.days * 24 * _SLACK)
    world = (
        f"--nnodes {recipe.nodes} --nproc_per_node {recipe.per_node} "
        "--rdzv_backend c10d --rdzv_endpoint $MASTER_ADDR:$MASTER_PORT"
    )
    run = _RUNS[started].format(world=world)
    days = f"{recipe.days:.3g} days are planned, interruptions included"
    top, *about = header(recipe, f"Slurm: sbatch slurm.sh; {days}.")
    lines = [
        top,
        f"#SBATCH --job-name={quoted(recipe.named or recipe.model.name)}",
        f"#SBATCH --nodes={recipe.nodes}",
        "#SBATCH --ntasks-per-node=1",
        f"#SBATCH --gpus-per-node={recipe.per_node}",
        f"#SBATCH --time={hours // 24}-{hours % 24:02d}:00:00",
        "#SBATCH --exclusive",
        "#SBATCH --requeue",
        *about,
        "set -euo pipefail",
        'export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
        "export MASTER_PORT=29500",
        f"srun bash -c 'export NODE_RANK=$SLURM_NODEID; {run}'",
    ]
    return {"slurm.sh": "\n".join(lines) + "\n"}
