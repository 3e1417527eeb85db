"""Laws that hold for every model: what is linear, what a group of devices adds up to."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from costsim.architectures import Architecture
from costsim.architectures.architecture import backward_flops, forward_flops
from costsim.architectures.block import Block
from costsim.architectures.decoder import decoder
from costsim.architectures.workload import FUSED, Execution, Shard, Workload

UNFUSED = Execution(attention="unfused", dropout=True)

groups = st.sampled_from([1, 2, 4, 8])


@st.composite
def models(draw: st.DrawFn, tp: int = 1) -> Architecture:
    """A decoder whose heads, columns and vocabulary divide by `tp`."""
    kv_heads = tp * draw(st.integers(1, 4))
    heads = kv_heads * draw(st.integers(1, 4))
    description = decoder(
        layers=draw(st.integers(1, 4)),
        hidden=heads * draw(st.integers(1, 16)),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=draw(st.integers(1, 64)),
        vocabulary=tp * draw(st.integers(1, 1000)),
        feed_forward=tp * draw(st.integers(1, 500)),
        gated=draw(st.booleans()),
        bias=draw(st.booleans()),
        norm=draw(st.sampled_from(["layer", "rms"])),
        query_key_norm=draw(st.booleans()),
        positions=draw(st.sampled_from(["learned", "rotary", "alibi"])),
        max_positions=draw(st.integers(1, 5000)),
        tied=draw(st.booleans()),
        parallel=draw(st.booleans()),
        window=draw(st.none() | st.integers(1, 300)),
        dropout=draw(st.booleans()),
    )
    return Architecture("drawn", description)


@st.composite
def sharded(draw: st.DrawFn) -> tuple[Architecture, int]:
    tp = draw(groups)
    return draw(models(tp)), tp


batches, tokens = st.integers(1, 64), st.integers(1, 512)


@given(models(), batches, tokens)
def test_flops_are_linear_in_the_batch(model: Architecture, batch: int, sequence: int) -> None:
    assert model.forward_flops(batch, sequence) == batch * model.forward_flops(1, sequence)
    assert model.training_flops(batch, sequence) == batch * model.training_flops(1, sequence)
    assert model.cache_bytes(batch, sequence) == batch * model.cache_bytes(1, sequence)
    assert model.activation_bytes(batch, sequence) == batch * model.activation_bytes(1, sequence)


@given(models(), batches, tokens)
def test_backward_is_twice_forward(model: Architecture, batch: int, sequence: int) -> None:
    assert model.training_flops(batch, sequence) == 3 * model.forward_flops(batch, sequence)


@given(models(), tokens)
def test_flops_grow_with_the_sequence_faster_than_it(model: Architecture, sequence: int) -> None:
    assert model.forward_flops(1, 2 * sequence) > 2 * model.forward_flops(1, sequence)


@given(sharded(), batches, tokens)
def test_devices_of_a_tensor_parallel_group_do_the_work_of_one(
    drawn: tuple[Architecture, int], batch: int, sequence: int
) -> None:
    model, tp = drawn
    whole = model.blocks(Workload(batch, sequence))
    parts = tuple(block.shard(Shard(tp=tp, sp=True)) for block in whole)
    for total in (forward_flops, backward_flops):
        assert tp * total(parts) == total(whole)


@given(sharded(), st.sampled_from([FUSED, UNFUSED]))
def test_devices_of_a_group_with_sequence_parallelism_keep_what_one_keeps(
    drawn: tuple[Architecture, int], execution: Execution
) -> None:
    model, tp = drawn
    for block in model.blocks(Workload(tp, 64)):
        if block.part == "layer":
            part = block.shard(Shard(tp=tp, sp=True))
            assert tp * _kept(part, execution) == _kept(block, execution)
            # without it, what lies between the regions is kept by every device
            assert _kept(block.shard(Shard(tp=tp)), execution) >= _kept(part, execution)


@given(sharded())
def test_weights_of_a_group_are_the_model_and_copies_of_vectors(
    drawn: tuple[Architecture, int],
) -> None:
    model, tp = drawn
    for block in model.blocks():
        part = block.shard(Shard(tp=tp))
        for whole, piece in zip(block.weights(), part.weights(), strict=True):
            assert whole.name == piece.name
            copied = not whole.matrix or whole.name == "embedding.positions.weight"
            if piece.elements == whole.elements:
                assert copied or tp == 1
            else:
                assert tp * piece.elements == whole.elements


@given(models(), st.integers(1, 8), st.integers(1, 64))
def test_context_parallel_ranks_do_the_work_of_one(
    model: Architecture, ranks: int, each: int
) -> None:
    whole = model.blocks(Workload(1, ranks * each))
    part = model.blocks(Workload(1, each, ranks * each))
    assert ranks * forward_flops(part) == forward_flops(whole)


@given(models(), st.integers(1, 64))
def test_generating_token_by_token_projects_what_a_forward_pass_does(
    model: Architecture, count: int
) -> None:
    """Decoding scores each pair once: what the full square counts above its diagonal is left."""
    layers = tuple((_without_window(layer), n) for layer, n in model.description.layers)
    full = replace(model, description=replace(model.description, layers=layers))
    decoded = sum(full.decode_flops(1, past) for past in range(count))
    mixer = layers[0][0].mixer
    pair = 4 * mixer.heads * mixer.head_dim * full.depth
    assert full.forward_flops(1, count) - decoded == pair * count * (count - 1) // 2


@given(models(), tokens)
def test_cache_stops_growing_at_the_window(model: Architecture, sequence: int) -> None:
    window = model.description.layers[0][0].mixer.window
    grown = model.cache_bytes(1, sequence + 1) - model.cache_bytes(1, sequence)
    assert grown >= 0
    assert (grown == 0) == (window is not None and sequence >= window - 1)


def _kept(block: Block, execution: Execution) -> int:
    widths = {"mask": 1, "index": 8, "float32": 4}
    return sum(a.elements * widths.get(a.storage, 2) for a in block.saved(execution))


def _without_window(layer):
    return replace(layer, mixer=replace(layer.mixer, window=None))
