"""What all image models' configs say alike: classes, the size of the image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from costsim.architectures.huggingface.config import MAX_SIZE, Config

MAX_STAGES = 100  # entries of a list that describes stages
_DEFAULT_CLASSES = 2  # of any classifier in the library

IDLE = (
    "num_labels",
    "id2label",
    "label2id",
    "encoder_stride",
    "out_features",
    "out_indices",
    "stage_names",
    "drop_path_rate",
    "reshape_hidden_states",
    "semantic_loss_ignore_index",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout_prob",
    "attention_dropout",
    "batch_norm_eps",
    "batch_norm_momentum",
    "layer_norm_eps",
    "initializer_factor",
    "layer_norm_init",
    "apply_layernorm",
)
"""Keys of image models that change nothing that is counted."""


def classes(config: Config) -> int:
    """Return how many classes the model's head tells apart; 0 for a model without a head."""
    config.ignore(*IDLE)
    name = config.class_name()
    if name.endswith(("Model", "Backbone")):
        return 0
    if name and not name.endswith("ForImageClassification"):
        config.note(f"counted with an image classifier's head, though the config says {name}")
    if config.values.get("num_labels") is not None:
        return config.count("num_labels")
    named = config.values.get("id2label")
    if isinstance(named, Mapping):
        return len(cast("Mapping[str, Any]", named))
    config.defaults["num_labels"] = _DEFAULT_CLASSES
    return _DEFAULT_CLASSES


def image(config: Config, default: int = 224) -> tuple[int, int]:
    """Return height and width that the model is made for."""
    sides = sizes(config, "image_size", (default,))
    if len(sides) == 1:
        return sides[0], sides[0]
    if len(sides) != 2:
        config.problem("image_size", "must be a side, or height and width")
        return default, default
    return sides[0], sides[1]


def sizes(config: Config, key: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """Return a list of positive whole numbers that is not empty; one number is a list of one."""
    found = config.sizes(key, default)
    if 0 < len(found) <= MAX_STAGES:
        return found
    config.problem(key, f"must have 1 to {MAX_STAGES} entries, has {len(found)}")
    return default


def number(config: Config, key: str, default: float) -> float:
    """Return a positive number that may have a fraction, such as a ratio of widths."""
    value = config.values.get(key, default)
    config.ignore(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 10**6:
        config.problem(key, "must be a positive number")
        return 1.0
    return float(value)


def numbers(config: Config, key: str, default: tuple[float, ...]) -> tuple[float, ...]:
    """Return a list of positive numbers that may have fractions."""
    value = config.values.get(key, list(default))
    config.ignore(key)
    found = cast("list[object]", value) if isinstance(value, list | tuple) else []
    for item in found:
        if isinstance(item, bool) or not isinstance(item, int | float) or not 0 < item < 10**6:
            found = []
            break
    if not found:
        config.problem(key, "must be a list of positive numbers")
        return (1.0,) * len(default)
    return tuple(float(cast(float, item)) for item in found)


def same_lengths(config: Config, **lists: tuple[object, ...]) -> bool:
    """Check that lists that describe stages have one entry for each."""
    lengths = {key: len(values) for key, values in lists.items()}
    first = next(iter(lengths))
    for key, length in lengths.items():
        config.require(
            length == lengths[first], key, f"has {length} entries, `{first}` {lengths[first]}"
        )
    return len(set(lengths.values())) == 1


def flags(config: Config, key: str, default: tuple[bool, ...]) -> tuple[bool, ...]:
    """Return a list of truth values."""
    value = config.values.get(key, list(default))
    config.ignore(key)
    found = cast("list[object]", value) if isinstance(value, list | tuple) else []
    if not found or not all(isinstance(item, bool) for item in found):
        config.problem(key, "must be a list of true and false")
        return default
    return tuple(bool(item) for item in found)


def table(config: Config, key: str, default: Any, sample: Any) -> Any:
    """Return nested lists as tuples, if they are nested as `sample` is, with values of its types.

    A list of `sample` stands for any number of entries like its first; one of several entries for
    exactly those.
    """
    value = config.values.get(key, default)
    config.ignore(key)
    found = _frozen(value)
    if _like(found, sample):
        return found
    config.problem(key, "is not the nested list that models of this type have")
    return _frozen(default)


def places(config: Config, key: str) -> tuple[int, ...]:
    """Return a list of places, counted from 0, that may be empty."""
    config.ignore(key)
    value = config.values.get(key)
    return () if value in (None, []) else table(config, key, [], (0,))


def _frozen(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in cast("list[Any]", value))
    return value


def _like(value: Any, sample: Any) -> bool:
    if isinstance(sample, tuple):
        items = cast("tuple[Any, ...]", sample)
        if not isinstance(value, tuple) or not value:
            return False
        held = cast("tuple[Any, ...]", value)
        if len(items) == 1:
            return all(_like(item, items[0]) for item in held)
        return len(held) == len(items) and all(map(_like, held, items))
    if type(sample) is int:
        return type(value) is int and 0 <= value <= MAX_SIZE
    return type(value) is type(sample)
