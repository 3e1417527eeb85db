"""What stands on the last layer: the class that a config names decides it.

Readers of decoders make the language model; here its scores of the vocabulary give way to what
another class has. Encoders read the same names themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from costsim.architectures.architecture import Description
from costsim.architectures.huggingface.config import Config
from costsim.architectures.multimodal import Multimodal
from costsim.architectures.scores import Scores
from costsim.architectures.transformer import Transformer

_ANSWERS = 2  # the start and the end of a span
_LABELS = 2  # of a config that does not say how many

_WRITES = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
_WITH_HEAD = ("ChatGLMModel", "InternVLChatModel")  # which score the vocabulary all the same


def labels(config: Config) -> int:
    """Return how many labels a classifier tells apart."""
    if config.values.get("num_labels") is not None:
        return config.size("num_labels")
    named: Any = config.values.get("id2label")
    if named is None:
        config.defaults["num_labels"] = _LABELS
        return _LABELS
    if not isinstance(named, dict) or not named:
        config.problem("id2label", "must be a mapping of labels")
        return _LABELS
    return len(cast("dict[str, str]", named))


def headed(config: Config, description: Description) -> Description:
    """Return `description` with the head of the class that the config names."""
    name = config.class_name()
    scores = _scores(config, name)
    if scores is None:
        return description
    found = _with(description, scores)
    if found is None:
        config.note(f"counted as its reader makes it, though the config says {name}")
        return description
    return found


def _with(description: Description, scores: Scores) -> Description | None:
    match description:
        case Transformer():
            return replace(description, scores=scores)
        case Multimodal():
            text = _with(description.text, scores)
            return None if text is None else replace(description, text=text)
        case _:
            return None


def _scores(config: Config, name: str) -> Scores | None:
    """Return what the class has instead of scores of the vocabulary; None where it has those."""
    if not name or name.endswith(_WRITES) or name in _WITH_HEAD:
        return None
    if name.endswith("ForSequenceClassification"):
        return Scores(outputs=labels(config))
    if name.endswith("ForTokenClassification"):
        return Scores(outputs=labels(config), bias=True)
    if name.endswith("ForQuestionAnswering"):
        return Scores(outputs=_ANSWERS, bias=True)
    if name in _REWARDS:
        return _REWARDS[name](config)
    if name.endswith("Model"):
        return Scores()
    config.note(f"counted with a language model's head, though the config says {name}")
    return None


def _value(config: Config) -> Scores:
    """Return one number of the last state: InternLM 2's reward model."""
    config.ignore("reward_token_id")
    return Scores(outputs=1)


def _qwen(outputs: int) -> Callable[[Config], Scores]:
    """Return two layers over each state: Qwen 2.5's reward models of mathematics."""

    def read(config: Config) -> Scores:
        return Scores(
            outputs=outputs, bias=True, inner=config.size("hidden_size"), activation="relu"
        )

    return read


_REWARDS: Mapping[str, Callable[[Config], Scores]] = {
    "InternLM2ForRewardModel": _value,
    "Qwen2ForRewardModel": _qwen(1),
    "Qwen2ForProcessRewardModel": _qwen(2),
}
