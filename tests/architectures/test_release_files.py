"""Files of releases other than a config.json: what they describe, and what is refused."""

from __future__ import annotations

import json
import struct
import tracemalloc
from math import prod
from pathlib import Path
from typing import Any

import pytest

from costsim import estimate_inference, load_hardware, load_model
from costsim.compression.published import as_published, published_precision
from costsim.errors import CostsimError, SpecError

LLAMA = {
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
}
PARAMETERS = 2 * 1000 * 256 + 3 * (2 * 256 * 256 + 2 * 256 * 128 + 3 * 256 * 512 + 512) + 256


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


# --- Meta's and Mistral's own form -------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "parameters"),
    [
        (  # Llama 2 70B: https://github.com/meta-llama/llama, params.json
            {
                "dim": 8192,
                "multiple_of": 4096,
                "ffn_dim_multiplier": 1.3,
                "n_heads": 64,
                "n_kv_heads": 8,
                "n_layers": 80,
                "norm_eps": 1e-05,
                "vocab_size": -1,
            },
            68_976_648_192,
        ),
        (
            {
                "dim": 4096,
                "n_layers": 32,
                "n_heads": 32,
                "n_kv_heads": 8,
                "vocab_size": 128256,
                "ffn_dim_multiplier": 1.3,
                "multiple_of": 1024,
                "norm_eps": 1e-05,
                "rope_theta": 500000.0,
                "use_scaled_rope": True,
            },
            8_030_261_248,
        ),
        (
            {
                "dim": 4096,
                "n_layers": 32,
                "head_dim": 128,
                "hidden_dim": 14336,
                "n_heads": 32,
                "n_kv_heads": 8,
                "norm_eps": 1e-05,
                "vocab_size": 32000,
                "moe": {"num_experts_per_tok": 2, "num_experts": 8},
            },
            46_702_792_704,
        ),
    ],
    ids=["llama-2-70b", "llama-3.1-8b", "mixtral-8x7b"],
)
def test_native_parameters(tmp_path: Path, values: dict[str, Any], parameters: int) -> None:
    folder = write(tmp_path / "release" / "params.json", values).parent
    assert load_model(folder).parameters == parameters
    assert load_model(folder).name == "release"


def test_a_native_size_that_nothing_consumes_is_an_error(tmp_path: Path) -> None:
    values = {"dim": 64, "n_layers": 2, "n_heads": 2, "hidden_dim": 128, "vocab_size": 9, "wide": 7}
    with pytest.raises(SpecError, match="unknown size keys `wide`"):
        load_model(write(tmp_path / "params.json", values))


def test_deepseeks_own_form_is_its_published_model(shared: Path) -> None:
    file = shared / "validation" / "wild_configs" / "deepseek-v3-native--config_671B.json"
    model = load_model(file)
    # Its routers' corrections are trained parameters: one an expert in 58 layers.
    assert model.parameters == load_model("deepseek-v3").parameters + 58 * 256
    assert published_precision(model) == "fp8_block"


# --- what stands beside a config.json ----------------------------------------------------------


def test_the_format_stands_in_a_file_of_its_own(tmp_path: Path) -> None:
    write(tmp_path / "config.json", LLAMA)
    plain = load_model(tmp_path)
    assert plain.quantization is None
    write(
        tmp_path / "hf_quant_config.json",
        {"quantization": {"quant_algo": "NVFP4", "group_size": 16, "exclude_modules": ["lm_head"]}},
    )
    assert published_precision(load_model(tmp_path)) == "nvfp4"
    with pytest.raises(SpecError, match="not what the model is"):
        load_model(tmp_path / "hf_quant_config.json")


def test_settings_of_generation_are_no_model(tmp_path: Path) -> None:
    write(tmp_path / "config.json", LLAMA)
    file = write(tmp_path / "generation_config.json", {"temperature": 0.6, "eos_token_id": 2})
    assert load_model(tmp_path).parameters == PARAMETERS
    with pytest.raises(SpecError, match="settings of generation"):
        load_model(file)


