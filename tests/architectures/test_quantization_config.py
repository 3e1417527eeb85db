"""What `quantization_config` says of published weights, by whichever tool wrote it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.architectures import load_model
from costsim.architectures.huggingface.quantization import read_quantization
from costsim.architectures.quantization import Quantization

LLAMA = {"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64, "vocab_size": 100}


@pytest.mark.parametrize(
    ("config", "bits", "group", "bits_per_weight"),
    [
        # DeepSeek-V3: e4m3 with a 32-bit scale for a tile of 128 × 128.
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, 8, 128, 8 + 32 / 128**2),
        # GPTQ and AWQ store a 16-bit scale and a zero point of 4 bits for each 128 (Frantar et al.
        # 2022, Lin et al. 2023: 4.15 bits a weight).
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, 4, 128, 4 + 20 / 128),
        ({"quant_method": "awq", "bits": 4, "group_size": 64}, 4, 64, 4 + 20 / 64),
        # A group size of -1: a scale for a whole row.
        ({"quant_method": "gptq", "bits": 4, "group_size": -1}, 4, None, 4),
        # OCP microscaling: 32 elements and an exponent of 8 bits, 4.25 bits a weight.
        ({"quant_method": "mxfp4"}, 4, 32, 4.25),
        # NVFP4: 16 elements and an e4m3 scale, 4.5 bits a weight.
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16}, 4, 16, 4.5),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "group_0": {
                        "weights": {"num_bits": 4, "type": "float", "group_size": 16},
                        "input_activations": {"num_bits": 4, "type": "float"},
                    }
                },
                "ignore": ["lm_head"],
            },
            4,
            16,
            4.5,
        ),
        # QLoRA's NF4: 64 elements, 0.5 bits a weight of constants, 0.127 doubly quantized.
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 4, 64, 4.5),
        ({"quant_method": "somebody's own"}, None, None, None),
    ],
)
def test_formats(
    config: dict[str, Any], bits: int | None, group: int | None, bits_per_weight: float | None
) -> None:
    model = load_model({**LLAMA, "quantization_config": config})
    found = model.quantization
    assert found is not None
    assert (found.bits, found.group) == (bits, group)
    assert found.bits_per_weight == bits_per_weight
    assert any(f"quantized ({config['quant_method']}" in note for note in model.notes)


def test_models_that_say_nothing_and_those_that_say_it_of_a_part() -> None:
    assert load_model(LLAMA).quantization is None
    part = {"quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["a", "b"]}}
    found = read_quantization({"model_type": "llava", "text_config": part})
    assert found == Quantization(
        method="mxfp4",
        bits=4,
        kind="float",
        group=32,
        scale_bits=8,
        reach="experts",
        kept=("a", "b"),
    )


def test_published_configs(shared: Path) -> None:
    folder = shared / "validation" / "configs"
    said = {
        path.stem.partition("--")[2]: str(
            read_quantization(json.loads(path.read_text()))
        ).partition(",")[0]
        for path in folder.glob("*.json")
    }
    assert said["DeepSeek-V3"] == "fp8: floats of 8 bits"
    assert said["gpt-oss-120b"] == "mxfp4: floats of 4 bits"
    assert said["Meta-Llama-3.1-8B"] == "None"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "quant_method",
                        "bits",
                        "group_size",
                        "config_groups",
                        "weights",
                        "g",
                        "num_bits",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ),
    st.sampled_from(["fp8", "gptq", "mxfp4", "compressed-tensors", "modelopt", "bitsandbytes"]),
)
def test_odd_configs_make_a_record_or_none(value: Any, method: str) -> None:
    given = {**value, "quant_method": method} if isinstance(value, dict) else value
    found = read_quantization({"quantization_config": given})
    if found is not None:
        assert str(found)
        assert found.bits_per_weight is None or found.bits_per_weight > 0
