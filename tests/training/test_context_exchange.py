"""Context parallelism by all-to-all: what is sent, computed and kept, against ranks played out."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

import costsim
from costsim.architectures.architecture import Architecture
from costsim.architectures.operators import Attention
from costsim.architectures.workload import FUSED, Shard, Workload
from costsim.errors import SpecError
from costsim.planning.planner import plan
from costsim.planning.strategies import describe
from costsim.training.evaluate import Evaluation, evaluate
from costsim.training.job import Job
from costsim.training.precision import precision
from costsim.training.software import software
from costsim.training.space import Choices, legal_strategies, limits_of
from costsim.training.strategy import Strategies, Strategy
from costsim.training.timeline import timeline


def model(heads: int, kv_heads: int, layers: int = 2, hidden: int = 64) -> Architecture:
    return costsim.load_model(
        {
            "model_type": "llama",
            "num_hidden_layers": layers,
            "hidden_size": hidden,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "intermediate_size": 192,
            "vocab_size": 512,
            "max_position_embeddings": 64,
        }
    )


def evaluated(architecture: Architecture, *strategies: Strategy, sequence: int = 64) -> Evaluation:
    job = Job(
        architecture,
        costsim.load_hardware("nvidia-h100-sxm5-80gb", count=strategies[0].devices),
        16,
        sequence,
        precision("bf16"),
        "adam",
        software("megatron-core"),
    )
    return evaluate(job, Strategies.of(strategies))


def moved(positions: int, heads: int, ranks: int, dim: int) -> int:
    """Elements that rank 0 sends when (position, head) changes its owner, counted one by one."""
    before = np.repeat(np.arange(ranks), positions // ranks)[:, None]
    after = np.repeat(np.arange(ranks), heads // ranks)[None, :]
    return int(np.sum((before == 0) & (after != 0))) * dim


@pytest.mark.parametrize(
    ("heads", "kv_heads", "tp", "cp"),
    [(8, 8, 1, 2), (8, 8, 2, 4), (8, 4, 1, 4), (8, 2, 1, 8), (8, 2, 2, 4), (16, 4, 2, 4)],
)
def test_bytes_of_ranks_played_out(heads: int, kv_heads: int, tp: int, cp: int) -> None:
    """Keys and values with fewer heads than ranks are repeated before they are sent."""
    sequence, hidden, layers, batch = 64, 128, 2, 2
    dim, local, local_kv = hidden // heads, heads // tp, max(kv_heads // tp, 1)
    once = 2 * moved(sequence, local, cp, dim) + 2 * moved(sequence, max(local_kv, cp), cp, dim)
    strategy = Strategy(tp=tp, cp=cp, micro_batch=batch, cp_exchange="all_to_all")
    found = evaluated(model(heads, kv_heads, layers, hidden), strategy, sequence=sequence)
    micro_batches = 16 // batch
    # Forward and backward, two bytes each.
    assert found.sent_bytes["cp"][0] == 2 * layers * batch * once * 2 * micro_batches


def attention_of(architecture: Architecture, shard: Shard, cp: int, sequence: int) -> Attention:
    blocks = architecture.blocks(Workload(2, sequence // cp, sequence))
    layer = next(block for block in blocks if block.part == "layer").shard(shard)
    return next(op for op in layer.operators if isinstance(op, Attention))


@pytest.mark.parametrize("cp", [1, 2, 4])
def test_a_rank_attends_over_the_whole_sequence_with_its_heads(cp: int) -> None:
    architecture = model(8, 4)
    alone = attention_of(architecture, Shard(), 1, 64)
    ring = attention_of(architecture, Shard(cp=cp), cp, 64)
    switched = attention_of(architecture, Shard(cp_heads=cp), cp, 64)
    assert (switched.query_heads, switched.kv_heads) == (8 // cp, 4 // cp)
    assert (switched.tokens, switched.context, switched.pieces) == (64, 64, 1)
    for direction in ("forward", "backward"):
        flops = [
            sum(work.flops for work in operator.work(direction, FUSED))
            for operator in (alone, ring, switched)
        ]
        assert flops[0] == cp * flops[1] == cp * flops[2]
    # The context is kept as attention made it, and as the projection reads it.
    kept = {tensor.name.rpartition(".")[2]: tensor.elements for tensor in switched.saved()}
    once = 2 * 64 * 8 // cp * 8
    expected = {"query": once, "key": once / 2, "value": once / 2, "context": once}
    more = {"heads": once, "logsumexp": once / 8} if cp > 1 else {"logsumexp": once / 8}
    assert kept == expected | more


def test_repeated_keys_are_kept() -> None:
    switched = attention_of(model(8, 2), Shard(cp_heads=8), 8, 64)
    kept = {tensor.name: tensor.elements for tensor in switched.saved()}
    assert kept["attention.context.key"] == kept["attention.context.query"] == 2 * 64 * 8


def test_columns_of_both_forms_agree_with_one_at_a_time() -> None:
    chosen = [
        Strategy(tp=tp, cp=4, dp=4 // tp, recompute=mode, cp_exchange=form)  # type: ignore[arg-type]
        for tp, mode, form in product((1, 2), ("none", "selective", "full"), ("ring", "all_to_all"))
    ]
    architecture = costsim.load_model("llama-2-7b")
    together = evaluated(architecture, *chosen, sequence=4096)
    for row, strategy in enumerate(chosen):
        alone = evaluated(architecture, strategy, sequence=4096)
        assert alone.step_time_s[0] == pytest.approx(together.step_time_s[row], rel=1e-12)
        assert alone.memory_bytes[0] == pytest.approx(together.memory_bytes[row], rel=1e-12)
        assert alone.sent_bytes["cp"][0] == together.sent_bytes["cp"][row]


def test_nothing_hides_an_exchange_that_attention_waits_for() -> None:
    architecture = costsim.load_model("llama-2-7b")
    switched = Strategy(cp=4, dp=4, cp_exchange="all_to_all")
    found = evaluated(architecture, switched, replace(switched, cp_exchange="ring"), sequence=16384)
    exposed = found.time_parts_s["context_parallel"]
    assert exposed[0] > 0
    assert exposed[1] < exposed[0]  # long sequences hide the ring
    slices = timeline(
        Job(
            architecture,
            costsim.load_hardware("nvidia-h100-sxm5-80gb", count=16),
            16,
            16384,
            precision("bf16"),
            "adam",
            software("megatron-core"),
        ),
        switched,
    ).slices
    assert any(one.lane == "cp" for one in slices)


def test_full_recomputation_exchanges_forward_again() -> None:
    strategy = Strategy(cp=4, dp=4, cp_exchange="all_to_all")
    modes = ("none", "save_products", "save_weight_products", "full")
    found = evaluated(
        costsim.load_model("llama-2-7b"),
        *(replace(strategy, recompute=mode) for mode in modes),
        sequence=4096,
    ).sent_bytes["cp"]
    assert (found / found[0]).tolist() == [1, 1, 1.5, 1.5]


def test_legal_degrees() -> None:
    limits = limits_of(costsim.load_model("llama-3-8b"), 8192, 64)  # 32 heads, 8 of keys
    both = Choices(cp_exchange=("ring", "all_to_all"))
    found = legal_strategies(limits, [64], both)
    switched = found.take(found.cp_exchange > 0)
    degrees = {(int(tp), int(cp)) for tp, cp in zip(switched.tp, switched.cp, strict=True)}
    assert degrees == {
        (tp, cp)
        for tp in (1, 2, 4, 8, 16, 32)
        for cp in (2, 4, 8, 16, 32)
        if tp * cp <= 32 and (64 % (tp * cp) == 0)
    }
    alone = legal_strategies(limits, [64], Choices(cp=(1,), cp_exchange=("all_to_all",)))
    assert len(alone)
    assert not alone.cp_exchange.any()
    assert not legal_strategies(limits, [64]).cp_exchange.any()
    odd = limits_of(
        model(6, 3, hidden=96), 4096, 64
    )  # 3 heads of keys neither divide by 2 nor into it
    assert not len(legal_strategies(odd, [2], Choices(cp=(2,), cp_exchange=("all_to_all",))))


SCENARIO = {
    "name": "long",
    "model": "llama-3.1-8b",
    "workload": {
        "kind": "training",
        "tokens": "1 B tokens",
        "sequence": 32768,
        "global_batch": 16,
    },
    "hardware": {"system": "h100", "devices": 64},
    "price": "2 $/h",
    "strategy": {"tp": 1, "pp": 1, "cp": 8, "zero": 3, "sp": False},
    "compare": [
        {"name": "a2a", "tp": 1, "pp": 1, "cp": 8, "cp_exchange": "all_to_all"},
        {"name": "kept", "tp": 1, "cp": 8, "recompute": ["save_products", "feed_forward"]},
    ],
}


def test_a_scenario_compares_both() -> None:
    found = plan(SCENARIO)
    names = {candidate.label: candidate.run.strategy for candidate in found.candidates}
    assert names["best"].cp_exchange == "ring"
    assert names["a2a"].cp_exchange == "all_to_all"
    assert "CP by all-to-all" in describe(names["a2a"])
    assert names["kept"].recompute in ("save_products", "feed_forward")


def test_a_degree_that_heads_do_not_allow_is_named() -> None:
    strategy = {"tp": 1, "pp": 1, "cp": 64, "cp_exchange": "all_to_all"}
    with pytest.raises(SpecError, match="cp = 64 does not divide the 32 attention heads") as error:
        plan(SCENARIO | {"strategy": strategy})
    assert error.value.problems[0].hint == "use one of 1, 2, 4, 8, 16, 32"
