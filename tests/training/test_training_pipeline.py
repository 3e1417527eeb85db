"""Stages, activations in flight and the bubble, against schedules played out step by step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.training.memory import chunks_in_flight
from costsim.training.stages import Stages, chunk_lengths
from costsim.training.strategy import Strategies, Strategy
from training.pipeline_reference import play


def in_flight(stages: int, chunks: int, micro_batches: int) -> list[int]:
    strategies = Strategies.of([Strategy(pp=stages, vp=chunks)])
    positions = np.arange(stages, dtype=float)[None, :]
    held = Stages(np.zeros((1, stages, 1)), np.ones((1, stages)), positions)
    return chunks_in_flight(strategies, held, np.array([float(micro_batches)]))[0].tolist()


@pytest.mark.parametrize("stages", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("chunks", [1, 2, 3])
@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_activations_in_flight_are_those_of_the_played_schedule(
    stages: int, chunks: int, rounds: int
) -> None:
    if stages == 1 and chunks > 1:
        pytest.skip("interleaving needs a pipeline")
    micro_batches = stages * rounds
    _, most = play(stages, chunks, micro_batches, 1.0, 2.0)
    assert in_flight(stages, chunks, micro_batches) == most


@pytest.mark.parametrize(("stages", "micro_batches"), [(4, 1), (4, 3), (8, 5)])
def test_few_micro_batches_are_never_exceeded(stages: int, micro_batches: int) -> None:
    _, most = play(stages, 1, micro_batches, 1.0, 2.0)
    assert in_flight(stages, 1, micro_batches) == most


@given(st.integers(1, 8), st.sampled_from([1, 2, 3, 4]), st.integers(1, 5))
def test_bubble_is_a_stage_less_one_over_the_chunks(stages: int, chunks: int, rounds: int) -> None:
    chunks = chunks if stages > 1 else 1
    micro_batches = stages * rounds
    step_s, _ = play(stages, chunks, micro_batches, 1.0, 2.0)
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
