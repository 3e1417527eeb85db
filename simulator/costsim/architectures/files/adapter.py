"""`adapter_config.json` of PEFT: a base model, and low-rank matrices beside its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from costsim.architectures.files.described import Adapter, Described, beside, fail

_ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def read_adapter(values: Mapping[str, Any], path: Path) -> Described:
    """Return the base model that an adapter names, with the adapter.

    Raises:
        SpecError: for a kind of adapter other than LoRA and DoRA, or one that names no base.
    """
    kind, rank = str(values.get("peft_type", "LORA")).upper(), values.get("r")
    if kind != "LORA":
        raise fail(path, f"adapters of the kind {kind[:40]} are not supported", "LoRA and DoRA are")
    if not isinstance(rank, int) or not 1 <= rank <= 10**6:
        raise fail(path, "`r`, the rank of the adapter, must be a positive whole number")
    base = values.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise fail(path, "names no base model", "`base_model_name_or_path` should")
    said: Any = values.get("target_modules")
    listed = [str(name) for name in cast("list[Any]", said)] if isinstance(said, list) else []
    targets = tuple(sorted(name.rpartition(".")[2] for name in listed)) or _ALL
    notes = [f"adapter of rank {rank} on {', '.join(targets)} of {base}"]
    if values.get("rank_pattern"):
        notes.append("ranks that differ by layer (`rank_pattern`) are counted as `r`")
    own = base.startswith((".", "/")) or "\\" in base
    return Described(
        fields={"extends": base},
        notes=tuple(notes),
        adapter=Adapter(rank=rank, targets=targets, magnitudes=bool(values.get("use_dora"))),
        folder=beside(path.parent, base) if own else None,
    )
