"""Model types without a reader: seen once, then composed of costsim's own layers.

What a model of transformers was seen doing becomes a decoder like those that readers compose, so it
divides over devices, caches and serves as they do. It is taken only where its parameters, and its
FLOPs and its cache at two lengths, of a whole pass and of a token more, equal what the library's
model itself counted. Anything else is traced as it runs, and the reason is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from costsim.architectures.architecture import Architecture
from costsim.architectures.tracing import reference
from costsim.architectures.tracing.understanding import Facts, understood
from costsim.architectures.tracing.watching import (
    ATTENTION,
    NotUnderstoodError,
    Watched,
    register,
    watch,
)
from costsim.architectures.transformer import Transformer

SHORT, LONG = 33, 257
"""Tokens of the two passes; the second is longer than the windows of models that have any."""

LONGEST = 131_072
"""Tokens beyond which a window is not tried: tables of positions are made for every one."""


def built(values: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the library's causal model of a `config.json`, without storage, and its config."""
    transformers = reference.library()
    register()
    with torch.device("meta"):
        config = reference.configured(values)
        mapping: Any = transformers.AutoModelForCausalLM._model_mapping
        if type(config) not in mapping:
            raise NotUnderstoodError("the library has no causal language model of this type")
        kind: Any = mapping[type(config)]
        module = reference.with_experts(kind._from_config(config, attn_implementation=ATTENTION))
    return module.eval(), config


def observed(module: Any, config: Any) -> tuple[Watched, Facts]:
    """Return what a model was seen doing, and what its config says beside."""
    text = config.get_text_config()
    limit = getattr(text, "max_position_embeddings", None)
    window = getattr(text, "sliding_window", None)
    longest = LONG if not isinstance(window, int) else min(max(LONG, 2 * window + 7), LONGEST)
    lengths = (SHORT, longest) if limit is None else (SHORT, min(longest, int(limit) - 1))
    if lengths[1] <= SHORT:
        lengths = (max(1, lengths[1] // 2), lengths[1])
    with torch.no_grad():
        watched = watch(module, lengths)
    names = ("hidden_act", "hidden_activation", "activation_function", "mlp_hidden_act")
    functions = (getattr(text, name, None) for name in names)
    into, out = module.get_input_embeddings(), module.get_output_embeddings()
    facts = Facts(
        activation=next((one for one in functions if isinstance(one, str)), "silu"),
        rotary=any("rotary" in type(one).__name__.lower() for one in module.modules()),
        capped=bool(getattr(text, "final_logit_softcapping", None)),
        tied=out is not None and into.weight is out.weight,
        context_limit=limit if isinstance(limit, int) else None,
        routed={id(one): pair for one, pair in reference.ROUTED.items()},
    )
    return watched, facts


def differences(decoder: Transformer, watched: Watched) -> list[str]:
    """Return every total of `decoder` that is not what the library's model counted."""
    model = Architecture("", decoder)
    parameters = {id(one): one.numel() for one in watched.module.parameters()}
    pairs = [("parameters", model.parameters, sum(parameters.values()))]
    for length, flops in watched.forward_flops.items():
        pairs.append((f"FLOPs of {length} tokens", model.forward_flops(1, length), flops))
        after = watched.decode_flops[length]
        pairs.append((f"FLOPs of a token after {length}", model.decode_flops(1, length), after))
        kept = 2 * watched.cached_values[length]
        pairs.append((f"cache after {length}", model.cache_bytes(1, length, "bf16"), kept))
    return [f"{what}: {ours:,}, not {theirs:,}" for what, ours, theirs in pairs if ours != theirs]


def composed(values: Mapping[str, Any]) -> Transformer:
    """Return the decoder that transformers builds of a `config.json`, of costsim's own layers.

    Raises:
        NotUnderstoodError: where it does what no layer here does, or totals differ.
        Exception: whatever the library raises for values that make no model.
    """
    module, config = built(values)
    watched, facts = observed(module, config)
    decoder = understood(watched, facts)
    wrong = differences(decoder, watched)
    if wrong:
        raise NotUnderstoodError("; ".join(wrong))
    return decoder


def beside_text(values: Mapping[str, Any]) -> tuple[tuple[tuple[int, ...], ...], int, bool]:
    """Return shapes of all weights but the language model's, their whole number, and if it is tied.

    Raises:
        NotUnderstoodError: where it has no language model apart from its towers.
        Exception: whatever the library raises for values that make no model.
    """
    transformers = reference.library()
    with torch.device("meta"):
        module: Any = reference.build(transformers, reference.configured(values))
    if not hasattr(module, "get_decoder") or not hasattr(module, "get_output_embeddings"):
        raise NotUnderstoodError("it has no language model apart from its towers")
    decoder = module.get_decoder()
    if decoder is module or decoder is getattr(module, "model", None):
        raise NotUnderstoodError("it has no language model apart from its towers")
    held = {id(one) for one in decoder.parameters()}
    head = module.get_output_embeddings()
    held |= {id(one) for one in head.parameters()} if head is not None else set()
    weights = list(module.parameters())
    shapes = tuple(tuple(one.shape) for one in weights if id(one) not in held)
    tied = head is not None and head.weight is module.get_input_embeddings().weight
    return shapes, sum(one.numel() for one in weights), tied
