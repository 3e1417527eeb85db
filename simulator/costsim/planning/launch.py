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
    """A command line, and what it leaves to the reader.

    Attributes:
        command: that starts a replica.
        remarks: on what it cannot say.
        software: row of `engines/launch.yaml` whose flags they are.
        checkpoint: that it loads.
    """

    command: str
    remarks: tuple[str, ...] = ()
    software: str = ""
    checkpoint: str = ""


def checkpoint_of(model: Architecture, named: str | dict[str, Any]) -> str:
    """Return what an engine loads: a repository, the folder of a file, or else the model's name."""
    if isinstance(named, str) and named.endswith(".json"):
        return named.rpartition("/")[0] or "."
    known = _checkpoints()["repositories"]
    short = named.lower().rpartition("/")[2] if isinstance(named, str) else ""
    if isinstance(named, str) and "/" in named:
        return named
    found = _REPOSITORY.search(model.source)
    return known.get(short) or (found[1] if found else known.get(model.name, model.name))


def _checkpoints() -> dict[str, Any]:
    return packaged_yaml("hardware_specs", "checkpoints.yaml")


def asked_by(checkpoint: str, software: str) -> str:
    """Return flags that a checkpoint's card asks of an engine; "" where it asks none."""
    name = checkpoint.lower()
    rows: list[dict[str, str]] = _checkpoints()["asks"]
    found = [row for row in rows if row["words"] in name]
    return found[0].get(software, "") if found else ""


def longest_request(engine: Engine, longest_tokens: float) -> int:
    """Return the longest request that an engine is told to allow: as stated, or rounded up."""
    return engine.max_model_len or int(-(-longest_tokens // _ROUND_TOKENS) * _ROUND_TOKENS)


def launch_table() -> dict[str, Any]:
    """Return how each engine is told to run a replica (`hardware_specs/engines/launch.yaml`)."""
    return packaged_yaml("hardware_specs", "engines/launch.yaml")


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
    table = launch_table()
    software = next((name for name, one in table.items() if engine.name in one["engines"]), None)
    if software is None:
        return None
    row = table[software]
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
        "max_tokens": longest_request(engine, longest_tokens),
        "batched_tokens": engine.max_batched_tokens,
        "sequences": engine.max_sequences,
        "sequences_all": engine.max_sequences * layout.attention_dp,
        "drafted": drafted,
        "checked": drafted + 1,
        "draft_method": method,
        "draft_model": draft[1] if method else None,
        "draft_alone": None if draft[1] else method,
    }
    flags = [text for name, text in row["flags"] if values[name] not in (None, "", 0, 1)]
    command = " ".join([row["command"], *flags]).format(**values)
    asked = asked_by(checkpoint, software)
    return Launch(f"{command} {asked}".rstrip(), tuple(remarks), software, checkpoint)
