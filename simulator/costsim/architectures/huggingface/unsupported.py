"""What to tell someone whose model type has no reader yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from costsim.architectures.huggingface import fallback
from costsim.errors import Location, Problem, SpecError, suggestion

_SHORT_FORM: Mapping[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "hidden": ("hidden_size", "n_embd", "n_embed", "d_model", "dim"),
    "heads": ("num_attention_heads", "n_head", "n_heads", "num_heads"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads", "n_kv_heads"),
    "head_dim": ("head_dim",),
    "feed_forward": ("intermediate_size", "n_inner", "ffn_dim", "d_ff", "ffn_hidden_size"),
    "vocabulary": ("vocab_size",),
    "max_positions": ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"),
    "tied": ("tie_word_embeddings",),
}
"""Field of a model's YAML ← keys by which most configs call it."""


def unsupported(values: Mapping[str, Any], location: Location, supported: Sequence[str]):
    """Return the error for a config whose `model_type` has no reader."""
    draft: list[str] = []
    understood: set[str] = {"model_type"}
    for field, keys in _SHORT_FORM.items():
        for key in keys:
            value = values.get(key)
            if isinstance(value, int) and abs(value) < 10**12:
                understood.add(key)
                draft.append(f"{field}: {str(value).lower() if value in (True, False) else value}")
                break
    others = [str(key) for key in values if key not in understood]
    model_type = values.get("model_type")
    if model_type is None:
        message = "missing `model_type`, which says whose keys these are"
    else:
        message = f"`model_type` {str(model_type)[:60]!r} is not supported"
    seen = ", ".join(f"`{key}`" for key in values if key in understood - {"model_type"})
    message += f"; recognised: {seen or 'nothing'}"
    if others:
        message += "; not recognised: " + ", ".join(f"`{key}`" for key in others[:30])
        message += f" and {len(others) - 30} more" if len(others) > 30 else ""
    near = suggestion(str(model_type), supported) if model_type else ""
    hints = [near] if near.startswith("did you mean") else []
    if model_type is not None and not fallback.installed():
        hints.append(f"with `{fallback.EXTRA}` the library's own model of a type is traced")
    hints.append("supported: " + ", ".join(supported))
    if draft:
        hints.append(
            "if it is a dense decoder, describe it in a YAML file with its own switches "
            "(gated, norm, positions, bias, …): " + ", ".join(draft)
        )
    return SpecError(Problem(message, location, "; ".join(hints)))
