"""What a rank of tensor parallelism holds of a cache, layer by layer."""

from __future__ import annotations

import numpy as np
import pytest

from costsim import load_hardware, load_model
from costsim.architectures.tensors import CacheTensor
from costsim.inference import estimate_inference
from costsim.inference.layout import Layout, Layouts, Quantization
from costsim.inference.memory import cache_bytes


def _held(model: str, tp: int, tokens: int) -> float:
    layouts = Layouts.of([Layout(tp=tp, moe_tp=tp)])
    return cache_bytes(load_model(model), layouts, Quantization(), np.array([float(tokens)]))[0]


@pytest.mark.parametrize("heads", [1, 4, 8, 16])
@pytest.mark.parametrize("ranks", [1, 2, 4, 8, 16, 32])
def test_a_rank_holds_whole_heads(heads: int, ranks: int) -> None:
    """Dealt out by hand: as many heads as divide, or one that several ranks hold."""
    each = max(heads // ranks, 1)
    assert CacheTensor("key", 1, heads=heads).share(ranks) == each / heads


def test_states_divide_over_all_ranks_and_keys_over_the_heads_there_are() -> None:
    # Qwen3-Next: 12 layers of two heads of 256 keys and as many values, 36 of recurrent state
    one_head = 256 * 2 * 2
    state = load_model("qwen3-next-80b-a3b").cache_bytes(1, 1) - 12 * 2 * one_head
    for tp in (1, 2, 4, 8):
        right = 12 * max(2 // tp, 1) * one_head * 4096 + state / tp
        assert _held("qwen3-next-80b-a3b", tp, 4096) == pytest.approx(right)


def test_a_latent_is_held_by_every_rank() -> None:
    whole = 61 * (512 + 64) * 2 * 1000  # DeepSeek-V3: latent and rotary key of a position
    assert {_held("deepseek-v3", tp, 1000) for tp in (1, 8, 16)} == {whole}


@pytest.mark.parametrize(
    "model", ["llama-3-70b", "deepseek-v3", "qwen3-next-80b-a3b", "gemma-2-9b"]
)
@pytest.mark.parametrize("tp", [1, 2, 4, 8])
def test_an_estimate_and_a_service_hold_the_same(model: str, tp: int) -> None:
    system = load_hardware("nvidia-h200-sxm-141gb", count=tp)
    one = estimate_inference(load_model(model), system, phase="decode", sequence=4095)
    assert one.memory_by_part_bytes["cache"] == pytest.approx(_held(model, tp, 4096))
