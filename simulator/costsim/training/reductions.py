"""Reductions over short axes: a model has a few kinds of blocks, a pipeline a few types of stages.

numpy reduces along an axis element by element; with thousands of rows and three or four columns it
is several times as fast to reduce whole columns one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


def total(arrays: Iterable[np.ndarray]) -> np.ndarray:
    """Return the sum of arrays of one shape."""
    first, *rest = arrays
    result = first.copy()
    for array in rest:
        result += array
    return result


def over_types(figures: np.ndarray) -> np.ndarray:
    """Return the largest figure (rows, types) of each row."""
    result = figures[:, 0]
    for kind in range(1, figures.shape[1]):
        result = np.maximum(result, figures[:, kind])
    return result


def over_blocks(counts: np.ndarray, figures: np.ndarray) -> np.ndarray:
    """Return figures (blocks, rows) added up by counts (rows, types, blocks): (rows, types)."""
    result = counts[..., 0] * figures[0][:, None]
    for block in range(1, len(figures)):
        result += counts[..., block] * figures[block][:, None]
    return result


def largest_held(
    counts: np.ndarray, figures: np.ndarray, blocks: Sequence[bool] | np.ndarray | None = None
) -> np.ndarray:
    """Return the largest figure (blocks, rows) of the blocks that a stage holds: (rows, types).

    Only blocks that are true in `blocks` count, where it is given.
    """
    result = np.zeros(counts.shape[:2])
    for block, figure in enumerate(figures):
        if blocks is None or blocks[block]:
            np.maximum(result, (counts[..., block] > 0) * figure[:, None], out=result)
    return result
