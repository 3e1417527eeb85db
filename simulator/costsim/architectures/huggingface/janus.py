"""Janus, which sees and draws: a tower to see with, and a tokenizer of images to draw with.

The tokenizer is LlamaGen's VQ-16 (arXiv 2406.06525): convolutions down to a book of codes and up
again. Text alone passes through none of it, and drawing predicts codes with a head of their own;
both are held here, and only seeing is counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.towers import Seen, siglip_large
from costsim.architectures.huggingface.vision_language import text_model
from costsim.architectures.multimodal import (
    Activated,
    Chain,
    Dense,
    Multimodal,
    Part,
    Step,
    Tensors,
)

Shape: TypeAlias = tuple[int, ...]

_SIGLIP = {"siglip_large_patch16_384": (1024, 24, 16, 16, 384)}
"""Width, layers, heads, patch and image of towers that releases name."""

_COLOURS = 3

_IDLE = "initializer_factor hidden_size image_token_id tie_word_embeddings pad_token_id"


def _layers(inputs: int, hidden: int, depth: int) -> tuple[Step, ...]:
    steps: list[Step] = [Dense(inputs=inputs, outputs=hidden)]
    for _ in range(depth - 1):
        steps += [Activated(size=hidden), Dense(inputs=hidden, outputs=hidden)]
    return tuple(steps)


def _convolution(inputs: int, outputs: int, kernel: int = 3) -> Iterator[Shape]:
    yield from ((outputs, inputs, kernel, kernel), (outputs,))


def _residual(inputs: int, outputs: int) -> Iterator[Shape]:
    yield from ((inputs,), (inputs,), (outputs,), (outputs,))
    yield from _convolution(inputs, outputs)
    yield from _convolution(outputs, outputs)
    if inputs != outputs:
        yield from _convolution(inputs, outputs, 1)


def _attention(width: int) -> Iterator[Shape]:
    yield from ((width,), (width,))
    for _ in range(4):
        yield from _convolution(width, width, 1)


def _middle(width: int) -> Iterator[Shape]:
    yield from _residual(width, width)
    yield from _attention(width)
    yield from _residual(width, width)


def _tokenizer(
    base: int, widths: tuple[int, ...], blocks: int, latent: int, code: int, codes: int
) -> Iterator[Shape]:
    """Yield the tensors of the tokenizer; `widths` are multiples of `base` from fine to coarse."""
    levels = [base * width for width in widths]
    now = base
    yield from _convolution(_COLOURS, base)
    last = len(levels) - 1
    for depth, level in enumerate(levels):
        for index in range(blocks):
            yield from _residual(level if index else now, level)
            if depth == last:
                yield from _attention(level)
        if depth < last:
            yield from _convolution(level, level)
        now = level
    yield from _middle(now)
    yield from ((now,), (now,))
    yield from _convolution(now, latent)
    yield from _convolution(latent, code, 1)
    yield (codes, code)
    yield from _convolution(code, latent, 1)
    yield from _convolution(latent, now)
    yield from _middle(now)
    for depth in range(last, -1, -1):
        level = levels[depth]
        for index in range(blocks + 1):
            yield from _residual(level if index else now, level)
            if depth == last:
                yield from _attention(level)
        if depth:
            yield from _convolution(level, level)
        now = level
    yield from ((now,), (now,))
    yield from _convolution(now, _COLOURS)


def _held(name: str, shapes: Iterator[Shape]) -> Chain:
    return Chain(name=name, positions=1, steps=(Tensors(shapes=tuple(shapes)),))


def _drawing(hidden: int, codes: int, code: int, depth: int, middle: int) -> Iterator[Shape]:
    """Yield codes as they are read, how they come to the text's width, and the head of codes."""
    yield (codes, code)
    for index in range(depth):
        yield from ((hidden, code if index == 0 else hidden), (hidden,))
    yield from ((middle, hidden), (middle,), (codes, middle), (codes,))


def _released(config: Config) -> Multimodal:
    """Read Janus as released: parts with the classes of its own code and their `params`."""
    config.ignore(*_IDLE.split())
    text, hidden = text_model(config, "language_config")
    parts = {
        key: config.nested(f"{key}_config")
        for key in ("vision", "aligner", "gen_vision", "gen_aligner", "gen_head")
    }
    given: dict[str, Config] = {}
    for key, part in parts.items():
        part.ignore("cls", "model_type")
        given[key] = part.nested("params")
    vision = given["vision"]
    vision.ignore("select_feature", "select_layer")
    name = vision.text("model_name", default="siglip_large_patch16_384")
    vision.require(name in _SIGLIP, "model_name", f"{name} is not known: {', '.join(_SIGLIP)} are")
    width, layers, heads, patch, image = _SIGLIP.get(name, next(iter(_SIGLIP.values())))
    image = vision.size("image_size", default=image)
    seen = siglip_large(
        vision, width=width, layers=layers, heads=heads, patch=patch, image=image, ratio=4.0
    )
    for key in ("aligner", "gen_aligner"):
        kind = given[key].text("projector_type", default="mlp_gelu")
        given[key].require(kind == "mlp_gelu", "projector_type", f"{kind} is not supported")
    aligner, drawn, head = given["aligner"], given["gen_aligner"], given["gen_head"]
    fits = (
        aligner.size("n_embed", default=hidden) == hidden == drawn.size("n_embed", default=hidden)
    )
    config.require(fits, "aligner_config", f"makes no vectors of the text's {hidden}")
    fits = aligner.size("input_dim", default=width) == width
    aligner.require(fits, "input_dim", f"is not the {width} of the tower")
    code = given["gen_vision"].size("n_embed", default=8)
    codes = given["gen_vision"].size("image_token_size", default=16384)
    fits = drawn.size("input_dim", default=code) == code
    drawn.require(fits, "input_dim", f"is not the {code} of the codes")
    same = head.size("image_token_size", default=codes) == codes
    same = same and head.size("n_embed", default=hidden) == hidden
    head.require(same, "image_token_size", f"is not the {codes} of the tokenizer")
    return Multimodal(
        text=text,
        parts=(
            *_aligned(seen, hidden, aligner.layers("depth", default=2)),
            _held("tokenizer", _tokenizer(128, (1, 1, 2, 2, 4), 2, 256, code, codes)),
            _held(
                "drawing",
                _drawing(
                    hidden,
                    codes,
                    code,
                    drawn.layers("depth", default=2),
                    head.size("image_token_embed", default=hidden),
                ),
            ),
        ),
    )


def _aligned(seen: Seen, hidden: int, depth: int) -> tuple[Part, ...]:
    steps = _layers(seen.width, hidden, depth)
    return (*seen.parts, Chain(name="projector", positions=seen.tokens, steps=steps))


READERS: dict[str, Reader] = {"multi_modality": _released}
