"""Models without a reader: the reference implementation of Hugging Face transformers, traced.

The class that a `config.json` names is built without storage, so it has no weights and computes
nothing, with eager attention, and shown inputs of its kind: token ids, an image of the model's own
size, a second of sound, half a minute of mel frames. Experts stand in for themselves: the library's
loop over them depends on where tokens are sent, so each is sent its equal share.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from costsim.architectures.architecture import DEFAULT_SEQUENCE, Architecture
from costsim.architectures.tracing.inputs import Example
from costsim.architectures.tracing.module import TracedModel, Tracer

SOUND_SAMPLES = 16_000
"""A second of sound as models of raw waveforms are trained on it (16 kHz)."""

MEL_FRAMES = 3_000
"""Half a minute of mel frames, 10 ms each: the window of Whisper (arXiv 2212.04356)."""

IMAGE_SIDE = 224
"""Side of an image where a model names none: ImageNet's, as most classifiers are trained on it."""

_EXPERTS = "costsim"
ROUTED: WeakKeyDictionary[nn.Module, tuple[int, int]] = WeakKeyDictionary()
"""Experts that a token passes, and all there are, of modules of experts that ran."""

_AUTO_CLASSES = (
    "AutoModelForCausalLM",
    "AutoModelForSeq2SeqLM",
    "AutoModelForMaskedLM",
    "AutoModelForImageTextToText",
    "AutoModelForSpeechSeq2Seq",
    "AutoModelForCTC",
    "AutoModelForImageClassification",
    "AutoModel",
)
"""Kinds of heads, in the order in which they are tried where a config names no class."""


def knows(model_type: str) -> bool:
    """Return whether the installed transformers has a model of this type."""
    transformers = library()
    return model_type in transformers.CONFIG_MAPPING


def reference(values: Mapping[str, Any], *, name: str, source: str) -> Architecture:
    """Return the architecture of what transformers builds from a `config.json`.

    Raises:
        Exception: whatever the library raises for values that make no model.
    """
    transformers = library()
    with torch.device("meta"):
        config = configured(values)
        module = build(transformers, config)
        module.eval().requires_grad_(True)
        example = _example(module, config)
    tracer = Tracer(module, example, experts=ROUTED)
    version = transformers.__version__
    note = (
        f"no reader for `{values['model_type']}`: traced {type(module).__name__} of transformers "
        f"{version} as shipped, with eager attention"
    )
    named = config.architectures or ()
    if named and type(module).__name__ not in named:
        note += f"; {named[0]}, which the config names, cannot be built from it as a whole"
    notes = (note, *tracer.notes)
    return Architecture(name, TracedModel(tracer), source=source, notes=notes)


def configured(values: Mapping[str, Any]) -> Any:
    """Return the library's config of a `config.json`; how weights are stored is not its business.

    Raises:
        Exception: whatever the library raises for values that make no config.
    """
    _register_experts()
    left_out = ("model_type", "auto_map", "quantization_config")
    given = {key: _plain(value) for key, value in values.items() if key not in left_out}
    config = library().AutoConfig.for_model(values["model_type"], **given)
    if not hasattr(config, "pad_token_id"):
        config.pad_token_id = None  # some classes ask for it where their config forgot it
    return config


def _plain(value: Any) -> Any:
    """Return a value of a `config.json` with the floats that JSON has no words for."""
    if isinstance(value, dict):
        held = cast("dict[str, Any]", value)
        if list(held) == ["__float__"]:
            return float(held["__float__"])
        return {key: _plain(inner) for key, inner in held.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in cast("list[Any]", value)]
    return value


def library() -> Any:
    """Return the transformers package, which fetches nothing."""
    # Nothing is fetched: a model is described by its config alone.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    return import_module("transformers")


def build(transformers: Any, config: Any) -> nn.Module:
    """Build the class that a config names, or the first of its type that can be built from it."""
    first: Exception | None = None
    for candidate in _candidates(transformers, config):
        try:
            return with_experts(candidate._from_config(config, attn_implementation="eager"))
        except Exception as error:  # a head whose classes or vocabulary the config does not state
            first = first or error
    raise first or ValueError(f"transformers has no model class for {type(config).__name__}")


