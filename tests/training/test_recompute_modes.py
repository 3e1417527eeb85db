"""Modes of recomputation: laws of what they keep and repeat, and counts by hand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest

import costsim
from costsim.architectures import model_names
from costsim.architectures.activations import activation_bytes
from costsim.architectures.block import Block
from costsim.architectures.operators import Linear
from costsim.architectures.work import GroupedGemm, ScaledDotProduct
from costsim.architectures.workload import FUSED, Execution, Shard, Workload
from costsim.planning.strategies import describe
from costsim.training.evaluate import Evaluation, evaluate
from costsim.training.job import Job
from costsim.training.precision import precision
from costsim.training.profile import profile
from costsim.training.recompute import RECOMPUTE, RECOMPUTE_NAMES, SEARCHED, Recompute
from costsim.training.remaking import remade
from costsim.training.software import software
from costsim.training.space import Choices, legal_strategies, limits_of
from costsim.training.strategy import Strategies, Strategy

EXECUTIONS = (
    FUSED,
    Execution(attention="unfused", dropout=True),
    Execution(style="eager", attention="unfused"),
    Execution(style="eager", attention="sdpa", autocast=True),
)
LANGUAGE = ("llama-2-7b", "gpt3-175b", "mixtral-8x7b", "deepseek-v3", "gemma-2-9b", "qwen3-8b")


def layers(name: str, workload: Workload | None = None) -> list[Block]:
    blocks = costsim.load_model(name).blocks(workload or Workload(1, 128))
    return [block for block in blocks if block.part == "layer"]


def kept(block: Block, mode: Recompute, execution: Execution = FUSED) -> float:
    return float(
        activation_bytes(
            remade(block, block.saved(execution), mode, execution).kept, "bf16", execution
        )
    )


@pytest.mark.parametrize("execution", EXECUTIONS, ids=str)
def test_every_mode_keeps_no_more_than_all_and_no_less_than_inputs(execution: Execution) -> None:
    for name in model_names():
        for block in layers(name):
            if execution.style == "eager" and not _known(block, execution):
                continue
            most, least = (kept(block, mode, execution) for mode in ("none", "full"))
            # Blocks of some image nets read other maps than the one that enters them.
            enters = block.source.name in {tensor.name for tensor in block.saved(FUSED)}
            for mode in RECOMPUTE:
                between = kept(block, mode, execution)
                # A map may be larger than what a layer of few channels keeps.
                assert min(least, most) <= between or not enters, (name, block.name, mode)
                # Eager code keeps results of products even where nothing reads them again.
                unread = mode == "save_half_products" and execution.style == "eager"
                assert unread or between <= max(least, most) * (1 + 1e-12), (name, block.name, mode)


def _known(block: Block, execution: Execution) -> bool:
    try:
        block.saved(execution)
    except costsim.errors.UnknownNameError:  # an activation function that eager rules leave out
        return False
    return True


@pytest.mark.parametrize("name", LANGUAGE)
def test_modes_are_nested(name: str) -> None:
    for block in layers(name):
        for execution in EXECUTIONS[:2]:
            chains: Sequence[tuple[Recompute, ...]] = (
                ("none", "elementwise", "save_products", "save_weight_products", "save_qkv"),
                ("none", "feed_forward", "save_qkv", "full"),
                ("none", "selective", "save_weight_products"),
            )
            for chain in chains:
                sizes = [kept(block, mode, execution) for mode in chain]
                assert sizes == sorted(sizes, reverse=True), (block.name, chain)
                flops = [
                    float(remade(block, block.saved(execution), m, execution).again(block).flops())
                    for m in chain
                ]
                assert flops == sorted(flops), (block.name, chain)


def test_bytes_of_a_llama_layer_by_hand() -> None:
    """Llama 2 7B, in tokens: h = 4096, 32 heads of 128, 11008 columns; two bytes each."""
    (block,) = layers("llama-2-7b", Workload(1, 1))
    h, f, lse = 4096, 11008, 32 * 4 / 2
    elements = {
        # input, norm, q k v, context, residual, norm, gate and up, activation
        "none": h + h + 3 * h + h + lse + h + h + 2 * f + f,
        "elementwise": h + 3 * h + h + lse + h + 2 * f,
        "selective": h + h + 3 * h + h + lse + h + h + 2 * f + f,
        # input, q k v, context, attention's output, gate and up
        "save_products": h + 3 * h + h + lse + h + 2 * f,
        # of q k v, output, gate, up, down the first, third, fifth and seventh product
        "save_half_products": h + 2 * h + h + lse + f,
        "save_weight_products": h + 3 * h + h + 2 * f,
        "feed_forward": h + h + 3 * h + h + lse + h + h,
        "save_qkv": h + 3 * h,
        "full": h,
    }
    assert {mode: kept(block, mode) / 2 for mode in RECOMPUTE} == elements


def test_bytes_of_a_mixture_by_hand() -> None:
    """Mixtral: what experts make of two of eight is dropped, the routing stays or goes with it."""
    (block,) = layers("mixtral-8x7b", Workload(1, 1))
    h, f, kv, lse, routed = 4096, 14336, 1024, 32 * 4 / 2, 2
    attention = h + 2 * kv + h + lse
    routing = (8 * 4 + 2 * 4 + 2 * 8) / 2
    elements = {
        "none": 4 * h + attention + routing + routed * (h + 3 * f),
        "elementwise": 2 * h + attention + routing + routed * (h + 2 * f),
        "feed_forward": 4 * h + attention,
        "save_products": 2 * h + attention + routing + routed * (h + 2 * f),
    }
    assert {mode: kept(block, mode) / 2 for mode in elements} == elements


def sharded(name: str, strategy: Strategy, sequence: int) -> list[Block]:
    workload = Workload(strategy.micro_batch, sequence // strategy.cp, sequence)
    shard = Shard(strategy.tp, strategy.sp, strategy.ep, strategy.etp, strategy.cp)
    return [block.shard(shard) for block in layers(name, workload)]


@pytest.mark.parametrize("mode", RECOMPUTE)
@pytest.mark.parametrize("name", LANGUAGE)
def test_repeated_flops_are_those_of_the_operators_named(name: str, mode: Recompute) -> None:
    """Products of weights by the operators' names, scores by their kind: counted one by one."""
    sequence, batch = 1024, 16
    expected = 0.0
    for block in layers(name, Workload(1, sequence)):
        products = 0
        for operator in block.operators:
            second = 0.0  # the share of it that is every second product
            if isinstance(operator, Linear):
                runs = operator.columns if operator.separate else (operator.columns,)
                for run in runs:
                    products += 1
                    outputs = operator.outputs if isinstance(run, tuple) else run.outputs
                    second += float(outputs) / float(operator.outputs) * (products % 2 == 0)
            network = operator.name.startswith("feed_forward.")
            projects = operator.name.startswith("attention.") and operator.name not in (
                "attention.output",
                "attention.context",
            )
            for work in operator.work("forward", FUSED):
                scores = isinstance(work, ScaledDotProduct)
                repeats = {
                    "none": False,
                    "elementwise": False,
                    "save_products": False,
                    "save_half_products": second,
                    "selective": scores,
                    "save_weight_products": scores,
                    "feed_forward": network,
                    "save_qkv": not projects,
                    "full": True,
                }[mode]
                expected += float(block.count * work.flops) * repeats
    found = evaluated(name, [Strategy(recompute=mode, dp=16)], sequence, batch)
    assert found.recompute_flops[0] == pytest.approx(expected * batch, rel=1e-12)


