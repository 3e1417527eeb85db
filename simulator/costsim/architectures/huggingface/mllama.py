"""Llama 3.2 Vision: a tower of two parts, and a decoder some of whose layers look at images."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from costsim.architectures.architecture import Description
from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.decoders.stack import (
    HEADS,
    HIDDEN,
    LAYERS,
    attention,
    compose,
    network,
)
from costsim.architectures.huggingface.towers import tower
from costsim.architectures.images import PatchStem, patches_of
from costsim.architectures.layers.gated_cross import GatedCross
from costsim.architectures.layers.layer import Layer
from costsim.architectures.layers.recording import in_runs
from costsim.architectures.multimodal import LAYER_NORM, Chain, Dense, Multimodal, Part, Tensors
from costsim.architectures.transformer import DecoderLayer, Transformer

_GATES = 3  # of the tables of positions and of tiles
_SPARE = 8  # rows of the embedding beyond the vocabulary, for the marks of images


def _decoder(config: Config, seen: int) -> Transformer:
    config.ignore("dropout", "tf_legacy_loss")
    layers = config.layers(*LAYERS)
    looking = config.indices("cross_attention_layers")
    mixer, fed = attention(config, bias=False), network(config)
    stacked = compose(config, mixer, fed)
    ((plain, _),) = stacked.layers
    assert isinstance(plain, Layer)
    cross = GatedCross(
        heads=mixer.heads,
        kv_heads=mixer.kv_heads,
        head_dim=mixer.head_dim,
        feed_forward=fed,
        seen=seen,
    )
    kinds: list[DecoderLayer] = [cross if index in looking else plain for index in range(layers)]
    return replace(stacked, layers=in_runs(kinds), spare=_SPARE)


def _read(config: Config) -> Description:
    """Read the whole, or its decoder where the class is the language model's."""
    config.ignore("image_token_index", "tie_word_embeddings")
    vision = config.nested("vision_config")
    parts, tokens, width = _tower(vision)
    text = config.nested("text_config")
    decoder = _decoder(text, tokens)
    if config.class_name().endswith("ForCausalLM"):
        return decoder
    hidden = text.size(*HIDDEN)
    projector = Chain(
        name="projector", positions=tokens, steps=(Dense(inputs=width, outputs=hidden),)
    )
    return Multimodal(text=decoder, parts=(*parts, projector))


def _tower(config: Config) -> tuple[tuple[Part, ...], int, int]:
    """Return the parts that see, how many vectors they make of an image, and how wide."""
    config.ignore("supported_aspect_ratios", "norm_eps", "initializer_range", "model_type")
    hidden, side = config.size(*HIDDEN), config.size("image_size")
    heads = config.size(*HEADS)
    patch, tiles = config.size("patch_size"), config.size("max_num_tiles")
    ratios = config.values.get("supported_aspect_ratios")
    known = cast("list[object]", ratios) if isinstance(ratios, list) else None
    shapes = 1 + (
        sum(tiles // rows for rows in range(1, tiles + 1)) if known is None else len(known)
    )
    positions = patches_of((side, side), (patch, patch)) + 1
    stem = PatchStem(
        image=(tiles * side, side),
        patch=(patch, patch),
        channels=config.size("num_channels"),
        bias=False,
        class_tokens=1,
        positions=positions,
        added=True,
        norm=LAYER_NORM,
    )
    above = config.layers("num_global_layers")
    seen = tower(
        stem,
        hidden=hidden,
        heads=heads,
        layers=config.layers("num_hidden_layers") + above,
        feed_forward=config.size("intermediate_size"),
        bias=False,
        network_bias=True,
        activation=config.text("hidden_act"),
    )
    gates = Tensors(shapes=((_GATES + 2 * above,),))
    tables = Tensors(
        shapes=((shapes, tiles * positions * hidden), (2 * shapes, tiles * hidden)), lookup=True
    )
    beside = Chain(name="vision.tiles", positions=1, steps=(gates, tables))
    read = len(config.indices("intermediate_layers_indices")) + 1
    width = config.size("vision_output_dim")
    config.require(width == read * hidden, "vision_output_dim", f"must be {read * hidden}")
    return (beside, seen), tiles * positions, width


READERS: dict[str, Reader] = {"mllama": _read}
