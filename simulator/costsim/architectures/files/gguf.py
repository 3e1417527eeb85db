"""GGUF: the header of llama.cpp's files: a model's sizes, and the type of every tensor.

The header is walked with a limit on what it may hold, and strings that are not needed (the words of
a vocabulary) are passed over; the tensors are never read.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, cast

from costsim.architectures.files.described import Described, fail
from costsim.architectures.quantization import Quantization

_MAGIC = b"GGUF"
_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_MOST_ENTRIES, _MOST_TENSORS, _MOST_ITEMS = 65_536, 1_000_000, 4_000_000
_LONGEST = 65_536  # of a string that is kept

# type → (name, elements of a block, its bytes), as ggml defines them
TYPES: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    30: ("BF16", 1, 2),
    24: ("I8", 1, 1),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    29: ("IQ1_M", 256, 56),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
}

# a model type of transformers for what llama.cpp calls an architecture
_MODELS = {
    "llama": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "qwen3moe": "qwen3_moe",
    "qwen2moe": "qwen2_moe",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
    "phi3": "phi3",
    "starcoder2": "starcoder2",
    "stablelm": "stablelm",
    "olmo2": "olmo2",
    "mistral": "mistral",
    "mistral3": "mistral",
    "gpt-oss": "gpt_oss",
    "deepseek2": "deepseek_v2",
    "command-r": "cohere",
    "cohere2": "cohere2",
    "granite": "granite",
    "glm4": "glm4",
}
_SIZES = {
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "context_length": "max_position_embeddings",
    "attention.sliding_window": "sliding_window",
    "vocab_size": "vocab_size",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
}
# a tensor's name in a block → modules of the reference code
_MODULES = {
    "attn_q": "self_attn.q_proj",
    "attn_qkv": "self_attn.qkv_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_up_exps": "mlp.experts.0.up_proj",
    "ffn_gate_inp": "mlp.gate",
    "ffn_up_shexp": "mlp.shared_expert.up_proj",
    "ffn_down_shexp": "mlp.shared_expert.down_proj",
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor's shape, as PyTorch would have it, and its ggml type."""

    shape: tuple[int, ...]
    type: int

    @property
    def stored_bytes(self) -> int:
        """Bytes that it takes."""
        _, block, size = TYPES[self.type]
        return prod(self.shape) // block * size


class _Reader:
    """A file that is read forward, and never beyond its end."""

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self.path, self.file, self.left = path, file, size

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise fail(self.path, "is truncated: its header ends before all of it is said")
        self.left -= count
        found = self.file.read(count)
        if len(found) < count:
            raise fail(self.path, "is truncated: its header ends before all of it is said")
        return found

    def skip(self, count: int) -> None:
        if count > self.left:
            raise fail(self.path, "is truncated: its header ends before all of it is said")
        self.left -= count
        self.file.seek(count, 1)

    def number(self, code: str) -> Any:
        form = struct.Struct(f"<{code}")
        return form.unpack(self.take(form.size))[0]

    def text(self, *, kept: bool = True) -> str:
        length = self.number("Q")
        if not kept or length > _LONGEST:
            self.skip(length)
            return ""
        return self.take(length).decode("utf-8", "replace")

    def value(self, kind: int, key: str) -> Any:
        """Return a value; of an array of texts, how many there are."""
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            inner, count = self.number("I"), self.number("Q")
            if inner in _SCALARS:
                size = struct.calcsize(_SCALARS[inner])
                if count > 4096 or key.startswith("tokenizer."):
                    self.skip(size * count)
                    return count
                return [self.number(_SCALARS[inner]) for _ in range(count)]
            if inner != _STRING or count > _MOST_ITEMS:
                raise fail(self.path, f"`{key[:60]}` is no list that such files have")
            for _ in range(count):
                self.text(kept=False)
            return count
        if kind not in _SCALARS:
            raise fail(self.path, f"`{key[:60]}` has an unknown type {kind}")
        return self.number(_SCALARS[kind])