def evaluated(
    name: str, strategies: Sequence[Strategy], sequence: int = 1024, batch: int = 128
) -> Evaluation:
    return evaluate(job(name, strategies[0].devices, sequence, batch), Strategies.of(strategies))


def job(name: str, devices: int, sequence: int = 1024, batch: int = 128) -> Job:
    return Job(
        costsim.load_model(name),
        costsim.load_hardware("nvidia-h100-sxm5-80gb", count=devices),
        batch,
        sequence,
        precision("bf16"),
        "adam",
        software("megatron-core"),
    )


DIVISIONS = (
    {"dp": 16},
    {"tp": 4, "dp": 4},
    {"tp": 4, "dp": 4, "sp": True},
    {"cp": 4, "dp": 4},
    {"tp": 2, "pp": 2, "dp": 4, "sp": True},
)


@pytest.mark.parametrize("division", DIVISIONS, ids=str)
@pytest.mark.parametrize("name", ["llama-2-7b", "mixtral-8x7b"])
def test_time_and_memory_lie_between_none_and_full(name: str, division: dict) -> None:
    chosen = division | ({"ep": 4} if name == "mixtral-8x7b" else {})
    found = evaluated(name, [Strategy(recompute=mode, **chosen) for mode in RECOMPUTE])
    again = found.time_parts_s["recompute"]
    activations = found.memory.parts["activations"].max(axis=1)
    first, last = 0, len(RECOMPUTE) - 1
    assert again[first] == 0
    assert (again[1:] > 0).all()
    assert (again <= again[last]).all()
    assert (found.step_time_s >= found.step_time_s[first]).all()
    assert (activations <= activations[first]).all()
    assert (activations >= activations[last]).all()
    for column in found.sent_bytes.values():
        assert (column >= column[first]).all()
        assert (column <= column[last]).all()


def test_columns_agree_with_one_strategy_at_a_time() -> None:
    chosen = [
        Strategy(recompute=mode, **division) for mode, division in product(RECOMPUTE, DIVISIONS)
    ]
    together = evaluated("llama-2-7b", chosen)
    for row, strategy in enumerate(chosen):
        alone = evaluated("llama-2-7b", [strategy])
        assert alone.step_time_s[0] == pytest.approx(together.step_time_s[row], rel=1e-12)
        assert alone.memory_bytes[0] == pytest.approx(together.memory_bytes[row], rel=1e-12)
        assert alone.recompute_flops[0] == together.recompute_flops[row]