def test_an_adapter_leads_to_its_base(tmp_path: Path) -> None:
    write(
        tmp_path / "adapter_config.json",
        {
            "peft_type": "LORA",
            "r": 16,
            "target_modules": ["q_proj", "v_proj"],
            "base_model_name_or_path": "meta-llama/Llama-3.1-8B-Instruct",
        },
    )
    model = load_model(tmp_path)
    base = load_model("llama-3.1-8b")
    assert model.parameters == base.parameters
    added = 32 * 16 * ((4096 + 4096) + (4096 + 1024))  # a and b of queries and values
    assert as_published(model).parameters == base.parameters + added
    assert any("rank 16" in note for note in model.notes)
    system = load_hardware("h100", count=1)
    held = [
        estimate_inference(one, system, phase="decode").memory_by_part_bytes["weights"]
        for one in (base, model)
    ]
    assert held[1] - held[0] == 2 * added


# --- diffusers, sentence-transformers, timm ------------------------------------------------------


UNET = {
    "_class_name": "UNet2DConditionModel",
    "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280],
    "cross_attention_dim": 768,
    "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    "layers_per_block": 2,
    "sample_size": 64,
}


@pytest.mark.parametrize(
    ("values", "parameters"),
    [
        (UNET, 859_520_964),
        (  # stable-diffusion-2-1
            {
                **UNET,
                "attention_head_dim": [5, 10, 20, 20],
                "cross_attention_dim": 1024,
                "use_linear_projection": True,
                "sample_size": 96,
            },
            865_910_724,
        ),
        (  # stable-diffusion-xl-base-1.0
            {
                "_class_name": "UNet2DConditionModel",
                "addition_embed_type": "text_time",
                "attention_head_dim": [5, 10, 20],
                "block_out_channels": [320, 640, 1280],
                "cross_attention_dim": 2048,
                "down_block_types": ["DownBlock2D", *["CrossAttnDownBlock2D"] * 2],
                "projection_class_embeddings_input_dim": 2816,
                "sample_size": 128,
                "transformer_layers_per_block": [1, 2, 10],
                "use_linear_projection": True,
            },
            2_567_463_684,
        ),
        (
            {
                "_class_name": "AutoencoderKL",
                "block_out_channels": [128, 256, 512, 512],
                "down_block_types": ["DownEncoderBlock2D"] * 4,
                "up_block_types": ["UpDecoderBlock2D"] * 4,
                "latent_channels": 4,
                "layers_per_block": 2,
            },
            83_653_863,
        ),
        (
            {
                "_class_name": "FluxTransformer2DModel",
                "attention_head_dim": 128,
                "guidance_embeds": True,
                "in_channels": 64,
                "joint_attention_dim": 4096,
                "num_attention_heads": 24,
                "num_layers": 19,
                "num_single_layers": 38,
                "patch_size": 1,
                "pooled_projection_dim": 768,
            },
            11_901_408_320,
        ),
        (
            {
                "_class_name": "SD3Transformer2DModel",
                "attention_head_dim": 64,
                "caption_projection_dim": 1536,
                "in_channels": 16,
                "joint_attention_dim": 4096,
                "num_attention_heads": 24,
                "num_layers": 24,
                "patch_size": 2,
                "pooled_projection_dim": 2048,
                "sample_size": 128,
            },
            2_028_328_000,
        ),
        (  # diffusers keeps an embedding of time and class in each of 28 layers
            {
                "_class_name": "DiTTransformer2DModel",
                "attention_head_dim": 72,
                "in_channels": 4,
                "norm_type": "ada_norm_zero",
                "num_attention_heads": 16,
                "num_embeds_ada_norm": 1000,
                "num_layers": 28,
                "out_channels": 8,
                "patch_size": 2,
                "sample_size": 32,
            },
            749_826_464,
        ),
    ],
    ids=["sd-1.5", "sd-2.1", "sdxl", "vae", "flux.1-dev", "sd-3-medium", "dit-xl-2"],
)
def test_parts_of_pipelines(tmp_path: Path, values: dict[str, Any], parameters: int) -> None:
    folder = write(tmp_path / "part" / "config.json", values).parent
    assert load_model(folder).parameters == parameters