def read_header(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return a file's metadata, and its tensors by name.

    Raises:
        SpecError: if it is truncated or malformed.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            reader = _Reader(path, file, size)
            if size < 24 or reader.take(4) != _MAGIC:
                raise fail(path, "is no GGUF file")
            version, count, entries = reader.number("I"), reader.number("Q"), reader.number("Q")
            if version not in (2, 3):
                raise fail(path, f"is GGUF of version {version}; 2 and 3 are read")
            if count > _MOST_TENSORS or entries > _MOST_ENTRIES:
                raise fail(path, f"promises {count:,} tensors and {entries:,} entries")
            metadata: dict[str, Any] = {}
            for _ in range(entries):
                key = reader.text()
                metadata[key] = reader.value(reader.number("I"), key)
            tensors: dict[str, Tensor] = {}
            for _ in range(count):
                name, dimensions = reader.text(), reader.number("I")
                if not 1 <= dimensions <= 8:
                    raise fail(path, f"`{name[:60]}` has {dimensions} dimensions")
                sides = tuple(reader.number("Q") for _ in range(dimensions))
                kind = reader.number("I")
                reader.skip(8)  # where it lies
                if kind not in TYPES or any(side >= 2**48 for side in sides):
                    raise fail(path, f"`{name[:60]}` has an unknown type {kind} or size")
                tensors[name] = Tensor(tuple(reversed(sides)), kind)
    except OSError as error:
        raise fail(path, f"cannot be read: {error.strerror}") from None
    return metadata, tensors


def read_gguf(path: Path) -> Described:
    """Return the model that a GGUF file holds, as its metadata says, with its tensors' types.

    Raises:
        SpecError: for a malformed file, or an architecture that is not read.
    """
    metadata, tensors = read_header(path)
    name = str(metadata.get("general.architecture", ""))
    if name not in _MODELS:
        raise fail(
            path,
            f"the architecture `{name[:60]}` of this file is not supported",
            f"supported: {', '.join(sorted(_MODELS))}; the release's config.json may be",
        )
    said = {key: metadata.get(f"{name}.{key}") for key in _SIZES}
    config: dict[str, Any] = {
        _SIZES[key]: value for key, value in said.items() if value is not None
    }
    notes: list[str] = []
    for key, value in config.items():
        if isinstance(value, list):  # layers that differ
            listed = cast("list[Any]", value)
            if len(set(listed)) > 1:
                raise fail(path, f"`{key}` differs by layer: such files are not supported yet")
            config[key] = listed[0] if listed else None
    table = tensors.get("token_embd.weight")
    if table is not None:
        config["vocab_size"] = table.shape[0]
    config["model_type"] = _type(name, config, tensors)
    config["tie_word_embeddings"] = "output.weight" not in tensors
    if config["model_type"] in ("llama", "qwen2") and "blk.0.attn_q.bias" in tensors:
        config["attention_bias"] = True
    if config["model_type"] == "qwen2":
        config.pop("attention_bias", None)
    if name == "deepseek2":
        config |= _latent(metadata, config)
    config = {key: value for key, value in config.items() if value not in (None, 0)}
    quantization = _quantization(tensors)
    if quantization is not None:
        notes.append(f"tensors are stored as {quantization.method}")
    return Described(fields={"huggingface": config}, notes=tuple(notes), quantization=quantization)


def _type(name: str, config: dict[str, Any], tensors: Mapping[str, Tensor]) -> str:
    experts = config.pop("num_experts", None)
    if name == "llama" and experts:
        config["num_local_experts"] = experts
        return "mixtral"
    if name == "gpt-oss":
        config["num_local_experts"] = experts
        config.pop("moe_intermediate_size", None)
    elif experts:
        config["num_experts"] = experts
    else:
        for key in ("num_experts_per_tok", "moe_intermediate_size"):
            config.pop(key, None)
    if name in ("llama", "qwen2"):
        config.pop("sliding_window", None)
    if "shared_expert_intermediate_size" in config and name != "qwen2moe":
        config.pop("shared_expert_intermediate_size")
    del tensors
    return _MODELS[name]


def _latent(metadata: Mapping[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of DeepSeek's attention and experts."""

    def said(key: str, default: Any = None) -> Any:
        return metadata.get(f"deepseek2.{key}", default)

    rotary = said("rope.dimension_count", 64)
    key_length = said("attention.key_length_mla") or config.pop("head_dim", 192)
    config.pop("head_dim", None)
    return {
        "n_routed_experts": config.pop("num_experts", None),
        "n_shared_experts": said("expert_shared_count", 0),
        "first_k_dense_replace": said("leading_dense_block_count", 0),
        "kv_lora_rank": said("attention.kv_lora_rank"),
        "q_lora_rank": said("attention.q_lora_rank"),
        "qk_rope_head_dim": rotary,
        "qk_nope_head_dim": key_length - rotary,
        "v_head_dim": said("attention.value_length_mla") or said("attention.value_length", 128),
        "num_key_value_heads": config["num_attention_heads"],
        **({"model_type": "deepseek_v3"} if said("expert_gating_func", 1) == 2 else {}),
    }


def _scheme(kind: int) -> Quantization | None:
    """Return how tensors of a type are stored; None for floats of 16 bits or more."""
    name, block, size = TYPES[kind]
    if block == 1:
        return None
    bits = int(next(sign for sign in name if sign.isdigit()))
    return Quantization(
        method=name,
        bits=bits,
        kind="float" if name == "MXFP4" else "integer",
        group=block,
        flat=True,
        scale_bits=8 * size - bits * block,
    )


def _quantization(tensors: Mapping[str, Tensor]) -> Quantization | None:
    """Return the type that most elements have, and which tensors have another."""
    elements: Counter[int] = Counter()
    for tensor in tensors.values():
        if len(tensor.shape) > 1:
            elements[tensor.type] += prod(tensor.shape)
    if not elements or all(_scheme(kind) is None for kind in elements):
        return None
    rules: list[tuple[str, Quantization | None]] = []
    kinds = {kind: _scheme(kind) for kind in elements}
    most = next(kind for kind, _ in elements.most_common() if kinds[kind] is not None)
    for name, tensor in tensors.items():
        if tensor.type == most or len(tensor.shape) < 2:
            continue
        parts = name.removesuffix(".weight").split(".")
        if parts[0] == "blk" and len(parts) == 3 and parts[2] in _MODULES:
            rules.append((f"model.layers.{parts[1]}.{_MODULES[parts[2]]}", kinds[tensor.type]))
        elif parts[0] == "output":
            rules.append(("lm_head", kinds[tensor.type]))
        elif parts[0] == "token_embd":
            rules.append(("model.embed_tokens", kinds[tensor.type]))
    held = kinds[most]
    assert held is not None
    return Quantization(
        method=f"GGUF {held.method}",
        bits=held.bits,
        kind=held.kind,
        group=held.group,
        flat=True,
        scale_bits=held.scale_bits,
        head=True,
        tables=True,
        rules=tuple(rules),
        wide="fp16",
    )
