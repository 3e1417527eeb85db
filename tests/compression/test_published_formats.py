"""Models as they are published: the bytes of their files, and what estimates hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from costsim import estimate_inference, load_hardware, load_model
from costsim.architectures import Architecture
from costsim.architectures.operators import Experts
from costsim.compression import compress
from costsim.compression.modules import Modules, names_of
from costsim.compression.published import as_published, published_precision
from costsim.inference.layout import Layout, Layouts, Quantization
from costsim.inference.memory import weight_bytes

LLAMA_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
}
SMALL = {**LLAMA_8B, "num_hidden_layers": 8}
LINEAR = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336  # of a layer
ENDS = 2 * 128256 * 4096
NORMS = 2 * 4096


def held(model: Architecture) -> int:
    """Bytes of all tensors, what is not packed in 16 bits."""
    return sum(
        block.count * int(weight.stored_bytes(2))
        for block in as_published(model).blocks()
        for weight in block.weights()
    )


def quantized(**config: Any) -> Architecture:
    return load_model({**SMALL, "quantization_config": config})


@pytest.mark.parametrize(
    ("model", "total_size"),
    [("gpt-oss-20b", 13_761_264_768), ("gpt-oss-120b", 65_248_815_744)],
)
def test_bytes_are_those_of_the_index_of_the_release(model: str, total_size: int) -> None:
    assert held(load_model(model)) == total_size


def test_rows_with_scales_are_those_of_a_published_index() -> None:
    """Llama-3.1-8B by compressed-tensors: `total_size` of its model.safetensors.index.json."""
    weights = {"num_bits": 8, "type": "float", "strategy": "channel"}
    group = {"weights": weights, "input_activations": {"num_bits": 8}, "targets": ["Linear"]}
    config = {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}}
    model = load_model({**LLAMA_8B, "quantization_config": {**config, "ignore": ["lm_head"]}})
    assert held(model) == 9_083_953_152
    without = load_model({**LLAMA_8B, "quantization_config": {**config, "ignore": []}})
    assert held(model) - held(without) == 128256 * 4096 - 128256 * 2  # the head, and its scales


@pytest.mark.parametrize(
    ("config", "bits"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, 8 + 32 / 128**2),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, 4 + 20 / 128),
        ({"quant_method": "auto-round", "bits": 4, "group_size": 32}, 4 + 20 / 32),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, 4.5),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 4.5),
        (
            {
                "quant_method": "bitsandbytes",
                "load_in_4bit": True,
                "bnb_4bit_quant_type": "nf4",
                "bnb_4bit_use_double_quant": True,
            },
            4 + 8 / 64 + 32 / 64 / 256,
        ),
        ({"quant_method": "hqq", "quant_config": {"nbits": 4, "group_size": 64}}, 4.5),
        (
            {
                "quant_method": "quark",
                "global_quant_config": {
                    "weight": {"dtype": "fp4", "qscheme": "per_group", "group_size": 32},
                    "input_tensors": {"dtype": "fp4"},
                },
            },
            4.25,
        ),
        (
            {
                "quant_method": "torchao",
                "quant_type": {
                    "default": {"_type": "Int4WeightOnlyConfig", "_data": {"group_size": 128}}
                },
            },
            4 + 32 / 128,
        ),
    ],
)
def test_layers_are_as_narrow_as_said_and_ends_stay(config: dict[str, Any], bits: float) -> None:
    layers = held(quantized(**config)) - 2 * (ENDS + 4096 + 8 * NORMS)
    assert 8 * layers / (8 * LINEAR) == pytest.approx(bits, rel=1e-4)


def test_mlx_quantizes_both_ends() -> None:
    model = load_model({**SMALL, "quantization": {"group_size": 64, "bits": 4}})
    elements = 8 * LINEAR + ENDS
    assert held(model) == pytest.approx(elements * 4.5 / 8 + 2 * (4096 + 8 * NORMS), rel=1e-6)


def _kept(layers: range, names: tuple[str, ...]) -> list[str]:
    return [f"model.layers.{layer}.{name}" for layer in layers for name in names]


ATTENTION = tuple(f"self_attn.{name}_proj" for name in "qkvo")
NETWORK = tuple(f"mlp.{name}_proj" for name in ("gate", "up", "down"))


@pytest.mark.parametrize(
    "kept",
    [
        _kept(range(8), ATTENTION) + _kept(range(0, 8, 7), NETWORK),
        ["model.layers.*.self_attn", "model.layers.0.mlp*", "model.layers.7.mlp*"],
        [r"re:.*self_attn\..*", r"re:.*layers\.(0|7)\.mlp\..*"],
        ["self_attn", "layers.0.mlp", "layers.7.mlp"],
    ],
    ids=["names", "wildcards", "expressions", "parts of names"],
)
def test_kept_modules_are_counted_in_16_bits(kept: list[str]) -> None:
    """The same modules said in the four ways in which tools say them."""
    model = quantized(quant_method="fp8", modules_to_not_convert=kept)
    attention, network = 2 * 4096 * 4096 + 2 * 4096 * 1024, 3 * 4096 * 14336
    elements = ENDS + 8 * attention + 2 * network + 4096 + 8 * NORMS
    scales = 6 * 3 * 4 * 2  # a scale of each matrix and one of its inputs at the most
    assert held(model) == pytest.approx(2 * elements + 6 * network, abs=scales)
    system = load_hardware("h100", count=1)
    estimated = estimate_inference(model, system, phase="decode", sequence=512)
    assert estimated.memory_by_part_bytes["weights"] == held(model)
    served = as_published(model, "fp8")
    alone = Layouts.of([Layout()])
    assert weight_bytes(served, alone, Quantization("fp8", "fp8"))[0] == held(model)


def test_layers_that_are_stored_unlike_stay_in_their_places() -> None:
    model = quantized(quant_method="fp8", modules_to_not_convert=["model.layers.3.mlp*"])
    packed = as_published(model)
    assert [block.count for block in packed.blocks()] == [1, 3, 1, 4, 1]
    assert packed.parameters == model.parameters
    assert packed.forward_flops(1, 64) == model.forward_flops(1, 64)
    assert packed.cache_bytes(1, 100) == model.cache_bytes(1, 100)


def test_mixed_precision_names_what_is_quantized() -> None:
    layers = {f"model.layers.{k}.mlp.down_proj": {"quant_algo": "FP8"} for k in range(8)}
    layers |= {
        f"model.layers.{k}.mlp.{name}_proj": {"quant_algo": "NVFP4", "group_size": 16}
        for k in range(8)
        for name in ("gate", "up")
    }
    model = quantized(
        quant_method="modelopt", quant_algo="MIXED_PRECISION", quantized_layers=layers
    )
    network, attention = 4096 * 14336, 2 * 4096 * 4096 + 2 * 4096 * 1024
    expected = 2 * (ENDS + 8 * attention + 4096 + 8 * NORMS) + 8 * network * (1 + 2 * 4.5 / 8)
    assert held(model) == pytest.approx(expected, rel=1e-6)


def test_another_precision_is_another_model() -> None:
    model, system = load_model("deepseek-v3"), load_hardware("h200", count=8)
    assert published_precision(model) == "fp8_block"
    published = estimate_inference(model, system, phase="decode", sequence=100)
    wide = estimate_inference(model, system, phase="decode", sequence=100, precision="bf16")
    narrow = published.memory_by_part_bytes["weights"] / wide.memory_by_part_bytes["weights"]
    assert 0.5 < narrow < 0.52  # head, embedding, routers and norms stay
    assert estimate_inference(model, system, phase="decode", sequence=100, precision="fp8") == (
        published
    )


def test_recipes_start_from_what_is_published() -> None:
    made = compress("deepseek-v3", "awq-int4")
    before, after = (
        sum(b.count * int(w.stored_bytes(2)) for b in model.blocks() for w in b.weights())
        for model in (made.before, made.after)
    )
    assert before == held(load_model("deepseek-v3"))
    assert 0.5 < after / before < 0.54


@pytest.mark.parametrize("pattern", ["re:(a+)+$", "re:((", "re:" + "x" * 1000])
def test_expressions_that_may_not_end_are_not_tried(pattern: str) -> None:
    modules = Modules([(pattern, None)])
    assert modules.unread
    assert modules.of(names_of("feed_forward.up", "layers", "layer"), range(4)) == {}


def test_published_files_keep_what_they_name(shared: Path) -> None:
    """NVFP4 of Gemma 4 keeps attention (and the dense network beside experts); see its list."""
    folder = shared / "validation" / "wild_configs"
    said = json.loads((folder / "nvidia--Qwen3-235B-A22B-NVFP4.json").read_text())
    stated = folder / "nvidia--Qwen3-235B-A22B-NVFP4.hf_quant_config.json"
    config = {**json.loads(stated.read_text())["quantization"], "quant_method": "modelopt"}
    model = load_model({**said, "quantization_config": config})
    packed = 235_093_634_560 - 2 * 151936 * 4096 - 94 * 128 * 4096  # but ends and routers
    norms = 94 * (2 * 4096 + 2 * 128) + 4096
    wide = 2 * (2 * 151936 * 4096 + 94 * 128 * 4096)
    assert held(model) == pytest.approx((packed - norms) * 4.5 / 8 + wide + 2 * norms, rel=1e-4)


def test_experts_of_deepseek_v4_are_narrower_than_the_rest(shared: Path) -> None:
    """DeepSeek-V4-Pro states fp4 for its experts: 4.25 bits with their exponents."""
    folder = shared / "validation" / "wild_configs"
    model = load_model(folder / "deepseek-ai--DeepSeek-V4-Pro.json")
    experts = sum(
        block.count * weight.elements
        for block in model.blocks()
        for operator in block.operators
        if isinstance(operator, Experts)
        for weight in operator.weights()
    )
    others = model.parameters - experts
    assert 4.25 / 8 * experts + others < held(model) < 4.25 / 8 * experts + 2 * others


def test_the_public_case_of_kept_modules(shared: Path) -> None:
    """shared/cases/10: attention, and the first and the last network, stay in 16 bits."""
    model = load_model(shared / "cases" / "10-kept-modules.json")
    assert held(model) == pytest.approx(4.534e9, rel=1e-3)  # and a scale of each row, 0.8 MB
    system = load_hardware("nvidia-h100-sxm5-80gb", count=1)
    for precision in (None, "fp8"):
        found = estimate_inference(model, system, phase="decode", precision=precision)
        assert found.memory_by_part_bytes["weights"] == held(model)
