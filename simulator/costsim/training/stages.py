"""Pipeline stages: which layers each stage holds, first and last with their extra parts.

A stage type is a set of stages with equal contents; a model of equal layers has at most four
(first, middle, longer middle, last), whatever the depth of the pipeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from costsim.architectures.architecture import Architecture
from costsim.architectures.block import Block
from costsim.training.strategy import Column, distinct_rows


@dataclass(frozen=True, slots=True)
class Stages:
    """Stage types of every row: arrays (rows, types[, blocks]); absent types have `many` 0.

    `counts` says how many of each distinct block a stage of the type holds, over all its chunks;
    `position` is the index of the first stage of the type.
    """

    counts: np.ndarray
    many: np.ndarray
    position: np.ndarray

    def take(self, index: np.ndarray | slice) -> Stages:
        """Return the stages of the strategies at `index`."""
        return Stages(self.counts[index], self.many[index], self.position[index])


def distinct(blocks: Sequence[Block]) -> tuple[tuple[Block, ...], tuple[int, ...]]:
    """Return the distinct blocks, and for each block of a unit in order the index of its kind.

    The order lists stem and head once and every layer separately.
    """
    kinds: list[Block] = []
    order: list[int] = []
    for block in blocks:
        known = (i for i, kind in enumerate(kinds) if kind.operators is block.operators)
        index = next(known, len(kinds))
        if index == len(kinds):
            kinds.append(block)
        order.extend([index] * int(block.count))
    return tuple(kinds), tuple(order)


def chunk_lengths(depth: int, chunks: int) -> np.ndarray:
    """Return how many layers each chunk of a pipeline holds, in order.

    Where `chunks` does not divide `depth`, the first and the last chunks, which also hold embedding
    and head, are the shorter ones, as frameworks with uneven stages place them.
    """
    short, longer = divmod(depth, chunks)
    lengths = np.full(chunks, short)
    start = (chunks - longer + 1) // 2
    lengths[start : start + longer] += 1
    return lengths


def stages(model: Architecture, pp: Column, vp: Column, copies: Column) -> Stages:
    """Return the stage types of each row; devices with two `copies` hold a stage of each end."""
    first, inverse = distinct_rows([pp, vp, copies])
    pairs = list(zip(pp[first], vp[first], copies[first], strict=True))
    found = [_types(model, int(p), int(v), int(c)) for p, v, c in pairs]
    width = max(len(many) for _, many, _ in found)
    counts = np.zeros((len(pairs), width, found[0][0].shape[1]))
    many = np.zeros((len(pairs), width))
    position = np.zeros((len(pairs), width))
    for index, (some_counts, some_many, some_position) in enumerate(found):
        counts[index, : len(some_many)] = some_counts
        many[index, : len(some_many)] = some_many
        position[index, : len(some_many)] = some_position
    # Stored by block, whose counts of all rows are read together (see `reductions`).
    by_block = np.ascontiguousarray(np.moveaxis(counts, -1, 0))[:, inverse]
    return Stages(np.moveaxis(by_block, 0, -1), many[inverse], position[inverse])


def types_of_stages(
    held: Stages, row: int, model: Architecture, pp: int, vp: int, copies: int
) -> list[int]:
    """Return for each stage of a pipeline which of the stage types of `row` of `held` it is."""
    of_stage = _contents(model, pp, vp, copies)
    ends = (0, pp - 1)
    kinds: list[int] = []
    for stage, contents in enumerate(of_stage):
        alike = (held.counts[row] == contents).all(axis=1) & (held.many[row] > 0)
        positions = held.position[row]
        if stage in ends:
            alike &= positions == stage
        else:
            alike &= (positions > 0) & (positions < pp - 1)
        kinds.append(int(alike.argmax()))
    return kinds


@lru_cache(maxsize=4096)
def _types(
    model: Architecture, pp: int, vp: int, copies: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what stages of each type hold, how many there are, and the first of them."""
    held = _contents(model, pp, vp, copies)
    # First and last stay types of their own: they hold other activations in flight.
    ends_mark = np.zeros((len(held), 1))
    ends_mark[0] += 1
    ends_mark[-1] += 2
    _, first, number = np.unique(
        np.hstack([held, ends_mark]), axis=0, return_index=True, return_counts=True
    )
    return held[first], number, first


@lru_cache(maxsize=64)
def _layers(model: Architecture) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the layers up to each place by kind, and the blocks of stem and head by kind.

    Counts of any run of layers are a difference of two rows of the first.
    """
    kinds, order = distinct(model.blocks())
    parts = [kinds[kind].part for kind in order]
    layers = np.array([kind for kind, part in zip(order, parts, strict=True) if part == "layer"])
    one_hot = np.zeros((len(layers) + 1, len(kinds)))
    one_hot[np.arange(1, len(layers) + 1), layers] = 1
    stem, head = np.zeros(len(kinds)), np.zeros(len(kinds))
    for kind, part in zip(order, parts, strict=True):
        if part == "stem":
            stem[kind] += 1
        elif part == "head":
            head[kind] += 1
    return np.cumsum(one_hot, axis=0), stem, head


def _contents(model: Architecture, pp: int, vp: int, copies: int) -> np.ndarray:
    """Return how many of each kind of block every device holds: (devices, kinds)."""
    upto, stem, head = _layers(model)
    ends = np.concatenate([[0], np.cumsum(chunk_lengths(len(upto) - 1, pp * vp))])
    chunks = upto[ends[1:]] - upto[ends[:-1]]  # chunk c stands on stage c mod pp
    held = chunks.reshape(vp, pp, -1).sum(axis=0)
    held[0] += stem
    held[-1] += head
    return held + held[::-1] if copies == 2 else held
