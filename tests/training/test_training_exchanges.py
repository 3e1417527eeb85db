"""Traffic against collectives logged by PyTorch's own parallel implementations over gloo."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from costsim.architectures import load_model
from costsim.architectures.architecture import Architecture
from costsim.architectures.block import Block
from costsim.architectures.operators import Experts
from costsim.architectures.tensors import Activation
from costsim.architectures.workload import Shard, Workload
from costsim.hardware import load_hardware
from costsim.training.evaluate import evaluate
from costsim.training.exchanges import expert_parallel, tensor_exchanges
from costsim.training.job import Job
from costsim.training.precision import precision
from costsim.training.software import software
from costsim.training.strategy import Strategies, Strategy

BYTES = {"float32": 4, "bfloat16": 2}
Row = dict[str, str]


@pytest.fixture(scope="module")
def logged(shared: Path) -> dict[str, list[Row]]:
    """Rows of rank 0 by run."""
    runs: dict[str, list[Row]] = defaultdict(list)
    with (shared / "validation/oracle/comm_oracle.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["rank"] == "0" and not row["error"]:
                runs[row["id"]].append(row)
    return dict(runs)


def model_of(row: Row) -> Architecture:
    """Return the oracle's small Llama: untied, no biases."""
    return load_model(
        {
            "model_type": "llama",
            "num_hidden_layers": int(row["layers"]),
            "hidden_size": int(row["hidden"]),
            "num_attention_heads": int(row["heads"]),
            "num_key_value_heads": int(row["kv_heads"]),
            "intermediate_size": int(row["ffn"]),
            "vocab_size": int(row["vocab"]),
            "max_position_embeddings": int(row["seq"]),
            "tie_word_embeddings": False,
        }
    )


def sums(rows: list[Row]) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        found[row["phase"], row["collective"]] += int(row["bytes"])
    return dict(found)


def of_strategy(runs: dict[str, list[Row]], strategy: str) -> list[list[Row]]:
    found = [rows for rows in runs.values() if rows[0]["strategy"] == strategy]
    assert found, f"the oracle has no {strategy}"
    return found


def test_the_small_llama_is_the_oracles(logged: dict[str, list[Row]]) -> None:
    for rows in of_strategy(logged, "ddp"):
        assert model_of(rows[0]).parameters == int(rows[0]["total_params"])


def tensor_bytes(row: Row, *, divided: bool) -> dict[tuple[str, str], int]:
    width = BYTES[row["dtype"]]
    blocks = model_of(row).blocks(Workload(int(row["batch_per_rank"]), int(row["seq"])))
    found: dict[tuple[str, str], int] = defaultdict(int)
    for block in blocks:
        for exchange in tensor_exchanges(block, divided=divided):
            if exchange.name.endswith(" again"):
                continue  # PyTorch keeps the gathered input instead
            phase = "fwd" if exchange.direction == "forward" else "bwd"
            found[phase, exchange.operation] += block.count * exchange.elements * width
    return dict(found)


def without_logits(rows: list[Row]) -> dict[tuple[str, str], int]:
    """Leave out the gathering of logits, which a loss over a divided vocabulary does not need."""
    row = rows[0]
    logits = int(row["batch_per_rank"]) * int(row["seq"]) * int(row["vocab"]) * BYTES[row["dtype"]]
    found = sums(rows)
    found["fwd", "all_gather"] -= logits
    return {key: size for key, size in found.items() if size}


def test_tensor_parallel_exchanges(logged: dict[str, list[Row]]) -> None:
    runs = [r for r in of_strategy(logged, "tp") if "Megatron-like" in r[0]["variant"]]
    assert len(runs) >= 4
    for rows in runs:
        assert tensor_bytes(rows[0], divided=False) == without_logits(rows), rows[0]["id"]


def test_sequence_parallel_exchanges(logged: dict[str, list[Row]]) -> None:
    runs = [r for r in of_strategy(logged, "tp") if "sequence_parallel" in r[0]["variant"]]
    assert len(runs) >= 6
    for rows in runs:
        assert tensor_bytes(rows[0], divided=True) == without_logits(rows), rows[0]["id"]


def small_row() -> Row:
    shape = {"layers": "2", "hidden": "64", "heads": "4", "kv_heads": "4", "ffn": "192"}
    return shape | {"vocab": "512", "seq": "32", "batch_per_rank": "2"}


def job_of(row: Row, strategy: Strategy, name: str) -> Job:
    """A step of fp32 training of the oracle's model."""
    return Job(
        model=model_of(row),
        system=load_hardware("nvidia-a100-sxm4-80gb", count=strategy.devices),
        global_batch=int(row["batch_per_rank"]) * strategy.dp,
        sequence=int(row["seq"]),
        precision=precision("fp32"),
        optimizer="adam",
        software=software(name),
    )


def sent(row: Row, strategy: Strategy, name: str) -> dict[str, float]:
    """Bytes that a device sends in a step, by axis."""
    evaluation = evaluate(job_of(row, strategy, name), Strategies.of([strategy]))
    return {axis: float(column[0]) for axis, column in evaluation.sent_bytes.items()}