def test_hunyuan_dit_is_the_librarys(tmp_path: Path) -> None:
    """diffusers 0.35.1 on the meta device: its parameters, and what FlopCounterMode counts."""
    values = {
        "_class_name": "HunyuanDiT2DModel",
        "attention_head_dim": 88,
        "cross_attention_dim": 1024,
        "cross_attention_dim_t5": 2048,
        "hidden_size": 1408,
        "in_channels": 4,
        "learn_sigma": True,
        "mlp_ratio": 4.3637,
        "num_attention_heads": 16,
        "num_layers": 40,
        "patch_size": 2,
        "pooled_projection_dim": 1024,
        "sample_size": 128,
        "text_len": 77,
        "text_len_t5": 256,
    }
    model = load_model(write(tmp_path / "config.json", values))
    assert model.parameters == 1_516_534_048
    assert model.forward_flops(1) == 14_365_834_125_312


def test_a_pipeline_is_its_denoiser_and_names_its_other_parts(tmp_path: Path) -> None:
    write(
        tmp_path / "model_index.json",
        {
            "_class_name": "StableDiffusionPipeline",
            "unet": ["diffusers", "UNet2DConditionModel"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "safety_checker": [None, None],
        },
    )
    write(tmp_path / "unet" / "config.json", UNET)
    write(tmp_path / "text_encoder" / "config.json", LLAMA)
    model = load_model(tmp_path)
    assert model.parameters == 859_520_964
    assert any("text_encoder" in note for note in model.notes)


def test_a_part_that_is_not_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="class `WeirdModel` is not supported"):
        load_model(write(tmp_path / "config.json", {"_class_name": "WeirdModel"}))
    with pytest.raises(SpecError, match="`encoder_hid_dim` 4096"):
        load_model(write(tmp_path / "config.json", {**UNET, "encoder_hid_dim": 4096}))


def test_a_sentence_encoder_is_its_first_module(tmp_path: Path) -> None:
    kinds = ("Transformer", "Pooling", "Dense")
    listed = [
        {"idx": k, "path": "" if k == 0 else f"{k}_{kind}", "type": f"sentence_transformers.{kind}"}
        for k, kind in enumerate(kinds)
    ]
    file = write(tmp_path / "modules.json", listed)
    with pytest.raises(SpecError, match=r"config\.json is missing"):
        load_model(file)
    write(tmp_path / "config.json", LLAMA)
    assert load_model(tmp_path).parameters == load_model(file).parameters == PARAMETERS
    assert any("dense" in note for note in load_model(tmp_path).notes)


@pytest.mark.parametrize(
    ("architecture", "name"),
    [
        ("resnet50", "resnet50"),
        ("vit_base_patch16_224", "vit-b-16"),
        ("swin_tiny_patch4_window7_224", "swin-t"),
        ("convnext_tiny.fb_in22k", "convnext-tiny"),
        ("mobilenetv3_large_100", "mobilenet-v3-large"),
        ("regnety_016", "regnet-y-1-6gf"),
    ],
)
def test_timm_nets_by_name(tmp_path: Path, architecture: str, name: str) -> None:
    file = write(tmp_path / "config.json", {"architecture": architecture, "num_classes": 1000})
    assert load_model(file).description == load_model(name).description


def test_a_net_that_is_not_in_the_catalogue(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="timm's `davit_tiny`"):
        load_model(
            write(tmp_path / "config.json", {"architecture": "davit_tiny", "num_classes": 9})
        )


# --- safetensors ---------------------------------------------------------------------------------


