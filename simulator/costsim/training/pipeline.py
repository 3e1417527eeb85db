"""Pipeline schedules by their closed forms: the bubble and the activations in flight.

| schedule | bubble, with p stages of forward F and backward B, of which W for weights | in flight |
|---|---|---|
| `gpipe` (Huang et al. 2018, arXiv 1811.06965) | (p − 1)·(F + B) | every micro-batch |
| `1f1b` (Narayanan et al. 2021, arXiv 2104.04473) | (p − 1)·(F + B) | p − i on stage i |
| `1f1b`, v chunks a stage (the same, interleaved) | (p − 1)·(F + B)/v | see `chunks_in_flight` |
| `zb_h1` (Qi et al. 2023, arXiv 2401.10241) | (p − 1)·(F + B − 2·W) | p |
| `dualpipe` (DeepSeek-V3, arXiv 2412.19437, table 2) | (p/2 − 1)·(F&B + B − 3·W) | p + 1 |

DualPipe feeds micro-batches from both ends: each device holds two stages, and F&B is a forward and
a backward pass at once, whose exchanges between experts hide behind each other's computation.
"""

from __future__ import annotations

import numpy as np

from costsim.training.reductions import over_types
from costsim.training.schedule import SCHEDULES, Schedule

GPIPE, ZB_H1, DUALPIPE = (SCHEDULES.index(name) for name in ("gpipe", "zb_h1", "dualpipe"))


def is_legal(schedule: Schedule, pp: int, vp: int, micro_batches: int) -> bool:
    """Return whether a pipeline of `pp` stages of `vp` chunks can follow `schedule`.

    Interleaving takes micro-batches in multiples of the stages; DualPipe an even number of stages
    and of micro-batches, at least two a stage; ZB-H1 one a stage.
    """
    if schedule == "1f1b":
        return vp == 1 or (pp > 1 and micro_batches % pp == 0)
    if pp == 1 or vp > 1:
        return False
    if schedule == "dualpipe":
        return pp % 2 == 0 and micro_batches % 2 == 0 and micro_batches >= 2 * pp
    return schedule == "gpipe" or micro_batches >= pp


def chunks_in_flight(
    schedule: np.ndarray,
    pp: np.ndarray,
    vp: np.ndarray,
    position: np.ndarray,
    micro_batches: np.ndarray,
) -> np.ndarray:
    """Return how many chunks' activations a stage at `position` holds at most; arrays broadcast.

    Interleaved 1F1B: v·p + p − 1 − 2i chunks (Korthikanti et al. 2022, arXiv 2205.05198, give the
    first stage's L·(1 + (p − 1)/(p·v))). Never more than there are.
    """
    flight = np.where(vp > 1, (vp - 1) * pp + 2 * (pp - position - 1) + 1, pp - position)
    if schedule.any():
        every = micro_batches * vp
        others = [(GPIPE, every), (ZB_H1, pp), (DUALPIPE, pp + 1)]
        for index, chunks in others:
            flight = np.where(schedule == index, chunks, flight)
    return np.minimum(flight, micro_batches * vp)


def bubble_s(
    schedule: np.ndarray,
    pp: np.ndarray,
    vp: np.ndarray,
    many: np.ndarray,
    pass_s: np.ndarray,
    slowest_s: np.ndarray,
    backward_s: np.ndarray,
    weight_s: np.ndarray | None,
    *,
    longest: bool = False,
) -> np.ndarray:
    """Return seconds that the slowest stage waits in a step.

    Args:
        schedule: index of `SCHEDULES` of each strategy.
        pp: stages.
        vp: chunks of a stage.
        many: stages of each type (strategies, types), as all figures of stages.
        pass_s: forward and backward pass of one micro-batch (F + B, or F&B).
        slowest_s: the longest of it (strategies).
        backward_s: B.
        weight_s: W; None where no schedule needs it.
        longest: whether the stage that waits for the others is that which makes them wait least:
            of lower bounds, of which the slowest stage is not known.
    """
    waited = ((many * pass_s).sum(axis=1) - slowest_s) / vp
    if weight_s is None:
        return waited
    rows, worst = np.arange(len(waited)), pass_s.argmax(axis=1)

    def others(figures: np.ndarray) -> np.ndarray:
        """Sum over all stages but the slowest."""
        own = over_types(figures) if longest else figures[rows, worst]
        return (many * figures).sum(axis=1) - own

    zero_bubble = others(pass_s - 2 * weight_s)
    halves = (pp / 2 - 1) / np.maximum(pp - 1, 1)
    both_ways = others(pass_s + backward_s - 3 * weight_s) * halves
    waited = np.where(schedule == ZB_H1, zero_bubble, waited)
    return np.maximum(np.where(schedule == DUALPIPE, both_ways, waited), 0.0)
