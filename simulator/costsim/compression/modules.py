"""Modules by their names in published files: which operators of which layers a pattern means.

Tools list what they leave out, or store otherwise, by the names of the reference code's modules:
whole (`model.layers.3.mlp.up_proj`), with wildcards, or as regular expressions (`re:.*gate$`). Here
an operator has the names that reference code of various families gives it, and a pattern is split
into the layers that it numbers and the rest, so that thousands of names cost no more than a few.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Generic, TypeVar

Held = TypeVar("Held")

_ATTENTION = ("self_attn", "attention", "attn", "mixer", "self_attention", "wqkv")
_NETWORK = ("mlp", "feed_forward", "mixer", "ffn")
_RECURRENT = ("linear_attn", "mixer", "mamba")
_SHARED = tuple(f"{parent}.shared_expert{s}" for parent in ("mlp", "mixer") for s in ("", "s"))
_EXPERTS = ("mlp.experts.0", "mlp.experts", "block_sparse_moe.experts.0", "mixer.experts.0")
_APART = ("experts", "experts.0", "moe.experts")  # where experts stand beside a network (Gemma 4)

# Operator -> where it stands in a layer, and what it is called there.
_NAMES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "attention.query_key_value": (
        _ATTENTION,
        ("q_proj", "k_proj", "v_proj", "qkv_proj", "query_key_value", "qkv", "c_attn", "W_pack"),
    ),
    "attention.query": (_ATTENTION, ("q_b_proj", "q_proj")),
    "attention.query_latent": (_ATTENTION, ("q_a_proj", "fused_qkv_a_proj_with_mqa")),
    "attention.latent": (_ATTENTION, ("kv_a_proj_with_mqa", "fused_qkv_a_proj_with_mqa")),
    "attention.expansion": (_ATTENTION, ("kv_b_proj",)),
    "attention.indexer": (_ATTENTION, ("indexer.wq_b", "indexer.wk")),
    "attention.gate": (_ATTENTION, ("g_proj", "gate_proj", "q_proj")),
    "attention.output": (_ATTENTION, ("o_proj", "out_proj", "dense", "c_proj", "proj")),
    "delta.input": (
        _RECURRENT,
        ("in_proj_qkvz", "in_proj_qkv", "in_proj_z", "in_proj_ba", "in_proj"),
    ),
    "delta.output": (_RECURRENT, ("out_proj",)),
    "state_space.input": (_RECURRENT, ("in_proj",)),
    "state_space.output": (_RECURRENT, ("out_proj",)),
    "state_space.selection": (_RECURRENT, ("x_proj",)),
    "state_space.step": (_RECURRENT, ("dt_proj",)),
    "feed_forward.up": (
        _NETWORK,
        ("gate_proj", "up_proj", "gate_up_proj", "fc1", "c_fc", "w1", "w3"),
    ),
    "feed_forward.down": (_NETWORK, ("down_proj", "fc2", "c_proj", "w2")),
    "feed_forward.shared.up": (_SHARED, ("gate_proj", "up_proj", "gate_up_proj")),
    "feed_forward.shared.down": (_SHARED, ("down_proj",)),
    "feed_forward.shared_gate": (("mlp",), ("shared_expert_gate",)),
    "feed_forward.router": (("mlp", "mixer", "block_sparse_moe"), ("gate", "router")),
    "feed_forward.latent": (_NETWORK, ("fc1_latent_proj", "latent_in")),
    "feed_forward.latent_output": (_NETWORK, ("fc2_latent_proj", "latent_out")),
    "feed_forward.experts": (_EXPERTS, ("gate_proj", "up_proj", "down_proj", "gate_up_proj", "w1")),
}
_TOWERS = ("vision", "audio", "encoder", "projector", "image", "speech")
_TOWER_ROOTS = ("model.visual.blocks", "model.vision_tower.encoder.layers", "visual.blocks")
_TEXT_ROOTS = ("model.layers", "model.language_model.layers")
_STEMS = {
    "projector": (
        "model.multi_modal_projector.linear_1",
        "model.embed_vision.embedding_projection",
    ),
    "vision": (
        "model.visual.merger.mlp.0",
        "model.visual.patch_embed.proj",
        "model.vision_tower.x",
    ),
    "audio": ("model.audio_tower.x",),
}
_HEAD = ("lm_head", "model.lm_head", "language_model.lm_head", "output")
_TABLE = ("model.embed_tokens", "model.language_model.embed_tokens", "token_embd")
_ROOT = re.compile(
    r"^(?:backbone|transformer|gpt_neox|model\.decoder|language_model\.model|model\.model|decoder|"
    r"thinker\.model|llm\.model|model\.text_model|language_model)\.(?=layers|h\.|blocks|\*)"
)
_NESTED = re.compile(r"\([^)]*[+*][^)]*\)\s*[+*{]")  # whose matching may take for ever
_LONGEST = 400  # of a regular expression that is tried


def is_tower(block: str) -> bool:
    """Return whether a block of that name stands before a text model: a tower or a projector."""
    return block.split(".")[0] in _TOWERS


@lru_cache(maxsize=1024)
def names_of(operator: str, block: str, part: str, *, apart: bool = False) -> tuple[str, ...]:
    """Return how reference code may call an operator, `#` for the number of its layer.

    Args:
        operator: its name.
        block: the name of the block that it stands in.
        part: "stem", "layer" or "head".
        apart: whether experts stand beside a network instead of in its place.
    """
    if part == "head" and operator.startswith("head"):
        return _HEAD
    if part == "stem" and operator.startswith("embedding.tokens"):
        return _TABLE
    root = block.split(".")[0]
    if part != "layer":
        return _STEMS.get(root, (f"model.{root}.x",))
    parents, leaves = _NAMES.get(operator, (("*",), (operator.rpartition(".")[2],)))
    if operator == "feed_forward.experts" and apart:
        parents = _APART
    roots = _TOWER_ROOTS if is_tower(block) else _TEXT_ROOTS
    return tuple(
        f"{root}.#.{parent}.{leaf}" for root in roots for parent in parents for leaf in leaves
    )


@dataclass(frozen=True, slots=True)
class _Template:
    """A pattern without the number of a layer in it: `model.layers.#.mlp*`."""

    text: str
    plain: bool  # whether it has no wildcards

    def means(self, name: str) -> bool:
        """Return whether it means the module `name`, or one that this stands in."""
        if self.plain:
            return (
                name == self.text
                or name.startswith(f"{self.text}.")
                or f".{self.text}." in f".{name}."
            )
        return fnmatchcase(name, self.text) or fnmatchcase(name, f"{self.text}.*")


class Modules(Generic[Held]):
    """Patterns, the first that fits counts, with what each holds of the modules that it means."""

    def __init__(self, patterns: Iterable[tuple[str, Held]]) -> None:
        self._templates: dict[tuple[_Template, int], tuple[Held, set[int] | None]] = {}
        self._expressions: list[tuple[re.Pattern[str], Held]] = []
        self.unread: list[str] = []
        kinds: dict[object, int] = {}
        for pattern, held in patterns:
            if pattern.startswith(("re:", "^")) or "\\" in pattern:
                self._expression(pattern.removeprefix("re:"), held)
                continue
            text = _ROOT.sub("model.", pattern).replace("model.h.", "model.layers.")
            text = text.replace(".block_sparse_moe.gate", ".mlp.gate").removesuffix(".weight")
            number = re.search(r"(?<=\.)(\d+)(?=[.*]|$)", text)
            index: int | None = None
            if number is not None and re.search(r"(layers|blocks|blk)\.$", text[: number.start()]):
                index = int(number[1])
                text = f"{text[: number.start()]}#{text[number.end() :]}"
            text = re.sub(r"(?<=experts\.)\d+(?=\.|$)", "0", text)
            template = _Template(text, plain=not any(sign in text for sign in "*?["))
            kind = kinds.setdefault(held, len(kinds))
            known = self._templates.setdefault((template, kind), (held, set()))
            if index is None:
                self._templates[template, kind] = (held, None)
            elif known[1] is not None:
                known[1].add(index)

    def _expression(self, text: str, held: Held) -> None:
        try:
            if len(text) > _LONGEST or _NESTED.search(text):
                raise re.error("not tried")
            self._expressions.append((re.compile(text), held))
        except re.error:
            self.unread.append(text[:60])

    def __bool__(self) -> bool:
        return bool(self._templates or self._expressions)

    def of(self, names: tuple[str, ...], layers: range) -> dict[int, Held]:
        """Return what patterns hold of the operator called `names`, by layers that they mean."""
        found: dict[int, Held] = {}
        for (template, _), (held, numbered) in self._templates.items():
            if not any(template.means(name) for name in names):
                continue
            for layer in layers if numbered is None else numbered:
                if layer in layers:
                    found.setdefault(layer, held)
        for expression, held in self._expressions:
            for layer in layers:
                if layer in found:
                    continue
                if any(expression.match(name.replace("#", str(layer))) for name in names):
                    found[layer] = held
        return found
