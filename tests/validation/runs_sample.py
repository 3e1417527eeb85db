"""A small runs file that tests change one thing of at a time."""

from __future__ import annotations

import csv
import io
from pathlib import Path

COLUMNS = (
    *("id", "family", "model", "params_B", "layers", "hidden", "ffn", "heads", "kv_heads", "vocab"),
    *("seq_len", "accelerator_id", "n_devices", "interconnect", "precision", "framework"),
    *("global_batch", "micro_batch", "tp", "pp", "vp", "cp", "dp", "zero_or_fsdp", "recompute"),
    *("tokens_per_s_per_gpu", "tflops_per_gpu", "step_time_s", "memory_gb_per_gpu"),
    *("total_tokens", "gpu_hours", "energy_mwh", "task", "source_id", "group"),
)
# Korthikanti et al. 2022 (arXiv 2205.05198), table 5: the 22B model, seconds an iteration.
ROW = {
    "id": "gpt-22b-selective",
    "family": "llm-dense",
    "model": "gpt-22b",
    "params_B": "22.07",
    "layers": "48",
    "hidden": "6144",
    "ffn": "24576",
    "heads": "64",
    "kv_heads": "64",
    "vocab": "51200",
    "seq_len": "2048",
    "accelerator_id": "nvidia-a100-sxm4-80gb",
    "n_devices": "8",
    "precision": "fp16",
    "framework": "Megatron-LM 2022",
    "global_batch": "4",
    "micro_batch": "4",
    "tp": "8",
    "pp": "1",
    "vp": "1",
    "cp": "1",
    "dp": "1",
    "zero_or_fsdp": "none",
    "recompute": "selective",
    "step_time_s": "1.10",
    "source_id": "megatron-recompute",
    "group": "22b",
}


def text_of(*rows: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> str:
    """Return a runs file of the given rows."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def written(folder: Path, *rows: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> Path:
    """Write a runs file of the given rows and return its path."""
    path = folder / "runs.csv"
    path.write_text(text_of(*rows, columns=columns), encoding="utf-8")
    return path
