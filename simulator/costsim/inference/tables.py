"""Times of passes on a grid of loads, one row a layout, from which every step is interpolated.

A search asks for millions of steps; they differ in how many tokens, requests and positions there
are, along which time is nearly straight between neighbouring powers of two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from costsim.inference.layout import Array, Layouts
from costsim.inference.passes import ServedModel, skewed_share

TOKENS = np.array(sorted({float(n) for k in range(17) for n in (2**k, 2**k * 1.5)} - {1.5}))
BATCHES = np.array([2.0**k for k in range(14)])
CONTEXTS = np.array([2.0**k for k in range(5, 21)])
Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Tables:
    """Seconds of the parts of a pass by layout.

    Attributes:
        layouts: the rows.
        launches: kernels that a pass of the model launches.
        tokens_s: (layouts, tokens): what acts on each token, of an attention rank's share.
        experts_s: (layouts, tokens): routed experts alone, which `tokens_s` leaves out.
        skewed_s: (layouts, tokens): the part of `experts_s` that uneven routing prolongs.
        heads_s: (layouts, batches): logits.
        context_s: (layouts, batches, contexts): attention of one new token each.
        prompt_s: (layouts, contexts): attention of a whole prompt.
        transfer_s: (layouts, tokens): from stage to stage, all of them.
    """

    layouts: Layouts
    launches: Array
    tokens_s: Array
    experts_s: Array
    skewed_s: Array
    heads_s: Array
    context_s: Array
    prompt_s: Array
    transfer_s: Array

    @classmethod
    def build(cls, served: ServedModel, layouts: Layouts) -> Tables:
        """Time all passes of the grid, each kind in one call over all layouts."""
        number = len(layouts)

        def grid(*axes: Array) -> tuple[Layouts, list[Array]]:
            lengths = [len(axis) for axis in axes]
            rows = np.repeat(np.arange(number), int(np.prod(lengths)))
            mesh = np.meshgrid(*axes, indexing="ij")
            return layouts.take(rows), [np.tile(one.ravel(), number) for one in mesh]

        many, (tokens,) = grid(TOKENS)
        token_pass = served.token_pass(many, tokens)
        transfer_s = served.transfer_s(many, tokens)
        few, (rows,) = grid(BATCHES)
        heads_s = served.head_s(few, rows)
        both, (batch, context) = grid(BATCHES, CONTEXTS)
        context_s = served.decode_attention_s(both, batch, context)
        prompts, (length,) = grid(CONTEXTS)
        prompt_s = served.prefill_attention_s(prompts, length, length)
        shape = (number, len(BATCHES), len(CONTEXTS))
        return cls(
            layouts,
            np.full(number, served.launches),
            (token_pass.total_s - token_pass.experts_s).reshape(number, -1),
            token_pass.experts_s.reshape(number, -1),
            (token_pass.experts_s * skewed_share(tokens * many.attention_dp)).reshape(number, -1),
            heads_s.reshape(number, -1),
            context_s.reshape(shape),
            prompt_s.reshape(number, -1),
            transfer_s.reshape(number, -1),
        )

    @classmethod
    def joined(cls, parts: Sequence[Tables]) -> Tables:
        """Return one table of all rows of `parts`, of other models and devices too."""
        layouts = Layouts(
            *(
                np.concatenate([getattr(part.layouts, field.name) for part in parts])
                for field in fields(Layouts)
            )
        )
        columns = [field.name for field in fields(cls) if field.name != "layouts"]
        stacked = {name: np.concatenate([getattr(p, name) for p in parts]) for name in columns}
        return cls(layouts, **stacked)

    def tokens(self, experts_ratio: Array | float) -> Array:
        """Return (layouts, tokens): seconds of all that acts on tokens one by one.

        `experts_ratio` is the time of routed experts over that under even routing, where there are
        many tokens; a few reach so few experts that it does not matter which.
        """
        uneven = np.reshape(np.asarray(experts_ratio, dtype=np.float64) - 1.0, (-1, 1))
        return self.tokens_s + self.transfer_s + self.experts_s + uneven * self.skewed_s

    def contexts(self, rows: Rows, context: Array) -> Array:
        """Return (rows, batches): attention of a new token each over `context` positions."""
        index, share = place(CONTEXTS, context)
        low, high = self.context_s[rows, :, index], self.context_s[rows, :, index + 1]
        return low + (high - low) * share[:, None]

    def prompt(self, rows: Rows, tokens: Array, past: Array) -> Array:
        """Return seconds of attention of `tokens` of a prompt after `past` ones.

        Pieces of a prompt together attend as the whole does, each with a launch of its own.
        """
        whole = along(CONTEXTS, self.prompt_s, rows, past + tokens)
        before = along(CONTEXTS, self.prompt_s, rows, past)
        return np.where(past > 0, whole - before + self.prompt_s[rows, 0], whole)


def place(grid: Array, at: Array) -> tuple[Rows, Array]:
    """Return the interval of `grid` and where in it `at` lies; beyond the ends it runs straight."""
    index = np.clip(np.searchsorted(grid, at, side="right") - 1, 0, len(grid) - 2)
    share = (at - grid[index]) / (grid[index + 1] - grid[index])
    return index, np.maximum(share, 0.0)


def along(grid: Array, table: Array, rows: Rows, at: Array) -> Array:
    """Return what `table` (rows, grid) has at `at`."""
    return between(table, rows, *place(grid, at))


def between(table: Array, rows: Rows, index: Rows, share: Array) -> Array:
    """Return what `table` (rows, grid) has `share` of the way into interval `index`."""
    low = table[rows, index]
    return low + (table[rows, index + 1] - low) * share
