"""Stages, activations in flight and the bubble, against schedules played out step by step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import costsim
from costsim.training.evaluate import evaluate
from costsim.training.job import Job
from costsim.training.pipeline import bubble_s, chunks_in_flight, is_legal
from costsim.training.playing import orders, play
from costsim.training.precision import precision
from costsim.training.schedule import SCHEDULES, Schedule
from costsim.training.software import software
from costsim.training.stages import chunk_lengths
from costsim.training.strategy import Strategies, Strategy
from training.pipeline_reference import play as reference_play


def in_flight(stages: int, chunks: int, micro_batches: int) -> list[int]:
    positions = np.arange(stages, dtype=float)
    plain = np.zeros(1)
    return chunks_in_flight(plain, stages, chunks, positions, micro_batches).tolist()


@pytest.mark.parametrize("stages", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("chunks", [1, 2, 3])
@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_activations_in_flight_are_those_of_the_played_schedule(
    stages: int, chunks: int, rounds: int
) -> None:
    if stages == 1 and chunks > 1:
        pytest.skip("interleaving needs a pipeline")
    micro_batches = stages * rounds
    _, most = reference_play(stages, chunks, micro_batches, 1.0, 2.0)
    assert in_flight(stages, chunks, micro_batches) == most


@pytest.mark.parametrize(("stages", "micro_batches"), [(4, 1), (4, 3), (8, 5)])
def test_few_micro_batches_are_never_exceeded(stages: int, micro_batches: int) -> None:
    _, most = reference_play(stages, 1, micro_batches, 1.0, 2.0)
    assert in_flight(stages, 1, micro_batches) == most


@given(st.integers(1, 8), st.sampled_from([1, 2, 3, 4]), st.integers(1, 5))
def test_bubble_is_a_stage_less_one_over_the_chunks(stages: int, chunks: int, rounds: int) -> None:
    chunks = chunks if stages > 1 else 1
    micro_batches = stages * rounds
    step_s, _ = reference_play(stages, chunks, micro_batches, 1.0, 2.0)
    stage_s = chunks * 3.0
    everywhere = stages * stage_s
    # The evaluator's composition: the slowest stage all along, and the rest once over the chunks.
    assert step_s == pytest.approx(micro_batches * stage_s + (everywhere - stage_s) / chunks)


@given(st.integers(1, 200), st.integers(1, 64))
def test_chunks_hold_every_layer_once_and_differ_by_one(depth: int, chunks: int) -> None:
    lengths = chunk_lengths(depth, chunks)
    assert len(lengths) == chunks
    assert lengths.sum() == depth
    assert lengths.max() - lengths.min() <= 1
    # Embedding and head go to the ends, so the ends are never the longer ones if any is shorter.
    if chunks > 2 and depth % chunks and depth % chunks <= chunks - 2:
        assert lengths[0] == lengths[-1] == lengths.min()


@pytest.mark.parametrize("weight_s", [0.6, 1.0])
@pytest.mark.parametrize(
    ("schedule", "stages", "micro_batches"),
    [
        *(("gpipe", p, m) for p in (2, 3, 8) for m in (1, 4, 9)),
        *(("zb_h1", p, m) for p in (2, 3, 8) for m in (8, 9, 24)),
        *(("dualpipe", p, m) for p in (2, 4, 8) for m in (16, 20)),
    ],
)
def test_bubble_and_activations_are_those_of_the_played_schedule(
    schedule: Schedule, stages: int, micro_batches: int, weight_s: float
) -> None:
    assert is_legal(schedule, stages, 1, micro_batches)
    seconds = {"forward": 1.0, "inputs": 1.0, "weights": weight_s, "backward": 1.0 + weight_s}
    queues = orders(Strategy(pp=stages, schedule=schedule), micro_batches)
    played = play(queues, lambda _, slot: sum(seconds[piece.kind] for piece in slot))
    step_s = max(one.end_s for one in played)
    index, many = np.array([SCHEDULES.index(schedule)]), np.full((1, 1), float(stages))
    whole, backward = np.full((1, 1), 2.0 + weight_s), np.full((1, 1), 1.0 + weight_s)
    depth, weight = np.array([float(stages)]), np.full((1, 1), weight_s)
    waited = bubble_s(index, depth, np.ones(1), many, whole, whole[:, 0], backward, weight)
    assert step_s == pytest.approx(micro_batches * (2.0 + weight_s) + float(waited[0]))

    most = 0
    for order in queues:
        held = 0
        for piece in (piece for slot in order for piece in slot):
            held += {"forward": 1, "backward": -1, "weights": -1}.get(piece.kind, 0)
            most = max(most, held)
        assert held == 0
    flight = chunks_in_flight(index, depth, np.ones(1), np.zeros(1), np.array([micro_batches]))
    assert flight[0] == most


def test_published_bubbles() -> None:
    """DeepSeek-V3 (arXiv 2412.19437), table 2: 1F1B 7·3, ZB 7·1, DualPipe 3·2 with F = B/2 = W."""

    def bubble(schedule: Schedule) -> float:
        index, one = np.array([SCHEDULES.index(schedule)]), np.ones((1, 1))
        depth, many = np.array([8.0]), np.full((1, 1), 8.0)
        whole = 3 * one
        return float(bubble_s(index, depth, np.ones(1), many, whole, whole[0], 2 * one, one)[0])

    assert [bubble(name) for name in SCHEDULES] == [21.0, 21.0, 7.0, 6.0]


def test_schedules_of_a_model() -> None:
    job = Job(
        costsim.load_model("llama-2-7b"),
        costsim.load_hardware("nvidia-h100-sxm5-80gb", count=16),
        32, 4096, precision("bf16"), "adam", software("megatron-core"),
    )  # fmt: skip
    found = evaluate(job, Strategies.of([Strategy(pp=8, dp=2, schedule=s) for s in SCHEDULES]))
    plain, gpipe, zero_bubble, both_ways = found.time_parts_s["pipeline_bubble"]
    assert plain == gpipe > zero_bubble > both_ways > 0
    held = {name: part.max(axis=1) for name, part in found.memory.parts.items()}
    activations = held["activations"]
    assert activations[1] > activations[0]
    assert activations[2] == pytest.approx(activations[0], rel=0.1)
    # Both ends on one device: every stage twice, and about as many activations.
    assert held["weights"][3] / held["weights"][0] == pytest.approx(2, rel=0.1)
    assert activations[3] == pytest.approx(activations[0], rel=0.3)