def safetensors(path: Path, header: Any, *, length: int | None = None, data: int = 0) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + bytes(data))
    return path


def test_a_header_is_summed_up(tmp_path: Path) -> None:
    entry = {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 64]}
    file = safetensors(tmp_path / "model.safetensors", {"a.weight": entry}, data=64)
    with pytest.raises(SpecError, match="1 tensors, elements 32 of BF16"):
        load_model(file)
    index = {"metadata": {"total_size": 64}, "weight_map": {"a.weight": "model.safetensors"}}
    with pytest.raises(SpecError, match="holds weights"):
        load_model(write(tmp_path / "model.safetensors.index.json", index))
    write(tmp_path / "config.json", LLAMA)
    assert load_model(tmp_path).parameters == PARAMETERS


ENTRY = {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 64]}


@pytest.mark.parametrize(
    ("header", "length", "data", "message"),
    [
        (b"", 2**60, 0, "truncated"),
        (b"{}", None, 0, "no tensors"),
        (b"[" * 100_000, None, 0, "not JSON"),
        (b"\xff\xfe", None, 0, "not JSON"),
        ({"a": ENTRY}, None, 10, "truncated"),
        ({"a": {**ENTRY, "shape": [10**9, 10**9]}}, None, 64, "other bytes"),
        ({"a": {**ENTRY, "shape": [-1]}}, None, 64, "malformed"),
        ({"a": {**ENTRY, "dtype": "PICKLE"}}, None, 64, "malformed"),
        ({"a": [1, 2]}, None, 64, "malformed"),
    ],
)
def test_hostile_headers(
    tmp_path: Path, header: Any, length: int | None, data: int, message: str
) -> None:
    file = safetensors(tmp_path / "model.safetensors", header, length=length, data=data)
    with pytest.raises(SpecError, match=message):
        load_model(file)


# --- GGUF ----------------------------------------------------------------------------------------

U32, STRING, ARRAY = 4, 8, 9


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(metadata: dict[str, Any], tensors: dict[str, tuple[tuple[int, ...], int]]) -> bytes:
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    for key, value in metadata.items():
        out += text(key)
        if isinstance(value, int):
            out += struct.pack("<II", U32, value)
        elif isinstance(value, str):
            out += struct.pack("<I", STRING) + text(value)
        else:
            out += struct.pack("<IIQ", ARRAY, STRING, len(value)) + b"".join(map(text, value))
    for name, (shape, kind) in tensors.items():
        out += text(name) + struct.pack("<I", len(shape))
        out += b"".join(struct.pack("<Q", side) for side in reversed(shape))
        out += struct.pack("<IQ", kind, 0)
    return out


F32, F16, Q4_K, Q6_K = 0, 1, 12, 14
METADATA: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.block_count": 3,
    "llama.embedding_length": 256,
    "llama.feed_forward_length": 512,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.context_length": 512,
    "tokenizer.ggml.tokens": [f"word {k}" for k in range(1000)],
}
TENSORS: dict[str, tuple[tuple[int, ...], int]] = {
    "token_embd.weight": ((1000, 256), Q4_K),
    "output.weight": ((1000, 256), Q6_K),
    "output_norm.weight": ((256,), F32),
}
for _block in range(3):
    TENSORS |= {
        f"blk.{_block}.attn_q.weight": ((256, 256), Q4_K),
        f"blk.{_block}.attn_k.weight": ((128, 256), Q4_K),
        f"blk.{_block}.attn_v.weight": ((128, 256), Q4_K),
        f"blk.{_block}.attn_output.weight": ((256, 256), Q4_K),
        f"blk.{_block}.ffn_gate.weight": ((512, 256), Q4_K),
        f"blk.{_block}.ffn_up.weight": ((512, 256), Q4_K),
        f"blk.{_block}.ffn_down.weight": ((256, 512), Q6_K if _block == 0 else Q4_K),
        f"blk.{_block}.attn_norm.weight": ((256,), F32),
        f"blk.{_block}.ffn_norm.weight": ((256,), F32),
    }


