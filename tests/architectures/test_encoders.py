"""Encoders, encoder-decoders, speech and models that see: every figure that PyTorch gives."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from architectures import encoder_modules as modules
from architectures.language_oracle import differences, oracle_rows
from costsim.architectures import load_model
from costsim.architectures.architecture import backward_flops, forward_flops, parameters
from costsim.architectures.block import Block
from costsim.architectures.formulas import formula
from costsim.architectures.huggingface import (
    bart,
    bert,
    deberta,
    rotary_encoders,
    sound_language,
    speech,
    t5,
    uncommon_encoders,
    vision_language,
)
from costsim.architectures.huggingface.config import library_defaults, library_parts
from costsim.architectures.layers import SelfAttention
from costsim.architectures.layers.disentangled_attention import DisentangledAttention
from costsim.architectures.layers.recording import recorded
from costsim.architectures.layers.sliding_chunks import SlidingChunks
from costsim.architectures.operators import Linear, Operator
from costsim.architectures.operators.wrapping import Idle
from costsim.architectures.tensors import Activation
from costsim.architectures.workload import FUSED, Shard, Workload
from costsim.errors import SpecError

FAMILIES = (
    bart,
    bert,
    deberta,
    rotary_encoders,
    sound_language,
    speech,
    t5,
    uncommon_encoders,
    vision_language,
)
TYPES = {model_type for family in FAMILIES for model_type in family.READERS}
DATA = json.loads(
    (Path(__file__).resolve().parent.parent / "data" / "encoders_excerpt.json").read_text()
)
UNREAD = {"mistral_large4"}  # whose text model has no reader


@pytest.mark.parametrize("row", DATA["oracle"], ids=lambda row: row["name"])
def test_row_of_the_oracle(row: dict[str, Any]) -> None:
    assert differences(load_model(row["config"]), row) == []


@pytest.mark.parametrize("row", DATA["defaults"], ids=lambda row: row["model_type"])
def test_library_defaults(row: dict[str, Any]) -> None:
    model = load_model({"model_type": row["model_type"], "architectures": [row["class"]]})
    assert model.parameters == row["parameters"]
    assert model.embedding_parameters == row["embedding_parameters"]
    if "forward_flops" in row:
        assert model.forward_flops(1, row["tokens"]) == row["forward_flops"]
    if "training_flops" in row:
        assert model.training_flops(1, row["tokens"]) == row["training_flops"]
    if "decode_flops_after_64" in row:
        assert model.decode_flops(1, 64) == row["decode_flops_after_64"]


def test_every_row_of_the_oracle(shared: Path) -> None:
    rows = list(oracle_rows(shared, lambda row: row["model_type"] in TYPES - UNREAD))
    assert len(rows) >= 100
    assert [line for row, model in rows for line in differences(model, row)] == []


def test_nothing_of_a_default_config_is_unknown(shared: Path) -> None:
    oracle = shared / "validation" / "oracle"
    for folder in sorted((oracle / "lm_configs").iterdir()):
        config = json.loads((folder / "config.json").read_text())
        if config["model_type"] in TYPES - UNREAD:
            notes = " ".join(load_model(folder).notes)
            assert "not understood" not in notes, (folder.name, notes)


# Modules written out


def _counted(module: torch.nn.Module, *inputs: torch.Tensor) -> tuple[int, int, int]:
    with FlopCounterMode(display=False) as counter:
        output = module(*inputs)
        forward = counter.get_total_flops()
        output.sum().backward()
    return forward, counter.get_total_flops(), sum(p.numel() for p in module.parameters())


def _ids(batch: int, tokens: int) -> torch.Tensor:
    return torch.zeros(batch, tokens, dtype=torch.long)


def test_encoder_decoder_is_a_module() -> None:
    sizes = {"d_model": 32, "vocab_size": 50, "max_position_embeddings": 30}
    for which, depth in (("encoder", 2), ("decoder", 3)):
        sizes |= {f"{which}_layers": depth, f"{which}_attention_heads": 4, f"{which}_ffn_dim": 48}
    model = load_model({"model_type": "bart", **sizes})
    module = modules.Bart(50, 32, 4, 48, (2, 3), 32)
    forward, training, count = _counted(module, _ids(2, 9), _ids(2, 5))
    workload = Workload(2, 5, source_tokens=9)
    blocks = model.blocks(workload)
    assert model.parameters == count
    assert forward_flops(blocks) == forward
    assert forward_flops(blocks) + backward_flops(blocks) == training


def test_shared_layers_are_a_module() -> None:
    model = load_model(
        {
            "model_type": "albert",
            "vocab_size": 50,
            "embedding_size": 8,
            "hidden_size": 32,
            "num_hidden_layers": 5,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "max_position_embeddings": 64,
        }
    )
    forward, training, count = _counted(modules.Albert(50, 8, 32, 4, 48, 5), _ids(3, 7))
    assert model.parameters == count
    assert (model.forward_flops(3, 7), model.training_flops(3, 7)) == (forward, training)


def _flops_of(operators: tuple[Operator, ...]) -> tuple[int, int, int]:
    blocks = (Block("layer", operators, Activation("input", 1)),)
    forward = forward_flops(blocks)
    return forward, forward + backward_flops(blocks), parameters(blocks)


def _input(batch: int, tokens: int, width: int) -> torch.Tensor:
    return torch.randn(batch, tokens, width, requires_grad=True)


def test_sliding_chunks_are_a_module() -> None:
    mixer = SlidingChunks(heads=2, head_dim=8, window=8)
    module = modules.SlidingChunks(16, 2, 8)
    operators = recorded(mixer, Workload(3, 32), 16)
    assert _flops_of(operators) == _counted(module, _input(3, 32, 16))


def test_disentangled_attention_is_a_module() -> None:
    content = SelfAttention(
        heads=2, kv_heads=2, head_dim=8, bias=True, output_bias=True, causal=False
    )
    mixer = DisentangledAttention(
        content=content, span=6, to_distance=True, from_distance=True, shared=True
    )
    operators = recorded(mixer, Workload(3, 10), 16)
    forward, training, count = _counted(modules.Disentangled(16, 2, 6), _input(3, 10, 16))
    # The table of distances is one for all layers, and counted there.
    assert _flops_of(operators) == (forward, training, count - 12 * 16)


# What sees and hears


def _tower_flops(config: dict[str, Any], images: int) -> int:
    blocks = load_model(config).blocks(Workload(1, 4, images=images))
    seen = [b for b in blocks if b.name.startswith("vision") and "pooling" not in b.name]
    return forward_flops(tuple(seen))


def test_towers_work_on_images(shared: Path) -> None:
    """InternVisionModel and PixtralVisionModel of transformers, on one image."""
    oracle = shared / "validation" / "oracle"
    csv.field_size_limit(1_000_000)
    names = {"default__internvl_vision": "internvl", "default__pixtral": "mistral3"}
    with (oracle / "lm_oracle.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["name"] in names]
    assert len(rows) == len(names)
    for row in rows:
        vision = json.loads((oracle / "lm_configs" / row["name"] / "config.json").read_text())
        config = {"model_type": names[row["name"]], "vision_config": vision}
        assert _tower_flops(config, 1) == int(row["fwd1_flops"])
        assert _tower_flops(config, 5) == 5 * int(row["fwd1_flops"])


@pytest.mark.parametrize("model_type", ["gemma3", "qwen2_vl", "llava", "qwen2_audio", "neomme"])
def test_text_alone_leaves_the_rest_idle(model_type: str) -> None:
    model = load_model({"model_type": model_type})
    alone, beside = (model.blocks(Workload(2, 16, images=images)) for images in (0, 3))
    assert parameters(alone) == parameters(beside)
    assert forward_flops(alone) < forward_flops(beside)
    assert any(isinstance(operator, Idle) for block in alone for operator in block.operators)
    assert not any(isinstance(o, Idle) for b in beside for o in b.operators)


def test_generation_does_not_encode_again() -> None:
    model = load_model({"model_type": "t5"})
    text = [b for b in model.blocks(Workload.generation(1, 64)) if b.name.startswith("encoder")]
    assert forward_flops(tuple(text)) == 0
    assert parameters(tuple(text)) > 0


def test_whisper_hears_thirty_seconds_whatever_is_written() -> None:
    model = load_model({"model_type": "whisper"})

    def encoder(tokens: int) -> int:
        blocks = model.blocks(Workload(1, tokens))
        return forward_flops(tuple(b for b in blocks if b.name.startswith("encoder")))

    assert encoder(1) == encoder(448) > 0


# Laws


SAMPLE = (
    {"model_type": "bert"},
    {"model_type": "albert"},
    {"model_type": "modernbert"},
    {"model_type": "convbert"},
    {"model_type": "funnel"},
    {"model_type": "squeezebert"},
    {"model_type": "longformer"},
    {"model_type": "mobilebert"},
    {
        "model_type": "deberta-v2",
        "relative_attention": True,
        "pos_att_type": ["c2p", "p2c"],
    },
    {"model_type": "t5"},
    {"model_type": "bart"},
    {"model_type": "switch_transformers"},
    {"model_type": "whisper"},
    {"model_type": "wav2vec2"},
    {"model_type": "gemma3"},
    {"model_type": "qwen2_5_vl"},
    {"model_type": "granite_speech"},
)


@pytest.mark.parametrize("config", SAMPLE, ids=lambda config: config["model_type"])
def test_columns_are_rows_one_by_one(config: dict[str, Any]) -> None:
    model = load_model(config)
    shapes = [(1, 512), (3, 1024), (8, 2048)]
    batch, tokens = (np.array(values, dtype=float) for values in zip(*shapes, strict=True))
    blocks = model.blocks(Workload(batch, tokens))
    together = forward_flops(blocks) + backward_flops(blocks)
    apart = [model.training_flops(*shape) for shape in shapes]
    np.testing.assert_allclose(np.broadcast_to(together, 3), apart, rtol=1e-12)


@pytest.mark.parametrize("config", SAMPLE, ids=lambda config: config["model_type"])
@pytest.mark.parametrize("quantity", ["parameters", "forward_flops", "cache_bytes"])
def test_closed_forms_have_the_exact_value(config: dict[str, Any], quantity: str) -> None:
    found = formula(load_model(config), quantity, batch=2, sequence=1024)
    values = {symbol: meaning.value for symbol, meaning in found.symbols.items()}
    assert int(found.expression.subs(values)) == found.value


@pytest.mark.parametrize("config", SAMPLE, ids=lambda config: config["model_type"])
def test_shares_of_devices_make_up_the_whole(config: dict[str, Any]) -> None:
    for block in load_model(config).blocks(Workload(1, 512)):
        for whole in block.operators:
            part = whole.shard(Shard(tp=2))
            flops = [
                sum(work.flops for work in one.work("forward", FUSED)) for one in (whole, part)
            ]
            assert flops[1] in (flops[0], flops[0] / 2), whole.name
            weights = [sum(w.elements for w in one.weights()) for one in (whole, part)]
            if isinstance(whole, Linear) and whole.split == "column":
                assert weights[1] * 2 == weights[0], whole.name
            assert weights[1] <= weights[0]


# Configs that make no model


BREAKING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=True),
    st.text(max_size=8),
    st.lists(st.integers(-5, 10**6), max_size=4),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
)


@pytest.mark.parametrize("model_type", sorted(TYPES - UNREAD))
def test_odd_values_make_an_error_or_a_model(model_type: str) -> None:
    keys = sorted(_keys(model_type))

    @settings(max_examples=30)  # for each of a hundred and more types
    @given(st.dictionaries(st.sampled_from(keys), BREAKING, max_size=3))
    def check(values: dict[str, Any]) -> None:
        try:
            model = load_model({"model_type": model_type, **values})
        except SpecError:
            return
        assert model.parameters > 0
        assert model.forward_flops(1, 16_000) > 0

    check()


def _keys(model_type: str) -> set[str]:
    own = set(library_defaults().get(model_type, {})) - {"architectures"}
    return own | set(library_parts().get(model_type, {})) | {"architectures"}
