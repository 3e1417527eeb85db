"""What recomputation repeats of a layer's forward pass, and what it leaves kept: by mode.

Repeated work is timed as blocks of its own, in one call with the whole ones: those of each mode
that repeats a part of a layer stand behind them. A mode that repeats all of it takes what the
forward pass took.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from costsim.architectures.block import Block
from costsim.architectures.tensors import Activation
from costsim.architectures.workload import Execution
from costsim.hardware.timing import PARTS
from costsim.training.exchanges import Exchanges
from costsim.training.precision import Precision
from costsim.training.recompute import RECOMPUTE, Recompute
from costsim.training.remaking import Remade, remade
from costsim.training.strategy import Column, Strategies

CHECKPOINT_CALLS = 12.0
"""Random states that recomputing a function saves and sets, by Megatron-LM's random.py: those of
the host, the device and the tensor-parallel group are saved forward, saved and set before, and set
after."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """Figures of one layer under each mode in use: arrays (…, blocks, modes × combinations).

    `kept_bytes` wait for the backward pass; `restored_bytes` are there again while a layer's runs.
    The others are of the forward work that is repeated before it.
    """

    parts_s: np.ndarray  # (parts, blocks, …)
    launches: np.ndarray
    tensor_s: np.ndarray
    context_s: np.ndarray
    expert_s: np.ndarray
    tensor_bytes: np.ndarray  # sent by a device
    context_bytes: np.ndarray
    expert_bytes: np.ndarray
    kept_bytes: np.ndarray
    restored_bytes: np.ndarray


@dataclass(frozen=True, slots=True)
class Forward:
    """What blocks take forward: (parts, blocks, rows), (blocks, rows), and exchanges."""

    parts_s: np.ndarray
    launches: np.ndarray
    exchanged: Exchanges

    def of(self, blocks: slice) -> Forward:
        """Return what some blocks take."""
        return Forward(self.parts_s[:, blocks], self.launches[blocks], self.exchanged.of(blocks))


@dataclass(frozen=True, slots=True)
class Recomputed:
    """A device's part of each block, what it keeps, and what modes but "none" make of it."""

    modes: tuple[Recompute, ...]
    local: Sequence[Block]
    saved: Sequence[tuple[Activation, ...]]
    made: dict[Recompute, list[Remade]]

    @classmethod
    def of(cls, strategies: Strategies, local: Sequence[Block], execution: Execution) -> Recomputed:
        """Return what the modes of `strategies` make of `local` blocks."""
        modes = modes_of(strategies)
        saved = [block.saved(execution) for block in local]
        made: dict[Recompute, list[Remade]] = {
            mode: [remade(*block, mode, execution) for block in zip(local, saved, strict=True)]
            for mode in modes
            if mode != "none"
        }
        return cls(modes, local, saved, made)

    @property
    def partial(self) -> list[Recompute]:
        """Modes that repeat a part of a layer."""
        return [mode for mode in self.made if mode != "full"]

    def again(self, blocks: Sequence[Block]) -> list[Block]:
        """Return what partial modes repeat of whole blocks or of a device's parts of them."""
        return [
            one.again(block)
            for mode in self.partial
            for block, one in zip(blocks, self.made[mode], strict=True)
        ]


def modes_of(strategies: Strategies) -> tuple[Recompute, ...]:
    """Return the modes that any of `strategies` uses, in their order."""
    used = np.bincount(strategies.recompute.astype(np.intp), minlength=len(RECOMPUTE))
    return tuple(mode for mode, count in zip(RECOMPUTE, used, strict=True) if count)


def repeated(
    recomputed: Recomputed,
    held: Recomputed,
    execution: Execution,
    recipe: Precision,
    widths: Mapping[str, float],
    forward: Forward,
) -> Repeated:
    """Return what recomputation repeats and keeps.

    Args:
        recomputed: blocks and what modes make of them.
        held: the same as far as what is kept goes.
        execution: how operators run as far as that goes.
        recipe: what formats activations are kept in.
        widths: bytes of an element of what is kept, by storage.
        forward: of the blocks, then of what `recomputed.again` says is repeated of them.
    """
    modes, local = recomputed.modes, recomputed.local
    blocks, rows = len(local), forward.parts_s.shape[-1]
    shape = (blocks, len(modes) * rows)
    found = Repeated(np.zeros((len(PARTS), *shape)), *np.zeros((9, *shape)))
    for index, block in enumerate(local):
        saved = held.saved[index]
        narrow: frozenset[str] = frozenset()
        if recipe.product_bytes != recipe.activation_bytes:
            narrow = _narrow(block, saved, execution)
        everything = kept_bytes(saved, recipe, widths, narrow)
        for number, mode in enumerate(modes):
            mine = slice(number * rows, (number + 1) * rows)
            one = held.made[mode][index] if mode != "none" else None
            kept, restored = found.kept_bytes[index, mine], found.restored_bytes[index, mine]
            kept[:] = everything
            if one is None or not one.regions:
                continue
            kept[:] = kept_bytes(
                one.kept, recipe, widths, narrow if mode != "full" else frozenset()
            )
            restored[:] = everything if mode == "full" else everything - kept
    layer = np.array([block.part == "layer" for block in local])[:, None]
    for number, mode in enumerate(modes):
        if mode == "none":
            continue
        place = 0 if mode == "full" else 1 + recomputed.partial.index(mode)
        work = forward.of(slice(place * blocks, (place + 1) * blocks))
        regions = np.array([one.regions for one in recomputed.made[mode]])[:, None]
        mine = slice(number * rows, (number + 1) * rows)
        found.parts_s[..., mine] = work.parts_s * layer
        found.launches[:, mine] = work.launches * layer + CHECKPOINT_CALLS * regions
        sent = work.exchanged
        found.tensor_s[:, mine] = sent.tensor_s[0] * layer
        found.context_s[:, mine] = sent.context_s[0] * layer
        found.expert_s[:, mine] = sent.expert_s[0] * layer
        found.tensor_bytes[:, mine] = sent.tensor_bytes[0] * layer
        found.context_bytes[:, mine] = sent.context_bytes[0] * layer
        found.expert_bytes[:, mine] = sent.expert_bytes[0] * layer
    return found


def activation_bytes(
    activations: Iterable[Activation], widths: Mapping[str, float]
) -> Column | float:
    """Return the bytes that `activations` take, `widths` being those of an element by storage."""
    return sum(a.elements * widths[a.storage] for a in activations)


def kept_bytes(
    activations: Sequence[Activation],
    recipe: Precision,
    widths: Mapping[str, float],
    narrow: frozenset[str],
) -> Column | float:
    """Return the bytes of what is kept, of which `narrow` tensors are in the format of products."""
    wide = [a for a in activations if a.name not in narrow]
    products = [a for a in activations if a.name in narrow]
    return activation_bytes(wide, widths) + activation_bytes(
        products, {**widths, "compute": recipe.product_bytes}
    )


def _narrow(block: Block, saved: Sequence[Activation], execution: Execution) -> frozenset[str]:
    """Return the inputs of layer matrices that nothing else keeps."""
    others = {a.name for op in block.operators if op.role != "matrix" for a in op.saved(execution)}
    return frozenset(a.name for a in saved) - others
