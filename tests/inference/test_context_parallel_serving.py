"""Context parallelism of served prompts: laws of time and memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from costsim import load_hardware, load_model
from costsim.inference.deployment import Deployment, simulate
from costsim.inference.engines import load_engine
from costsim.inference.layout import Layout, Layouts, Quantization
from costsim.inference.memory import activation_bytes, cache_bytes, request_slots, weight_bytes
from costsim.inference.passes import ServedModel
from costsim.inference.steady import Requests, open_loop
from costsim.inference.traffic import random_traffic
from costsim.planning.workloads.serving.replicas import layouts_of

DEGREES = [1, 2, 4, 8]
LAYOUTS = Layouts.of([Layout(cp=cp) for cp in DEGREES])
SYSTEM = load_hardware("h100").with_count(8)
MODEL = load_model("llama-3.1-8b")
SERVED = ServedModel(MODEL, SYSTEM, Quantization())


@pytest.mark.parametrize("tokens", [16_384.0, 131_072.0])
def test_attention_of_a_long_prompt_falls_but_never_below_the_ideal(tokens: float) -> None:
    length = np.full(len(DEGREES), tokens)
    seconds = SERVED.prefill_attention_s(LAYOUTS, length, length)
    assert (np.diff(seconds) < 0).all()
    # Two products of 128 wide rows for each pair that the mask leaves, at the peak of 16 bits.
    flops = 32 * 32 * 2 * (2 * 128) * tokens**2 / 2
    peak = SERVED.kernels.peak_flops_per_s("bf16")
    assert (seconds >= flops / np.array(DEGREES) / peak).all()
    # The ring takes at least what one rank's keys and values take over the innermost links.
    sent = tokens / np.array(DEGREES) * 8 * (128 + 128) * 2 * 32 * (np.array(DEGREES) - 1)
    assert (seconds >= sent / SYSTEM.tiers[0].bandwidth_bytes_per_s).all()


@pytest.mark.parametrize("name", ["llama-3.1-8b", "mistral-7b", "deepseek-v3"])
def test_one_rank_is_no_context_parallelism(name: str) -> None:
    served = ServedModel(load_model(name), SYSTEM, Quantization())
    alone, beside = Layouts.of([Layout()]), Layouts.of([Layout(), Layout(cp=2)])
    one, two = np.array([8192.0]), np.full(2, 8192.0)
    assert served.prefill_attention_s(beside, two, two)[0] == pytest.approx(
        served.prefill_attention_s(alone, one, one)[0]
    )
    batch = np.array([16.0])
    assert served.decode_attention_s(beside, np.full(2, 16.0), two)[0] == pytest.approx(
        served.decode_attention_s(alone, batch, one)[0]
    )


def test_pieces_of_the_ring_are_all_pairs_of_the_mask() -> None:
    # Own pieces and the shortened ones of the others have the pairs of the whole, shared evenly.
    for tokens, past, cp in [(4096, 0, 4), (1024, 3072, 2), (8192, 8192, 8)]:
        context, queries, keys = tokens + past, tokens / cp, (tokens + past) / cp
        own = queries * keys - queries**2 / 2
        others = (cp - 1) * queries * (keys - queries / 2)
        assert cp * (own + others) == pytest.approx(tokens * context - tokens**2 / 2)


def test_the_cache_is_divided_and_the_weights_are_not() -> None:
    held = cache_bytes(MODEL, LAYOUTS, Quantization(), np.full(len(DEGREES), 8192.0))
    assert held * np.array(DEGREES) == pytest.approx(np.full(len(DEGREES), held[0]))
    weights = weight_bytes(MODEL, LAYOUTS, Quantization())
    assert (weights == weights[0]).all()
    engine = load_engine("vllm")
    assert (np.diff(activation_bytes(MODEL, LAYOUTS, engine)) < 0).all()
    slots = request_slots(
        SYSTEM, MODEL, LAYOUTS, Quantization(), engine, np.full(len(DEGREES), 131_072.0)
    )
    assert (np.diff(slots) > 0).all()


def test_the_first_token_of_a_long_prompt_comes_sooner() -> None:
    found: list[tuple[float, float]] = []
    for cp in DEGREES[:3]:
        one = Deployment(MODEL, SYSTEM, Layout(cp=cp), Quantization(), load_engine("vllm"))
        steady = open_loop(
            one.tables,
            one.engine,
            np.array([0]),
            np.array([0.01]),
            np.array([8.0]),
            Requests(np.array([100_000.0]), np.array([50.0])),
        )
        measured = simulate(one, 1, random_traffic(0.01, 20, 100_000, 50, seed=1))
        found.append((float(steady.ttft_s[0]), measured.ttft.median_s))
    for times in np.array(found).T:
        assert (np.diff(times) < 0).all()
        assert (times >= times[0] / np.array(DEGREES[:3])).all()


def test_layouts_have_it_only_where_it_is_listed() -> None:
    usual = layouts_of(MODEL, SYSTEM, None)
    assert all(layout.cp == 1 for layout in usual)
    assert layouts_of(MODEL, SYSTEM, None, [1]) == usual
    wider = layouts_of(MODEL, SYSTEM, None, [1, 2])
    assert [layout for layout in wider if layout.cp == 1] == usual
    assert Layout(tp=2, moe_tp=2, cp=2) in wider
    assert all(layout.devices in (1, 2, 4, 8, 16, 32) for layout in wider)
    assert replace(Layout(tp=2, moe_tp=2), cp=2).devices == 4
    assert str(Layout(tp=2, moe_tp=2, cp=2)) == "tp2-cp2"