def _candidates(transformers: Any, config: Any) -> list[Any]:
    """Return the classes that may be meant: those made for such a config before all others.

    The others are a model that is built like another, or the class of the text part alone.
    """
    found = [getattr(transformers, label, None) for label in config.architectures or ()]
    for label in _AUTO_CLASSES:
        mapping: Any = getattr(getattr(transformers, label, None), "_model_mapping", {})
        mapped: Any = mapping.get(type(config), None)
        found.extend(cast("tuple[Any, ...]", mapped) if isinstance(mapped, tuple) else (mapped,))
    known = [one for one in found if one is not None]
    return sorted(known, key=lambda one: not isinstance(config, one.config_class))


def with_experts(module: nn.Module) -> nn.Module:
    """Let the experts of a model stand in for themselves, each with its equal share."""
    for inner in module.modules():
        config: Any = getattr(inner, "config", None)
        if hasattr(config, "_experts_implementation"):
            config._experts_implementation = _EXPERTS
    return module


def _register_experts() -> None:
    moe: Any = import_module("transformers.integrations.moe")
    moe.ALL_EXPERTS_FUNCTIONS.register(_EXPERTS, _experts)


def _experts(module: Any, hidden: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """Push every (token, choice) pair through the first expert, whose share all experts have."""
    rows, chosen = hidden.shape[0], index.shape[-1]
    first = module.gate_up_proj if module.has_gate else module.up_proj
    ROUTED[module] = (min(chosen, first.shape[0]), first.shape[0])
    made = hidden.repeat_interleave(chosen, 0)
    made = _product(module, "gate_up_proj" if module.has_gate else "up_proj", made)
    made = module._apply_gate(made) if module.has_gate else module.act_fn(made)
    made = _product(module, "down_proj", made)
    if getattr(module, "has_post_expert_norm", False):
        made = module.post_expert_norm(made)
    made = made * weights.reshape(-1, 1)
    return made.view(rows, chosen, -1).sum(1).to(hidden.dtype)


def _product(module: Any, name: str, rows: Tensor) -> Tensor:
    weight = getattr(module, name)[0]
    made = rows @ (weight if module.is_transposed else weight.t())
    return made + getattr(module, f"{name}_bias")[0] if module.has_bias else made


def _example(module: Any, config: Any) -> Example:
    """Return inputs of the kind that a model's `forward` takes first."""
    taken = inspect.signature(module.forward).parameters
    main = str(getattr(module, "main_input_name", "input_ids"))
    text: Any = config.get_text_config() if hasattr(config, "get_text_config") else config
    tokens = _context(text)
    inputs: dict[str, Tensor] = {}
    # Models that compare texts with images, as CLIP does, offer the loss of the comparison.
    contrasts = "return_loss" in taken
    if main == "pixel_values" or (contrasts and "pixel_values" in taken):
        inputs["pixel_values"] = torch.zeros(1, *_image(config))
    if main in ("input_values", "audio_values"):
        inputs[main] = torch.zeros(1, SOUND_SAMPLES)
    if main == "input_features":
        inputs[main] = torch.zeros(1, *_sound(config))
    if main == "input_ids" or contrasts:
        inputs["input_ids"] = torch.zeros(1, tokens, dtype=torch.long)
    if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in taken:
        inputs["decoder_input_ids"] = torch.zeros(1, tokens, dtype=torch.long)
    options = {"use_cache": False} if "use_cache" in taken else {}
    long = {name: 1 for name in ("input_ids", "decoder_input_ids") if name in inputs}
    return Example.of((), {**inputs, **options}, dict.fromkeys(inputs, 0), long)


def _context(config: Any) -> int:
    """Return the tokens that a model is shown: as many as it has positions for, within reason."""
    limits = ("max_position_embeddings", "n_positions", "max_target_positions")
    found = [getattr(config, key, None) for key in limits]
    known = [value for value in found if isinstance(value, int) and value > 0]
    return min([DEFAULT_SEQUENCE, *known])


def _image(config: Any) -> tuple[int, int, int]:
    """Return channels, height and width of the image that a model is made for."""
    vision = getattr(config, "vision_config", None) or config
    size: Any = getattr(vision, "image_size", None) or IMAGE_SIDE
    height, width = (size, size) if isinstance(size, int) else size
    channels = getattr(vision, "num_channels", None) or getattr(vision, "in_channels", None) or 3
    return int(channels), int(height), int(width)


def _sound(config: Any) -> tuple[int, int]:
    """Return mel bins and frames, in the order in which a model takes them."""
    frames = 2 * int(getattr(config, "max_source_positions", MEL_FRAMES // 2))
    if hasattr(config, "input_feat_per_channel"):
        return frames, int(config.input_feat_per_channel)
    return int(getattr(config, "num_mel_bins", 80)), frames
