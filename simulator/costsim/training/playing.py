"""Pipeline schedules played out: what each device runs in which order, and when each slot runs.

The evaluator uses the closed forms of `pipeline`; this is what they describe, for a timeline of one
step and for tests of the forms.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, TypeAlias

from costsim.training.strategy import Strategy

Kind: TypeAlias = Literal["forward", "backward", "inputs", "weights"]
"""A backward pass may be cut into the gradients of `inputs`, which stages before wait for, and of
`weights`, which nothing waits for."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One pass of one micro-batch through `place`, a chunk of the model (0 = the first layers)."""

    kind: Kind
    place: int
    micro_batch: int


Slot: TypeAlias = tuple[Piece, ...]
"""What a device runs at once: a piece, or a forward and a backward pass that overlap."""
Order: TypeAlias = list[Slot]


@dataclass(frozen=True, slots=True)
class Played:
    """A slot with the device that ran it and when."""

    slot: Slot
    device: int
    start_s: float
    end_s: float


def orders(strategy: Strategy, micro_batches: int) -> list[Order]:
    """Return the order of every device of a pipeline under the schedule of `strategy`."""
    stages = strategy.pp
    match strategy.schedule:
        case "1f1b":
            return [
                _one_forward_one_backward(device, stages, strategy.vp, micro_batches)
                for device in range(stages)
            ]
        case "gpipe":
            return [_all_forward_first(device, micro_batches) for device in range(stages)]
        case "zb_h1":
            return [_zero_bubble(device, stages, micro_batches) for device in range(stages)]
        case "dualpipe":
            return [list(_both_ways(device, stages, micro_batches)) for device in range(stages)]


def _one_forward_one_backward(device: int, stages: int, chunks: int, micro_batches: int) -> Order:
    """1F1B, interleaved where a device holds several chunks (Narayanan et al. 2021, §2.2)."""
    total = micro_batches * chunks
    if chunks == 1:
        warmup = stages - device - 1
    else:
        warmup = 2 * (stages - device - 1) + (chunks - 1) * stages
    warmup = min(warmup, total)

    def slot(index: int, kind: Kind) -> Slot:
        group, inside = divmod(index, stages * chunks)
        size = min(stages, micro_batches - group * stages)
        chunk, position = divmod(inside, size)
        chunk = chunk if kind == "forward" else chunks - 1 - chunk
        return (Piece(kind, chunk * stages + device, group * stages + position),)

    order = [slot(index, "forward") for index in range(warmup)]
    for index in range(total - warmup):
        order += [slot(warmup + index, "forward"), slot(index, "backward")]
    return order + [slot(index, "backward") for index in range(total - warmup, total)]


def _all_forward_first(device: int, micro_batches: int) -> Order:
    """GPipe (Huang et al. 2018): all forward passes, then all backward passes, the last first."""
    forward: Order = [(Piece("forward", device, m),) for m in range(micro_batches)]
    return forward + [(Piece("backward", device, m),) for m in reversed(range(micro_batches))]


def _zero_bubble(device: int, stages: int, micro_batches: int) -> Order:
    """ZB-H1 (Qi et al. 2023, §2.1): 1F1B whose gradients of weights come `device` passes later.

    Every stage then holds as many micro-batches as the first of 1F1B.
    """
    warmup = min(stages - device - 1, micro_batches)
    order: Order = [(Piece("forward", device, m),) for m in range(warmup)]
    for m in range(micro_batches):
        if warmup + m < micro_batches:
            order.append((Piece("forward", device, warmup + m),))
        order.append((Piece("inputs", device, m),))
        if m >= device:
            order.append((Piece("weights", device, m - device),))
    rest = range(max(micro_batches - device, 0), micro_batches)
    return order + [(Piece("weights", device, m),) for m in rest]


