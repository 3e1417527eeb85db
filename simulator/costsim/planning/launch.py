"""The command that starts a replica, from the flags of its engine (`hardware_specs/engines`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from costsim.architectures.architecture import Architecture
from costsim.inference.engines import Engine
from costsim.inference.layout import Layout, Quantization
from costsim.resources import packaged_yaml

_REPOSITORY = re.compile(r"config\.json of ([\w.-]+/[\w.-]+)")
_ROUND_TOKENS = 256  # lengths are rounded up to a multiple of this
_BITS_16 = ("bf16", "fp16", "fp32", "tf32")


@dataclass(frozen=True, slots=True)
class Launch:
    """A command line, and what it leaves to the reader."""

    command: str
    remarks: tuple[str, ...] = ()


def checkpoint_of(model: Architecture, named: str | dict[str, Any]) -> str:
    """Return what an engine loads: a repository, the folder of a file, or else the model's name."""
    if isinstance(named, str) and named.endswith(".json"):
        return named.rpartition("/")[0] or "."
    found = _REPOSITORY.search(model.source)
    return found[1] if found else model.name


def launch(
    engine: Engine,
    layout: Layout,
    formats: Quantization,
    checkpoint: str,
    longest_tokens: float,
    draft: tuple[str | None, str | None] = (None, None),
) -> Launch | None:
    """Return how one replica is started; None where nobody wrote down how its engine is.

    Args:
        engine: profile, with its drafts.
        layout: of the replica.
        formats: of weights and cache.
        checkpoint: what the engine loads.
        longest_tokens: of a request, prompt and answer.
        draft: method of speculative decoding and the model that drafts, where they are stated.
    """
    table = packaged_yaml("hardware_specs", "engines/launch.yaml")
    row = next((one for one in table.values() if engine.name in one["engines"]), None)
    if row is None:
        return None
    remarks: list[str] = []
    if formats.dense not in (*_BITS_16, *row["quantizes"]):
        remarks.append(
            f"{checkpoint} stands for its checkpoint in {formats.dense}, which says so itself"
        )
    drafted = engine.speculation.tokens
    method = row["drafts"].get(draft[0]) if drafted else None
    if drafted and method is None:
        known = ", ".join(row["drafts"]) or "none of this engine is known here"
        remarks.append(f"drafts are left out: their method is not stated (methods: {known})")
    values: dict[str, Any] = {
        "model": checkpoint,
        "tp": layout.tp,
        "pp": layout.pp,
        "attention_dp": layout.attention_dp,
        "ep": layout.ep,
        "cp": layout.cp,
        "attended": layout.tp * layout.attention_dp,
        "ranks": layout.tp * layout.attention_dp * layout.cp,
        "quantization": row["quantizes"].get(formats.dense),
        "cache": row["caches"].get(formats.cache),
        "memory_ratio": f"{engine.memory_ratio:g}",
        "max_tokens": engine.max_model_len
        or int(-(-longest_tokens // _ROUND_TOKENS) * _ROUND_TOKENS),
        "batched_tokens": engine.max_batched_tokens,
        "sequences": engine.max_sequences,
        "drafted": drafted,
        "checked": drafted + 1,
        "draft_method": method,
        "draft_model": draft[1] if method else None,
        "draft_alone": None if draft[1] else method,
    }
    flags = [text for name, text in row["flags"] if values[name] not in (None, "", 0, 1)]
    command = " ".join([row["command"], *flags]).format(**values)
    return Launch(command, tuple(remarks))
