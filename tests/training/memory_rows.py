"""Rows of the memory oracle as jobs: one real training step of PyTorch each, by kind and moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import costsim
from costsim.architectures import load_model
from costsim.architectures.architecture import Architecture
from costsim.compression.adapters import Adapt
from costsim.compression.description import with_pass
from costsim.compression.steps import AdaptStep
from costsim.stacks import Stack, load_stack
from costsim.training.evaluate import Evaluation, evaluate
from costsim.training.job import Job
from costsim.training.memory import MOMENTS
from costsim.training.precision import precision
from costsim.training.software import software
from costsim.training.strategy import Strategies, Strategy

LLAMA = {"model_type": "llama", "tie_word_embeddings": False, "hidden_act": "silu"}
SHAPES: dict[str, dict[str, Any]] = {
    "llama-3.1-8b": LLAMA,
    "llama-3.2-1b": LLAMA,
    "qwen2.5-7b": {**LLAMA, "model_type": "qwen2"},
    "qwen3-8b": {**LLAMA, "model_type": "qwen3"},
    "gemma-2-2b": {"model_type": "gemma2"},
    "gemma-3-1b": {"model_type": "gemma3_text", "sliding_window": 512},
    "mistral-7b": {**LLAMA, "model_type": "mistral", "sliding_window": None},
    "gpt2-large": {"model_type": "gpt2", "n_positions": 1024},
    "mixtral-8x7b": {**LLAMA, "model_type": "mixtral", "sliding_window": None},
    "qwen3-moe-16e": {**LLAMA, "model_type": "qwen3_moe", "norm_topk_prob": True},
    "bert-large": {"model_type": "bert"},
}
OPTIMIZERS = {
    "sgd": "sgd",
    "sgd-momentum": "sgd_momentum",
    "adafactor-hf": "adafactor",
    "adafactor-torch": "adafactor",
    "adamw8bit-bnb": "adam_8bit",
    "adamw8bit-torchao": "adam_8bit",
}
UPDATE_BYTES = {"adafactor-torch": 2.0, "adamw8bit-torchao": 28.0}
"""Bytes an element of the largest tensor: a square in bf16; fp32 operations, none compiled."""
OF_MOMENT = {
    "forward": "forward",
    "loss": "loss",
    "loss_backward": "backward-loss",
    "first_layer": "backward-layers",
    "last_layer": "backward-layers",
    "embedding": "backward-embedding",
    "update": "step",
}


def model_of(row: Mapping[str, str]) -> Architecture:
    """Return the model of a row, as it was built."""
    number = {name: int(row[name]) for name in ("layers", "hidden", "intermediate", "heads")}
    config = dict(SHAPES[row["family"]])
    if row["family"] == "gpt2-large":
        config |= {"n_layer": number["layers"], "n_embd": number["hidden"]}
        config |= {"n_head": number["heads"], "vocab_size": int(row["vocab"])}
        return load_model({**config, "architectures": ["GPT2LMHeadModel"]})
    config |= {
        "num_hidden_layers": number["layers"],
        "hidden_size": number["hidden"],
        "num_attention_heads": number["heads"],
        "num_key_value_heads": int(row["kv_heads"]),
        "head_dim": int(row["head_dim"]),
        "vocab_size": int(row["vocab"]),
        "tie_word_embeddings": row["tied"] == "1",
    }
    if row["family"] == "qwen3-moe-16e":
        config |= {
            "intermediate_size": 6144,
            "moe_intermediate_size": number["intermediate"],
            "num_experts": int(row["experts_n"]),
            "num_experts_per_tok": int(row["experts_used"]),
        }
    else:
        config["intermediate_size"] = number["intermediate"]
    if row["family"] == "mixtral-8x7b":
        config |= {"num_local_experts": 8, "num_experts_per_tok": 2}
    if row["family"] == "bert-large":
        for name in ("num_key_value_heads", "head_dim"):
            config.pop(name)
        config["architectures"] = ["BertForMaskedLM"]
    return load_model(config)


def attention_of(row: Mapping[str, str]) -> str:
    """Scores pass through memory as written, and in fp32 with grouped heads: no kernel has both.

    A mask, as of a window or of padding, repeats keys and values: then a kernel has.
    """
    if row["attention"] == "eager":
        return "unfused"
    if row["padded"] == "1":
        return "masked"
    math = row["weights"] == "fp32" and row["kv_heads"] != row["heads"]
    math &= row["policy"] in ("", "none") and row["family"] != "gemma-3-1b"
    return "unfused" if math else "sdpa"


def stack_of(row: Mapping[str, str]) -> Stack:
    """Return what a row's software keeps."""
    weights = "bf16" if row["weights"].startswith("bf16") else "fp32"
    stack = replace(
        load_stack("hf-trainer"),
        weights=weights,
        gradients=weights,
        moments=weights,
        autocast=row["weights"] == "fp32-autocast-bf16",
        attention=attention_of(row),
        dropout=row["dropout"] != "0.0",
        experts="loop" if row["experts"] == "eager" else "grouped",
        adapters=row["adapter_dtype"] or "fp32",
        gradient_life="tensor" if row["in_backward"] == "1" else "step",
        update=row["optimizer"].removeprefix("adamw-")
        if row["optimizer"].startswith("adamw-")
        else "fused",
        update_bytes=UPDATE_BYTES.get(row["optimizer"], 0.0),
        context_bytes=0.0,
        reserve_ratio=0.0,
    )
    name, _, chunks = row["loss"].rpartition("-")
    if name:
        stack = replace(stack, loss=name.replace("-", "_"), loss_chunks=int(chunks))
    if row["parallel"] == "fsdp2":
        stack = replace(stack, units="fsdp", reshard=row["reshard"] == "yes")
        if row["policy"] != "none":
            stack = replace(stack, gathered="bf16", reduced=row["policy"].rpartition("-")[2])
    if row["parallel"].startswith("ddp"):
        stack = replace(stack, buckets="views" if row["parallel"] == "ddp-views" else "copies")
    return stack