def test_a_gguf_file_is_a_model_and_its_formats(tmp_path: Path) -> None:
    file = tmp_path / "model-Q4_K_M.gguf"
    file.write_bytes(gguf(METADATA, TENSORS))
    model = load_model(file)
    assert model.parameters == PARAMETERS == sum(prod(shape) for shape, _ in TENSORS.values())
    assert model.context_limit == 512
    assert published_precision(model) == "w4a16"
    blocks = {Q4_K: 144, Q6_K: 210}  # bytes of 256 elements, ggml-common.h
    matrices = sum(
        prod(shape) // 256 * blocks[kind] for shape, kind in TENSORS.values() if kind in blocks
    )
    held = sum(
        block.count * int(weight.stored_bytes(2))
        for block in as_published(model).blocks()
        for weight in block.weights()
    )
    assert held == matrices + 2 * 7 * 256  # norms
    assert load_model(tmp_path).parameters == PARAMETERS


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "no GGUF"),
        (b"PK\x03\x04" + bytes(40), "no GGUF"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 1), "promises"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 2**60), "promises"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**60), "truncated"),
        (
            b"GGUF"
            + struct.pack("<IQQ", 3, 0, 1)
            + text("x")
            + struct.pack("<IIQ", ARRAY, STRING, 2**60),
            "no list",
        ),
        (
            b"GGUF"
            + struct.pack("<IQQ", 3, 0, 1)
            + text("x")
            + struct.pack("<IIQ", ARRAY, U32, 2**60),
            "truncated",
        ),
        (gguf(METADATA, TENSORS)[:-30], "truncated"),
        (gguf({**METADATA, "general.architecture": "zebra"}, TENSORS), "`zebra`"),
        (gguf({**METADATA, "llama.block_count": 10**9}, TENSORS), "at most|must be"),
    ],
)
def test_hostile_gguf(tmp_path: Path, raw: bytes, message: str) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(raw)
    tracemalloc.start()
    try:
        with pytest.raises(SpecError, match=message):
            load_model(file)
        assert tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()


def test_links_out_of_a_release_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "outside" / "config.json", LLAMA)
    folder = tmp_path / "release"
    modules = [{"idx": 0, "path": "../outside", "type": "sentence_transformers.Transformer"}]
    write(folder / "modules.json", modules)
    with pytest.raises(SpecError, match="leads out"):
        load_model(folder)
    adapter = {"peft_type": "LORA", "r": 4, "base_model_name_or_path": "../outside"}
    with pytest.raises(SpecError, match="leads out"):
        load_model(write(folder / "adapter_config.json", adapter))
    (folder / "unet").symlink_to(tmp_path / "outside")
    index = {"_class_name": "XPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
    with pytest.raises(SpecError, match="leads out"):
        load_model(write(folder / "model_index.json", index))


@pytest.mark.parametrize("layers", [10**9, 10**30, -1, "many"])
def test_absurd_sizes_are_one_error(tmp_path: Path, layers: Any) -> None:
    file = write(tmp_path / "config.json", {**LLAMA, "num_hidden_layers": layers})
    tracemalloc.start()
    try:
        with pytest.raises(CostsimError):
            load_model(file).blocks()
        assert tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()


def test_a_config_of_several_megabytes_is_read(tmp_path: Path) -> None:
    names = [f"model.layers.{k % 3}.self_attn.q_proj.{k:06}" for k in range(60_000)]
    config = {"quant_method": "fp8", "modules_to_not_convert": names}
    file = write(tmp_path / "config.json", {**LLAMA, "quantization_config": config})
    assert file.stat().st_size > 2_000_000
    assert load_model(file).parameters == PARAMETERS
    file.write_text("[" * 9_000_000)
    with pytest.raises(SpecError, match="larger than 8 MB"):
        load_model(file)