def whole_batch(row: Row, **axes: int) -> Strategy:
    return Strategy(micro_batch=int(row["batch_per_rank"]), **axes)


@pytest.mark.parametrize(("strategy", "zero"), [("ddp", 0), ("fsdp2", 3)])
def test_data_parallel_traffic(logged: dict[str, list[Row]], strategy: str, zero: int) -> None:
    checked = 0
    for rows in of_strategy(logged, strategy):
        row = rows[0]
        regular = (
            "reshard_after_forward=False" not in row["variant"] and "hsdp" not in row["variant"]
        )
        if {r["dtype"] for r in rows} != {"float32"} or not regular or "accum" in row["variant"]:
            continue
        devices = int(row["world_size"])
        if strategy == "fsdp2" and devices == 3:
            continue  # FSDP2 pads dimension 0 where the devices do not divide it
        wire = sum(int(r["wire_bytes_ring"]) for r in rows)
        found = sent(row, whole_batch(row, dp=devices, zero=zero), "fsdp")
        assert found["dp"] == pytest.approx(wire, rel=1e-9), row["id"]
        checked += 1
    assert checked >= 5


def test_pipeline_traffic(logged: dict[str, list[Row]]) -> None:
    """An inner stage sends an activation forward and a gradient back for each micro-batch."""
    checked = 0
    for rows in of_strategy(logged, "pp"):
        row = rows[0]
        if row["dtype"] != "float32" or "1f1b" not in row["variant"] or "v=2" in row["variant"]:
            continue
        micro = int(row["variant"].split("microbatches=")[1])
        batch = int(row["batch_per_rank"])
        strategy = Strategy(pp=int(row["world_size"]), micro_batch=max(1, batch // micro))
        once = next(int(r["bytes"]) for r in rows if r["collective"] == "send")
        assert sent(row, strategy, "fsdp")["pp"] == pytest.approx(2 * once), row["id"]
        checked += 1
    assert checked >= 4


def test_ring_of_context_parallel_ranks(logged: dict[str, list[Row]]) -> None:
    checked = 0
    for rows in of_strategy(logged, "cp_ring"):
        row = rows[0]
        ranks = int(row["world_size"])
        once = next(int(r["bytes"]) for r in rows if r["collective"] == "send")
        found = sent(row, whole_batch(row, cp=ranks), "fsdp")
        # The oracle logs the forward pass; backward, pieces go round again with their gradients.
        assert found["cp"] == pytest.approx(3 * once), row["id"]
        checked += 1
    assert checked >= 3


def test_exchange_of_positions_for_heads(logged: dict[str, list[Row]]) -> None:
    """DeepSpeed-Ulysses: queries, keys, values and context, and backward their gradients."""
    checked = 0
    for rows in of_strategy(logged, "cp_ulysses"):
        row = rows[0]
        strategy = whole_batch(row, cp=int(row["world_size"]))
        wire = sum(int(r["wire_bytes_ring"]) for r in rows)
        found = sent(row, replace(strategy, cp_exchange="all_to_all"), "fsdp")
        assert found["cp"] == pytest.approx(wire), row["id"]
        checked += 1
    assert checked >= 3


def test_expert_parallel_traffic(logged: dict[str, list[Row]]) -> None:
    """Each layer dispatches and combines, forward and backward; the oracle has one such layer."""
    checked = 0
    for rows in of_strategy(logged, "ep"):
        row = rows[0]
        experts, top_k = (int(n) for n in re.findall(r"(?:experts|top_k)=(\d+)", row["variant"]))
        width = BYTES[row["dtype"]]
        tokens, hidden = int(row["batch_per_rank"]) * int(row["seq"]), int(row["hidden"])
        operator = Experts(
            name="experts",
            source="x",
            rows=tokens,
            hidden=hidden,
            width=int(row["ffn"]),
            experts=experts,
            chosen_from=experts,
            top_k=top_k,
        )
        ranks = int(row["world_size"])
        local = Block("layer", (operator.shard(Shard(ep=ranks)),), Activation("x", tokens * hidden))
        job = job_of(small_row(), Strategy(dp=ranks), "fsdp")
        _, found = expert_parallel(job, [local], np.array([float(ranks)]), np.ones(1))
        wire = sum(int(r["wire_bytes_ring"]) for r in rows)
        assert found.sum() * width / 4 == pytest.approx(wire), row["id"]
        checked += 1
    assert checked >= 5


def test_volumes_do_not_depend_on_the_machine() -> None:
    row = small_row()
    strategy = whole_batch(row, dp=2, tp=2)
    job = job_of(row, strategy, "fsdp")
    other = replace(job, system=load_hardware("nvidia-l40s", count=4))
    found = [evaluate(j, Strategies.of([strategy])).sent_bytes for j in (job, other)]
    assert found[0] == found[1]
    assert np.isfinite(list(found[0].values())).all()
