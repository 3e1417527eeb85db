"""Which software profile a framework's name means; names are matched in order, first hit wins."""

from __future__ import annotations

import re

from costsim.training.recompute import Recompute

# A framework as a runs file writes it, case aside -> a profile of calibration/software.yaml.
_PATTERNS: tuple[tuple[str, str], ...] = (
    # Before FlashAttention was common: scores in memory. Megatron-DeepSpeed of 2022, GPT-NeoX
    # and metaseq are forks of that Megatron-LM.
    (r"deepspeed.*megatron|megatron-deepspeed|gpt-?neox", "megatron-deepspeed"),
    (r"megatron-lm (20(19|2[0-2])|as published|\(as published)|metaseq|v1|v2", "megatron-2022"),
    (r"deepspeed|zero", "deepspeed"),
    (r"(maxtext|pax|jax|t5x|xla).*\b(2[0-3]\.\d\d|20(19|2[0-3]))\b", "xla-2023"),
    (r"maxtext|\bpax|paxml|jax|t5x|pathways|flax|levanter|easylm|xla|tpu", "xla"),
    (r"nemo|megatron-bridge|megascale|nvidia|ngc", "nemo"),
    (r"megatron|transformer ?engine", "megatron-core"),
    (r"fsdp|llm-foundry|composer|torchtitan|nanotron|lit-?gpt|axolotl|trl\b", "fsdp"),
    (r"torch\.compile", "compiled"),
    (r"hugging ?face|transformers\b|accelerate\b|unsloth|nanogpt|lightning|torchtune", "fsdp"),
)
_EXAMPLES = re.compile(r"deeplearningexamples|pytorch (ddp|examples?)\b", re.I)
_FULL = re.compile(r"maxtext|levanter", re.I)
_PAX = re.compile(r"\bpax", re.I)
DEFAULT = "megatron-core"
"""What is taken where a file names no framework, or one that is not known."""


def profile_of(framework: str) -> str:
    """Return the name of the profile of `framework`."""
    lowered = framework.lower()
    return next((name for pattern, name in _PATTERNS if re.search(pattern, lowered)), DEFAULT)


def usual_recompute(framework: str, precision: str) -> tuple[Recompute, ...]:
    """Return what `framework` recomputes where its user asks for nothing else: modes to choose of.

    None, if it leaves that to its user. MaxText's base.yml has `remat_policy: full`, Levanter's
    models `gradient_checkpointing: true`; PAX's decoders for GPUs have SAVE_DOT_WITH_NO_BATCH_DIM,
    and SAVE_NOTHING in fp8 or where memory asks for it.
    """
    if _FULL.search(framework):
        return ("full",)
    if _PAX.search(framework):
        return ("save_weight_products", "full")
    return ()


def lacks_fused_attention(framework: str, precision: str, vendor: str) -> bool:
    """Return whether scores pass through memory: PAX on GPUs without Transformer Engine."""
    fused = re.search(r"\bte\b", precision) is not None
    return bool(_PAX.search(framework)) and not fused and vendor == "NVIDIA"


def is_plain(framework: str) -> bool:
    """Return whether `framework` is plain PyTorch with a copy on every device, as in examples."""
    return _EXAMPLES.search(framework) is not None and "compile" not in framework.lower()