def test_repeated_times_are_those_of_the_operators() -> None:
    """Repeated seconds of a layer: whole forward, less what a mode leaves out, part by part."""
    strategies = Strategies.of([Strategy(dp=16, recompute=mode) for mode in RECOMPUTE])
    profiled, kinds = profile(job("llama-2-7b", 16), strategies)
    at = [block.part for block in kinds].index("layer")
    parts = {
        mode: profiled.gather_repeated(profiled.repeated.parts_s)[:, at, row]
        for row, mode in enumerate(RECOMPUTE)
    }
    matrix, attention, memory = profiled.parts_s[0, :, at, 0]
    assert parts["full"].tolist() == [matrix, attention, memory]
    assert parts["selective"].tolist() == [0, attention, 0]
    assert parts["save_weight_products"][:2].tolist() == [0, attention]
    # A layer is norms, rotation, function and two sums; the second sum is not needed again.
    assert 0 < parts["elementwise"][2] < parts["save_products"][2] < memory
    assert parts["save_products"][2] == pytest.approx(parts["save_weight_products"][2])
    network = [op for op in kinds[at].operators if op.name.startswith("feed_forward.")]
    assert sum(isinstance(op, Linear) for op in network) == 2
    shares = [
        sum(float(np.sum(work.flops)) for op in ops for work in op.work("forward", FUSED))
        for ops in (network, [op for op in kinds[at].operators if isinstance(op, Linear)])
    ]
    assert parts["feed_forward"][0] / matrix == pytest.approx(shares[0] / shares[1], rel=0.1)


def test_only_repeated_operators_exchange_again() -> None:
    strategies = Strategies.of(
        [Strategy(tp=4, dp=4, sp=True, recompute=mode) for mode in RECOMPUTE]
        + [Strategy(tp=4, dp=4, recompute=mode) for mode in RECOMPUTE]
    )
    profiled, kinds = profile(job("llama-2-7b", 16), strategies)
    at = [block.part for block in kinds].index("layer")
    again = profiled.gather_repeated(profiled.repeated.tensor_bytes)[at]
    forward = profiled.gather(profiled.exchanged.tensor_bytes)[0, at]
    # Forward each of attention and network gathers and scatters (SP), or reduces once.
    shares = {"feed_forward": 0.5, "full": 1.0}
    for row, (sp, mode) in enumerate(product((True, False), RECOMPUTE)):
        share = shares.get(mode, 0.0)
        if mode == "save_qkv":  # all but the gathering before the projections
            share = 0.75 if sp else 1.0
        if mode == "save_half_products":  # before projections, around attention's output
            share = 0.75 if sp else 0.5
        assert again[row] == pytest.approx(share * forward[row]), (mode, sp)


@pytest.mark.parametrize(
    ("mode", "repeats"),
    [("elementwise", 0), ("save_products", 0), ("feed_forward", 1), ("save_qkv", 1), ("full", 1)],
)
def test_tokens_go_to_experts_again_only_with_the_network(mode: Recompute, repeats: int) -> None:
    plain, again = (
        evaluated("mixtral-8x7b", [Strategy(dp=16, ep=8, recompute=m)]).sent_bytes["ep"][0]
        for m in ("none", mode)
    )
    assert again == pytest.approx(plain * (1 + repeats / 2))
    assert any(isinstance(w, GroupedGemm) for b in layers("mixtral-8x7b")
               for o in b.operators for w in o.work("forward", FUSED))  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "share"),
    [("save_products", 0), ("feed_forward", 0), ("selective", 1), ("save_weight_products", 1)],
)
def test_keys_go_round_again_where_attention_is_repeated(mode: Recompute, share: int) -> None:
    plain, again = (
        evaluated("llama-2-7b", [Strategy(cp=4, dp=4, recompute=m)]).sent_bytes["cp"][0]
        for m in ("none", mode)
    )
    assert again == pytest.approx(plain * (1 + share / 3))


def test_a_search_considers_the_usual_modes_unless_others_are_named() -> None:
    limits = limits_of(costsim.load_model("llama-2-7b"), 1024, 128)
    usual = {legal_strategies(limits, [16]).row(i).recompute for i in range(400)}
    assert usual <= set(SEARCHED)
    named = legal_strategies(limits, [16], Choices(recompute=("feed_forward", "save_qkv")))
    assert {named.row(i).recompute for i in range(40)} == {"feed_forward", "save_qkv"}


def test_every_mode_has_a_name_in_reports() -> None:
    texts = {describe(Strategy(recompute=mode)) for mode in RECOMPUTE}
    assert len(texts) == len(RECOMPUTE)
    assert set(RECOMPUTE_NAMES) == set(RECOMPUTE) - {"none"}
