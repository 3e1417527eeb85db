"""Draft models of speculative decoding, which bear the model type of what they are made of.

The class that a file names tells them from that: EAGLE-3 and 3.1 have an embedding, a layer and a
head of their own; DFlash, Domino and DSpark score with the target's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from costsim.architectures.encoder import Encoder
from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.decoders.latent import latent
from costsim.architectures.huggingface.decoders.stack import (
    HIDDEN,
    LAYERS,
    POSITIONS,
    attention,
    network,
    windowed,
    windows,
)
from costsim.architectures.layers import RMS, HeadNorm, Mixer
from costsim.architectures.layers.branches import Branch, Branches
from costsim.architectures.layers.drafting import Correction, EagleLayer, TargetStates
from costsim.architectures.layers.recording import in_runs
from costsim.architectures.scores import Scores
from costsim.architectures.stacks import Stack
from costsim.architectures.transformer import Transformer

_STATES = 3  # layers of the target that EAGLE-3 reads
_DRAFT = re.compile(r"eagle|medusa|draft|hydra|mtp", re.IGNORECASE)
_IDLE = """
block_size mask_token_id max_window_layers use_sliding_window num_target_layers norm_output
decoder_sparse_step eagle_config eagle_aux_hidden_state_layer_ids pretraining_tp mlp_only_layers
norm_before_residual embd_pdrop
"""


def draft_reader(values: Mapping[str, Any]) -> Reader | None:
    """Return the reader of the draft model that a config names; None where it names none."""
    named = values.get("architectures")
    names = cast("list[object]", named) if isinstance(named, list) else []
    name = str(names[0]) if names else ""
    if not _DRAFT.search(name):
        return None
    return next((reader for word, reader in _READERS.items() if word in name), _unknown)


def _unknown(config: Config) -> Transformer:
    config.ignore(*config.values)
    config.problem("architectures", f"{config.class_name()!r} is no draft that can be read yet")
    return Transformer(vocabulary=1, hidden=1, layers=())


def _begin(config: Config) -> None:
    config.class_name()
    config.ignore(*_IDLE.split(), "layer_types", "sliding_window")


def _eagle3(config: Config) -> Transformer:
    """Read EAGLE-3: a token's embedding and the target's states, one layer, scores of its own.

    EAGLE 3.1 normalizes each of those states first (`fc_norm`).
    """
    _begin(config)
    hidden = config.size(*HIDDEN)
    layers = config.layers(*LAYERS)
    config.require(layers == 1, LAYERS[0], f"must be 1, is {layers}")
    states = TargetStates(
        width=config.optional_size("target_hidden_size", default=None) or hidden,
        count=config.size("num_aux_hidden_states", default=_STATES),
        norms=config.flag("fc_norm", default=False),
    )
    layer = EagleLayer(mixer=attention(config, head_dim=None), feed_forward=network(config))
    vocabulary = config.size("vocab_size")
    scored = config.optional_size("draft_vocab_size", default=None) or vocabulary
    tied = config.flag("tie_word_embeddings", default=False)
    config.require(not tied, "tie_word_embeddings", "must be false in a draft with a head")
    return Transformer(
        vocabulary=vocabulary,
        hidden=hidden,
        layers=((layer, 1),),
        beside=states,
        final_norm=RMS,
        scores=Scores(outputs=scored),
        context_limit=config.optional_size(*POSITIONS),
    )


def _dflash(config: Config) -> Encoder:
    """Read DFlash and its kin: layers over the target's states, scored with its embedding."""
    _begin(config)
    config.ignore("vocab_size", "tie_word_embeddings")
    given = _given(config)
    layers, hidden = config.layers(*LAYERS), config.size(*HIDDEN)
    written = given.values.get("target_layer_ids")
    read = len(given.indices("target_layer_ids")) if written is not None else layers
    mode = given.text("attention_mode", default="gqa")
    given.require(
        mode in ("gqa", "mha", "mla") and not given.present("attention_modes"),
        "attention_mode",
        "is one that is not supported yet",
    )
    if mode == "mla":
        mixers: list[Mixer] = [latent(config)] * layers
    else:
        mixer = attention(config, query_key_norm=HeadNorm(), causal=False)
        mixers = windowed(mixer, windows(config))
    fed = network(config)
    stacked = [
        Branches(
            branches=(
                Branch(name="mixer", sub_layer=mixer, before=RMS),
                Branch(name="feed_forward", sub_layer=fed, before=RMS),
            )
        )
        for mixer in mixers
    ]
    width = config.optional_size("target_hidden_size", default=None) or hidden
    stack = Stack(
        hidden=hidden,
        stem=TargetStates(width=width, count=read, norm=True),
        layers=in_runs(stacked),
        norm=RMS,
    )
    config.note("a draft that scores with its target's embedding, which is not counted")
    limit = config.optional_size(*POSITIONS)
    return Encoder(stack=stack, head=_correction(config, given), context_limit=limit)


def _given(config: Config) -> Config:
    """Return what is said of the draft: in a mapping of its own, or beside the layers' keys."""
    said: dict[str, Any] = {}
    for key in ("dflash_config", "dspark_config"):
        part = config.nested(key) if config.present(key) else None
        if part is not None:
            part.ignore(*part.values)
            said.update(part.values)
    given = Config({**config.values, **said}, config.document, config.path)
    config.parts["draft"] = given
    given.known = config.known
    given.ignore("dflash_config", "dspark_config", "projector_type", "mask_token_id")
    given.ignore("pure_draft_prefix_len", "shift_label", "confidence_head_alpha", *given.values)
    return given


def _correction(config: Config, given: Config) -> Correction | None:
    kind = str(given.values.get("projector_type") or config.class_name()).lower()
    vocabulary = given.size("vocab_size")
    if "domino" in kind:
        return Correction(
            vocabulary=vocabulary,
            rank=given.size("emb_dim"),
            recurrent=given.size("gru_hidden_dim"),
        )
    if "dspark" in kind:
        head = given.text("markov_head_type", default="vanilla")
        given.require(head == "vanilla", "markov_head_type", "must be `vanilla`")
        return Correction(
            vocabulary=vocabulary,
            rank=given.count("markov_rank", default=0),
            confidence=given.flag("enable_confidence_head", default=False),
            joined=given.flag("confidence_head_with_markov", default=True),
        )
    return None


_READERS: Mapping[str, Reader] = {
    "Eagle3": _eagle3,
    "DFlash": _dflash,
    "Domino": _dflash,
    "DSpark": _dflash,
}