def _both_ways(device: int, stages: int, micro_batches: int) -> Iterator[Slot]:
    """DualPipe (DeepSeek-V3, §3.2.1): half of the micro-batches enter at either end.

    A device away from the middle runs its nearer direction (0) further ahead; both directions then
    alternate in pairs, until only backward passes are left, whose gradients of weights fill gaps.
    """
    half = micro_batches // 2
    from_end = min(device, stages - 1 - device)
    to_middle = stages // 2 - 1 - from_end
    upward = device < stages // 2  # its nearer end is the first
    place = {way: device if (way == 0) == upward else stages - 1 - device for way in (0, 1)}
    first = {way: 0 if (way == 0) == upward else half for way in (0, 1)}
    forwards = {way: iter(range(first[way], first[way] + half)) for way in (0, 1)}
    backwards = {way: iter(range(first[way], first[way] + half)) for way in (0, 1)}
    waiting: list[Piece] = []  # gradients of weights that were put off

    def forward(way: int) -> Piece:
        return Piece("forward", place[way], next(forwards[way]))

    def backward(way: int, *, split: bool = False) -> Piece:
        micro_batch = next(backwards[way])
        if split:
            waiting.append(Piece("weights", place[way], micro_batch))
        return Piece("inputs" if split else "backward", place[way], micro_batch)

    for _ in range(2 * to_middle):
        yield (forward(0),)
    for _ in range(from_end + 1):
        yield (forward(0),)
        yield (forward(1),)
    for _ in range(to_middle):
        yield (backward(1, split=True),)
        yield (waiting.pop(0),)
        yield (forward(1),)
    for index in range(half - stages + from_end + 1):
        if index == 0 and to_middle == 0:  # in the middle nothing is left to overlap with yet
            yield (forward(0),)
            yield (backward(1),)
        else:
            yield (forward(0), backward(1))
        yield (forward(1), backward(0))
    for _ in range(to_middle):
        yield (backward(1),)
        yield (forward(1), backward(0))
    split = False
    for index in range(from_end + 1):
        turn = index == (from_end + 1) // 2
        split = split or (turn and from_end % 2 == 1)
        yield (backward(1, split=split),)
        split = split or turn
        yield (backward(0, split=split),)
    for _ in range(to_middle):
        yield (waiting.pop(0),)
        yield (backward(0, split=True),)
    yield from ((piece,) for piece in waiting)


def play(queues: Sequence[Order], seconds: Callable[[int, Slot], float]) -> list[Played]:
    """Return when each slot runs: as soon as its device is free and its inputs have come.

    A forward pass needs that of the place before; gradients of inputs need their own forward pass
    and the gradients of the place after.
    """
    last = max(piece.place for order in queues for slot in order for piece in slot)
    ends: dict[Piece, float] = {}
    waiting: dict[Piece, list[int]] = defaultdict(list)
    position, free = [0] * len(queues), [0.0] * len(queues)
    found: list[Played] = []
    ready = list(range(len(queues)))
    while ready:
        device = ready.pop()
        while position[device] < len(queues[device]):
            slot = queues[device][position[device]]
            needs = list(chain.from_iterable(_needs(piece, last) for piece in slot))
            missing = next((need for need in needs if need not in ends), None)
            if missing is not None:
                waiting[missing].append(device)
                break
            start = max([free[device], *(ends[need] for need in needs)])
            free[device] = start + seconds(device, slot)
            found.append(Played(slot, device, start, free[device]))
            position[device] += 1
            for piece in map(_awaited, slot):
                ends[piece] = free[device]
                ready += waiting.pop(piece, [])
    if any(position[device] < len(order) for device, order in enumerate(queues)):
        raise ValueError("the schedule waits for itself")
    return found


def _awaited(piece: Piece) -> Piece:
    """Return the piece as those that need it call it."""
    if piece.kind == "backward":
        return Piece("inputs", piece.place, piece.micro_batch)
    return piece


def _needs(piece: Piece, last: int) -> tuple[Piece, ...]:
    if piece.kind == "forward":
        before = Piece("forward", piece.place - 1, piece.micro_batch)
        return (before,) if piece.place else ()
    if piece.kind == "weights":
        return (Piece("inputs", piece.place, piece.micro_batch),)
    own = Piece("forward", piece.place, piece.micro_batch)
    after = Piece("inputs", piece.place + 1, piece.micro_batch)
    return (own, after) if piece.place < last else (own,)
