"""Pipeline schedules played out: what each device runs in which order, and when each piece runs.

The evaluator uses the closed forms of the papers; this is what they describe, for a timeline of one
step and for tests of the forms.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from costsim.training.strategy import Strategy

Kind: TypeAlias = Literal["forward", "backward"]


@dataclass(frozen=True, slots=True)
class Piece:
    """One pass of one micro-batch through `place`, a chunk of the model (0 = the first layers)."""

    kind: Kind
    place: int
    micro_batch: int


Order: TypeAlias = list[Piece]
"""What a device runs, in order."""


@dataclass(frozen=True, slots=True)
class Played:
    """A piece with the device that ran it and when."""

    piece: Piece
    device: int
    start_s: float
    end_s: float


def orders(strategy: Strategy, micro_batches: int) -> list[Order]:
    """Return the order of every device of a pipeline under the schedule of `strategy`."""
    return [
        _one_forward_one_backward(device, strategy.pp, strategy.vp, micro_batches)
        for device in range(strategy.pp)
    ]


def _one_forward_one_backward(device: int, stages: int, chunks: int, micro_batches: int) -> Order:
    """1F1B, interleaved where a device holds several chunks (Narayanan et al. 2021, §2.2)."""
    total = micro_batches * chunks
    if chunks == 1:
        warmup = stages - device - 1
    else:
        warmup = 2 * (stages - device - 1) + (chunks - 1) * stages
    warmup = min(warmup, total)

    def slot(index: int, kind: Kind) -> Piece:
        group, inside = divmod(index, stages * chunks)
        size = min(stages, micro_batches - group * stages)
        chunk, position = divmod(inside, size)
        chunk = chunk if kind == "forward" else chunks - 1 - chunk
        return Piece(kind, chunk * stages + device, group * stages + position)

    order = [slot(index, "forward") for index in range(warmup)]
    for index in range(total - warmup):
        order += [slot(warmup + index, "forward"), slot(index, "backward")]
    return order + [slot(index, "backward") for index in range(total - warmup, total)]


def play(queues: Sequence[Order], seconds: Callable[[int, Piece], float]) -> list[Played]:
    """Return when each piece runs: as soon as its device is free and its input has come.

    A forward pass needs that of the place before; a backward pass its own forward pass and the
    backward pass of the place after.
    """
    last = max(piece.place for order in queues for piece in order)
    ends: dict[Piece, float] = {}
    waiting: dict[Piece, list[int]] = defaultdict(list)
    position, free = [0] * len(queues), [0.0] * len(queues)
    found: list[Played] = []
    ready = list(range(len(queues)))
    while ready:
        device = ready.pop()
        while position[device] < len(queues[device]):
            piece = queues[device][position[device]]
            needs = _needs(piece, last)
            missing = next((need for need in needs if need not in ends), None)
            if missing is not None:
                waiting[missing].append(device)
                break
            start = max([free[device], *(ends[need] for need in needs)])
            end = start + seconds(device, piece)
            found.append(Played(piece, device, start, end))
            ends[piece] = free[device] = end
            position[device] += 1
            ready += waiting.pop(piece, [])
    if any(position[device] < len(order) for device, order in enumerate(queues)):
        raise ValueError("the schedule waits for itself")
    return found


def _needs(piece: Piece, last: int) -> tuple[Piece, ...]:
    if piece.kind == "forward":
        before = Piece("forward", piece.place - 1, piece.micro_batch)
        return (before,) if piece.place else ()
    own = Piece("forward", piece.place, piece.micro_batch)
    after = Piece("backward", piece.place + 1, piece.micro_batch)
    return (own, after) if piece.place < last else (own,)
