"""Step times of one replica as plain lists, which a simulation looks up millions of times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costsim.inference.engines import Engine
from costsim.inference.layout import Array
from costsim.inference.tables import BATCHES, CONTEXTS, TOKENS, Tables, along, place

_CONTEXT_TOKENS = (512.0, 8192.0)  # between which attention of a step is taken as straight


@dataclass(frozen=True, slots=True)
class StepTimes:
    """What a step of one replica takes.

    A step that generates for b requests with S positions in all takes base_s[b] + slope_s[b] · S.
    Prompts of n tokens in all add tokens_s[b + n] - tokens_s[b], their attention, and launch_s;
    alone in a step they take tokens_s[n], the same beside it, and host_s.

    Attributes:
        base_s: by number of requests, from 0.
        slope_s: the same, a position.
        tokens_s: by number of tokens in the step, from 0.
        launch_s: of a step that replays no captured graph.
        receive_s: of a request, before anything else.
        lengths: of prompts, in tokens, ascending.
        attention_s: of a prompt of each of `lengths`.
        prompt_ratio: time of a prompt's kernels over that of kernels timed alone.
        accepted: mean tokens that a step yields for a request, more than 1 with speculation.
        host_s: of a step that only prompts are in: what the host keeps the device waiting.
    """

    base_s: list[float]
    slope_s: list[float]
    tokens_s: list[float]
    launch_s: float
    receive_s: float
    lengths: Array
    attention_s: Array
    prompt_ratio: float
    accepted: float = 1.0
    host_s: float = 0.0

    @classmethod
    def build(cls, tables: Tables, engine: Engine, row: int) -> StepTimes:
        """Return the step times of layout `row` of `tables` under `engine`."""
        layouts = tables.layouts
        ranks, stages = float(layouts.attention_dp[row]), float(layouts.pp[row])
        uneven = 1.0 + engine.stage_ratio * (stages - 1.0)
        most = int(engine.max_sequences * ranks)
        requests = np.arange(most + 1, dtype=np.float64)
        share = np.maximum(requests / (ranks * stages), 1.0)
        tokens_s = tables.tokens(engine.experts_ratio)
        one = np.full(most + 1, row)
        index, part = place(BATCHES, share)
        drafts = engine.speculation
        checked = share * (drafts.tokens + 1.0)
        kernels = along(TOKENS, tokens_s, one, checked)
        kernels = kernels + along(BATCHES, tables.heads_s, one, checked)
        # 1. Attention over two contexts gives its line in the positions of all requests.
        near, far = (_attention(tables, row, index, part, context) for context in _CONTEXT_TOKENS)
        slope = (far - near) / (_CONTEXT_TOKENS[1] - _CONTEXT_TOKENS[0])
        drafted = 1.0 + drafts.tokens * drafts.draft_ratio
        kernels = (kernels + near - slope * _CONTEXT_TOKENS[0]) * drafted
        host_s = engine.host_step_s + engine.host_sequence_s * share
        base_s = (engine.kernel_ratio * kernels + host_s) * uneven
        slope_s = engine.kernel_ratio * drafted * slope * uneven / np.maximum(requests, 1.0)
        # 2. Tokens of a step are divided over ranks and stages, as prompts of several requests are;
        # those of a prompt over cp ranks too.
        parts = ranks * float(layouts.cp[row])
        limit = int(engine.max_batched_tokens * ranks) + most
        counts = np.arange(limit + 1, dtype=np.float64)
        each = along(TOKENS, tokens_s, np.full(limit + 1, row), np.maximum(counts / parts, 1.0))
        each = each * (engine.prompt_ratio * uneven / stages)
        attention_s = tables.prompt_s[row] * (engine.prompt_ratio * uneven / (ranks * stages))
        return cls(
            base_s.tolist(),
            slope_s.tolist(),
            each.tolist(),
            float(engine.launch_s * tables.launches[row]) * uneven * engine.busy_launch_ratio,
            engine.prompt_s
            + float(engine.launch_s * tables.launches[row])
            * uneven
            * (1.0 - engine.busy_launch_ratio),
            CONTEXTS,
            attention_s,
            engine.prompt_ratio,
            drafts.accepted,
            float(engine.host_step_s) * uneven,
        )

    def prompts_s(self, tokens: NDArray[np.float64], past: Array | float = 0.0) -> Array:
        """Return seconds of attention of prompts of `tokens` after `past` cached ones."""
        whole = np.interp(tokens + past, self.lengths, self.attention_s)
        before = np.where(np.asarray(past) > 0, np.interp(past, self.lengths, self.attention_s), 0)
        return np.maximum(whole - before, 0.0)


def _attention(
    tables: Tables, row: int, index: NDArray[np.intp], part: Array, context: float
) -> Array:
    line = tables.contexts(np.array([row]), np.array([context]))[0]
    return line[index] + (line[index + 1] - line[index]) * part