def job_of(row: Mapping[str, str]) -> Job:
    """Return the job of a row."""
    ranks, batch = int(row["ranks"]), int(row["batch"])
    model = model_of(row)
    adapted = row["adapter"] != "none"
    if adapted:
        targets = ("q_proj", "v_proj") if row["targets"] == "qv" else ("all-linear",)
        copies = "compute" if "autocast" in row["weights"] else "float32"
        model = AdaptStep(
            kind="adapt",
            rank=int(row["rank"]),
            targets=targets,
            magnitudes=row["adapter"] == "dora",
            dropout=float(row["adapter_dropout"]),
            modules_to_save=("embed_tokens", "lm_head") if row["save_modules"] == "1" else (),
            reads=copies if row["adapter_dtype"] == "fp32" else None,
        ).apply(model, "bf16")
    elif row["trained"] != "all":
        model = trained_part(model, row["trained"])
    plain = row["weights"] == "fp32" and row["policy"] in ("", "none")
    return Job(
        model=model,
        system=costsim.load_hardware("nvidia-h100-sxm5-80gb", count=ranks),
        global_batch=batch * ranks * int(row["accumulation"]),
        sequence=int(row["seq"]),
        precision=precision("fp32" if plain else "bf16"),
        optimizer=OPTIMIZERS.get(row["optimizer"], "adamw"),
        software=software("fsdp"),
        frozen=adapted or row["trained"] != "all",
        stack=stack_of(row),
    )


def trained_part(model: Architecture, part: str) -> Architecture:
    """Return a model of which only a part is trained."""
    trained = ("norms",) if part == "norms" else ("last:1", "lm_head", "final_norm")
    return with_pass(model, Adapt(0, (), trained=trained))


def evaluated(row: Mapping[str, str]) -> Evaluation:
    """Return the evaluation of a row's step."""
    strategy = Strategy(
        dp=int(row["ranks"]),
        micro_batch=int(row["batch"]),
        zero=3 if row["parallel"] == "fsdp2" else 0,
        recompute="none" if row["checkpoint"] == "none" else "full",
    )
    return evaluate(job_of(row), Strategies.of([strategy]))


def predicted(row: Mapping[str, str]) -> tuple[float, str]:
    """Return allocated bytes at the peak, and its moment as the oracle names it."""
    memory = evaluated(row).memory
    return float(memory.allocated_bytes.max()), OF_MOMENT[MOMENTS[int(memory.moment[0, 0])]]
